package op

import "github.com/convae/convae/nn/backend"

// Activate applies an activation function: out = act(x). Out may be X, unless the derivative is taken of X.
type Activate struct {
	backend.Function
	Out, X Value
}

func (o *Activate) Name() string { return "Activate" }
func (o *Activate) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *Activate) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Activate) Run(f *Frame)    { f.B.Activate(o.Function, f.At(o.Out), f.At(o.X)) }
func (o *Activate) Result() Value   { return o.Out }

func (o *Activate) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX, of := g.Like(o.X), o.Out
		if !o.Act.FromOutput() {
			of = o.X
		}
		g.Emit(&ActivateBack{Function: o.Function, GradX: gradX, GradOut: grad, Of: of})
		g.Add(o.X, gradX)
	}
}

// ActivateBack multiplies a gradient by the derivative of an activation, which is known from Of, its output, or its input if
// the derivative is not known from that (see backend.Act.FromOutput): gradX = gradOut act'. GradX may be GradOut.
type ActivateBack struct {
	backend.Function
	GradX, GradOut, Of Value
}

func (o *ActivateBack) Name() string { return "ActivateBack" }
func (o *ActivateBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.Of, Read)
}
func (o *ActivateBack) Narrow() []Value { return []Value{o.GradX, o.GradOut, o.Of} }
func (o *ActivateBack) Run(f *Frame) {
	f.B.ActivateBack(o.Function, f.At(o.GradX), f.At(o.GradOut), f.At(o.Of))
}

// Rescale is a line through every element: out = Scale x + Offset. Out may be X.
type Rescale struct {
	Scale, Offset float32
	Out, X        Value
}

func (o *Rescale) Name() string { return "Rescale" }
func (o *Rescale) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *Rescale) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Rescale) Run(f *Frame)    { f.B.Rescale(o.Scale, o.Offset, f.At(o.Out), f.At(o.X)) }
func (o *Rescale) Result() Value   { return o.Out }

func (o *Rescale) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&Rescale{Scale: o.Scale, Out: gradX, X: grad})
		g.Add(o.X, gradX)
	}
}
