package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// plainLane does the ops that have a working path by the plain loops that specify it. It needs no scratch and no packed
// weights.
type plainLane struct{ *lane }

// ConvNeeds is zero: the plain loops need nothing.
func (l plainLane) ConvNeeds(backend.ConvShape) backend.Needs { return backend.Needs{} }

// ConvPack is never due.
func (l plainLane) ConvPack(backend.ConvShape, backend.Tensor, backend.Tensor) {}

// Conv: out = pool(act(conv(upsample(x), w) + bias)). The positions of the maxima are dropped when argmax is zero.
func (l plainLane) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &argmax, &x, &p)
	o, arg, in := l.floats(out), l.optionalArgmax(&s, argmax), l.floats(x)
	w, bias := l.floats(p.W), l.floats(p.Bias)
	var v [1]float32
	var unused [1]byte
	for n := range s.Out.N {
		for y := range s.Out.H {
			for x := range s.Out.W {
				for f := range s.Filters {
					at := index(s.Out, n, y, x, f)
					for k := range s.Pool * s.Pool {
						v[0] = plainDot(&s, in, w, n, y*s.Pool+k/s.Pool, x*s.Pool+k%s.Pool, f)
						if bias != nil {
							v[0] += bias[f]
						}
						activate(s.Act, v[:])
						position := unused[:]
						if arg != nil {
							position = arg[at:][:1]
						}
						if k == 0 {
							o[at], position[0] = v[0], 0
						} else {
							poolMax(o[at:][:1], position, v[:], byte(k))
						}
					}
				}
			}
		}
	}
	round(out.Type, o)
}

// ConvBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l plainLane) ConvBackInput(s backend.ConvShape, gradX, gradOut, argmax backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &argmax, &p, &x)
	gx, g, arg := l.floats(gradX), l.floats(gradOut), l.argmax(&s, argmax)
	w := l.floats(p.W)
	clear(gx)
	plainBack(&s, g, arg, func(at, w0 int, d float32) {
		for c := range s.X.C {
			gx[at+c] += d * s.Multiply.Round(w[w0+c])
		}
	})
	if s.InAct != backend.Linear {
		derive(s.InAct, gx, l.floats(x))
	}
	round(gradX.Type, gx)
}

// ConvBackWeights adds to grad.W and grad.Bias.
func (l plainLane) ConvBackWeights(s backend.ConvShape, grad backend.Params, gradOut, argmax, x backend.Tensor) {
	s.CheckBackWeights(&grad, 0, &gradOut, &argmax, &x)
	g, arg, in := l.floats(gradOut), l.argmax(&s, argmax), l.floats(x)
	gw, gb := l.floats(grad.W), l.floats(grad.Bias)
	plainBack(&s, g, arg, func(at, w0 int, d float32) {
		for c := range s.X.C {
			gw[w0+c] += d * s.Multiply.Round(in[at+c])
		}
	})
	if gb != nil {
		simd.AddColumns(gb, g, 1, 0, len(g)/len(gb), len(gb))
	}
}

// plainDot is filter f at a position of the output before the pool: the sum, over the stored pixels under the kernel, of the pixel
// and the weights that fall on it.
func plainDot(s *backend.ConvShape, in, w []float32, n, y, x, f int) float32 {
	var sum float32
	top, left := y*s.Stride-s.PadTop, x*s.Stride-s.PadLeft
	for py := max(divDown(top, s.Up), 0); py < s.X.H && py*s.Up <= top+(s.KernelH-1)*s.Dilation; py++ {
		i0, i1 := plainTaps(s, py, top, s.KernelH)
		for px := max(divDown(left, s.Up), 0); px < s.X.W && px*s.Up <= left+(s.KernelW-1)*s.Dilation; px++ {
			j0, j1 := plainTaps(s, px, left, s.KernelW)
			if i0 >= i1 || j0 >= j1 {
				continue
			}
			for c := range s.X.C {
				var weight float32
				for i := i0; i < i1; i++ {
					for j := j0; j < j1; j++ {
						weight += w[index(s.Weights(), f, i, j, c)]
					}
				}
				sum += s.Multiply.Round(in[index(s.X, n, py, px, c)]) * s.Multiply.Round(weight)
			}
		}
	}
	return sum
}

// plainTaps returns the range of the taps, in one direction, that fall on a stored pixel when the first one falls on the position first of the input
// as it is seen.
func plainTaps(s *backend.ConvShape, pixel, first, kernel int) (lo, hi int) {
	lo, hi = divUp(pixel*s.Up-first, s.Dilation), divUp((pixel+1)*s.Up-first, s.Dilation)
	return max(lo, 0), min(hi, kernel)
}

// plainBack calls visit for every stored pixel, tap and filter, with the offsets of the pixel and of the tap's weights, and with the
// gradient as it is multiplied: that of the outputs that read a copy of the pixel under the tap, if there are any.
func plainBack(s *backend.ConvShape, g []float32, argmax []byte, visit func(x, w int, d float32)) {
	for n := range s.X.N {
		for y := range s.X.H {
			for x := range s.X.W {
				for f := range s.Filters {
					for i := range s.KernelH {
						for j := range s.KernelW {
							if d, read := plainSpread(s, g, argmax, n, y, x, i, j, f); read {
								visit(index(s.X, n, y, x, 0), index(s.Weights(), f, i, j, 0), s.Multiply.Round(d))
							}
						}
					}
				}
			}
		}
	}
}

// plainSpread is the sum of the gradients of the outputs that read a copy of pixel (y, x) under tap (i, j).
func plainSpread(s *backend.ConvShape, g []float32, argmax []byte, n, y, x, i, j, f int) (d float32, read bool) {
	for k := range s.Up * s.Up {
		oy, ox := y*s.Up+k/s.Up+s.PadTop-i*s.Dilation, x*s.Up+k%s.Up+s.PadLeft-j*s.Dilation
		if oy < 0 || ox < 0 || oy%s.Stride > 0 || ox%s.Stride > 0 {
			continue
		}
		if oy, ox = oy/s.Stride, ox/s.Stride; oy < s.Conv.H && ox < s.Conv.W {
			d += plainGrad(s, g, argmax, n, oy, ox, f)
			read = true
		}
	}
	return d, read
}

// plainGrad is the gradient at a position of the output before the pool.
func plainGrad(s *backend.ConvShape, g []float32, argmax []byte, n, y, x, f int) float32 {
	at := index(s.Out, n, y/s.Pool, x/s.Pool, f)
	if s.Pool > 1 && int(argmax[at]) != y%s.Pool*s.Pool+x%s.Pool {
		return 0
	}
	return g[at]
}

// index returns the offset of an element.
func index(s backend.Shape, n, y, x, c int) int { return ((n*s.H+y)*s.W+x)*s.C + c }

// ConvTransposeNeeds is zero: the plain loops need nothing.
func (l plainLane) ConvTransposeNeeds(backend.ConvTransposeShape) backend.Needs {
	return backend.Needs{}
}

// ConvTransposePack is never due.
func (l plainLane) ConvTransposePack(backend.ConvTransposeShape, backend.Tensor, backend.Tensor) {}

// ConvTranspose: every input pixel adds its multiple of the kernel to the output, whose position (y, x) is under tap
// (y+top-stride*iy, x+left-stride*ix) of pixel (iy, ix); then bias and activation.
func (l plainLane) ConvTranspose(s backend.ConvTransposeShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	whole(s.Dual)
	o, in := l.floats(out), l.floats(x)
	w, bias := l.floats(p.W), l.floats(p.Bias)
	clear(o)
	plainTranspose(&s, func(at, out, w0 int) {
		for f := range s.Filters {
			o[out+f] += s.Multiply.Round(in[at]) * s.Multiply.Round(w[w0+f])
		}
	})
	e := epilogue{bias: bias, act: s.Act}
	e.finish(o, s.Filters, 0)
	round(out.Type, o)
}

// ConvTransposeBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l plainLane) ConvTransposeBackInput(s backend.ConvTransposeShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &p, &x)
	whole(s.Dual)
	gx, g, w := l.floats(gradX), l.floats(gradOut), l.floats(p.W)
	clear(gx)
	plainTranspose(&s, func(at, out, w0 int) {
		for f := range s.Filters {
			gx[at] += s.Multiply.Round(g[out+f]) * s.Multiply.Round(w[w0+f])
		}
	})
	if s.InAct != backend.Linear {
		derive(s.InAct, gx, l.floats(x))
	}
	round(gradX.Type, gx)
}

// ConvTransposeBackWeights adds to grad.W and grad.Bias.
func (l plainLane) ConvTransposeBackWeights(s backend.ConvTransposeShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, 0, &gradOut, &x)
	whole(s.Dual)
	g, in, gw := l.floats(gradOut), l.floats(x), l.floats(grad.W)
	plainTranspose(&s, func(at, out, w0 int) {
		for f := range s.Filters {
			gw[w0+f] += s.Multiply.Round(in[at]) * s.Multiply.Round(g[out+f])
		}
	})
	if b := l.floats(grad.Bias); b != nil {
		simd.AddColumns(b, g, 1, 0, len(g)/len(b), len(b))
	}
}

// plainTranspose calls f with the offset of every input element, and that of the filters of every output pixel and of
// the weights that it meets.
func plainTranspose(s *backend.ConvTransposeShape, f func(x, out, w int)) {
	for n := range s.X.N {
		for y := range s.X.H {
			for x := range s.X.W {
				for c := range s.X.C {
					for i := range s.KernelH {
						for j := range s.KernelW {
							oy, ox := y*s.Stride-s.Dual.PadTop+i, x*s.Stride-s.Dual.PadLeft+j
							if oy < 0 || oy >= s.Out.H || ox < 0 || ox >= s.Out.W {
								continue
							}
							f(index(s.X, n, y, x, c), index(s.Out, n, oy, ox, 0), index(s.Weights(), c, i, j, 0))
						}
					}
				}
			}
		}
	}
}
