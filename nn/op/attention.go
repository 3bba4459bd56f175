package op

import "github.com/convae/convae/nn/backend"

// Attention is the attention of pixels to one another: of each head, out = softmax(q kᵀ / sqrt(channels of a head)) v.
type Attention struct {
	Shape   backend.AttentionShape
	Out     Value
	Stats   Value // only in training
	Q, K, V Value
}

func (o *Attention) Name() string { return "Attention" }
func (o *Attention) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.Stats, Write)
	visit(&o.Q, Read)
	visit(&o.K, Read)
	visit(&o.V, Read)
}
func (o *Attention) Narrow() []Value { return []Value{o.Out, o.Q, o.K, o.V} }
func (o *Attention) Run(f *Frame) {
	f.B.Attention(o.Shape, f.At(o.Out), f.At(o.Stats), f.At(o.Q), f.At(o.K), f.At(o.V))
}
func (o *Attention) Result() Value                         { return o.Out }
func (o *Attention) Needs(b backend.Backend) backend.Needs { return b.AttentionNeeds(o.Shape) }

// Keep makes room for the statistics of the softmax.
func (o *Attention) Keep(t *Tape) { o.Stats = t.New(backend.Flat, o.Shape.Stats()) }

func (o *Attention) Back(g *Grads) {
	back := &AttentionBack{Shape: o.Shape, GradQ: g.Like(o.Q), GradK: g.Like(o.K), GradV: g.Like(o.V), GradOut: g.Of(o), Out: o.Out, Stats: o.Stats,
		Q: o.Q, K: o.K, V: o.V}
	g.Emit(back)
	for _, x := range [][2]Value{{o.V, back.GradV}, {o.K, back.GradK}, {o.Q, back.GradQ}} {
		if g.Wants(x[0]) {
			g.Add(x[0], x[1])
		}
	}
}

// AttentionBack is the gradient of Attention with respect to all three inputs.
type AttentionBack struct {
	Shape               backend.AttentionShape
	GradQ, GradK, GradV Value
	GradOut, Out, Stats Value
	Q, K, V             Value
}

func (o *AttentionBack) Name() string { return "AttentionBack" }
func (o *AttentionBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradQ, Write)
	visit(&o.GradK, Write)
	visit(&o.GradV, Write)
	visit(&o.GradOut, Read)
	visit(&o.Out, Read)
	visit(&o.Stats, Read)
	visit(&o.Q, Read)
	visit(&o.K, Read)
	visit(&o.V, Read)
}
func (o *AttentionBack) Narrow() []Value {
	return []Value{o.GradQ, o.GradK, o.GradV, o.GradOut, o.Out, o.Q, o.K, o.V}
}
func (o *AttentionBack) Run(f *Frame) {
	f.B.AttentionBack(o.Shape, f.At(o.GradQ), f.At(o.GradK), f.At(o.GradV), f.At(o.GradOut), f.At(o.Out), f.At(o.Stats), f.At(o.Q), f.At(o.K), f.At(o.V))
}
func (o *AttentionBack) Needs(b backend.Backend) backend.Needs { return b.AttentionNeeds(o.Shape) }
