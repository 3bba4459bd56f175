package op

import "github.com/convae/convae/nn/backend"

// Depthwise is a convolution of each channel by itself. Its factors are not rounded, whatever the precision.
type Depthwise struct {
	Shape           backend.DepthwiseShape
	Out, X, W, Bias Value
}

func (o *Depthwise) Name() string { return "Depthwise" }
func (o *Depthwise) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.W, Read)
	visit(&o.Bias, Read)
}
func (o *Depthwise) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Depthwise) Run(f *Frame) {
	f.B.Depthwise(o.Shape, f.At(o.Out), f.At(o.X), f.params(o.W, o.Bias, None))
}
func (o *Depthwise) Result() Value { return o.Out }
func (o *Depthwise) Geometry() any { return o.Shape }
func (o *Depthwise) MACs() int     { return o.Shape.MACs() }

func (o *Depthwise) Back(g *Grads) {
	grad := g.Of(o)
	g.Emit(&DepthwiseBackWeights{Shape: o.Shape, GradW: g.Parameter(o.W), GradBias: g.Parameter(o.Bias), GradOut: grad, X: o.X})
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&DepthwiseBackInput{Shape: o.Shape, GradX: gradX, GradOut: grad, W: o.W})
		g.Add(o.X, gradX)
	}
}

// DepthwiseBackInput is the gradient of a depthwise convolution with respect to its input.
type DepthwiseBackInput struct {
	Shape             backend.DepthwiseShape
	GradX, GradOut, W Value
}

func (o *DepthwiseBackInput) Name() string { return "DepthwiseBackInput" }
func (o *DepthwiseBackInput) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.W, Read)
}
func (o *DepthwiseBackInput) Narrow() []Value { return []Value{o.GradX, o.GradOut} }
func (o *DepthwiseBackInput) Run(f *Frame) {
	f.B.DepthwiseBackInput(o.Shape, f.At(o.GradX), f.At(o.GradOut), f.At(o.W))
}
func (o *DepthwiseBackInput) Geometry() any { return o.Shape }
func (o *DepthwiseBackInput) MACs() int     { return o.Shape.MACs() }

// DepthwiseBackWeights adds the gradients of a depthwise convolution's weights and bias.
type DepthwiseBackWeights struct {
	Shape           backend.DepthwiseShape
	GradW, GradBias Value
	GradOut, X      Value
}

func (o *DepthwiseBackWeights) Name() string { return "DepthwiseBackWeights" }
func (o *DepthwiseBackWeights) Args(visit func(v *Value, u Use)) {
	visit(&o.GradW, Add)
	visit(&o.GradBias, Add)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
}
func (o *DepthwiseBackWeights) Narrow() []Value { return []Value{o.GradOut, o.X} }
func (o *DepthwiseBackWeights) Run(f *Frame) {
	f.B.DepthwiseBackWeights(o.Shape, f.params(o.GradW, o.GradBias, None), f.At(o.GradOut), f.At(o.X))
}
func (o *DepthwiseBackWeights) Geometry() any { return o.Shape }
func (o *DepthwiseBackWeights) MACs() int     { return o.Shape.MACs() }
