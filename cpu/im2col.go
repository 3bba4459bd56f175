package cpu

import "convae/nn/backend"

// window tells which pixels lie under a kernel: at place (y, x) of an h by w grid and tap (i, j) of a kh by kw kernel,
// pixel (y*stride-top+i, x*stride-left+j) of an image of srcH by srcW, each stored pixel read up by up times. A
// pixel outside is zero.
type window struct {
	srcH, srcW, c int
	up, stride    int
	top, left     int
	kh, kw        int
	h, w          int
}

// k is the number of values under the kernel.
func (g *window) k() int { return g.kh * g.kw * g.c }

// same reports whether the values under the kernel are the pixels in their order.
func (g *window) same() bool {
	return g.kh*g.kw == 1 && g.up == 1 && g.stride == 1 && g.top == 0 && g.left == 0 && g.h == g.srcH && g.w == g.srcW
}

// rows writes the values under the kernel at the places of grid rows y0 to y1 to a row of dst each, tap by tap. src is
// an NHWC image.
func (g *window) rows(dst []float32, ld int, src []float32, y0, y1 int) {
	n := g.kw * g.c
	for y := y0; y < y1; y++ {
		for x := range g.w {
			to := dst[((y-y0)*g.w+x)*ld:][:g.k()]
			sx := x*g.stride - g.left
			lo, hi := inside(sx, g.kw, g.srcW*g.up)
			for i := range g.kh {
				t := to[i*n:][:n]
				sy := y*g.stride - g.top + i
				if sy < 0 || sy >= g.srcH*g.up {
					clear(t)
					continue
				}
				clear(t[:lo*g.c])
				clear(t[hi*g.c:])
				from := src[sy/g.up*g.srcW*g.c:][:g.srcW*g.c]
				if g.up == 1 && lo < hi {
					copy(t[lo*g.c:hi*g.c], from[(sx+lo)*g.c:])
					continue
				}
				for j := lo; j < hi; j++ {
					copy(t[j*g.c:][:g.c], from[(sx+j)/g.up*g.c:])
				}
			}
		}
	}
}

// columns writes the same as columns: place p of the grid rows y0 to y1 is element p of every row of dst, whose rows
// are the taps and, within, the channels. planes is the image channel by channel.
func (g *window) columns(dst []float32, ld int, planes []float32, y0, y1 int) {
	r := 0
	for i := range g.kh {
		for j := range g.kw {
			// The grid's columns x for which x*stride-left+j is inside.
			lo := min(max(divUp(g.left-j, g.stride), 0), g.w)
			hi := min(max(divUp(g.srcW*g.up+g.left-j, g.stride), lo), g.w)
			for c := range g.c {
				plane := planes[c*g.srcH*g.srcW:][:g.srcH*g.srcW]
				to := dst[r*ld:]
				r++
				for y := y0; y < y1; y++ {
					t := to[(y-y0)*g.w:][:g.w]
					sy := y*g.stride - g.top + i
					if sy < 0 || sy >= g.srcH*g.up {
						clear(t)
						continue
					}
					clear(t[:lo])
					clear(t[hi:])
					from := plane[sy/g.up*g.srcW:][:g.srcW]
					sx := lo*g.stride - g.left + j
					if g.stride == 1 && g.up == 1 {
						if lo < hi {
							copy(t[lo:hi], from[sx:])
						}
						continue
					}
					for x := lo; x < hi; x++ {
						t[x] = from[sx/g.up]
						sx += g.stride
					}
				}
			}
		}
	}
}

// inside returns the range of 0..n whose elements plus first lie in 0..size.
func inside(first, n, size int) (lo, hi int) {
	lo = min(max(-first, 0), n)
	return lo, max(min(size-first, n), lo)
}

// divUp is a/b rounded up, b > 0.
func divUp(a, b int) int {
	if a <= 0 {
		return -(-a / b)
	}
	return (a + b - 1) / b
}

// forward is the window of a convolution over its input.
func forward(s *backend.ConvShape) window {
	return window{s.X.H, s.X.W, s.X.C, s.Up, s.Stride, s.PadTop, s.PadLeft, s.KernelH, s.KernelW, s.Conv.H, s.Conv.W}
}

// backward is the window of a convolution's gradient over gradOut, with the taps in reverse: a convolution again. With
// a stride, the input pixels of each residue (ry, rx) modulo the stride see their own taps, oy, ox and every stride-th
// after them, and are a dense convolution each; grid place (y, x) is pixel (y*step+ry, x*step+rx). When the input is
// upsampled there is one window, over the gradient as spread has it.
func backward(s *backend.ConvShape, ry, rx int) (g window, oy, ox int) {
	if s.Up > 1 {
		h, w := spreadExtent(s)
		return window{h, w, s.Filters, 1, s.Up, s.KernelH - s.Up - s.PadTop, s.KernelW - s.Up - s.PadLeft,
			s.KernelH, s.KernelW, s.X.H, s.X.W}, 0, 0
	}
	g = window{srcH: s.Conv.H, srcW: s.Conv.W, c: s.Filters, up: 1, stride: 1}
	oy, g.kh, g.top = residue(ry, s.Stride, s.PadTop, s.KernelH)
	ox, g.kw, g.left = residue(rx, s.Stride, s.PadLeft, s.KernelW)
	g.h, g.w = divUp(s.X.H-ry, s.Stride), divUp(s.X.W-rx, s.Stride)
	return g, oy, ox
}

// residue returns the first tap that pixels r, r+stride, ... see, how many they see, and the padding before the gradient:
// pixel stride*i+r sees output i+q-t by its tap first+stride*t, q = (r+pad-first)/stride.
func residue(r, stride, pad, kernel int) (first, taps, before int) {
	first = (r + pad) % stride
	taps = divUp(kernel-first, stride)
	return first, taps, taps - 1 - (r+pad-first)/stride
}

// step is how many residues a side has: see backward.
func step(s *backend.ConvShape) int {
	if s.Up > 1 {
		return 1
	}
	return s.Stride
}

// spreadExtent is the size of what spread makes.
func spreadExtent(s *backend.ConvShape) (h, w int) {
	return s.Stride*(s.Conv.H-1) + s.Up, s.Stride*(s.Conv.W-1) + s.Up
}

// spread sums a gradient over the copies of an upsampled pixel: dst[a+Up-1, b+Up-1] is the sum of the gradients of the
// outputs whose place times the stride lies in a..a+Up-1 and b..b+Up-1. So one product serves all copies.
func spread(s *backend.ConvShape, dst, g []float32) {
	_, w := spreadExtent(s)
	c := s.Filters
	clear(dst)
	for y := range s.Conv.H {
		for x := range s.Conv.W {
			from := g[(y*s.Conv.W+x)*c:][:c]
			for u := range s.Up {
				at := ((y*s.Stride+u)*w + x*s.Stride) * c
				for v := range s.Up {
					to := dst[at+v*c:][:c]
					for i, d := range from {
						to[i] += d
					}
				}
			}
		}
	}
}
