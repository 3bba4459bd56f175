package backend

import "fmt"

// DepthOrder says which channel of a pixel goes where when it becomes a block of pixels.
type DepthOrder uint8

const (
	BlockFirst   DepthOrder = iota // channel (row*Size+column)*C+c, as TensorFlow and Keras have it
	ChannelFirst                   // channel c*Size²+row*Size+column, as torch.nn.PixelShuffle has it
)

// DepthShape is a rearrangement of the channels of each pixel into a block of Size x Size pixels. Make it with NewDepth.
type DepthShape struct {
	X, Out Shape
	Size   int
	Order  DepthOrder
}

// NewDepth validates a rearrangement and derives its output.
func NewDepth(x Shape, size int, order DepthOrder) (DepthShape, error) {
	s := DepthShape{X: x, Size: size, Order: order}
	if err := checkImages(x); err != nil {
		return s, err
	}
	if size < 1 || size > MaxUp {
		return s, fmt.Errorf("the block size is %d, want 1 to %d", size, MaxUp)
	}
	if x.C%(size*size) != 0 {
		return s, fmt.Errorf("the input has %d channels, want a multiple of %d for blocks of %dx%d", x.C, size*size, size, size)
	}
	s.Out = Shape{x.N, x.H * size, x.W * size, x.C / (size * size)}
	return s, checkSizes(x, s.Out)
}

// Check checks the arguments of DepthToSpace, or the gradients that SpaceToDepth has for them.
func (s *DepthShape) Check(out, x *Tensor) {
	if s.Size < 1 {
		panic(MistakeGeometry)
	}
	out.either(s.Out)
	x.either(s.X)
}
