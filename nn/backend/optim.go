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

// Tally is what an optimiser's op adds up beside its work, so that a GPU needs no launches for it. Without a Total it is nothing.
//
// At first Sums are added up, as SumPartials does. They are those of the loss, and of gradients within grad, and the op then updates the parameters
// of these gradients alone. Without Sums it updates all. At last Total += Weight Loss. Both are Flat tensors of one element.
type Tally struct {
	Sums        []Params
	Total, Loss Tensor
	Weight      float32
}

func (t *Tally) check(grad *Tensor) {
	if t.Total.IsZero() {
		if len(t.Sums) > 0 {
			panic(MistakeShape)
		}
		return
	}
	t.Total.one()
	t.Loss.one()
	CheckSumPartials(t.Sums)
	losses := 0
	for i := range t.Sums {
		g := &t.Sums[i]
		if g.W.Buffer == t.Loss.Buffer && g.W.Offset == t.Loss.Offset {
			losses++
			continue
		}
		for _, x := range [...]*Tensor{&g.W, &g.Bias} {
			if _, _, ok := x.Within(grad); !ok && !x.IsZero() {
				panic(MistakeShape)
			}
		}
	}
	if len(t.Sums) > 0 && losses != 1 {
		panic(MistakeShape)
	}
}

// Within returns which elements of a Flat tensor t is, if it lies in there.
func (t *Tensor) Within(flat *Tensor) (lo, hi int, ok bool) {
	lo = (t.Offset - flat.Offset) / t.Type.Size()
	hi = lo + t.Shape.Len()
	return lo, hi, t.Buffer == flat.Buffer && t.Offset >= flat.Offset && hi <= flat.Shape.Len()
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
	t.check(grad)
}
