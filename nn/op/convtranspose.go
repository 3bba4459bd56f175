package op

import "github.com/convae/convae/nn/backend"

// ConvTranspose is a transposed convolution with bias and activation.
type ConvTranspose struct {
	Shape           backend.ConvTransposeShape
	Out, X          Value
	W, Bias, Packed Value
}

func (o *ConvTranspose) Name() string { return "ConvTranspose" }
func (o *ConvTranspose) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.W, Read)
	visit(&o.Bias, Read)
	visit(&o.Packed, Read)
}
func (o *ConvTranspose) Narrow() []Value { return narrow(o.Shape.Multiply, o.Out, o.X) }
func (o *ConvTranspose) Run(f *Frame) {
	f.B.ConvTranspose(o.Shape, f.At(o.Out), f.At(o.X), f.params(o.W, o.Bias, o.Packed))
}
func (o *ConvTranspose) Result() Value           { return o.Out }
func (o *ConvTranspose) Activation() backend.Act { return o.Shape.Act }
func (o *ConvTranspose) Geometry() any           { return o.Shape }
func (o *ConvTranspose) MACs() int               { return o.Shape.MACs() }
func (o *ConvTranspose) Needs(b backend.Backend) backend.Needs {
	return b.ConvTransposeNeeds(o.Shape)
}
func (o *ConvTranspose) Elements() int          { return o.Shape.Dual.Elements() }
func (o *ConvTranspose) Packs() (Value, *Value) { return o.W, &o.Packed }
func (o *ConvTranspose) Pack() Op {
	return &ConvTransposePack{Shape: o.Shape, Dst: o.Packed, W: o.W}
}

// SetPrecision makes the shape of the layer in a precision.
func (o *ConvTranspose) SetPrecision(p backend.Precision) (err error) {
	spec := o.Shape.ConvTransposeSpec
	spec.Multiply, spec.Winograd = p.Multiply, p.Winograd
	o.Shape, err = backend.NewConvTranspose(spec)
	return err
}

// Fuse takes in an activation.
func (o *ConvTranspose) Fuse(next Op) Op {
	a, ok := next.(*Activate)
	if !ok || o.Shape.Act != backend.Linear || !a.Act.Fuses() {
		return nil
	}
	fused := *o
	fused.Shape.Act, fused.Out = a.Act, a.Out
	return &fused
}

func (o *ConvTranspose) Back(g *Grads) {
	grad := g.Of(o)
	g.Emit(&ConvTransposeBackWeights{Shape: o.Shape, GradW: g.Parameter(o.W), GradBias: g.Parameter(o.Bias), GradOut: grad, X: o.X})
	if g.Wants(o.X) {
		s := o.Shape
		s.InAct = g.Through(o.X)
		gradX := g.Like(o.X)
		g.Emit(&ConvTransposeBackInput{Shape: s, GradX: gradX, GradOut: grad, W: o.W, Packed: o.Packed, X: o.X})
		g.Add(o.X, gradX)
	}
}

// ConvTransposePack makes a backend's packed form of a transposed convolution's weights.
type ConvTransposePack struct {
	Shape  backend.ConvTransposeShape
	Dst, W Value
}

func (o *ConvTransposePack) Name() string { return "ConvTransposePack" }
func (o *ConvTransposePack) Args(visit func(v *Value, u Use)) {
	visit(&o.Dst, Write)
	visit(&o.W, Read)
}
func (o *ConvTransposePack) Run(f *Frame) { f.B.ConvTransposePack(o.Shape, f.At(o.Dst), f.At(o.W)) }

// ConvTransposeBackInput is the gradient of a transposed convolution with respect to its input. GradOut is with respect to
// the values before the activation. X is read when Shape.InAct is not linear.
type ConvTransposeBackInput struct {
	Shape          backend.ConvTransposeShape
	GradX, GradOut Value
	W, Packed, X   Value
}

func (o *ConvTransposeBackInput) Name() string { return "ConvTransposeBackInput" }
func (o *ConvTransposeBackInput) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.W, Read)
	visit(&o.Packed, Read)
	visit(&o.X, Read)
}
func (o *ConvTransposeBackInput) Narrow() []Value {
	return narrow(o.Shape.Multiply, o.GradX, o.GradOut, o.X)
}
func (o *ConvTransposeBackInput) Run(f *Frame) {
	f.B.ConvTransposeBackInput(o.Shape, f.At(o.GradX), f.At(o.GradOut), f.params(o.W, None, o.Packed), f.At(o.X))
}
func (o *ConvTransposeBackInput) Geometry() any { return o.Shape }
func (o *ConvTransposeBackInput) MACs() int     { return o.Shape.MACs() }
func (o *ConvTransposeBackInput) Needs(b backend.Backend) backend.Needs {
	return b.ConvTransposeNeeds(o.Shape)
}
func (o *ConvTransposeBackInput) Packs() (Value, *Value) { return o.W, &o.Packed }
func (o *ConvTransposeBackInput) Pack() Op {
	return &ConvTransposePack{Shape: o.Shape, Dst: o.Packed, W: o.W}
}

// ConvTransposeBackWeights adds the gradients of a transposed convolution's weights and bias.
type ConvTransposeBackWeights struct {
	Shape           backend.ConvTransposeShape
	GradW, GradBias Value
	Partials        Value // of the gradients, or None
	GradOut, X      Value
}

func (o *ConvTransposeBackWeights) Name() string { return "ConvTransposeBackWeights" }
func (o *ConvTransposeBackWeights) Args(visit func(v *Value, u Use)) {
	visit(&o.GradW, Add)
	visit(&o.GradBias, Add)
	visit(&o.Partials, Write)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
}
func (o *ConvTransposeBackWeights) Narrow() []Value { return narrow(o.Shape.Multiply, o.GradOut, o.X) }
func (o *ConvTransposeBackWeights) Run(f *Frame) {
	f.B.ConvTransposeBackWeights(o.Shape, f.partials(o.GradW, o.GradBias, o.Partials), f.At(o.GradOut), f.At(o.X))
}
func (o *ConvTransposeBackWeights) Geometry() any { return o.Shape }
func (o *ConvTransposeBackWeights) MACs() int     { return o.Shape.MACs() }
func (o *ConvTransposeBackWeights) Needs(b backend.Backend) backend.Needs {
	return b.ConvTransposeNeeds(o.Shape)
}
func (o *ConvTransposeBackWeights) Sums() (w, bias Value, partials *Value) {
	return o.GradW, o.GradBias, &o.Partials
}
