package layer

import (
	"fmt"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Add adds its inputs up, element by element: a residual connection. All have the same shape.
type Add struct{}

// Kind returns Keras's name of the layer.
func (*Add) Kind() string { return "Add" }

// Build emits the sum.
func (*Add) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	if len(in) < 2 {
		return op.None, fmt.Errorf("it has %d input, want at least 2: name them, as inputs: [a, b]", len(in))
	}
	for i, x := range in[1:] {
		if b.Shape(x) != b.Shape(in[0]) {
			return op.None, fmt.Errorf("input %d has the shape %s, want that of the first, %s", i+2, graph.ShapeText(b.Shape(x)), graph.ShapeText(b.Shape(in[0])))
		}
	}
	b.Module()
	sum := in[0]
	for _, x := range in[1:] {
		out := b.New(b.Shape(x))
		b.Emit(&op.Plus{Out: out, A: sum, B: x})
		sum = out
	}
	return sum, nil
}
