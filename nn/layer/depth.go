package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// DepthToSpace makes a block of Size x Size pixels of the channels of each pixel, which are Size² times as many as come out: the sub-pixel
// convolution's second half (Shi et al., 2016). Channel (row*Size+column)*C+c of C goes to row and column of the block, as TensorFlow
// and Keras have it, or in the order torch channel c*Size²+row*Size+column, as torch.nn.PixelShuffle has it.
type DepthToSpace struct {
	Size  int    `yaml:"size"`
	Order string `yaml:"order,omitempty"` // tensorflow (default) or torch
}

// Kind returns TensorFlow's name of the function.
func (*DepthToSpace) Kind() string { return "DepthToSpace" }

// Build emits the rearrangement.
func (l *DepthToSpace) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	order := backend.BlockFirst
	switch l.Order {
	case "", "tensorflow":
	case "torch":
		order = backend.ChannelFirst
	default:
		return op.None, fmt.Errorf("order is %q, want tensorflow or torch", l.Order)
	}
	s, err := backend.NewDepth(b.Shape(x), l.Size, order)
	if err != nil {
		return op.None, err
	}
	out := b.New(s.Out)
	b.Emit(&op.DepthToSpace{Shape: s, Out: out, X: x})
	b.Module()
	return out, nil
}
