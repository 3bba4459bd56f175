package op

import (
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/rng"
)

// Corrupt makes samples that have been gathered worse.
type Corrupt struct {
	corrupt.Corruption
	Source     rng.Source
	Out, X     Value
	Order      Value
	StepParams Value
}

func (o *Corrupt) Name() string { return "Corrupt" }
func (o *Corrupt) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.Order, Read)
	visit(&o.StepParams, Read)
}
func (o *Corrupt) Run(f *Frame) {
	f.B.Corrupt(o.Corruption, o.Source, f.At(o.Out), f.At(o.X), f.At(o.Order), f.At(o.StepParams), f.First)
}
