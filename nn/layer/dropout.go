package layer

import (
	"fmt"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/rng"
)

// Dropout zeroes a share of the elements in training and scales up the rest; it does nothing otherwise.
type Dropout struct {
	Rate float32 `yaml:"rate"`
}

// Kind returns Keras's name of the layer.
func (*Dropout) Kind() string { return "Dropout" }

// Build emits the dropout, in training.
func (l *Dropout) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	if !(l.Rate >= 0 && l.Rate < 1) {
		return op.None, fmt.Errorf("rate is %v, want 0 <= rate < 1", l.Rate)
	}
	b.Module()
	if !b.Training() || l.Rate == 0 {
		return x, nil
	}
	out := b.New(b.Shape(x))
	b.Emit(&op.Dropout{Rate: l.Rate, Source: source(b), Out: out, X: x, StepParams: b.StepParams()})
	b.Elementwise(out, x)
	return out, nil
}

// source is where a layer draws its random numbers from.
func source(b *graph.Builder) rng.Source {
	return rng.Source{Seed: b.Seed(), Stream: rng.StreamLayer + uint32(b.Layer())}
}
