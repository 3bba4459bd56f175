package layer

import (
	"fmt"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Sampling makes a Gaussian code of means and logarithms of variances: of its input's channels the first half are means.
// In training it draws the code, and the loss takes in the code's divergence from the standard normal distribution;
// otherwise the code is the means. It ends an encoder.
type Sampling struct{}

// Kind returns the layer's name.
func (*Sampling) Kind() string { return "Sampling" }

// Build emits the drawing of the code.
func (*Sampling) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	s := b.Shape(x)
	if s.C%2 != 0 {
		return op.None, fmt.Errorf("%d channels are no pairs of a mean and a logarithm of a variance: want twice the code's channels before it", s.C)
	}
	s.C /= 2
	out := b.New(s)
	b.Emit(&op.Sample{Source: source(b), Code: out, Stats: x, StepParams: b.StepParams()})
	return out, nil
}
