package op

import "github.com/convae/convae/nn/backend"

// Dense is a fully connected layer with bias and activation: out = act(x wᵀ + bias).
type Dense struct {
	Shape           backend.DenseShape
	Out, X          Value
	W, Bias, Packed Value
}

func (o *Dense) Name() string { return "Dense" }
func (o *Dense) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.W, Read)
	visit(&o.Bias, Read)
	visit(&o.Packed, Read)
}
func (o *Dense) Narrow() []Value { return narrow(o.Shape.Multiply, o.Out, o.X) }
func (o *Dense) Run(f *Frame) {
	f.B.Dense(o.Shape, f.At(o.Out), f.At(o.X), f.params(o.W, o.Bias, o.Packed))
}
func (o *Dense) Result() Value           { return o.Out }
func (o *Dense) Activation() backend.Act { return o.Shape.Act }
func (o *Dense) Geometry() any           { return o.Shape }
func (o *Dense) MACs() int               { return o.Shape.MACs() }
func (o *Dense) Needs(b backend.Backend) backend.Needs {
	return b.DenseNeeds(o.Shape)
}
func (o *Dense) Packs() (Value, *Value) { return o.W, &o.Packed }
func (o *Dense) Pack() Op {
	return &DensePack{Shape: o.Shape, Dst: o.Packed, W: o.W}
}

// SetPrecision makes the shape of the layer in a precision.
func (o *Dense) SetPrecision(p backend.Precision) (err error) {
	spec := o.Shape.DenseSpec
	spec.Multiply = p.Multiply
	o.Shape, err = backend.NewDense(spec)
	return err
}

// Fuse takes in an activation.
func (o *Dense) Fuse(next Op) Op {
	a, ok := next.(*Activate)
	if !ok || o.Shape.Act != backend.Linear || !a.Act.Fuses() {
		return nil
	}
	fused := *o
	fused.Shape.Act, fused.Out = a.Act, a.Out
	return &fused
}

func (o *Dense) Back(g *Grads) {
	grad := g.Of(o)
	g.Emit(&DenseBackWeights{Shape: o.Shape, GradW: g.Parameter(o.W), GradBias: g.Parameter(o.Bias), GradOut: grad, X: o.X})
	if g.Wants(o.X) {
		s := o.Shape
		s.InAct = g.Through(o.X)
		gradX := g.Like(o.X)
		g.Emit(&DenseBackInput{Shape: s, GradX: gradX, GradOut: grad, W: o.W, Packed: o.Packed, X: o.X})
		g.Add(o.X, gradX)
	}
}

// DensePack makes a backend's packed form of a fully connected layer's weights.
type DensePack struct {
	Shape  backend.DenseShape
	Dst, W Value
}

func (o *DensePack) Name() string { return "DensePack" }
func (o *DensePack) Args(visit func(v *Value, u Use)) {
	visit(&o.Dst, Write)
	visit(&o.W, Read)
}
func (o *DensePack) Run(f *Frame) { f.B.DensePack(o.Shape, f.At(o.Dst), f.At(o.W)) }

// DenseBackInput is the gradient of a fully connected layer with respect to its input. GradOut is with respect to
// the values before the activation. X is read when Shape.InAct is not linear.
type DenseBackInput struct {
	Shape          backend.DenseShape
	GradX, GradOut Value
	W, Packed, X   Value
}

func (o *DenseBackInput) Name() string { return "DenseBackInput" }
func (o *DenseBackInput) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.W, Read)
	visit(&o.Packed, Read)
	visit(&o.X, Read)
}
func (o *DenseBackInput) Narrow() []Value { return narrow(o.Shape.Multiply, o.GradX, o.GradOut, o.X) }
func (o *DenseBackInput) Run(f *Frame) {
	f.B.DenseBackInput(o.Shape, f.At(o.GradX), f.At(o.GradOut), f.params(o.W, None, o.Packed), f.At(o.X))
}
func (o *DenseBackInput) Geometry() any { return o.Shape }
func (o *DenseBackInput) MACs() int     { return o.Shape.MACs() }
func (o *DenseBackInput) Needs(b backend.Backend) backend.Needs {
	return b.DenseNeeds(o.Shape)
}
func (o *DenseBackInput) Packs() (Value, *Value) { return o.W, &o.Packed }
func (o *DenseBackInput) Pack() Op               { return &DensePack{Shape: o.Shape, Dst: o.Packed, W: o.W} }

// DenseBackWeights adds the gradients of a fully connected layer's weights and bias.
type DenseBackWeights struct {
	Shape           backend.DenseShape
	GradW, GradBias Value
	Partials        Value // of the gradients, or None
	GradOut, X      Value
}

func (o *DenseBackWeights) Name() string { return "DenseBackWeights" }
func (o *DenseBackWeights) Args(visit func(v *Value, u Use)) {
	visit(&o.GradW, Add)
	visit(&o.GradBias, Add)
	visit(&o.Partials, Write)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
}
func (o *DenseBackWeights) Narrow() []Value { return narrow(o.Shape.Multiply, o.GradOut, o.X) }
func (o *DenseBackWeights) Run(f *Frame) {
	f.B.DenseBackWeights(o.Shape, f.partials(o.GradW, o.GradBias, o.Partials), f.At(o.GradOut), f.At(o.X))
}
func (o *DenseBackWeights) Geometry() any { return o.Shape }
func (o *DenseBackWeights) MACs() int     { return o.Shape.MACs() }
func (o *DenseBackWeights) Needs(b backend.Backend) backend.Needs {
	return b.DenseNeeds(o.Shape)
}
func (o *DenseBackWeights) Sums() (w, bias Value, partials *Value) {
	return o.GradW, o.GradBias, &o.Partials
}
