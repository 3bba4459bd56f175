package op

// Plus adds two tensors of one shape: out = a + b.
type Plus struct{ Out, A, B Value }

func (o *Plus) Name() string { return "Plus" }
func (o *Plus) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.A, Read)
	visit(&o.B, Read)
}
func (o *Plus) Narrow() []Value { return []Value{o.Out, o.A, o.B} }
func (o *Plus) Run(f *Frame)    { f.B.Plus(f.At(o.Out), f.At(o.A), f.At(o.B)) }
func (o *Plus) Result() Value   { return o.Out }

// Back hands the gradient on to both inputs. Each gets a tensor of its own, because other readers may add to it.
func (o *Plus) Back(g *Grads) {
	grad := g.Of(o)
	for _, x := range []Value{o.B, o.A} {
		if g.Wants(x) {
			gradX := g.Like(x)
			g.Emit(&Copy{Out: gradX, X: grad})
			g.Add(x, gradX)
		}
	}
}

// CopyChannels copies Count channels of every pixel of X, from channel From on, to the channels of Out from To on.
type CopyChannels struct {
	Out         Value
	To          int
	X           Value
	From, Count int
	First       bool // nothing has been written to Out yet
}

func (o *CopyChannels) Name() string { return "CopyChannels" }
func (o *CopyChannels) Args(visit func(v *Value, u Use)) {
	use := Add
	if o.First {
		use = Write
	}
	visit(&o.Out, use)
	visit(&o.X, Read)
}
func (o *CopyChannels) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *CopyChannels) Run(f *Frame) {
	f.B.CopyChannels(f.At(o.Out), o.To, f.At(o.X), o.From, o.Count)
}
func (o *CopyChannels) Result() Value { return o.Out }

// Back gives X the gradient of the channels that were copied from it. From is 0 and Count all of X in a forward pass.
func (o *CopyChannels) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&CopyChannels{Out: gradX, To: o.From, X: grad, From: o.To, Count: o.Count, First: true})
		g.Add(o.X, gradX)
	}
}
