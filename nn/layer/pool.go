package layer

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// MaxPool2D is max-pooling.
type MaxPool2D struct {
	Size    int    `yaml:"size"`
	Stride  int    `yaml:"stride,omitempty" zero:"1 or more"` // Size by default
	Padding string `yaml:"padding,omitempty"`                 // same (default) or valid
}

// Kind returns Keras's name of the layer.
func (*MaxPool2D) Kind() string { return "MaxPooling2D" }

// Build emits the pool.
func (l *MaxPool2D) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	pad, err := parsePadding(l.Padding)
	if err != nil {
		return op.None, err
	}
	s, err := backend.NewPool(backend.PoolSpec{X: b.Shape(x), Size: l.Size, Stride: l.Stride, Padding: pad})
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.MaxPool{Shape: s, Out: out, X: x})
	b.Module()
	return out, nil
}
