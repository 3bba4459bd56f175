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
	s, x, err := pool(b, l.Size, l.Stride, l.Padding, in)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.MaxPool{Shape: s, Out: out, X: x})
	b.Module()
	return out, nil
}

// pool returns the input of a layer that pools, and its geometry.
func pool(b *graph.Builder, size, stride int, padding string, in []op.Value) (s backend.PoolShape, x op.Value, err error) {
	if x, err = one(in); err != nil {
		return s, x, err
	}
	pad, err := parsePadding(padding)
	if err != nil {
		return s, x, err
	}
	s, err = backend.NewPool(backend.PoolSpec{X: b.Shape(x), Size: size, Stride: stride, Padding: pad})
	return s, x, err
}

// AveragePooling2D takes the mean of each window, in which padding does not count.
type AveragePooling2D struct {
	Size    int    `yaml:"size"`
	Stride  int    `yaml:"stride,omitempty" zero:"1 or more"` // Size by default
	Padding string `yaml:"padding,omitempty"`                 // same (default) or valid
}

// Kind returns Keras's name of the layer.
func (*AveragePooling2D) Kind() string { return "AveragePooling2D" }

// Build emits the pool.
func (l *AveragePooling2D) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	s, x, err := pool(b, l.Size, l.Stride, l.Padding, in)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.AveragePool{Shape: s, Out: out, X: x})
	b.Module()
	return out, nil
}

// GlobalAveragePooling2D takes the mean of each channel over the whole image: a vector.
type GlobalAveragePooling2D struct{}

// Kind returns Keras's name of the layer.
func (*GlobalAveragePooling2D) Kind() string { return "GlobalAveragePooling2D" }

// Build emits the mean.
func (*GlobalAveragePooling2D) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	s := b.Shape(x)
	out := b.New(backend.Vec(s.C))
	b.Emit(&op.SumPixels{Scale: 1 / float32(s.H*s.W), Out: out, A: x})
	b.Module()
	return out, nil
}
