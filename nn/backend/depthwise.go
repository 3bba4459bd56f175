package backend

import "fmt"

// MaxDepthwise is the largest side, stride and dilation of a depthwise convolution.
const MaxDepthwise = 11

// DepthwiseSpec is what defines a depthwise convolution: every channel has Multiplier filters of its own. Zero Stride, Dilation and
// Multiplier mean 1.
type DepthwiseSpec struct {
	X                Shape
	KernelH, KernelW int
	Stride           int
	Dilation         int // rows and columns from one value under a window to the next
	Padding          Padding
	Multiplier       int // filter c*Multiplier+m is of channel c
}

// DepthwiseShape is a validated DepthwiseSpec. Make it with NewDepthwise.
type DepthwiseShape struct {
	DepthwiseSpec
	Out             Shape
	PadTop, PadLeft int
}

// NewDepthwise validates a depthwise convolution and derives its geometry.
func NewDepthwise(c DepthwiseSpec) (DepthwiseShape, error) {
	c.Stride, c.Dilation, c.Multiplier = max(c.Stride, 1), max(c.Dilation, 1), max(c.Multiplier, 1)
	s := DepthwiseShape{DepthwiseSpec: c}
	if err := checkImages(c.X); err != nil {
		return s, err
	}
	if min(c.KernelH, c.KernelW) < 1 || max(c.KernelH, c.KernelW) > MaxDepthwise {
		return s, fmt.Errorf("the kernel is %dx%d, want sides from 1 to %d", c.KernelH, c.KernelW, MaxDepthwise)
	}
	if c.Stride > MaxDepthwise || c.Dilation > MaxDepthwise {
		return s, fmt.Errorf("the stride is %d and the dilation %d, want 1 to %d", c.Stride, c.Dilation, MaxDepthwise)
	}
	if c.Multiplier > MaxElements/c.X.C {
		return s, fmt.Errorf("the depth multiplier is %d: too many channels", c.Multiplier)
	}
	s.Out = Shape{N: c.X.N, C: c.X.C * c.Multiplier}
	s.Out.H, s.PadTop = convExtent(c.X.H, (c.KernelH-1)*c.Dilation+1, c.Stride, c.Padding)
	s.Out.W, s.PadLeft = convExtent(c.X.W, (c.KernelW-1)*c.Dilation+1, c.Stride, c.Padding)
	if s.Out.H < 1 || s.Out.W < 1 {
		return s, fmt.Errorf("a %dx%d kernel of dilation %d with padding valid does not fit the input %v", c.KernelH, c.KernelW, c.Dilation, c.X)
	}
	return s, checkSizes(c.X, s.Out, s.Weights())
}

// Weights returns the shape of the weights, (filters, KernelH, KernelW, 1).
func (s DepthwiseShape) Weights() Shape { return Shape{s.Out.C, s.KernelH, s.KernelW, 1} }

// WithN returns the same convolution for another number of images.
func (s DepthwiseShape) WithN(n int) DepthwiseShape { s.X.N, s.Out.N = n, n; return s }

// MACs returns the multiply-adds of the forward pass.
func (s DepthwiseShape) MACs() int { return s.Out.Len() * s.KernelH * s.KernelW }

// CheckForward checks the arguments of Depthwise.
func (s *DepthwiseShape) CheckForward(out, x *Tensor, p *Params) {
	s.made()
	out.either(s.Out)
	x.either(s.X)
	p.layer(s.Weights(), s.Out.C)
}

// CheckBackInput checks the arguments of DepthwiseBackInput.
func (s *DepthwiseShape) CheckBackInput(gradX, gradOut, w *Tensor) {
	s.made()
	gradX.either(s.X)
	gradOut.either(s.Out)
	w.param(s.Weights())
}

// CheckBackWeights checks the arguments of DepthwiseBackWeights.
func (s *DepthwiseShape) CheckBackWeights(grad *Params, gradOut, x *Tensor) {
	s.made()
	grad.layer(s.Weights(), s.Out.C)
	gradOut.either(s.Out)
	x.either(s.X)
}

func (s *DepthwiseShape) made() {
	if s.Stride < 1 {
		panic(MistakeGeometry)
	}
}
