package op

import "github.com/convae/convae/nn/backend"

// Tally is a sum that an optimiser's op adds to beside its work: Total += Weight Loss. Without a Total it is nothing. With it the op also adds up the
// partial sums of the gradients that are left to it: see Frame.
type Tally struct {
	Total, Loss Value
	Weight      Scale
}

func (t *Tally) args(visit func(v *Value, u Use)) {
	visit(&t.Total, Add)
	visit(&t.Loss, Read)
}

func (t *Tally) of(f *Frame) backend.Tally {
	if t.Total == None {
		return backend.Tally{}
	}
	return backend.Tally{Sums: f.Sums, Total: f.At(t.Total), Loss: f.At(t.Loss), Weight: t.Weight.Of(f)}
}

// SGD is stochastic gradient descent. Velocity is None without momentum.
type SGD struct {
	Constants             backend.SGD
	Param, Velocity, Grad Value
	StepParams            Value
	Tally
}

func (o *SGD) Name() string { return "SGD" }
func (o *SGD) Args(visit func(v *Value, u Use)) {
	visit(&o.Param, Add)
	visit(&o.Velocity, Add)
	visit(&o.Grad, Read)
	visit(&o.StepParams, Read)
	o.args(visit)
}
func (o *SGD) Run(f *Frame) {
	f.B.SGD(o.Constants, f.At(o.Param), f.At(o.Velocity), f.At(o.Grad), f.At(o.StepParams), o.of(f))
}

// Adam is Adam, and AdamW with a weight decay.
type Adam struct {
	Constants         backend.Adam
	Param, M, V, Grad Value
	StepParams        Value
	Tally
}

func (o *Adam) Name() string { return "Adam" }
func (o *Adam) Args(visit func(v *Value, u Use)) {
	visit(&o.Param, Add)
	visit(&o.M, Add)
	visit(&o.V, Add)
	visit(&o.Grad, Read)
	visit(&o.StepParams, Read)
	o.args(visit)
}
func (o *Adam) Run(f *Frame) {
	f.B.Adam(o.Constants, f.At(o.Param), f.At(o.M), f.At(o.V), f.At(o.Grad), f.At(o.StepParams), o.of(f))
}

// Adadelta is Adadelta.
type Adadelta struct {
	Constants                      backend.Adadelta
	Param, AccGrad, AccDelta, Grad Value
	StepParams                     Value
	Tally
}

func (o *Adadelta) Name() string { return "Adadelta" }
func (o *Adadelta) Args(visit func(v *Value, u Use)) {
	visit(&o.Param, Add)
	visit(&o.AccGrad, Add)
	visit(&o.AccDelta, Add)
	visit(&o.Grad, Read)
	visit(&o.StepParams, Read)
	o.args(visit)
}
func (o *Adadelta) Run(f *Frame) {
	f.B.Adadelta(o.Constants, f.At(o.Param), f.At(o.AccGrad), f.At(o.AccDelta), f.At(o.Grad), f.At(o.StepParams), o.of(f))
}

// RMSprop is RMSprop. Speed is None without momentum.
type RMSprop struct {
	Constants             backend.RMSprop
	Param, V, Speed, Grad Value
	StepParams            Value
	Tally
}

func (o *RMSprop) Name() string { return "RMSprop" }
func (o *RMSprop) Args(visit func(v *Value, u Use)) {
	visit(&o.Param, Add)
	visit(&o.V, Add)
	visit(&o.Speed, Add)
	visit(&o.Grad, Read)
	visit(&o.StepParams, Read)
	o.args(visit)
}
func (o *RMSprop) Run(f *Frame) {
	f.B.RMSprop(o.Constants, f.At(o.Param), f.At(o.V), f.At(o.Speed), f.At(o.Grad), f.At(o.StepParams), o.of(f))
}

// Lion is Lion.
type Lion struct {
	Constants      backend.Lion
	Param, M, Grad Value
	StepParams     Value
	Tally
}

func (o *Lion) Name() string { return "Lion" }
func (o *Lion) Args(visit func(v *Value, u Use)) {
	visit(&o.Param, Add)
	visit(&o.M, Add)
	visit(&o.Grad, Read)
	visit(&o.StepParams, Read)
	o.args(visit)
}
func (o *Lion) Run(f *Frame) {
	f.B.Lion(o.Constants, f.At(o.Param), f.At(o.M), f.At(o.Grad), f.At(o.StepParams), o.of(f))
}
