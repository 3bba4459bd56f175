package backend

import "fmt"

// Shape is the extent of a tensor: images, rows, columns, channels. Weights use it as (out, rows, columns, in), a
// flat vector as (1, 1, 1, n).
type Shape struct{ N, H, W, C int }

// Vec returns the shape of a flat vector of n elements.
func Vec(n int) Shape { return Shape{1, 1, 1, n} }

// Len returns the number of elements.
func (s Shape) Len() int { return s.N * s.H * s.W * s.C }

// Image returns the number of elements of one image.
func (s Shape) Image() int { return s.H * s.W * s.C }

// WithN returns the shape for another number of images.
func (s Shape) WithN(n int) Shape { s.N = n; return s }

func (s Shape) String() string { return fmt.Sprintf("(%d, %d, %d, %d)", s.N, s.H, s.W, s.C) }

// Role says what a tensor is for; a backend lays out each role as suits it.
type Role uint8

const (
	Activation Role = iota // float32 images; may keep a zero border round each image and unused channels
	Param                  // float32 weights (out, rows, columns, in) or a bias (1, 1, 1, n), in memory that starts as zeros; may keep unused channels, which stay zero
	Flat                   // float32, nothing between the elements: Bytes is 4*Len; aligned to 4 bytes only
	Byte                   // uint8: pixels of a data set, arg-max of a pool
	Staged                 // uint8: pixels of a batch's samples in the order in which they are drawn
	Index                  // int32: the order of a data set
	Packed                 // a backend's own form of weights, made by a Pack op; Bytes is Len
	PerStep                // a StepParams
)

func (k Role) String() string {
	return [...]string{"activation", "param", "flat", "byte", "staged", "index", "packed", "stepParams"}[k]
}

// Buffer is memory of a device. Only the backend that made it knows what is in it.
type Buffer interface {
	Size() int // bytes
}

// Tensor is a shape placed in a buffer. It is a value: views cost nothing and nothing is allocated by passing one.
// The zero Tensor stands for an argument that an op does not need.
type Tensor struct {
	Shape  Shape
	Role   Role
	Buffer Buffer
	Offset int // bytes from the start of the buffer, a multiple of Align (of 4 for a Flat)
}

// Align is the alignment of tensors in a buffer, in bytes.
const Align = 256

// IsZero reports whether t is the zero Tensor.
func (t Tensor) IsZero() bool { return t.Buffer == nil }

// Range returns elements lo to hi of a Flat tensor as a Flat tensor.
func (t Tensor) Range(lo, hi int) Tensor {
	if t.Role != Flat || lo < 0 || hi < lo || hi > t.Shape.Len() {
		panic("backend: Range needs a Flat tensor and bounds within it")
	}
	t.Offset += 4 * lo
	t.Shape = Vec(hi - lo)
	return t
}

// AlignUp rounds n bytes up to a multiple of Align.
func AlignUp(n int) int { return (n + Align - 1) / Align * Align }

// Params are the tensors of a layer: weights, bias (zero when the layer has none) and the backend's packed form of
// the weights (zero when it needs none, and in gradients).
type Params struct{ W, Bias, Packed Tensor }

// Needs is the memory that a family's ops want besides their arguments, in bytes: Packed for the packed form of the
// weights, Workspace for scratch (see Memory.SetWorkspace), Forward for that of the forward op alone. Packed does not depend
// on the number of images, and none grows when there are fewer.
type Needs struct{ Packed, Workspace, Forward int }
