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
	eachTap(&s, func(to, from, tap int) {
		eachChannel(&s, tap, func(f, c, w0 int) { o[to+f] += in[from+c] * w[w0] })
	})
	round(out.Type, o)
}

// GroupedBackInput gives each input the sum of the gradients of the outputs that read it, each times the weight that it had there.
func (l *lane) GroupedBackInput(s backend.GroupedShape, gradX, gradOut, w backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &w)
	gx, g, weights := l.floats(gradX), l.floats(gradOut), l.floats(w)
	clear(gx)
	eachTap(&s, func(to, from, tap int) {
		eachChannel(&s, tap, func(f, c, w0 int) { gx[from+c] += g[to+f] * weights[w0] })
	})
	round(gradX.Type, gx)
}

// GroupedBackWeights adds to the gradients of weights and bias.
func (l *lane) GroupedBackWeights(s backend.GroupedShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, &gradOut, &x)
	g, in, gw := l.floats(gradOut), l.floats(x), l.floats(grad.W)
	eachTap(&s, func(to, from, tap int) {
		eachChannel(&s, tap, func(f, c, w0 int) { gw[w0] += g[to+f] * in[from+c] })
	})
	if !grad.Bias.IsZero() {
		bias := l.floats(grad.Bias)
		simd.AddColumns(bias, g, 1, 0, len(g)/len(bias), len(bias))
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
				for tap := range s.KernelH * s.KernelW {
					y := oy*s.Stride - s.PadTop + tap/s.KernelW*s.Dilation
					x := ox*s.Stride - s.PadLeft + tap%s.KernelW*s.Dilation
					if y >= 0 && y < s.X.H && x >= 0 && x < s.X.W {
						visit(to, ((n*s.X.H+y)*s.X.W+x)*s.X.C, tap)
					}
				}
				to += s.Out.C
			}
		}
	}
}
