package backend

// SGD, Adam, Adadelta, RMSprop and Lion are the constants of the optimisers.
type (
	SGD struct {
		Momentum float32
		Nesterov bool
	}
	Adam     struct{ Beta1, Beta2, Eps, WeightDecay float32 }
	Adadelta struct{ Rho, Eps float32 }
	RMSprop  struct{ Rho, Momentum, Eps float32 }
	Lion     struct{ Beta1, Beta2, WeightDecay float32 }
)

// Tally is a sum that an optimiser's op adds to, so that a GPU needs no launch for it: Total += Weight Loss. Both are Flat tensors of one
// element. The zero Tally is nothing.
type Tally struct {
	Total, Loss Tensor
	Weight      float32
}

func (t *Tally) check() {
	if !t.Total.IsZero() {
		t.Total.one()
		t.Loss.one()
	}
}

// Check checks the arguments of the op SGD. The velocity is of no account without momentum.
func (o SGD) Check(param, velocity, grad, stepParams *Tensor, t *Tally) {
	checkOptim(param, grad, stepParams, t)
	if o.Momentum != 0 {
		velocity.flat(param.Shape)
	}
}

// Check checks the arguments of the op Adam.
func (o Adam) Check(param, m, v, grad, stepParams *Tensor, t *Tally) {
	checkOptim(param, grad, stepParams, t)
	m.flat(param.Shape)
	v.flat(param.Shape)
}

// Check checks the arguments of the op Adadelta.
func (o Adadelta) Check(param, accGrad, accDelta, grad, stepParams *Tensor, t *Tally) {
	checkOptim(param, grad, stepParams, t)
	accGrad.flat(param.Shape)
	accDelta.flat(param.Shape)
}

// Check checks the arguments of the op RMSprop. The speed is of no account without momentum.
func (o RMSprop) Check(param, v, speed, grad, stepParams *Tensor, t *Tally) {
	checkOptim(param, grad, stepParams, t)
	v.flat(param.Shape)
	if o.Momentum != 0 {
		speed.flat(param.Shape)
	}
}

// Check checks the arguments of the op Lion.
func (o Lion) Check(param, m, grad, stepParams *Tensor, t *Tally) {
	checkOptim(param, grad, stepParams, t)
	m.flat(param.Shape)
}

func checkOptim(param, grad, stepParams *Tensor, t *Tally) {
	param.flat(param.Shape)
	grad.flat(param.Shape)
	stepParams.step()
	t.check()
}
