package op

import "github.com/convae/convae/nn/backend"

// Grouped is a convolution in groups of channels, such as a depthwise one. Its factors are not rounded, whatever the precision.
type Grouped struct {
	Shape           backend.GroupedShape
	Out, X, W, Bias Value
}

func (o *Grouped) Name() string { return "Grouped" }
func (o *Grouped) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.W, Read)
	visit(&o.Bias, Read)
}
func (o *Grouped) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Grouped) Run(f *Frame) {
	f.B.Grouped(o.Shape, f.At(o.Out), f.At(o.X), f.params(o.W, o.Bias, None))
}
func (o *Grouped) Result() Value { return o.Out }
func (o *Grouped) Geometry() any { return o.Shape }
func (o *Grouped) MACs() int     { return o.Shape.MACs() }

func (o *Grouped) Back(g *Grads) {
	grad := g.Of(o)
	g.Emit(&GroupedBackWeights{Shape: o.Shape, GradW: g.Parameter(o.W), GradBias: g.Parameter(o.Bias), GradOut: grad, X: o.X})
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&GroupedBackInput{Shape: o.Shape, GradX: gradX, GradOut: grad, W: o.W})
		g.Add(o.X, gradX)
	}
}

// GroupedBackInput is the gradient of a convolution in groups with respect to its input.
type GroupedBackInput struct {
	Shape             backend.GroupedShape
	GradX, GradOut, W Value
}

func (o *GroupedBackInput) Name() string { return "GroupedBackInput" }
func (o *GroupedBackInput) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.W, Read)
}
func (o *GroupedBackInput) Narrow() []Value { return []Value{o.GradX, o.GradOut} }
func (o *GroupedBackInput) Run(f *Frame) {
	f.B.GroupedBackInput(o.Shape, f.At(o.GradX), f.At(o.GradOut), f.At(o.W))
}
func (o *GroupedBackInput) Geometry() any { return o.Shape }
func (o *GroupedBackInput) MACs() int     { return o.Shape.MACs() }

// GroupedBackWeights adds the gradients of a convolution in groups's weights and bias.
type GroupedBackWeights struct {
	Shape           backend.GroupedShape
	GradW, GradBias Value
	GradOut, X      Value
}

func (o *GroupedBackWeights) Name() string { return "GroupedBackWeights" }
func (o *GroupedBackWeights) Args(visit func(v *Value, u Use)) {
	visit(&o.GradW, Add)
	visit(&o.GradBias, Add)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
}
func (o *GroupedBackWeights) Narrow() []Value { return []Value{o.GradOut, o.X} }
func (o *GroupedBackWeights) Run(f *Frame) {
	f.B.GroupedBackWeights(o.Shape, f.params(o.GradW, o.GradBias, None), f.At(o.GradOut), f.At(o.X))
}
func (o *GroupedBackWeights) Geometry() any { return o.Shape }
func (o *GroupedBackWeights) MACs() int     { return o.Shape.MACs() }
