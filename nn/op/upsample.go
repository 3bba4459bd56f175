package op

import "github.com/convae/convae/nn/backend"

// Upsample repeats each pixel in both directions.
type Upsample struct {
	Shape  backend.UpsampleShape
	Out, X Value
}

func (o *Upsample) Name() string { return "Upsample" }
func (o *Upsample) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *Upsample) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Upsample) Run(f *Frame)    { f.B.Upsample(o.Shape, f.At(o.Out), f.At(o.X)) }
func (o *Upsample) Result() Value   { return o.Out }

// Fuse makes a convolution read its input upsampled.
func (o *Upsample) Fuse(next Op) Op {
	c, ok := next.(*Conv)
	if !ok || c.Shape.Up > 1 {
		return nil
	}
	spec := c.Shape.ConvSpec
	spec.X, spec.Up = o.Shape.X, o.Shape.Factor
	s, err := backend.NewConv(spec)
	if err != nil {
		return nil
	}
	fused := *c
	fused.Shape, fused.X = s, o.X
	return &fused
}

func (o *Upsample) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&UpsampleBack{Shape: o.Shape, GradX: gradX, GradOut: grad})
		g.Add(o.X, gradX)
	}
}

// UpsampleBack sums the gradients of a pixel's copies.
type UpsampleBack struct {
	Shape          backend.UpsampleShape
	GradX, GradOut Value
}

func (o *UpsampleBack) Name() string { return "UpsampleBack" }
func (o *UpsampleBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
}
func (o *UpsampleBack) Narrow() []Value { return []Value{o.GradX, o.GradOut} }
func (o *UpsampleBack) Run(f *Frame)    { f.B.UpsampleBack(o.Shape, f.At(o.GradX), f.At(o.GradOut)) }
