package backend

// CheckNormal checks the arguments of Normal.
func CheckNormal(dst, stepParams *Tensor) {
	dst.activation(dst.Shape)
	stepParams.step()
}

// CheckDropout checks the arguments of Dropout.
func CheckDropout(rate float32, out, x, stepParams *Tensor) {
	if !(rate >= 0 && rate < 1) { // NaN too
		panic(MistakeRate)
	}
	x.either(x.Shape)
	out.either(x.Shape)
	stepParams.step()
}

// CheckGatherPixels checks the arguments of GatherPixels, but not the values of the order.
func CheckGatherPixels(clean, noisy, pixels, order, stepParams *Tensor, first int) {
	pixels.given()
	if pixels.Role != Pixels && pixels.Role != Staged {
		panic(MistakeRole)
	}
	pixels.check(pixels.Role, Uint8, clean.Shape.WithN(pixels.Shape.N))
	checkGather(clean, noisy, order, stepParams, first)
}

// CheckGatherValues checks the arguments of GatherValues, but not the values of the order.
func CheckGatherValues(clean, noisy, values, order, stepParams *Tensor, first int) {
	values.flat(values.Shape)
	if values.Shape.Len()%clean.Shape.Image() != 0 {
		panic(MistakeShape)
	}
	checkGather(clean, noisy, order, stepParams, first)
}

func checkGather(clean, noisy, order, stepParams *Tensor, first int) {
	clean.activation(clean.Shape)
	if !noisy.IsZero() {
		noisy.activation(clean.Shape)
	}
	order.check(Index, Int32, order.Shape)
	stepParams.step()
	if first < 0 {
		panic(MistakeIndex)
	}
}
