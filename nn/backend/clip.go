package backend

// CheckClipValue checks the argument of ClipValue.
func CheckClipValue(v *Tensor) { v.flat(v.Shape) }

// CheckSumSquares checks the arguments of SumSquares.
func CheckSumSquares(dst, src *Tensor) {
	dst.one()
	src.flat(src.Shape)
}

// CheckClipNorm checks the arguments of ClipNorm.
func CheckClipNorm(v, squares *Tensor) {
	v.flat(v.Shape)
	squares.flat(squares.Shape)
}
