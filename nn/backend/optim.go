package backend

// Optimizer is an optimiser with its constants.
type Optimizer interface {
	// Name is the method of Optim that Update calls.
	Name() string
	// States names the tensors that it keeps from step to step, each as large as the parameters.
	States() []string
	// Update does a step.
	Update(b Optim, u Update)
}

// SGD, Adam, Nadam, Adadelta, RMSprop, Lion and Lamb are the constants of the optimisers.
type (
	SGD struct {
		Momentum float32
		Nesterov bool
	}
	Adam     struct{ Beta1, Beta2, Eps, WeightDecay float32 }
	Nadam    struct{ Beta1, Beta2, Eps float32 }
	Adadelta struct{ Rho, Eps float32 }
	RMSprop  struct{ Rho, Momentum, Eps float32 }
	Lion     struct{ Beta1, Beta2, WeightDecay float32 }
	Lamb     struct{ Beta1, Beta2, Eps, WeightDecay float32 }
)

func (SGD) Name() string      { return "SGD" }
func (Adam) Name() string     { return "Adam" }
func (Nadam) Name() string    { return "Nadam" }
func (Adadelta) Name() string { return "Adadelta" }
func (RMSprop) Name() string  { return "RMSprop" }
func (Lion) Name() string     { return "Lion" }
func (Lamb) Name() string     { return "Lamb" }

// States is a velocity, if there is a momentum.
func (o SGD) States() []string {
	if o.Momentum == 0 {
		return nil
	}
	return []string{"velocity"}
}

// States are the moments.
func (Adam) States() []string { return []string{"m", "v"} }

// States are the moments.
func (Nadam) States() []string { return []string{"m", "v"} }

// States are the means of squared gradients and of squared changes.
func (Adadelta) States() []string { return []string{"acc_grad", "acc_delta"} }

// States are the mean of squared gradients and, if there is a momentum, the speed.
func (o RMSprop) States() []string {
	if o.Momentum == 0 {
		return []string{"v"}
	}
	return []string{"v", "speed"}
}

// States is the mean of gradients.
func (Lion) States() []string { return []string{"m"} }

// States are the moments.
func (Lamb) States() []string { return []string{"m", "v"} }

func (o SGD) Update(b Optim, u Update)      { b.SGD(o, u) }
func (o Adam) Update(b Optim, u Update)     { b.Adam(o, u) }
func (o Nadam) Update(b Optim, u Update)    { b.Nadam(o, u) }
func (o Adadelta) Update(b Optim, u Update) { b.Adadelta(o, u) }
func (o RMSprop) Update(b Optim, u Update)  { b.RMSprop(o, u) }
func (o Lion) Update(b Optim, u Update)     { b.Lion(o, u) }
func (o Lamb) Update(b Optim, u Update)     { b.Lamb(o, u) }

// Check checks the arguments of Lamb, which needs the whole gradient, and so does not add up partial sums of it.
func (o Lamb) Check(u *Update) {
	u.Check(len(o.States()))
	if len(u.Tally.Sums) > 0 {
		panic(MistakeShape)
	}
}

// MaxStates is the most tensors that an optimiser keeps.
const MaxStates = 2

// Update is what an optimiser's step works on: Flat tensors of one length, of which Param and State change, and the step's parameters.
type Update struct {
	Param, Grad Tensor
	State       [MaxStates]Tensor // as States names them; others are of no account
	StepParams  Tensor
	Rate        float32 // multiplies the learning rate of the step, for these parameters
	Tally       Tally
}

// Check checks the arguments of an op whose optimiser has so many states.
func (u *Update) Check(states int) {
	u.Param.flat(u.Param.Shape)
	u.Grad.flat(u.Param.Shape)
	for i := range u.State[:states] {
		u.State[i].flat(u.Param.Shape)
	}
	u.StepParams.step()
	u.Tally.check(&u.Grad)
}

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
