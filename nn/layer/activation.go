package layer

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Activation applies a function to every element.
type Activation struct {
	Function string `yaml:"function"` // one of backend.ActNames, or swish
}

// Kind returns Keras's name of the layer.
func (*Activation) Kind() string { return "Activation" }

// Build emits the function.
func (l *Activation) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	if l.Function == "" {
		return op.None, fmt.Errorf("function is missing: want one of %v", backend.ActNames())
	}
	return b.Activate(l.Function, x)
}

// LeakyReLU is x, and a share of x below 0.
type LeakyReLU struct {
	NegativeSlope float32 `yaml:"negative_slope,omitempty" zero:"more than 0 (0 is relu)"` // 0.3
}

// Kind returns Keras's name of the layer.
func (*LeakyReLU) Kind() string { return "LeakyReLU" }

// Build emits the function.
func (l *LeakyReLU) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	return parametric(b, backend.LeakyReLU, "negative_slope", l.NegativeSlope, 0.3, in)
}

// ELU is x, and alpha (exp(x) - 1) below 0.
type ELU struct {
	Alpha float32 `yaml:"alpha,omitempty" zero:"more than 0 (0 is relu)"` // 1
}

// Kind returns Keras's name of the layer.
func (*ELU) Kind() string { return "ELU" }

// Build emits the function.
func (l *ELU) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	return parametric(b, backend.ELU, "alpha", l.Alpha, 1, in)
}

// parametric emits a function with a parameter, usual if it is 0.
func parametric(b *graph.Builder, a backend.Act, what string, alpha, usual float32, in []op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	if alpha == 0 {
		alpha = usual
	}
	if !(alpha > 0 && alpha <= math.MaxFloat32) {
		return op.None, fmt.Errorf("%s is %v, want more than 0", what, alpha)
	}
	return b.Apply(backend.Function{Act: a, Alpha: alpha}, x), nil
}
