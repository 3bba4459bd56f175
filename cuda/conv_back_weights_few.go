package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// The forms of conv_back_weights_few.sm_80.cu make the gradient of weights on tensor cores where few values lie under a window, in bf16.

// fewTensorGradient is a launch of gradient_few_tensor.
type fewTensorGradient struct {
	valueRows
	entry         kernels.Entry
	groups, tiles int // groups of fewGroup channels that a block has, and blocks of channels
}

// fewTensorGradientFor is false for what gradient_few_tensor does not do, or does not fit.
func (d *Device) fewTensorGradientFor(s *backend.ConvShape) (f fewTensorGradient, ok bool) {
	m, ch, _ := gradSize(s)
	if s.Multiply != backend.BFloat16 || m%4 != 0 || s.Dilation > 1 || s.Up > 1 && !sumsAsRead(s) {
		return f, false
	}
	grid, stride := s.Out, s.Stride
	forms := [2]kernels.Entry{kernels.ConvBackWeightsFewTensorBF16, kernels.ConvBackWeightsFewTensorBF16Small}
	switch {
	case s.Up > 1:
		grid, stride = s.X, s.Up
		forms = [2]kernels.Entry{kernels.ConvBackWeightsFewTensorBF16Up2, kernels.ConvBackWeightsFewTensorBF16SmallUp2}
	case s.Pool > 1:
		forms = [2]kernels.Entry{kernels.ConvBackWeightsFewTensorBF16Pool2, kernels.ConvBackWeightsFewTensorBF16SmallPool2}
	}
	grid.N = s.X.N
	f.valueRows, ok = d.valueRowsFor(grid, ch, s.KernelH, s.KernelW, stride, s.Pool, s.Up)
	if f.entry = forms[0]; f.matrices == 2 {
		f.entry = forms[1]
	}
	f.groups, f.tiles = fewGroupsFor(m)
	f.bytes = max(f.bytes, 4*threads*8*f.matrices) // the sums that warps leave
	return f, ok
}

// fewTensorGradientOf is fewTensorGradientFor for a gradient: of narrow activations on the side of many channels and floats on the other.
func (d *Device) fewTensorGradientOf(s *backend.ConvShape, g *gradient) (f fewTensorGradient, ok bool) {
	other, under := g.out, g.x
	if s.Up > 1 {
		other, under = g.x, g.out
	}
	f, ok = d.fewTensorGradientFor(s)
	return f, ok && other.narrow && !under.narrow && g.rows.p == g.out.p
}

// gradientFewTensor launches a gradient_few_tensor kernel, which makes the bias's gradient too.
func (l *lane) gradientFewTensor(s *backend.ConvShape, g *gradient, h *fewTensorGradient, d *part) {
	f, parts := l.factors(s, g), l.dev.splits(s)
	var a arguments
	a.addSource(&f.other)
	a.addSource(&f.under)
	a.add(i32(h.units), i32(parts), i32(f.stride), i32(f.top), i32(f.left), i32(s.KernelH), i32(s.KernelW))
	a.addPart(&f, d)
	a.add(i32(h.groups))
	a.addValueRows(&h.valueRows)
	a.add(ptr(d.bias), i32(d.nb))
	l.launch(g.op, h.entry, driver.Dim3{X: h.tiles, Y: 1, Z: parts}, driver.Dim3{X: threads}, h.bytes, a.all()...)
}
