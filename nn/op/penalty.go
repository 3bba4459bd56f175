package op

import "github.com/convae/convae/nn/backend"

// Penalize adds L1 sum |x| + L2 sum x² to the loss, and its gradient to Grad. The norms of activations count by samples.
type Penalize struct {
	Norms      backend.Norms
	PerSample  bool
	Loss, Grad Value
	X          Value
}

func (o *Penalize) Name() string { return "Penalize" }
func (o *Penalize) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.Grad, Add)
	visit(&o.X, Read)
}
func (o *Penalize) Run(f *Frame) {
	norms := o.Norms
	if o.PerSample {
		norms = backend.Norms{L1: f.SampleScale * norms.L1, L2: f.SampleScale * norms.L2}
	}
	f.B.Penalize(norms, f.At(o.Loss), f.At(o.Grad), f.At(o.X))
}

// ColumnSum adds up the images of X: dst[j] += x[0][j] + x[1][j] + ...
type ColumnSum struct{ Dst, X Value }

func (o *ColumnSum) Name() string { return "ColumnSum" }
func (o *ColumnSum) Args(visit func(v *Value, u Use)) {
	visit(&o.Dst, Add)
	visit(&o.X, Read)
}
func (o *ColumnSum) Run(f *Frame) { f.B.ColumnSum(f.At(o.Dst), f.At(o.X)) }

// SparseKL adds the divergence of the mean activations of a batch from a target to the loss, and writes the gradient with
// respect to each activation. Sums are those of the batch.
type SparseKL struct {
	Sparsity         backend.Sparsity
	Loss, Grad, Sums Value
}

func (o *SparseKL) Name() string { return "SparseKL" }
func (o *SparseKL) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.Grad, Write)
	visit(&o.Sums, Read)
}
func (o *SparseKL) Run(f *Frame) {
	f.B.SparseKL(o.Sparsity, 1/float32(f.Count), f.At(o.Loss), f.At(o.Grad), f.At(o.Sums))
}

// AddRow adds a row to every image of X.
type AddRow struct{ X, Row Value }

func (o *AddRow) Name() string { return "AddRow" }
func (o *AddRow) Args(visit func(v *Value, u Use)) {
	visit(&o.X, Add)
	visit(&o.Row, Read)
}
func (o *AddRow) Run(f *Frame) { f.B.AddRow(f.At(o.X), f.At(o.Row)) }
