package op

// Partial is an op that adds to the gradients of a layer's weights and bias, or leaves partial sums of them for SumPartials.
type Partial interface {
	Needy
	// Gradients returns the gradients, and where their partial sums go.
	Gradients() (w, bias Value, partials *Value)
}

// PartialGradient are the gradients of a layer's weights and bias, and the partial sums of both.
type PartialGradient struct {
	W, Bias, Partials Value
	Layer             string
}

// SumPartials adds the partial sums of several layers to their gradients.
type SumPartials struct{ Gradients []PartialGradient }

func (o *SumPartials) Name() string { return "SumPartials" }
func (o *SumPartials) Args(visit func(v *Value, u Use)) {
	for i := range o.Gradients {
		g := &o.Gradients[i]
		visit(&g.W, Add)
		visit(&g.Bias, Add)
		visit(&g.Partials, Read)
	}
}
func (o *SumPartials) Run(f *Frame) {
	f.grads = f.grads[:0]
	for _, g := range o.Gradients {
		f.grads = append(f.grads, f.gradients(g.W, g.Bias, g.Partials))
	}
	f.B.SumPartials(f.grads)
}

// argName names the gradients by their layers.
func (o *SumPartials) argName(v *Value) string {
	for i := range o.Gradients {
		switch g := &o.Gradients[i]; v {
		case &g.W:
			return "GradW of " + g.Layer
		case &g.Bias:
			return "GradBias of " + g.Layer
		}
	}
	return "Partials"
}
