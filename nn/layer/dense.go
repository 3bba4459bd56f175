package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Dense is a fully connected layer; its input must be flat.
type Dense struct {
	Units       int               `yaml:"units"`
	Activation  string            `yaml:"activation,omitempty"`
	NoBias      bool              `yaml:"no_bias,omitempty"`
	Initializer graph.Initializer `yaml:"initializer,omitempty"`
}

// Kind returns Keras's name of the layer.
func (*Dense) Kind() string { return "Dense" }

// Build emits the product and its activation.
func (l *Dense) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, size, err := flat(b, in)
	if err != nil {
		return op.None, err
	}
	s, err := backend.NewDense(backend.DenseSpec{N: b.Samples(), In: size, Out: l.Units})
	if err != nil {
		return op.None, err
	}
	w, bias, made, err := b.Weighted(graph.Weights{Role: graph.DenseWeights, Shape: s.Weights(), Units: l.Units,
		FanIn: size, FanOut: l.Units, Initializer: l.Initializer, NoBias: l.NoBias}, x)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.OutShape())
	b.Emit(&op.Dense{Shape: s, Out: out, X: x, W: w, Bias: bias})
	made(out)
	return b.Activate(l.Activation, out)
}

// flat returns the one input of a layer that wants a vector, and its size.
func flat(b *graph.Builder, in []op.Value) (x op.Value, size int, err error) {
	if x, err = one(in); err != nil {
		return op.None, 0, err
	}
	s := b.Shape(x)
	if s.H*s.W != 1 {
		return op.None, 0, fmt.Errorf("the input %s is not flat: put a flatten layer before it", graph.ShapeText(s))
	}
	return x, s.C, nil
}
