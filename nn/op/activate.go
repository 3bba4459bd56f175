package op

import "github.com/convae/convae/nn/backend"

// Activate applies an activation function: out = act(x). Out may be X.
type Activate struct {
	Act    backend.Act
	Out, X Value
}

func (o *Activate) Name() string { return "Activate" }
func (o *Activate) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *Activate) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Activate) Run(f *Frame)    { f.B.Activate(o.Act, f.At(o.Out), f.At(o.X)) }
func (o *Activate) Result() Value   { return o.Out }

func (o *Activate) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&ActivateBack{Act: o.Act, GradX: gradX, GradOut: grad, Out: o.Out})
		g.Add(o.X, gradX)
	}
}

// ActivateBack multiplies a gradient by the derivative of an activation, which is known from its output: gradX = gradOut
// act'(out). GradX may be GradOut.
type ActivateBack struct {
	Act                 backend.Act
	GradX, GradOut, Out Value
}

func (o *ActivateBack) Name() string { return "ActivateBack" }
func (o *ActivateBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.Out, Read)
}
func (o *ActivateBack) Narrow() []Value { return []Value{o.GradX, o.GradOut, o.Out} }
func (o *ActivateBack) Run(f *Frame) {
	f.B.ActivateBack(o.Act, f.At(o.GradX), f.At(o.GradOut), f.At(o.Out))
}
