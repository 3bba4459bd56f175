package op

import "github.com/convae/convae/nn/rng"

// Dropout zeroes a share of the elements and scales up the rest, by the draw of the step. It is its own gradient.
type Dropout struct {
	Rate       float32
	Source     rng.Source
	Out, X     Value
	StepParams Value
}

func (o *Dropout) Name() string { return "Dropout" }
func (o *Dropout) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.StepParams, Read)
}
func (o *Dropout) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *Dropout) Run(f *Frame) {
	f.B.Dropout(o.Rate, o.Source, f.At(o.Out), f.At(o.X), f.At(o.StepParams), f.First)
}
func (o *Dropout) Result() Value { return o.Out }

func (o *Dropout) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&Dropout{Rate: o.Rate, Source: o.Source, Out: gradX, X: grad, StepParams: o.StepParams})
		g.Add(o.X, gradX)
	}
}

// Gather takes samples from a data set, of pixels or of values, and makes noisy ones of them unless Noisy is None. The
// noise of pixels is clipped to [0,1].
type Gather struct {
	OfValues       bool // the data set is of float32 values
	Std            float32
	Source         rng.Source
	Clean, Noisy   Value
	Samples, Order Value
	StepParams     Value
}

func (o *Gather) Name() string {
	if o.OfValues {
		return "GatherValues"
	}
	return "GatherPixels"
}
func (o *Gather) Args(visit func(v *Value, u Use)) {
	visit(&o.Clean, Write)
	visit(&o.Noisy, Write)
	visit(&o.Samples, Read)
	visit(&o.Order, Read)
	visit(&o.StepParams, Read)
}
func (o *Gather) Run(f *Frame) {
	gather := f.B.GatherPixels
	if o.OfValues {
		gather = f.B.GatherValues
	}
	gather(o.Std, o.Source, f.At(o.Clean), f.At(o.Noisy), f.At(o.Samples), f.At(o.Order), f.At(o.StepParams), f.First)
}
