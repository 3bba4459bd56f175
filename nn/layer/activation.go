package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Activation applies a function to every element.
type Activation struct {
	Function string `yaml:"function"` // relu, sigmoid, tanh, linear
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
