package op

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// ContractDense adds the squared Frobenius norm of a dense encoder's Jacobian to the loss, and its gradients. H is the
// layer's output.
type ContractDense struct {
	Act          backend.Act
	Scale        Scale
	Loss         Value
	GradH, GradW Value
	H, W         Value
}

func (o *ContractDense) Name() string { return "ContractDense" }
func (o *ContractDense) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.GradH, Add)
	visit(&o.GradW, Add)
	visit(&o.H, Read)
	visit(&o.W, Read)
}
func (o *ContractDense) Run(f *Frame) {
	f.B.ContractDense(o.Act, o.Scale.Of(f), f.At(o.Loss), f.At(o.GradH), f.At(o.GradW), f.At(o.H), f.At(o.W))
}

// Perturb moves inputs a small step in a random direction: out = x + std normal.
type Perturb struct {
	Std        float32
	Source     rng.Source
	Out, X     Value
	StepParams Value
}

func (o *Perturb) Name() string { return "Perturb" }
func (o *Perturb) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.StepParams, Read)
}
func (o *Perturb) Run(f *Frame) {
	f.B.Perturb(o.Std, o.Source, f.At(o.Out), f.At(o.X), f.At(o.StepParams), f.First)
}

// Accumulate adds a multiple of an activation to another: dst += alpha x.
type Accumulate struct {
	Dst   Value
	Alpha float32
	X     Value
}

func (o *Accumulate) Name() string { return "Accumulate" }
func (o *Accumulate) Args(visit func(v *Value, u Use)) {
	visit(&o.Dst, Add)
	visit(&o.X, Read)
}
func (o *Accumulate) Narrow() []Value { return []Value{o.Dst, o.X} }
func (o *Accumulate) Run(f *Frame)    { f.B.Accumulate(f.At(o.Dst), o.Alpha, f.At(o.X)) }
