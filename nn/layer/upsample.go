package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// UpSampling2D makes images Size times as large in both directions, by repeating pixels or between them.
type UpSampling2D struct {
	Size          int    `yaml:"size"`
	Interpolation string `yaml:"interpolation,omitempty"` // nearest (default) or bilinear
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
	switch l.Interpolation {
	case "", "nearest":
		b.Emit(&op.Upsample{Shape: s, Out: out, X: x})
	case "bilinear":
		b.Emit(&op.Bilinear{Shape: s, Out: out, X: x})
	default:
		return op.None, fmt.Errorf("interpolation is %q, want nearest or bilinear", l.Interpolation)
	}
	b.Module()
	return out, nil
}
