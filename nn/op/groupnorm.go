package op

import "github.com/convae/convae/nn/backend"

// GroupNorm normalises groups of channels, or each pixel's channels, with an activation behind it. Without a Gamma it is 1, without a Beta
// 0.
type GroupNorm struct {
	Shape       backend.GroupNormShape
	Out, X      Value
	Stats       Value // only in training
	Gamma, Beta Value
}

func (o *GroupNorm) Name() string { return "GroupNorm" }
func (o *GroupNorm) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.Stats, Write)
	visit(&o.X, Read)
	visit(&o.Gamma, Read)
	visit(&o.Beta, Read)
}
func (o *GroupNorm) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *GroupNorm) Run(f *Frame) {
	f.B.GroupNorm(o.Shape, f.At(o.Out), f.At(o.Stats), f.At(o.X), f.params(o.Gamma, o.Beta, None))
}
func (o *GroupNorm) Result() Value                         { return o.Out }
func (o *GroupNorm) Needs(b backend.Backend) backend.Needs { return b.GroupNormNeeds(o.Shape) }

// Keep makes room for the statistics.
func (o *GroupNorm) Keep(t *Tape) { o.Stats = t.New(backend.Flat, o.Shape.Stats()) }

// Fuse takes in an activation.
func (o *GroupNorm) Fuse(next Op) Op {
	a, ok := next.(*Activate)
	if !ok || o.Shape.Act.Act != backend.Linear {
		return nil
	}
	fused := *o
	fused.Shape.Act, fused.Out = a.Function, a.Out
	return &fused
}

// Back makes all gradients in one op. It takes the gradient behind the activation, whose derivative it makes of X, so the op is not Activated.
func (o *GroupNorm) Back(g *Grads) {
	back := &GroupNormBack{Shape: o.Shape, GradGamma: g.Parameter(o.Gamma), GradBeta: g.Parameter(o.Beta), GradOut: g.Of(o), Stats: o.Stats, X: o.X,
		Gamma: o.Gamma, Beta: o.Beta}
	if g.Wants(o.X) {
		back.GradX = g.Like(o.X)
	}
	g.Emit(back)
	if back.GradX != None {
		g.Add(o.X, back.GradX)
	}
}

// GroupNormBack is the gradient of GroupNorm: with respect to X, unless GradX is None, and added to those of gamma and beta. GradOut is with
// respect to the values behind the activation.
type GroupNormBack struct {
	Shape               backend.GroupNormShape
	GradX               Value
	GradGamma, GradBeta Value
	Partials            Value // of the gradients of gamma and beta, or None
	GradOut, Stats, X   Value
	Gamma, Beta         Value
}

func (o *GroupNormBack) Name() string { return "GroupNormBack" }
func (o *GroupNormBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradGamma, Add)
	visit(&o.GradBeta, Add)
	visit(&o.Partials, Write)
	visit(&o.GradOut, Read)
	visit(&o.Stats, Read)
	visit(&o.X, Read)
	visit(&o.Gamma, Read)
	visit(&o.Beta, Read)
}
func (o *GroupNormBack) Narrow() []Value { return []Value{o.GradX, o.GradOut, o.X} }
func (o *GroupNormBack) Run(f *Frame) {
	f.B.GroupNormBack(o.Shape, f.At(o.GradX), f.partials(o.GradGamma, o.GradBeta, o.Partials), f.At(o.GradOut), f.At(o.Stats), f.At(o.X),
		f.params(o.Gamma, o.Beta, None))
}

// Needs has no partial sums where there is nothing to add up.
func (o *GroupNormBack) Needs(b backend.Backend) backend.Needs {
	n := b.GroupNormNeeds(o.Shape)
	if o.GradGamma == None && o.GradBeta == None {
		n.Workspace, n.Partials, n.PartialBytes = n.Workspace-n.PartialBytes, 0, 0
	}
	return n
}

// Sums has the gradient of beta in the place of that of gamma where it is the only one.
func (o *GroupNormBack) Sums() (w, bias Value, partials *Value) {
	if o.GradGamma == None {
		return o.GradBeta, None, &o.Partials
	}
	return o.GradGamma, o.GradBeta, &o.Partials
}
