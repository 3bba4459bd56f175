package backend

// Act is an activation function. All are monotone and have derivatives that follow from their outputs.
type Act uint8

const (
	Linear Act = iota
	ReLU
	Sigmoid
	Tanh
)

var actNames = [...]string{"linear", "relu", "sigmoid", "tanh"}

func (a Act) String() string { return actNames[a] }

// ActNames lists the activations, in order.
func ActNames() []string { return actNames[:] }

// ParseAct returns the activation of that name ("" is linear).
func ParseAct(name string) (Act, bool) {
	if name == "" {
		return Linear, true
	}
	for i, n := range actNames {
		if n == name {
			return Act(i), true
		}
	}
	return Linear, false
}

// CheckActivate checks the arguments of Activate.
func CheckActivate(a Act, out, x *Tensor) {
	a.known()
	x.either(x.Shape)
	out.either(x.Shape)
}

// CheckActivateBack checks the arguments of ActivateBack.
func CheckActivateBack(a Act, gradX, gradOut, out *Tensor) {
	a.known()
	gradOut.either(gradOut.Shape)
	gradX.either(gradOut.Shape)
	out.either(gradOut.Shape)
}
