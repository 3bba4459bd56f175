package backend

// CheckConcretize checks the arguments of Concretize. The step parameters can be zero.
func CheckConcretize(m, logits, stepParams *Tensor) {
	logits.param(logits.Shape)
	m.activation(logits.Shape)
	if !stepParams.IsZero() {
		stepParams.step()
	}
}

// CheckPick checks the arguments of Pick.
func CheckPick(out, x, m *Tensor) {
	x.activation(x.Shape)
	m.activation(m.Shape)
	if x.Shape.Image() != m.Shape.Image() {
		panic(MistakeShape)
	}
	out.activation(Shape{x.Shape.N, 1, 1, m.Shape.N})
}

// CheckConcreteBack checks the arguments of ConcreteBack.
func CheckConcreteBack(gradLogits, gradOut, x, m, stepParams *Tensor) {
	CheckPick(gradOut, x, m)
	gradLogits.param(m.Shape)
	stepParams.step()
}
