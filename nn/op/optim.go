package op

import "github.com/convae/convae/nn/backend"

// Tally is a sum that an optimiser's op adds to beside its work: Total += Weight Loss. Without a Total it is nothing. With it the op also adds up the
// partial sums of the gradients that are left to it: see Frame.
type Tally struct {
	Total, Loss Value
	Weight      Scale
}

func (t *Tally) of(f *Frame) backend.Tally {
	if t.Total == None {
		return backend.Tally{}
	}
	return backend.Tally{Sums: f.Sums, Total: f.At(t.Total), Loss: f.At(t.Loss), Weight: t.Weight.Of(f)}
}

// Update is a step of an optimiser on a stretch of the parameters.
type Update struct {
	Optimizer   backend.Optimizer
	Param, Grad Value
	State       [backend.MaxStates]Value // as the optimiser names them, the others None
	StepParams  Value
	Rate        float32 // multiplies the learning rate
	Tally
}

// Name is that of the optimiser.
func (o *Update) Name() string { return o.Optimizer.Name() }
func (o *Update) Args(visit func(v *Value, u Use)) {
	visit(&o.Param, Add)
	for i := range o.State {
		visit(&o.State[i], Add)
	}
	visit(&o.Grad, Read)
	visit(&o.StepParams, Read)
	visit(&o.Total, Add)
	visit(&o.Loss, Read)
}
func (o *Update) Run(f *Frame) {
	u := backend.Update{Param: f.At(o.Param), Grad: f.At(o.Grad), StepParams: f.At(o.StepParams), Rate: o.Rate, Tally: o.of(f)}
	for i, s := range o.State {
		u.State[i] = f.At(s)
	}
	o.Optimizer.Update(f.B, u)
}

// argName names the optimiser's states.
func (o *Update) argName(v *Value) string {
	for i, name := range o.Optimizer.States() {
		if v == &o.State[i] {
			return name
		}
	}
	return ""
}
