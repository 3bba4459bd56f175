package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Concrete selects inputs: it has Select outputs, in training each a random mixture of the inputs that a temperature drives
// towards one of them, otherwise the likeliest one. It begins an encoder, on a flat input.
type Concrete struct {
	Select int `yaml:"select"`
}

// Kind returns the layer's name.
func (*Concrete) Kind() string { return "Concrete" }

// Build emits the drawing of the selection, and what it picks.
func (l *Concrete) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	if !b.First() {
		return op.None, fmt.Errorf("it selects inputs: want it first in the encoder, after a flatten at most")
	}
	x, size, err := flat(b, in)
	if err != nil {
		return op.None, err
	}
	if l.Select < 1 || l.Select > size {
		return op.None, fmt.Errorf("select is %d, want 1 to the %d inputs", l.Select, size)
	}
	s, err := backend.NewDense(backend.DenseSpec{N: b.Samples(), In: size, Out: l.Select})
	if err != nil {
		return op.None, err
	}
	logits, _, _, err := b.Weighted(graph.Weights{Role: graph.DenseWeights, Shape: s.Weights(), Units: l.Select,
		FanIn: size, FanOut: l.Select, Initializer: graph.Initializer{Name: "glorot_normal"}, NoBias: true}, x)
	if err != nil {
		return op.None, err
	}
	selection, out := b.NewFixed(s.Weights()), b.New(s.OutShape())
	b.Emit(&op.Concretize{Source: source(b), Selection: selection, Logits: logits, StepParams: b.StepParams()})
	b.Emit(&op.Pick{Outputs: s.OutShape().Len(), Out: out, X: x, Selection: selection, Logits: logits, StepParams: b.StepParams()})
	return out, nil
}
