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

// Bilinear interpolates between pixels.
type Bilinear struct {
	Shape  backend.UpsampleShape
	Out, X Value
}

func (o *Bilinear) Name() string { return "Bilinear" }
func (o *Bilinear) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *Bilinear) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Bilinear) Run(f *Frame)    { f.B.Bilinear(o.Shape, f.At(o.Out), f.At(o.X)) }
func (o *Bilinear) Result() Value   { return o.Out }

func (o *Bilinear) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&BilinearBack{Shape: o.Shape, GradX: gradX, GradOut: grad})
		g.Add(o.X, gradX)
	}
}

// BilinearBack gives each pixel its shares of the gradients of those that were made of it.
type BilinearBack struct {
	Shape          backend.UpsampleShape
	GradX, GradOut Value
}

func (o *BilinearBack) Name() string { return "BilinearBack" }
func (o *BilinearBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
}
func (o *BilinearBack) Narrow() []Value { return []Value{o.GradX, o.GradOut} }
func (o *BilinearBack) Run(f *Frame)    { f.B.BilinearBack(o.Shape, f.At(o.GradX), f.At(o.GradOut)) }
