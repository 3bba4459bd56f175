package cuda

import (
	"math/bits"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Grouped is a convolution in groups of channels.
func (l *lane) Grouped(s backend.GroupedShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	o, in, w, bias := l.values(out), l.values(x), l.at(p.W), l.at(p.Bias)
	e, v := ofGrouped(&s, kernels.GroupedForward, kernels.GroupedForward4)
	n := s.Out.Len() / v
	var a arguments
	a.add(ptr(o.p), ptr(in.p), ptr(w), ptr(bias), i32(n))
	a.grouped(&s)
	a.add(narrow(o, in))
	l.launch1("Grouped", e, n, a.all()...)
}

// GroupedBackInput is the gradient with respect to the input.
func (l *lane) GroupedBackInput(s backend.GroupedShape, gradX, gradOut, w backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &w)
	gx, g, weights := l.values(gradX), l.values(gradOut), l.at(w)
	e, v := ofGrouped(&s, kernels.GroupedBackInput, kernels.GroupedBackInput4)
	n := s.X.Len() / v
	var a arguments
	a.add(ptr(gx.p), ptr(g.p), ptr(weights), i32(n))
	a.grouped(&s)
	a.add(narrow(gx, g))
	l.launch1("GroupedBackInput", e, n, a.all()...)
}

// GroupedBackWeights adds to the gradients of weights and bias.
func (l *lane) GroupedBackWeights(s backend.GroupedShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, &gradOut, &x)
	gw, gb, g, in := l.at(grad.W), l.at(grad.Bias), l.values(gradOut), l.values(x)
	pairs := s.Filters * s.Channels()
	lanes := min(32, 1<<bits.Len(uint(pairs-1)))
	var a arguments
	a.add(ptr(gw), ptr(gb), ptr(g.p), ptr(in.p), i32(s.X.N))
	a.grouped(&s)
	a.add(i32(lanes), narrow(g, in))
	l.launch("GroupedBackWeights", kernels.GroupedBackWeights, driver.Dim3{X: ceilDiv(pairs, lanes) * (s.KernelH*s.KernelW + 1)},
		driver.Dim3{X: threads}, 0, a.all()...)
}

// grouped adds what Window is in grouped.cu.
func (a *arguments) grouped(s *backend.GroupedShape) {
	a.add(i32(s.X.H), i32(s.X.W), i32(s.X.C), i32(s.Filters), i32(s.Groups), i32(s.Out.H), i32(s.Out.W), i32(s.KernelH), i32(s.KernelW),
		i32(s.Stride), i32(s.Dilation), i32(s.PadTop), i32(s.PadLeft))
}

// ofGrouped is wide where every channel is a group with one filter.
func ofGrouped(s *backend.GroupedShape, one, four kernels.Entry) (kernels.Entry, int) {
	if s.Groups < max(s.X.C, s.Filters) {
		return one, 1
	}
	return wide(s.X.C, one, four)
}
