package backend

// SGD, Adam and Adadelta are the constants of the optimisers.
type (
	SGD struct {
		Momentum float32
		Nesterov bool
	}
	Adam     struct{ Beta1, Beta2, Eps, WeightDecay float32 }
	Adadelta struct{ Rho, Eps float32 }
)

// Check checks the arguments of the op SGD. The velocity is of no account without momentum.
func (o SGD) Check(param, velocity, grad, stepParams *Tensor) {
	checkOptim(param, grad, stepParams)
	if o.Momentum != 0 {
		velocity.flat(param.Shape)
	}
}

// Check checks the arguments of the op Adam.
func (o Adam) Check(param, m, v, grad, stepParams *Tensor) {
	checkOptim(param, grad, stepParams)
	m.flat(param.Shape)
	v.flat(param.Shape)
}

// Check checks the arguments of the op Adadelta.
func (o Adadelta) Check(param, accGrad, accDelta, grad, stepParams *Tensor) {
	checkOptim(param, grad, stepParams)
	accGrad.flat(param.Shape)
	accDelta.flat(param.Shape)
}

func checkOptim(param, grad, stepParams *Tensor) {
	param.flat(param.Shape)
	grad.flat(param.Shape)
	stepParams.step()
}
