package backend

// CheckContractDense checks the arguments of ContractDense.
func CheckContractDense(a Act, loss, gradH, gradW, h, w *Tensor) {
	a.fused()
	loss.one()
	h.activation(h.Shape)
	gradH.activation(h.Shape)
	w.param(w.Shape)
	gradW.param(w.Shape)
	if h.Shape.Image() != w.Shape.N {
		panic(MistakeShape)
	}
}

// CheckPerturb checks the arguments of Perturb.
func CheckPerturb(out, x, stepParams *Tensor) {
	x.activation(x.Shape)
	out.activation(x.Shape)
	stepParams.step()
}

// CheckAccumulate checks the arguments of Accumulate.
func CheckAccumulate(dst, x *Tensor) {
	x.either(x.Shape)
	dst.either(x.Shape)
}
