package layer

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// UpSampling2D repeats each pixel Size times in both directions.
type UpSampling2D struct {
	Size int `yaml:"size"`
}

// Kind returns Keras's name of the layer.
func (*UpSampling2D) Kind() string { return "UpSampling2D" }

// Build emits the upsampling.
func (l *UpSampling2D) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	s, err := backend.NewUpsample(b.Shape(x), l.Size)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.Upsample{Shape: s, Out: out, X: x})
	b.Module()
	return out, nil
}
