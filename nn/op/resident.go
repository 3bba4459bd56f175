package op

import "github.com/convae/convae/nn/backend"

// Resident is what a training step does for each sample, as one op: see backend.ResidentStep. It leaves partial sums of all gradients and of
// the loss.
type Resident struct {
	Step         backend.ResidentStep
	Gather       *Gather
	Scale        Scale
	Layers       []ResidentLayer
	LossPartials Value

	args backend.ResidentArgs // none is allocated in a step
}

// ResidentLayer is a layer's weights, and room for partial sums of their gradients.
type ResidentLayer struct{ W, Bias, Partials Value }

func (o *Resident) Name() string { return "ResidentStep" }
func (o *Resident) Args(visit func(v *Value, u Use)) {
	visit(&o.Gather.Samples, Read)
	visit(&o.Gather.Order, Read)
	visit(&o.Gather.StepParams, Read)
	for i := range o.Layers {
		l := &o.Layers[i]
		visit(&l.W, Read)
		visit(&l.Bias, Read)
		visit(&l.Partials, Write)
	}
	visit(&o.LossPartials, Write)
}

func (o *Resident) Run(f *Frame) {
	a, g := &o.args, o.Gather
	*a = backend.ResidentArgs{Std: g.Std, Source: g.Source, Samples: f.At(g.Samples), Order: f.At(g.Order), StepParams: f.At(g.StepParams),
		First: f.First, Layers: a.Layers[:0], Scale: o.Scale.Of(f), Loss: f.At(o.LossPartials)}
	for _, l := range o.Layers {
		a.Layers = append(a.Layers, backend.Params{W: f.At(l.W), Bias: f.At(l.Bias), Partials: f.At(l.Partials)})
	}
	f.B.(backend.Resident).ResidentStep(&o.Step, a)
}

// MACs are those of the layers and of their gradients.
func (o *Resident) MACs() int {
	n := 0
	for i := range o.Step.Layers {
		n += 3 * o.Step.Layers[i].MACs()
	}
	return n - o.Step.Layers[0].MACs() // whose input has no gradient
}

func (o *Resident) Geometry() any { return o.Step.Layers[0] }
