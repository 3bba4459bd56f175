package cuda

import (
	"math/bits"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Depthwise convolves each channel by itself.
func (l *lane) Depthwise(s backend.DepthwiseShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	o, in, w, bias := l.values(out), l.values(x), l.at(p.W), l.at(p.Bias)
	e, v := ofDepthwise(&s, kernels.DepthwiseForward, kernels.DepthwiseForward4)
	n := s.Out.Len() / v
	var a arguments
	a.add(ptr(o.p), ptr(in.p), ptr(w), ptr(bias), i32(n))
	a.depthwise(&s)
	a.add(narrow(o, in))
	l.launch1("Depthwise", e, n, a.all()...)
}

// DepthwiseBackInput is the gradient with respect to the input.
func (l *lane) DepthwiseBackInput(s backend.DepthwiseShape, gradX, gradOut, w backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &w)
	gx, g, weights := l.values(gradX), l.values(gradOut), l.at(w)
	e, v := ofDepthwise(&s, kernels.DepthwiseBackInput, kernels.DepthwiseBackInput4)
	n := s.X.Len() / v
	var a arguments
	a.add(ptr(gx.p), ptr(g.p), ptr(weights), i32(n))
	a.depthwise(&s)
	a.add(narrow(gx, g))
	l.launch1("DepthwiseBackInput", e, n, a.all()...)
}

// DepthwiseBackWeights adds to the gradients of weights and bias.
func (l *lane) DepthwiseBackWeights(s backend.DepthwiseShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, &gradOut, &x)
	gw, gb, g, in := l.at(grad.W), l.at(grad.Bias), l.values(gradOut), l.values(x)
	lanes := min(32, 1<<bits.Len(uint(s.Out.C-1)))
	var a arguments
	a.add(ptr(gw), ptr(gb), ptr(g.p), ptr(in.p), i32(s.X.N))
	a.depthwise(&s)
	a.add(i32(lanes), narrow(g, in))
	l.launch("DepthwiseBackWeights", kernels.DepthwiseBackWeights, driver.Dim3{X: ceilDiv(s.Out.C, lanes) * (s.KernelH*s.KernelW + 1)},
		driver.Dim3{X: threads}, 0, a.all()...)
}

// depthwise adds what Window is in depthwise.cu.
func (a *arguments) depthwise(s *backend.DepthwiseShape) {
	a.add(i32(s.X.H), i32(s.X.W), i32(s.Out.C), i32(s.Multiplier), i32(s.Out.H), i32(s.Out.W), i32(s.KernelH), i32(s.KernelW),
		i32(s.Stride), i32(s.Dilation), i32(s.PadTop), i32(s.PadLeft))
}

// ofDepthwise is wide for filters that are as many as channels.
func ofDepthwise(s *backend.DepthwiseShape, one, four kernels.Entry) (kernels.Entry, int) {
	if s.Multiplier > 1 {
		return one, 1
	}
	return wide(s.X.C, one, four)
}
