package layer

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// GroupNormalization normalises groups of neighbouring channels of each sample, over all its pixels (Wu and He, 2018), and scales and
// shifts each channel.
type GroupNormalization struct {
	Groups     int     `yaml:"groups,omitempty" zero:"1 or more"`    // 32
	Epsilon    float32 `yaml:"epsilon,omitempty" zero:"more than 0"` // 0.001, which is added to the variance
	NoCenter   bool    `yaml:"no_center,omitempty"`                  // without a shift
	NoScale    bool    `yaml:"no_scale,omitempty"`                   // without a factor
	Activation string  `yaml:"activation,omitempty"`                 // linear
}

// Kind returns Keras's name of the layer.
func (*GroupNormalization) Kind() string { return "GroupNormalization" }

// Build emits the normalisation and its activation.
func (l *GroupNormalization) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	groups := l.Groups
	if groups == 0 {
		groups = 32
	}
	return normalize(b, in, backend.GroupNormSpec{Groups: groups, Epsilon: l.Epsilon}, l.NoScale, l.NoCenter, l.Activation)
}

// LayerNormalization normalises the channels of each pixel (Ba, Kiros and Hinton, 2016), and scales and shifts each channel.
type LayerNormalization struct {
	Epsilon    float32 `yaml:"epsilon,omitempty" zero:"more than 0"` // 0.001, which is added to the variance
	NoCenter   bool    `yaml:"no_center,omitempty"`                  // without a shift
	NoScale    bool    `yaml:"no_scale,omitempty"`                   // without a factor
	Activation string  `yaml:"activation,omitempty"`                 // linear
}

// Kind returns Keras's name of the layer.
func (*LayerNormalization) Kind() string { return "LayerNormalization" }

// Build emits the normalisation and its activation.
func (l *LayerNormalization) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	return normalize(b, in, backend.GroupNormSpec{Groups: 1, EachPixel: true, Epsilon: l.Epsilon}, l.NoScale, l.NoCenter, l.Activation)
}

// normalize emits a normalisation of the one input.
func normalize(b *graph.Builder, in []op.Value, c backend.GroupNormSpec, noGamma, noBeta bool, activation string) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	if c.Epsilon == 0 {
		c.Epsilon = 1e-3
	}
	c.X = b.Shape(x)
	s, err := backend.NewGroupNorm(c)
	if err != nil {
		return op.None, err
	}
	gamma, beta := b.Scales(c.X.C, noGamma, noBeta)
	out := b.New(c.X)
	b.Emit(&op.GroupNorm{Shape: s, Out: out, X: x, Gamma: gamma, Beta: beta})
	b.Module()
	return b.Activate(activation, out)
}
