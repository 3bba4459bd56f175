package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// MaxPool takes the first maximum of each window and, unless argmax is zero, its position. NaN counts as above all
// numbers.
func (l *lane) MaxPool(s backend.PoolShape, out, argmax, x backend.Tensor) {
	s.CheckForward(&out, &argmax, &x)
	o, in := l.floats(out), l.floats(x)
	arg := l.bytes(argmax)
	c, row := s.X.C, s.Out.W*s.X.C
	lo, hi := l.piece(s.X.N * s.Out.H)
	defer round(out.Type, o[lo*row:hi*row])
	if tiled(&s) {
		if arg != nil {
			arg = arg[lo*row:]
		}
		maxPool(o[lo*row:], arg, in[lo*row*s.Size*s.Size:], hi-lo, s.Size, s.Out.W, c)
		return
	}
	i := lo * row
	for r := lo; r < hi; r++ {
		image := in[r/s.Out.H*s.X.Image():][:s.X.Image()]
		y0 := r%s.Out.H*s.Stride - s.PadTop
		for ox := range s.Out.W {
			x0 := ox*s.Stride - s.PadLeft
			best := o[i:][:c]
			var at []byte
			if arg != nil {
				at = arg[i:][:c]
			}
			i += c
			first := true
			for y := max(y0, 0); y < min(y0+s.Size, s.X.H); y++ {
				for x := max(x0, 0); x < min(x0+s.Size, s.X.W); x++ {
					pixel, position := image[(y*s.X.W+x)*c:][:c], byte((y-y0)*s.Size+x-x0)
					if first {
						copy(best, pixel)
						fill(at, position)
						first = false
						continue
					}
					poolMax(best, at, pixel, position)
				}
			}
		}
	}
}

// poolMax takes the pixel at a position of the window into the maxima so far; at is nil when positions are not wanted.
func poolMax(best []float32, at []byte, pixel []float32, position byte) {
	pixel = pixel[:len(best)]
	if at == nil {
		for c, v := range pixel {
			if b := best[c]; v > b || v != v && b == b {
				best[c] = v
			}
		}
		return
	}
	at = at[:len(best)]
	for c, v := range pixel {
		if b := best[c]; v > b || v != v && b == b {
			best[c], at[c] = v, position
		}
	}
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// MaxPoolBack adds each gradient to the input that was the maximum.
func (l *lane) MaxPoolBack(s backend.PoolShape, gradX, gradOut, argmax backend.Tensor) {
	s.CheckBack(&gradX, &gradOut, &argmax)
	gx, g, arg := l.floats(gradX), l.floats(gradOut), l.bytes(argmax)
	defer round(gradX.Type, gx)
	if tiled(&s) {
		unpool(gx, g, arg, s.X.N*s.Out.H, s.Size, s.Out.W, s.X.C)
		return
	}
	var positions [256]int
	for k := range s.Size * s.Size {
		positions[k] = (k/s.Size*s.X.W + k%s.Size) * s.X.C
	}
	clear(gx)
	i := 0
	for n := range s.X.N {
		image := gx[n*s.X.Image():][:s.X.Image()]
		for oy := range s.Out.H {
			for ox := range s.Out.W {
				window := ((oy*s.Stride-s.PadTop)*s.X.W + ox*s.Stride - s.PadLeft) * s.X.C
				for c := range s.X.C {
					image[window+positions[arg[i]]+c] += g[i]
					i++
				}
			}
		}
	}
}

// tiled reports whether the windows cover the input, side by side.
func tiled(s *backend.PoolShape) bool {
	return s.Stride == s.Size && s.X.H == s.Out.H*s.Size && s.X.W == s.Out.W*s.Size
}

// maxPool pools rows of w windows that lie side by side; argmax may be nil.
func maxPool(out []float32, argmax []byte, in []float32, rows, size, w, c int) {
	for y := range rows {
		var at []byte
		if argmax != nil {
			at = argmax[y*w*c:]
		}
		simd.MaxPool(out[y*w*c:], at, in[y*size*size*w*c:], size*w*c, size, w, c)
	}
}

// unpool writes each gradient to the element that was the maximum of its window, and zeros to the others.
func unpool(gradIn, g []float32, argmax []byte, rows, size, w, c int) {
	for y := range rows {
		simd.Unpool(gradIn[y*size*size*w*c:], size*w*c, g[y*w*c:], argmax[y*w*c:], size, w, c)
	}
}

// AveragePool takes the mean of each window, in which padding does not count.
func (l *lane) AveragePool(s backend.PoolShape, out, x backend.Tensor) {
	s.CheckAverage(&out, &x)
	o, in := l.floats(out), l.floats(x)
	c, row := s.X.C, s.Out.W*s.X.C
	lo, hi := l.piece(s.X.N * s.Out.H)
	i := lo * row
	for r := lo; r < hi; r++ {
		image := in[r/s.Out.H*s.X.Image():][:s.X.Image()]
		y1, y2 := inWindow(r%s.Out.H, s.Stride, s.PadTop, s.Size, s.X.H)
		for ox := range s.Out.W {
			x1, x2 := inWindow(ox, s.Stride, s.PadLeft, s.Size, s.X.W)
			mean := o[i:][:c]
			i += c
			clear(mean)
			simd.AddColumns(mean, image[(y1*s.X.W+x1)*c:], y2-y1, s.X.W*c, x2-x1, c)
			count := float32((y2 - y1) * (x2 - x1))
			for k := range mean {
				mean[k] /= count
			}
		}
	}
	round(out.Type, o[lo*row:hi*row])
}

// AveragePoolBack gives each input its shares of the gradients of its windows.
func (l *lane) AveragePoolBack(s backend.PoolShape, gradX, gradOut backend.Tensor) {
	s.CheckAverage(&gradOut, &gradX)
	gx, g := l.floats(gradX), l.floats(gradOut)
	clear(gx)
	c, i := s.X.C, 0
	for n := range s.X.N {
		image := gx[n*s.X.Image():][:s.X.Image()]
		for oy := range s.Out.H {
			y1, y2 := inWindow(oy, s.Stride, s.PadTop, s.Size, s.X.H)
			for ox := range s.Out.W {
				x1, x2 := inWindow(ox, s.Stride, s.PadLeft, s.Size, s.X.W)
				grad, share := g[i:][:c], 1/float32((y2-y1)*(x2-x1))
				i += c
				for y := y1; y < y2; y++ {
					for x := x1; x < x2; x++ {
						simd.Axpy(image[(y*s.X.W+x)*c:][:c], share, grad)
					}
				}
			}
		}
	}
	round(gradX.Type, gx)
}

// inWindow returns the rows, or the columns, of n that are in window o.
func inWindow(o, stride, pad, size, n int) (from, to int) {
	first := o*stride - pad
	return max(first, 0), min(first+size, n)
}
