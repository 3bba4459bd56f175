package op

// Times multiplies two tensors: out = a b. B has the shape of A, or one pixel for each image.
type Times struct{ Out, A, B Value }

func (o *Times) Name() string { return "Times" }
func (o *Times) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.A, Read)
	visit(&o.B, Read)
}
func (o *Times) Narrow() []Value { return []Value{o.Out, o.A, o.B} }
func (o *Times) Run(f *Frame)    { f.B.Times(f.At(o.Out), f.At(o.A), f.At(o.B)) }
func (o *Times) Result() Value   { return o.Out }

func (o *Times) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.B) {
		gradB := g.Like(o.B)
		if g.Shape(o.B) == g.Shape(o.A) {
			g.Emit(&Times{Out: gradB, A: grad, B: o.A})
		} else {
			g.Emit(&SumPixels{Scale: 1, Out: gradB, A: grad, B: o.A})
		}
		g.Add(o.B, gradB)
	}
	if g.Wants(o.A) {
		gradA := g.Like(o.A)
		g.Emit(&Times{Out: gradA, A: grad, B: o.B})
		g.Add(o.A, gradA)
	}
}

// SumPixels adds up the pixels of each image, times those of B if it is not None: out = Scale times the sum of a b.
type SumPixels struct {
	Scale     float32
	Out, A, B Value
}

func (o *SumPixels) Name() string { return "SumPixels" }
func (o *SumPixels) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.A, Read)
	visit(&o.B, Read)
}
func (o *SumPixels) Narrow() []Value { return []Value{o.Out, o.A, o.B} }
func (o *SumPixels) Run(f *Frame)    { f.B.SumPixels(o.Scale, f.At(o.Out), f.At(o.A), f.At(o.B)) }
func (o *SumPixels) Result() Value   { return o.Out }

// Back gives all pixels of A the same gradient. In a forward pass there is no B.
func (o *SumPixels) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.A) {
		gradA := g.Like(o.A)
		g.Emit(&SpreadPixels{Scale: o.Scale, Out: gradA, X: grad})
		g.Add(o.A, gradA)
	}
}

// SpreadPixels sets every pixel of an image to Scale x.
type SpreadPixels struct {
	Scale  float32
	Out, X Value
}

func (o *SpreadPixels) Name() string { return "SpreadPixels" }
func (o *SpreadPixels) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *SpreadPixels) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *SpreadPixels) Run(f *Frame)    { f.B.SpreadPixels(o.Scale, f.At(o.Out), f.At(o.X)) }
