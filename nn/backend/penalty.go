package backend

// Norms and Sparsity are the constants of penalties.
type (
	Norms    struct{ L1, L2 float32 }
	Sparsity struct{ Weight, Rho float32 }
)

// Check checks the arguments of Penalize.
func (o Norms) Check(loss, grad, x *Tensor) {
	loss.one()
	if x.Role == Param {
		panic(MistakeRole)
	}
	x.floats()
	grad.like(x)
}

// CheckColumnSum checks the arguments of ColumnSum.
func CheckColumnSum(dst, x *Tensor) {
	x.activation(x.Shape)
	dst.flat(Vec(x.Shape.Image()))
}

// Check checks the arguments of SparseKL.
func (o Sparsity) Check(loss, grad, sums *Tensor) {
	loss.one()
	sums.flat(sums.Shape)
	grad.flat(sums.Shape)
}

// CheckAddRow checks the arguments of AddRow.
func CheckAddRow(x, row *Tensor) { CheckColumnSum(row, x) }
