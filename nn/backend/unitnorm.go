package backend

// UnitEpsilon is what UnitNorm adds to a length before it divides by it: that of the library lpips.
const UnitEpsilon = 1e-10

// CheckUnitNorm checks the arguments of UnitNorm. scales can be zero.
func CheckUnitNorm(out, x, scales *Tensor) {
	out.either(out.Shape)
	x.either(out.Shape)
	if !scales.IsZero() {
		scales.param(Vec(out.Shape.C))
	}
}

// CheckUnitNormBack checks the arguments of UnitNormBack. scales can be zero.
func CheckUnitNormBack(gradX, gradOut, x, scales *Tensor) {
	gradOut.either(gradX.Shape)
	CheckUnitNorm(gradX, x, scales)
}
