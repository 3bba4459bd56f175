package op

import "github.com/convae/convae/nn/backend"

// Conv is a two-dimensional convolution with what is fused into it: an upsampled input, bias, activation, pool.
type Conv struct {
	Shape           backend.ConvShape
	Out, Argmax, X  Value // Argmax only in training, and with a pool
	W, Bias, Packed Value
}

func (o *Conv) Name() string { return "Conv" }
func (o *Conv) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.Argmax, Write)
	visit(&o.X, Read)
	visit(&o.W, Read)
	visit(&o.Bias, Read)
	visit(&o.Packed, Read)
}
func (o *Conv) Narrow() []Value { return narrow(o.Shape.Multiply, o.Out, o.X) }
func (o *Conv) Run(f *Frame) {
	f.B.Conv(o.Shape, f.At(o.Out), f.At(o.Argmax), f.At(o.X), f.params(o.W, o.Bias, o.Packed))
}
func (o *Conv) Result() Value                         { return o.Out }
func (o *Conv) Activation() backend.Act               { return o.Shape.Act }
func (o *Conv) Geometry() any                         { return o.Shape }
func (o *Conv) MACs() int                             { return o.Shape.MACs() }
func (o *Conv) Needs(b backend.Backend) backend.Needs { return b.ConvNeeds(o.Shape) }
func (o *Conv) Elements() int                         { return o.Shape.Elements() }
func (o *Conv) Packs() (Value, *Value)                { return o.W, &o.Packed }
func (o *Conv) Pack() Op                              { return &ConvPack{Shape: o.Shape, Dst: o.Packed, W: o.W} }

// Keep makes room for the positions of a pool's maxima.
func (o *Conv) Keep(t *Tape) {
	if o.Shape.Pool > 1 {
		o.Argmax = t.New(backend.Argmax, o.Shape.Out)
	}
}

// Choice is that of the maxima of a pool.
func (o *Conv) Choice() *Choice {
	s := o.Shape
	if s.Pool <= 1 || o.Argmax == None {
		return nil
	}
	all := &Conv{Shape: s, X: o.X, W: o.W, Bias: o.Bias}
	all.Shape.Pool, all.Shape.Out = 1, s.Conv
	at := func(i, position int) int {
		if position >= s.Pool*s.Pool {
			return -1
		}
		channel, column, row := i%s.Filters, i/s.Filters%s.Out.W, i/s.Filters/s.Out.W // rows of all images, one after another
		return ((row*s.Pool+position/s.Pool)*s.Conv.W+column*s.Pool+position%s.Pool)*s.Filters + channel
	}
	return &Choice{Which: o.Argmax, Taken: o.Out, Candidates: all, Result: &all.Out, Shape: s.Conv, At: at}
}

// SetPrecision makes the shape of the layer in a precision.
func (o *Conv) SetPrecision(p backend.Precision) (err error) {
	spec := o.Shape.ConvSpec
	spec.Multiply, spec.Winograd = p.Multiply, p.Winograd
	o.Shape, err = backend.NewConv(spec)
	return err
}

// Fuse takes in an activation, and a pool whose windows tile the output.
func (o *Conv) Fuse(next Op) Op {
	spec, out := o.Shape.ConvSpec, None
	switch n := next.(type) {
	case *Activate:
		if spec.Act != backend.Linear || spec.Pool > 1 || !n.Act.Fuses() {
			return nil
		}
		spec.Act, out = n.Act, n.Out
	case *MaxPool:
		if spec.Pool > 1 || n.Shape.Stride != n.Shape.Size {
			return nil
		}
		spec.Pool, out = n.Shape.Size, n.Out
	default:
		return nil
	}
	s, err := backend.NewConv(spec)
	if err != nil { // the windows do not divide the output
		return nil
	}
	return &Conv{Shape: s, Out: out, X: o.X, W: o.W, Bias: o.Bias}
}

func (o *Conv) Back(g *Grads) {
	grad := g.Of(o)
	g.Emit(&ConvBackWeights{Shape: o.Shape, GradW: g.Parameter(o.W), GradBias: g.Parameter(o.Bias), GradOut: grad, Argmax: o.Argmax, X: o.X})
	if g.Wants(o.X) {
		s := o.Shape
		s.InAct = g.Through(o.X)
		gradX := g.Like(o.X)
		g.Emit(&ConvBackInput{Shape: s, GradX: gradX, GradOut: grad, Argmax: o.Argmax, W: o.W, Packed: o.Packed, X: o.X})
		g.Add(o.X, gradX)
	}
}

// ConvPack makes a backend's packed form of a convolution's weights.
type ConvPack struct {
	Shape  backend.ConvShape
	Dst, W Value
}

func (o *ConvPack) Name() string { return "ConvPack" }
func (o *ConvPack) Args(visit func(v *Value, u Use)) {
	visit(&o.Dst, Write)
	visit(&o.W, Read)
}
func (o *ConvPack) Run(f *Frame) { f.B.ConvPack(o.Shape, f.At(o.Dst), f.At(o.W)) }

// ConvBackInput is the gradient of a convolution with respect to its input. GradOut is with respect to the values before
// the activation. X is read when Shape.InAct is not linear.
type ConvBackInput struct {
	Shape                  backend.ConvShape
	GradX, GradOut, Argmax Value
	W, Packed, X           Value
}

func (o *ConvBackInput) Name() string { return "ConvBackInput" }
func (o *ConvBackInput) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.Argmax, Read)
	visit(&o.W, Read)
	visit(&o.Packed, Read)
	visit(&o.X, Read)
}
func (o *ConvBackInput) Narrow() []Value { return narrow(o.Shape.Multiply, o.GradX, o.GradOut, o.X) }
func (o *ConvBackInput) Run(f *Frame) {
	f.B.ConvBackInput(o.Shape, f.At(o.GradX), f.At(o.GradOut), f.At(o.Argmax), f.params(o.W, None, o.Packed), f.At(o.X))
}
func (o *ConvBackInput) Geometry() any                         { return o.Shape }
func (o *ConvBackInput) MACs() int                             { return o.Shape.MACs() }
func (o *ConvBackInput) Needs(b backend.Backend) backend.Needs { return b.ConvNeeds(o.Shape) }
func (o *ConvBackInput) Packs() (Value, *Value)                { return o.W, &o.Packed }
func (o *ConvBackInput) Pack() Op                              { return &ConvPack{Shape: o.Shape, Dst: o.Packed, W: o.W} }

// ConvBackWeights adds the gradients of a convolution's weights and bias.
type ConvBackWeights struct {
	Shape              backend.ConvShape
	GradW, GradBias    Value
	Partials           Value // of the gradients, or None
	GradOut, Argmax, X Value
}

func (o *ConvBackWeights) Name() string { return "ConvBackWeights" }
func (o *ConvBackWeights) Args(visit func(v *Value, u Use)) {
	visit(&o.GradW, Add)
	visit(&o.GradBias, Add)
	visit(&o.Partials, Write)
	visit(&o.GradOut, Read)
	visit(&o.Argmax, Read)
	visit(&o.X, Read)
}
func (o *ConvBackWeights) Narrow() []Value { return narrow(o.Shape.Multiply, o.GradOut, o.X) }
func (o *ConvBackWeights) Run(f *Frame) {
	f.B.ConvBackWeights(o.Shape, f.partials(o.GradW, o.GradBias, o.Partials), f.At(o.GradOut), f.At(o.Argmax), f.At(o.X))
}
func (o *ConvBackWeights) Geometry() any                         { return o.Shape }
func (o *ConvBackWeights) MACs() int                             { return o.Shape.MACs() }
func (o *ConvBackWeights) Needs(b backend.Backend) backend.Needs { return b.ConvNeeds(o.Shape) }
func (o *ConvBackWeights) Sums() (w, bias Value, partials *Value) {
	return o.GradW, o.GradBias, &o.Partials
}
