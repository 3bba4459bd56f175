package backend

// perImage returns the shape of one pixel for each image.
func perImage(s Shape) Shape { return Shape{s.N, 1, 1, s.C} }

// CheckTimes checks the arguments of Times.
func CheckTimes(out, a, b *Tensor) {
	out.either(out.Shape)
	a.either(out.Shape)
	if b.Shape == perImage(out.Shape) {
		b.either(b.Shape)
		return
	}
	b.either(out.Shape)
}

// CheckSumPixels checks the arguments of SumPixels. b can be zero.
func CheckSumPixels(out, a, b *Tensor) {
	a.either(a.Shape)
	out.either(perImage(a.Shape))
	if !b.IsZero() {
		b.either(a.Shape)
	}
}

// CheckSpreadPixels checks the arguments of SpreadPixels.
func CheckSpreadPixels(out, x *Tensor) {
	out.either(out.Shape)
	x.either(perImage(out.Shape))
}
