package cpu

import "github.com/convae/convae/nn/backend"

// Depthwise convolves each channel by itself.
func (l *lane) Depthwise(s backend.DepthwiseShape, out, x backend.Tensor, p backend.Params) {
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
		each(&s, w[tap:], func(f, c int, w float32) { o[to+f] += in[from+c] * w })
	})
	round(out.Type, o)
}

// DepthwiseBackInput gives each input the sum of the gradients of the outputs that read it, each times the weight that it had there.
func (l *lane) DepthwiseBackInput(s backend.DepthwiseShape, gradX, gradOut, w backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &w)
	gx, g, weights := l.floats(gradX), l.floats(gradOut), l.floats(w)
	clear(gx)
	eachTap(&s, func(to, from, tap int) {
		each(&s, weights[tap:], func(f, c int, w float32) { gx[from+c] += g[to+f] * w })
	})
	round(gradX.Type, gx)
}

// DepthwiseBackWeights adds to the gradients of weights and bias.
func (l *lane) DepthwiseBackWeights(s backend.DepthwiseShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, &gradOut, &x)
	g, in, gw := l.floats(gradOut), l.floats(x), l.floats(grad.W)
	taps := s.KernelH * s.KernelW
	eachTap(&s, func(to, from, tap int) {
		f := 0
		for _, v := range in[from:][:s.X.C] {
			for range s.Multiplier {
				gw[f*taps+tap] += g[to+f] * v
				f++
			}
		}
	})
	if !grad.Bias.IsZero() {
		bias := l.floats(grad.Bias)
		for i, v := range g {
			bias[i%len(bias)] += v
		}
	}
}

// each visits the filters, their channels and their weights, of which w begins with that of the first.
func each(s *backend.DepthwiseShape, w []float32, visit func(f, c int, w float32)) {
	taps, f := s.KernelH*s.KernelW, 0
	for c := range s.X.C {
		for range s.Multiplier {
			visit(f, c, w[f*taps])
			f++
		}
	}
}

// eachTap visits the pairs of a pixel of the output and one of the input that it reads, by the places of their first elements, and with
// the place in the kernel.
func eachTap(s *backend.DepthwiseShape, visit func(to, from, tap int)) {
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
