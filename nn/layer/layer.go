// Package layer has the layers of models, by Keras's names. Each is a struct with what a configuration can say of it, and
// registers itself under its key, such as conv2d; package graph says how layers of other modules do the same.
package layer

import (
	"errors"
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

func init() {
	graph.Register("conv2d", func() graph.Layer { return new(Conv2D) })
	graph.Register("conv2d_transpose", func() graph.Layer { return new(Conv2DTranspose) })
	graph.Register("depthwise_conv2d", func() graph.Layer { return new(DepthwiseConv2D) })
	graph.Register("separable_conv2d", func() graph.Layer { return new(SeparableConv2D) })
	graph.Register("maxpool2d", func() graph.Layer { return new(MaxPool2D) })
	graph.Register("average_pooling2d", func() graph.Layer { return new(AveragePooling2D) })
	graph.Register("global_average_pooling2d", func() graph.Layer { return new(GlobalAveragePooling2D) })
	graph.Register("depth_to_space", func() graph.Layer { return new(DepthToSpace) })
	graph.Register("multiply", func() graph.Layer { return new(Multiply) })
	graph.Register("upsampling2d", func() graph.Layer { return new(UpSampling2D) })
	graph.Register("dense", func() graph.Layer { return new(Dense) })
	graph.Register("activation", func() graph.Layer { return new(Activation) })
	graph.Register("leaky_relu", func() graph.Layer { return new(LeakyReLU) })
	graph.Register("elu", func() graph.Layer { return new(ELU) })
	graph.Register("flatten", func() graph.Layer { return new(Flatten) })
	graph.Register("reshape", func() graph.Layer { return new(Reshape) })
	graph.Register("dropout", func() graph.Layer { return new(Dropout) })
	graph.Register("rescaling", func() graph.Layer { return new(Rescaling) })
	graph.Register("sampling", func() graph.Layer { return new(Sampling) })
	graph.Register("vector_quantizer", func() graph.Layer { return new(VectorQuantizer) })
	graph.Register("concrete", func() graph.Layer { return new(Concrete) })
	graph.Register("group_normalization", func() graph.Layer { return new(GroupNormalization) })
	graph.Register("layer_normalization", func() graph.Layer { return new(LayerNormalization) })
	graph.Register("batch_normalization", func() graph.Layer { return new(BatchNormalization) })
	graph.Register("spatial_attention", func() graph.Layer { return new(SpatialAttention) })
	graph.Register("add", func() graph.Layer { return new(Add) })
	graph.Register("concatenate", func() graph.Layer { return new(Concatenate) })
}

// one returns the input of a layer that takes one.
func one(in []op.Value) (op.Value, error) {
	if len(in) != 1 {
		return op.None, fmt.Errorf("it has %d inputs, want 1", len(in))
	}
	return in[0], nil
}

// Size is a height and a width. In YAML a single number means both.
type Size struct{ H, W int }

// Square returns the size n by n.
func Square(n int) Size { return Size{n, n} }

// UnmarshalYAML reads "3" or "[3, 5]".
func (s *Size) UnmarshalYAML(unmarshal func(any) error) error {
	var p []float64 // of which an int would lose the fraction
	var n float64
	if unmarshal(&n) == nil {
		p = []float64{n, n}
	} else if unmarshal(&p) != nil || len(p) != 2 {
		return errSize
	}
	*s = Size{int(p[0]), int(p[1])}
	if float64(s.H) != p[0] || float64(s.W) != p[1] {
		return errSize
	}
	return nil
}

var errSize = errors.New("want a whole number, or [rows, columns]")

// MarshalYAML writes a square as one number.
func (s Size) MarshalYAML() (any, error) {
	if s.H == s.W {
		return s.H, nil
	}
	return []int{s.H, s.W}, nil
}

func parsePadding(s string) (backend.Padding, error) {
	switch s {
	case "", "same":
		return backend.Same, nil
	case "valid":
		return backend.Valid, nil
	}
	return 0, fmt.Errorf("padding is %q, want same or valid", s)
}

// ParseShape reads the shape of a sample: [n] or [rows, columns, channels].
func ParseShape(d []int) (backend.Shape, error) {
	const limit = 1 << 30
	n := 1
	for _, v := range d {
		if v < 1 || v > limit/n {
			return backend.Shape{}, fmt.Errorf("shape %v: want extents of at least 1 and at most %d elements", d, limit)
		}
		n *= v
	}
	switch len(d) {
	case 1:
		return backend.Vec(d[0]), nil
	case 3:
		return backend.Shape{N: 1, H: d[0], W: d[1], C: d[2]}, nil
	}
	return backend.Shape{}, fmt.Errorf("shape %v: want [n] or [rows, columns, channels]", d)
}
