package layer

import (
	"fmt"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Multiply multiplies its inputs, element by element. All have the shape of the first, or are vectors of its channels, such as the
// weights of channels in squeeze-and-excitation (Hu et al., 2018).
type Multiply struct{}

// Kind returns Keras's name of the layer.
func (*Multiply) Kind() string { return "Multiply" }

// Build emits the product.
func (*Multiply) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	if len(in) < 2 {
		return op.None, fmt.Errorf("it has %d input, want at least 2: name them, as inputs: [a, b]", len(in))
	}
	s := b.Shape(in[0])
	for i, x := range in[1:] {
		if t := b.Shape(x); t != s && (t.H*t.W != 1 || t.C != s.C) {
			return op.None, fmt.Errorf("input %d has the shape %s, want that of the first, %s, or a vector of its %d channels", i+2,
				graph.ShapeText(t), graph.ShapeText(s), s.C)
		}
	}
	b.Module()
	product := in[0]
	for _, x := range in[1:] {
		out := b.New(s)
		b.Emit(&op.Times{Out: out, A: product, B: x})
		product = out
	}
	return product, nil
}
