package backend

import "math"

// Act is an activation function. Up to Tanh they fuse: convolutions and dense layers apply them to their outputs themselves.
type Act uint8

const (
	Linear Act = iota
	ReLU
	Sigmoid
	Tanh
	LeakyReLU // x, below 0 alpha x
	ELU       // x, below 0 alpha (exp(x) - 1); Clevert et al., 2015
	SiLU      // x sigmoid(x), also called swish
	GELU      // x Phi(x) = x (1 + erf(x/sqrt 2))/2; Hendrycks and Gimpel, 2016
	GELUTanh  // the approximation of GELU by x (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))/2
	Softplus  // ln(1 + exp(x))
	Softsign  // x/(1 + |x|)
)

var actNames = [...]string{"linear", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "softplus", "softsign"}

func (a Act) String() string { return actNames[a] }

// Fuses reports whether convolutions and dense layers apply the activation themselves.
func (a Act) Fuses() bool { return a <= Tanh }

// FromOutput reports whether the derivative is known from the activation's output, as that of one that rises everywhere is. The
// others fall and rise again: their derivatives are taken of the input.
func (a Act) FromOutput() bool { return a < SiLU || a > GELUTanh }

// Parametric reports whether the activation has a parameter alpha.
func (a Act) Parametric() bool { return a == LeakyReLU || a == ELU }

// Function is an activation function with its parameter, which is 0 for those that have none, and else more than 0: what
// LeakyReLU multiplies by and what ELU goes to below 0, negated. At infinities functions have their limits; NaN stays NaN.
type Function struct {
	Act   Act
	Alpha float32
}

// ActNames lists the names of the activations, in order.
func ActNames() []string { return actNames[:] }

// ParseFunction returns the function of one of ActNames, with Keras's parameter: leaky_relu has the slope 0.2, elu goes to -1. ""
// is linear, and swish another name of silu.
func ParseFunction(name string) (Function, bool) {
	switch name {
	case "":
		return Function{}, true
	case "swish":
		name = SiLU.String()
	}
	for i, n := range actNames {
		if n != name {
			continue
		}
		f := Function{Act: Act(i)}
		switch f.Act {
		case LeakyReLU:
			f.Alpha = 0.2
		case ELU:
			f.Alpha = 1
		}
		return f, true
	}
	return Function{}, false
}

// Check panics unless the activation is one of those that there are, with a parameter that it can have.
func (f Function) Check() {
	if f.Act > Softsign {
		panic(MistakeAct)
	}
	if f.Act.Parametric() != (f.Alpha > 0) || !(f.Alpha >= 0 && f.Alpha <= math.MaxFloat32) {
		panic(MistakeAlpha)
	}
}

// CheckActivate checks the arguments of Activate.
func CheckActivate(f Function, out, x *Tensor) {
	f.Check()
	x.either(x.Shape)
	out.either(x.Shape)
}

// CheckRescale checks the arguments of Rescale.
func CheckRescale(out, x *Tensor) {
	x.either(x.Shape)
	out.either(x.Shape)
}

// CheckActivateBack checks the arguments of ActivateBack.
func CheckActivateBack(f Function, gradX, gradOut, of *Tensor) {
	f.Check()
	gradOut.either(gradOut.Shape)
	gradX.either(gradOut.Shape)
	of.either(gradOut.Shape)
}
