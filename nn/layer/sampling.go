package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Sampling makes a Gaussian code of means and logarithms of variances: of its input's channels the first half are means.
// In training it draws the code, and the loss takes in the code's divergence from the standard normal distribution;
// otherwise the code is the means. It ends an encoder.
type Sampling struct {
	Clamp []float32 `yaml:"clamp,omitempty,flow"` // [least, most] that logarithms of variances are clamped to; as they are if it is left out
}

// Kind returns the layer's name.
func (*Sampling) Kind() string { return "Sampling" }

// Build emits the drawing of the code.
func (l *Sampling) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	s := b.Shape(x)
	if s.C%2 != 0 {
		return op.None, fmt.Errorf("%d channels are no pairs of a mean and a logarithm of a variance: want twice the code's channels before it", s.C)
	}
	if l.Clamp != nil {
		if len(l.Clamp) != 2 || !(l.Clamp[0] < l.Clamp[1]) {
			return op.None, fmt.Errorf("clamp is %v, want [least, most] of the logarithms of variances", l.Clamp)
		}
		clamped := b.New(s)
		b.Emit(&op.ClampVariance{Limits: backend.Limits{Min: l.Clamp[0], Max: l.Clamp[1]}, Out: clamped, Stats: x})
		x = clamped
	}
	s.C /= 2
	out := b.New(s)
	b.Emit(&op.Sample{Source: source(b), Code: out, Stats: x, StepParams: b.StepParams()})
	return out, nil
}
