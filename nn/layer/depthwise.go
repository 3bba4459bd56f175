package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// DepthwiseConv2D convolves every channel by itself, with DepthMultiplier filters for each.
type DepthwiseConv2D struct {
	Kernel          Size              `yaml:"kernel"`                                      // 1 to 11
	Stride          int               `yaml:"stride,omitempty" zero:"1 to 11"`             // 1
	Dilation        int               `yaml:"dilation,omitempty" zero:"1 to 11"`           // 1
	DepthMultiplier int               `yaml:"depth_multiplier,omitempty" zero:"1 or more"` // 1
	Padding         string            `yaml:"padding,omitempty"`                           // same (default; Keras's is valid) or valid
	Activation      string            `yaml:"activation,omitempty"`                        // linear (default), or as in Activation
	NoBias          bool              `yaml:"no_bias,omitempty"`
	Initializer     graph.Initializer `yaml:"initializer,omitempty"`
}

// Kind returns Keras's name of the layer.
func (*DepthwiseConv2D) Kind() string { return "DepthwiseConv2D" }

// Build emits the convolution and its activation.
func (l *DepthwiseConv2D) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	pad, err := parsePadding(l.Padding)
	if err != nil {
		return op.None, err
	}
	shape := b.Shape(x)
	if l.DepthMultiplier > backend.MaxElements/shape.C {
		return op.None, fmt.Errorf("depth_multiplier is %d: too many channels", l.DepthMultiplier)
	}
	multiplier := max(l.DepthMultiplier, 1)
	s, err := backend.NewGrouped(backend.GroupedSpec{X: shape, Filters: shape.C * multiplier, Groups: shape.C, KernelH: l.Kernel.H, KernelW: l.Kernel.W,
		Stride: l.Stride, Dilation: l.Dilation, Padding: pad})
	if err != nil {
		return op.None, err
	}
	// Fans as Keras counts them for its kernel (rows, columns, channels, multiplier).
	area := l.Kernel.H * l.Kernel.W
	w := graph.Weights{FanIn: area * shape.C, FanOut: area * multiplier, Initializer: l.Initializer, NoBias: l.NoBias}
	return grouped(b, x, s, w, l.Activation)
}

// SeparableConv2D is a depthwise convolution without a bias, and a convolution of 1x1 of what it gives.
type SeparableConv2D struct {
	Filters         int               `yaml:"filters"`
	Kernel          Size              `yaml:"kernel"` // the fields that DepthwiseConv2D has too are as there
	Stride          int               `yaml:"stride,omitempty" zero:"1 to 11"`
	Dilation        int               `yaml:"dilation,omitempty" zero:"1 to 11"`
	DepthMultiplier int               `yaml:"depth_multiplier,omitempty" zero:"1 or more"`
	Padding         string            `yaml:"padding,omitempty"`
	Activation      string            `yaml:"activation,omitempty"`
	NoBias          bool              `yaml:"no_bias,omitempty"`
	Initializer     graph.Initializer `yaml:"initializer,omitempty"` // of the weights of both
}

// Kind returns Keras's name of the layer.
func (*SeparableConv2D) Kind() string { return "SeparableConv2D" }

// Build emits both convolutions and the activation.
func (l *SeparableConv2D) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	depthwise := DepthwiseConv2D{Kernel: l.Kernel, Stride: l.Stride, Dilation: l.Dilation, DepthMultiplier: l.DepthMultiplier, Padding: l.Padding,
		NoBias: true, Initializer: l.Initializer}
	x, err := depthwise.Build(b, in...)
	if err != nil {
		return op.None, err
	}
	pointwise := Conv2D{Filters: l.Filters, Kernel: Square(1), Activation: l.Activation, NoBias: l.NoBias, Initializer: l.Initializer}
	return pointwise.Build(b, x)
}
