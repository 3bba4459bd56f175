package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Penalize adds the penalties on absolute values and squares.
func (l *lane) Penalize(o backend.Norms, loss, grad, x backend.Tensor) {
	o.Check(&loss, &grad, &x)
	total, v, g, n := l.at(loss), l.at(x), l.at(grad), x.Shape.Len()
	l.reduce("Penalize", kernels.PenaltyNorms, total, n, 1, ptr(l.partials), ptr(g), ptr(v), i32(n), f32(o.L1), f32(o.L2))
}

// ColumnSum adds the images of x.
func (l *lane) ColumnSum(dst, x backend.Tensor) {
	backend.CheckColumnSum(&dst, &x)
	s := x.Shape
	d, v := l.at(dst), l.at(x)
	l.launch1("ColumnSum", kernels.PenaltyColumns, s.Image(), ptr(d), ptr(v), i32(s.N), i32(s.Image()))
}

// SparseKL is the penalty on mean activations that differ from rho.
func (l *lane) SparseKL(o backend.Sparsity, share float32, loss, grad, sums backend.Tensor) {
	o.Check(&loss, &grad, &sums)
	total, s, g := l.at(loss), l.at(sums), l.at(grad)
	l.launch("SparseKL", kernels.PenaltySparse, driver.Dim3{X: 1}, driver.Dim3{X: threads}, 0, ptr(total), ptr(g), ptr(s),
		i32(sums.Shape.Len()), f32(o.Weight), f32(o.Rho), f32(share))
}

// AddRow adds row to every image of x.
func (l *lane) AddRow(x, row backend.Tensor) {
	backend.CheckAddRow(&x, &row)
	s := x.Shape
	v, r := l.at(x), l.at(row)
	l.launch1("AddRow", kernels.PenaltyRow, s.Len(), ptr(v), ptr(r), i32(s.Len()), i32(s.Image()))
}
