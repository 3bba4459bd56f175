package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Flatten makes an image a vector, rows first and channels last as in Keras.
type Flatten struct{}

// Kind returns Keras's name of the layer.
func (*Flatten) Kind() string { return "Flatten" }

// Build emits the change of shape, if there is one.
func (*Flatten) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	out := b.Reshape(backend.Vec(b.Shape(x).Image()), x)
	b.Module()
	return out, nil
}

// Reshape gives the input another shape: one number for a vector or three for rows, columns, channels.
type Reshape struct {
	Shape []int `yaml:"shape"`
}

// Kind returns Keras's name of the layer.
func (*Reshape) Kind() string { return "Reshape" }

// Build emits the change of shape, if there is one.
func (l *Reshape) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	s, err := ParseShape(l.Shape)
	if err != nil {
		return op.None, err
	}
	if from := b.Shape(x); s.Len() != from.Image() {
		return op.None, fmt.Errorf("shape %s has %d elements, the input %s has %d", graph.ShapeText(s), s.Len(), graph.ShapeText(from), from.Image())
	}
	out := b.Reshape(s, x)
	b.Module()
	return out, nil
}
