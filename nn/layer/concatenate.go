package layer

import (
	"fmt"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Concatenate joins its inputs' channels, pixel by pixel: the skip connection of a U-Net. All have the same rows and
// columns.
type Concatenate struct{}

// Kind returns Keras's name of the layer.
func (*Concatenate) Kind() string { return "Concatenate" }

// Build emits a copy for each input.
func (*Concatenate) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	if len(in) < 2 {
		return op.None, fmt.Errorf("it has %d input, want at least 2: name them, as inputs: [a, b]", len(in))
	}
	s := b.Shape(in[0])
	for i, x := range in[1:] {
		t := b.Shape(x)
		if t.H != s.H || t.W != s.W {
			return op.None, fmt.Errorf("input %d has the shape %s, want the rows and columns of the first, %s", i+2, graph.ShapeText(t), graph.ShapeText(b.Shape(in[0])))
		}
		s.C += t.C
	}
	b.Module()
	out := b.New(s)
	to := 0
	for _, x := range in {
		count := b.Shape(x).C
		b.Emit(&op.CopyChannels{Out: out, To: to, X: x, Count: count, First: to == 0})
		to += count
	}
	return out, nil
}
