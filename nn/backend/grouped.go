package backend

import "fmt"

// GroupedSpec is what defines a convolution in groups of channels: the filters are in as many groups, and those of a group see its channels
// alone. A depthwise convolution has as many groups as channels. Zero Groups, Stride and Dilation mean 1.
type GroupedSpec struct {
	X                Shape
	Filters          int
	Groups           int // divides channels and filters
	KernelH, KernelW int
	Stride           int
	Dilation         int // rows and columns from one value under a window to the next
	Padding          Padding
}

// GroupedShape is a validated GroupedSpec. Make it with NewGrouped.
type GroupedShape struct {
	GroupedSpec
	Out             Shape
	PadTop, PadLeft int
}

// NewGrouped validates a convolution in groups and derives its geometry.
func NewGrouped(c GroupedSpec) (GroupedShape, error) {
	c.Groups, c.Stride, c.Dilation = max(c.Groups, 1), max(c.Stride, 1), max(c.Dilation, 1)
	s := GroupedShape{GroupedSpec: c}
	if err := checkKernel(c.X, c.Filters, c.KernelH, c.KernelW, c.Stride, c.Dilation); err != nil {
		return s, err
	}
	if c.X.C%c.Groups != 0 || c.Filters%c.Groups != 0 {
		return s, fmt.Errorf("groups is %d, want a divisor of the %d channels and of the %d filters", c.Groups, c.X.C, c.Filters)
	}
	s.Out = Shape{N: c.X.N, C: c.Filters}
	s.Out.H, s.PadTop = convExtent(c.X.H, reach(c.KernelH, c.Dilation), c.Stride, c.Padding)
	s.Out.W, s.PadLeft = convExtent(c.X.W, reach(c.KernelW, c.Dilation), c.Stride, c.Padding)
	if s.Out.H < 1 || s.Out.W < 1 {
		return s, fmt.Errorf("a %dx%d kernel of dilation %d with padding valid does not fit the input %v", c.KernelH, c.KernelW, c.Dilation, c.X)
	}
	return s, checkSizes(c.X, s.Out, s.Weights())
}

// Channels is the number of channels of a group.
func (s GroupedShape) Channels() int { return s.X.C / s.Groups }

// Weights returns the shape of the weights, (Filters, KernelH, KernelW, channels of a group).
func (s GroupedShape) Weights() Shape { return Shape{s.Filters, s.KernelH, s.KernelW, s.Channels()} }

// WithN returns the same convolution for another number of images.
func (s GroupedShape) WithN(n int) GroupedShape { s.X.N, s.Out.N = n, n; return s }

// MACs returns the multiply-adds of the forward pass.
func (s GroupedShape) MACs() int { return s.Out.Len() * s.KernelH * s.KernelW * s.Channels() }

// CheckForward checks the arguments of Grouped.
func (s *GroupedShape) CheckForward(out, x *Tensor, p *Params) {
	s.made()
	out.either(s.Out)
	x.either(s.X)
	p.layer(s.Weights(), s.Out.C)
}

// CheckBackInput checks the arguments of GroupedBackInput.
func (s *GroupedShape) CheckBackInput(gradX, gradOut, w *Tensor) {
	s.made()
	gradX.either(s.X)
	gradOut.either(s.Out)
	w.param(s.Weights())
}

// CheckBackWeights checks the arguments of GroupedBackWeights.
func (s *GroupedShape) CheckBackWeights(grad *Params, gradOut, x *Tensor) {
	s.made()
	grad.layer(s.Weights(), s.Out.C)
	gradOut.either(s.Out)
	x.either(s.X)
}

func (s *GroupedShape) made() {
	if s.Stride < 1 {
		panic(MistakeGeometry)
	}
}
