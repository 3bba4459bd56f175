package layer

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// SpatialAttention lets every pixel of a sample take what it wants of all others (Vaswani and others, 2017), as the autoencoder of latent
// diffusion does: queries, keys and values are made of each pixel's channels, by weights of their own, and what comes of them goes through
// weights again. The input may be normalised first, and added to the result.
type SpatialAttention struct {
	Heads       int               `yaml:"heads,omitempty" zero:"1 or more"` // 1
	Groups      int               `yaml:"groups,omitempty"`                 // of a normalisation of the input; 0 is none
	Epsilon     float32           `yaml:"epsilon,omitempty" zero:"more than 0"`
	Residual    bool              `yaml:"residual,omitempty"` // the input is added
	Initializer graph.Initializer `yaml:"initializer,omitempty"`
}

// Kind returns the name of the layer.
func (*SpatialAttention) Kind() string { return "SpatialAttention" }

// Build emits the normalisation, four products of pixels, the attention and the sum. Parameters have the names that the diffusers library
// gives them: group_norm, to_q, to_k, to_v, to_out.0.
func (l *SpatialAttention) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	shape := b.Shape(x)
	s, err := backend.NewAttention(backend.AttentionSpec{X: shape, Heads: max(l.Heads, 1)})
	if err != nil {
		return op.None, err
	}
	project, err := backend.NewConv(backend.ConvSpec{X: shape, Filters: shape.C, KernelH: 1, KernelW: 1})
	if err != nil {
		return op.None, err
	}
	init, err := l.Initializer.Distribution(shape.C, shape.C)
	if err != nil {
		return op.None, err
	}
	from := x
	if l.Groups != 0 {
		c := backend.GroupNormSpec{X: shape, Groups: l.Groups, Epsilon: l.Epsilon}
		if c.Epsilon == 0 {
			c.Epsilon = 1e-3
		}
		n, err := backend.NewGroupNorm(c)
		if err != nil {
			return op.None, err
		}
		gamma := b.Param("group_norm.weight", graph.Param{Shape: backend.Vec(shape.C), Role: graph.Scale, Init: graph.Constant(1)})
		beta := b.Param("group_norm.bias", graph.Param{Shape: backend.Vec(shape.C), Role: graph.Bias})
		from = b.New(shape)
		b.Emit(&op.GroupNorm{Shape: n, Out: from, X: x, Gamma: gamma, Beta: beta})
	}
	product := func(name string, of op.Value) op.Value {
		w := b.Param(name+".weight", graph.Param{Shape: project.Weights(), Role: graph.DenseWeights, Init: init})
		bias := b.Param(name+".bias", graph.Param{Shape: backend.Vec(shape.C), Role: graph.Bias})
		out := b.New(shape)
		b.Emit(&op.Conv{Shape: project, Out: out, X: of, W: w, Bias: bias})
		return out
	}
	q, k, v := product("to_q", from), product("to_k", from), product("to_v", from)
	mixed := b.New(shape)
	b.Emit(&op.Attention{Shape: s, Out: mixed, Q: q, K: k, V: v})
	out := product("to_out.0", mixed)
	if l.Residual {
		sum := b.New(shape)
		b.Emit(&op.Plus{Out: sum, A: out, B: x})
		out = sum
	}
	b.Module()
	return out, nil
}
