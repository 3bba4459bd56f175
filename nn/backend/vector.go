package backend

// CheckZero checks the argument of Zero.
func CheckZero(dst *Tensor) { dst.floats() }

// CheckCopy checks the arguments of Copy.
func CheckCopy(dst, src *Tensor) {
	dst.values()
	src.values()
	src.check(dst.Role, src.Type, dst.Shape)
}

// CheckAxpy checks the arguments of Axpy.
func CheckAxpy(dst, src *Tensor) {
	if dst.Role == Activation {
		panic(MistakeRole)
	}
	CheckCopy(dst, src)
}

// CheckSum checks the arguments of Sum.
func CheckSum(dst *Tensor, src []Tensor) {
	if len(src) == 0 {
		panic(MistakeSum)
	}
	dst.flat(dst.Shape)
	for i := range src {
		src[i].flat(dst.Shape)
	}
}

// CheckReshape checks the arguments of Reshape.
func CheckReshape(dst, src *Tensor) {
	dst.either(dst.Shape)
	src.either(src.Shape)
	if dst.Shape.N != src.Shape.N || dst.Shape.Image() != src.Shape.Image() {
		panic(MistakeShape)
	}
}
