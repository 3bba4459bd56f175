package op

// UnitNorm divides the vector of each pixel by its length; see backend.UnitNorm. The scales have no gradient.
type UnitNorm struct{ Out, X, Scales Value }

func (o *UnitNorm) Name() string { return "UnitNorm" }
func (o *UnitNorm) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.Scales, Read)
}
func (o *UnitNorm) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *UnitNorm) Run(f *Frame)    { f.B.UnitNorm(f.At(o.Out), f.At(o.X), f.At(o.Scales)) }
func (o *UnitNorm) Result() Value   { return o.Out }

func (o *UnitNorm) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&UnitNormBack{GradX: gradX, GradOut: grad, X: o.X, Scales: o.Scales})
		g.Add(o.X, gradX)
	}
}

// UnitNormBack is the gradient of UnitNorm.
type UnitNormBack struct{ GradX, GradOut, X, Scales Value }

func (o *UnitNormBack) Name() string { return "UnitNormBack" }
func (o *UnitNormBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
	visit(&o.Scales, Read)
}
func (o *UnitNormBack) Narrow() []Value { return []Value{o.GradX, o.GradOut, o.X} }
func (o *UnitNormBack) Run(f *Frame) {
	f.B.UnitNormBack(f.At(o.GradX), f.At(o.GradOut), f.At(o.X), f.At(o.Scales))
}
