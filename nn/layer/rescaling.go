package layer

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Rescaling multiplies every element by a scale and adds an offset: pixels of [0,1] become numbers of [-1,1] with a scale of 2 and an offset
// of -1.
type Rescaling struct {
	Scale  float32 `yaml:"scale" zero:"another number"`
	Offset float32 `yaml:"offset,omitempty"` // 0
}

// Kind returns Keras's name of the layer.
func (*Rescaling) Kind() string { return "Rescaling" }

// Build emits the product and the sum.
func (l *Rescaling) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	if l.Scale == 0 || !finite(l.Scale) || !finite(l.Offset) {
		return op.None, fmt.Errorf("scale is %v and offset %v, want finite numbers, and no scale of 0", l.Scale, l.Offset)
	}
	b.Module()
	out := b.New(b.Shape(x))
	b.Emit(&op.Rescale{Scale: l.Scale, Offset: l.Offset, Out: out, X: x})
	b.Elementwise(out, x)
	return out, nil
}

func finite(v float32) bool { return math.Abs(float64(v)) <= math.MaxFloat32 }
