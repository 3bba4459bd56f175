package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Grouped is a convolution in groups of channels.
func (l *lane) Grouped(s backend.GroupedShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	o, in, w := l.floats(out), l.floats(x), l.floats(p.W)
	if p.Bias.IsZero() {
		clear(o)
	} else {
		bias := l.floats(p.Bias)
		for at := 0; at < len(o); at += len(bias) {
			copy(o[at:], bias)
		}
	}
	if depthwise(&s) {
		var taps depthWeights
		taps.each(&s, w, func(lo, hi int) {
			eachTap(&s, func(to, from, tap int) { simd.AddTimes(o[to+lo:to+hi], in[from+lo:from+hi], taps[tap][:hi-lo]) })
		})
	} else {
		eachTap(&s, func(to, from, tap int) {
			eachChannel(&s, tap, func(f, c, w0 int) { o[to+f] += in[from+c] * w[w0] })
		})
	}
	round(out.Type, o)
}

// GroupedBackInput gives each input the sum of the gradients of the outputs that read it, each times the weight that it had there.
func (l *lane) GroupedBackInput(s backend.GroupedShape, gradX, gradOut, w backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &w)
	gx, g, weights := l.floats(gradX), l.floats(gradOut), l.floats(w)
	clear(gx)
	if depthwise(&s) {
		var taps depthWeights
		taps.each(&s, weights, func(lo, hi int) {
			eachTap(&s, func(to, from, tap int) { simd.AddTimes(gx[from+lo:from+hi], g[to+lo:to+hi], taps[tap][:hi-lo]) })
		})
	} else {
		eachTap(&s, func(to, from, tap int) {
			eachChannel(&s, tap, func(f, c, w0 int) { gx[from+c] += g[to+f] * weights[w0] })
		})
	}
	round(gradX.Type, gx)
}

// GroupedBackWeights adds to the gradients of weights and bias.
func (l *lane) GroupedBackWeights(s backend.GroupedShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, &gradOut, &x)
	g, in, gw := l.floats(gradOut), l.floats(x), l.floats(grad.W)
	if depthwise(&s) {
		var taps depthWeights
		taps.each(&s, gw, func(lo, hi int) {
			eachTap(&s, func(to, from, tap int) { simd.AddTimes(taps[tap][:hi-lo], g[to+lo:to+hi], in[from+lo:from+hi]) })
			taps.put(&s, gw, lo, hi)
		})
	} else {
		eachTap(&s, func(to, from, tap int) {
			eachChannel(&s, tap, func(f, c, w0 int) { gw[w0] += g[to+f] * in[from+c] })
		})
	}
	if !grad.Bias.IsZero() {
		bias := l.floats(grad.Bias)
		simd.AddColumns(bias, g, 1, 0, len(g)/len(bias), len(bias))
	}
}

// depthwise reports whether each channel has a filter of its own.
func depthwise(s *backend.GroupedShape) bool { return s.Groups == s.X.C && s.Filters == s.X.C }

// depthWeights are weights of a depthwise convolution for neighbouring channels, side by side for each place in the kernel, as the channels of a
// pixel are: so many as the L1 cache holds beside them.
type depthWeights [backend.MaxKernel * backend.MaxKernel][64]float32

// each takes the weights for a few channels after another, and visits these.
func (t *depthWeights) each(s *backend.GroupedShape, w []float32, visit func(lo, hi int)) {
	taps := s.KernelH * s.KernelW
	for lo := 0; lo < s.X.C; lo += len(t[0]) {
		hi := min(lo+len(t[0]), s.X.C)
		for c := lo; c < hi; c++ {
			for tap, v := range w[c*taps:][:taps] {
				t[tap][c-lo] = v
			}
		}
		visit(lo, hi)
	}
}

// put sets the weights of channels lo to hi.
func (t *depthWeights) put(s *backend.GroupedShape, w []float32, lo, hi int) {
	taps := s.KernelH * s.KernelW
	for c := lo; c < hi; c++ {
		for tap := range taps {
			w[c*taps+tap] = t[tap][c-lo]
		}
	}
}

// eachChannel visits the filters with the channels of their groups, and the weight of each pair at a place in the kernel.
func eachChannel(s *backend.GroupedShape, tap int, visit func(f, c, w int)) {
	taps, depth, share := s.KernelH*s.KernelW, s.Channels(), s.Filters/s.Groups
	for f := range s.Filters {
		w, c := (f*taps+tap)*depth, f/share*depth
		for i := range depth {
			visit(f, c+i, w+i)
		}
	}
}

// eachTap visits the pairs of a pixel of the output and one of the input that it reads, by the places of their first elements, and with
// the place in the kernel.
func eachTap(s *backend.GroupedShape, visit func(to, from, tap int)) {
	to := 0
	for n := range s.X.N {
		for oy := range s.Out.H {
			for ox := range s.Out.W {
				for ky := range s.KernelH {
					y := oy*s.Stride - s.PadTop + ky*s.Dilation
					if y < 0 || y >= s.X.H {
						continue
					}
					for kx := range s.KernelW {
						if x := ox*s.Stride - s.PadLeft + kx*s.Dilation; x >= 0 && x < s.X.W {
							visit(to, ((n*s.X.H+y)*s.X.W+x)*s.X.C, ky*s.KernelW+kx)
						}
					}
				}
				to += s.Out.C
			}
		}
	}
}
