package op

import "github.com/convae/convae/nn/backend"

// Partial is an op that adds to the gradients of a layer's weights and bias, or to the loss, or leaves partial sums of them for
// SumPartials.
type Partial interface {
	Needy
	// Sums returns what the op adds to, the loss being W without a bias, and where the partial sums go.
	Sums() (w, bias Value, partials *Value)
}

// Partials are the partial sums of the gradients of a layer's weights and bias, or of the loss W, and what they are added to.
type Partials struct {
	W, Bias, Partials Value
	Layer             string
}

// SumPartials adds up the partial sums of several layers.
type SumPartials struct{ List []Partials }

func (o *SumPartials) Name() string { return "SumPartials" }
func (o *SumPartials) Args(visit func(v *Value, u Use)) {
	for i := range o.List {
		p := &o.List[i]
		visit(&p.W, Add)
		visit(&p.Bias, Add)
		visit(&p.Partials, Read)
	}
}
func (o *SumPartials) Run(f *Frame) { f.B.SumPartials(o.Of(f)) }

// Of returns the partial sums; they are valid until the next call.
func (o *SumPartials) Of(f *Frame) []backend.Params {
	f.sums = f.sums[:0]
	for _, p := range o.List {
		f.sums = append(f.sums, f.partials(p.W, p.Bias, p.Partials))
	}
	return f.sums
}

// argName names what is added to by the layers.
func (o *SumPartials) argName(v *Value) string {
	for i := range o.List {
		switch p := &o.List[i]; v {
		case &p.W:
			return "W of " + p.Layer
		case &p.Bias:
			return "Bias of " + p.Layer
		}
	}
	return "Partials"
}
