package op

import "github.com/convae/convae/nn/rng"

// Concretize makes a selection of inputs from its logits: one draw a step, the same for all samples. Without StepParams, out
// of training, it selects the likeliest inputs.
type Concretize struct {
	Source            rng.Source
	Selection, Logits Value
	StepParams        Value
}

func (o *Concretize) Name() string { return "Concretize" }
func (o *Concretize) Args(visit func(v *Value, u Use)) {
	visit(&o.Selection, Write)
	visit(&o.Logits, Read)
	visit(&o.StepParams, Read)
}
func (o *Concretize) Run(f *Frame) {
	f.B.Concretize(o.Source, f.At(o.Selection), f.At(o.Logits), f.At(o.StepParams))
}

// Pick takes the selected inputs: out = x selectionᵀ. Its gradient goes through the selection to the logits, which Pick
// itself does not read.
type Pick struct {
	Outputs           int // of all samples
	Out, X, Selection Value
	Logits            Value
	StepParams        Value
}

func (o *Pick) Name() string { return "Pick" }
func (o *Pick) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.Selection, Read)
	visit(&o.Logits, Read)
	visit(&o.StepParams, Read)
}
func (o *Pick) Run(f *Frame)  { f.B.Pick(f.At(o.Out), f.At(o.X), f.At(o.Selection)) }
func (o *Pick) Result() Value { return o.Out }

// Elements is half of the 32 threads that make each output, of which a grid has 2^32.
func (o *Pick) Elements() int { return 16 * o.Outputs }

// Back gives the logits a gradient, and no input: a concrete layer comes first in its model.
func (o *Pick) Back(g *Grads) {
	g.Emit(&ConcreteBack{GradLogits: g.Parameter(o.Logits), GradOut: g.Of(o), X: o.X, Selection: o.Selection, StepParams: o.StepParams})
}

// ConcreteBack adds the gradient of the logits.
type ConcreteBack struct {
	GradLogits            Value
	GradOut, X, Selection Value
	StepParams            Value
}

func (o *ConcreteBack) Name() string { return "ConcreteBack" }
func (o *ConcreteBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradLogits, Add)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
	visit(&o.Selection, Read)
	visit(&o.StepParams, Read)
}
func (o *ConcreteBack) Run(f *Frame) {
	f.B.ConcreteBack(f.At(o.GradLogits), f.At(o.GradOut), f.At(o.X), f.At(o.Selection), f.At(o.StepParams))
}
