package op

// Zero sets a tensor to 0.
type Zero struct{ Dst Value }

func (o *Zero) Name() string                     { return "Zero" }
func (o *Zero) Args(visit func(v *Value, u Use)) { visit(&o.Dst, Write) }
func (o *Zero) Run(f *Frame)                     { f.B.Zero(f.At(o.Dst)) }

// Copy copies a tensor: out = x.
type Copy struct{ Out, X Value }

func (o *Copy) Name() string { return "Copy" }
func (o *Copy) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *Copy) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Copy) Run(f *Frame)    { f.B.Copy(f.At(o.Out), f.At(o.X)) }

// Axpy adds a multiple of a tensor to another: dst += alpha x.
type Axpy struct {
	Dst   Value
	Alpha Scale
	X     Value
}

func (o *Axpy) Name() string { return "Axpy" }
func (o *Axpy) Args(visit func(v *Value, u Use)) {
	visit(&o.Dst, Add)
	visit(&o.X, Read)
}
func (o *Axpy) Run(f *Frame) { f.B.Axpy(f.At(o.Dst), o.Alpha.Of(f), f.At(o.X)) }

// Sum adds tensors up in their order: out = x[0] + x[1] + ... Out may be X[0].
type Sum struct {
	Out     Value
	X       []Value
	PerSlot bool // there is one for each slot, and Out is the first: those of the slots in use are summed
}

func (o *Sum) Name() string { return "Sum" }
func (o *Sum) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	for i := range o.X {
		visit(&o.X[i], Read)
	}
}
func (o *Sum) Run(f *Frame) {
	x := o.X
	if o.PerSlot {
		x = x[:f.Slots]
		if len(x) == 1 {
			return
		}
	}
	f.B.Sum(f.At(o.Out), f.each(x))
}

// Reshape copies the elements of a tensor, in the order of its shape, to one of another shape.
type Reshape struct{ Out, X Value }

func (o *Reshape) Name() string { return "Reshape" }
func (o *Reshape) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *Reshape) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Reshape) Run(f *Frame)    { f.B.Reshape(f.At(o.Out), f.At(o.X)) }
func (o *Reshape) Result() Value   { return o.Out }

func (o *Reshape) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&Reshape{Out: gradX, X: grad})
		g.Add(o.X, gradX)
	}
}
