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

// Role says what a tensor is for; a backend lays out each role as suits it. The type of the elements is the tensor's
// own: a role alone does not say it.
type Role uint8

const (
	Activation Role = iota // images; may keep a zero border round each image and unused channels
	Param                  // weights (out, rows, columns, in) or a bias (1, 1, 1, n), in memory that starts as zeros; may keep unused channels, which stay zero
	Flat                   // nothing between the elements; aligned to one element only
	Pixels                 // pixels of a data set
	Staged                 // pixels of a batch's samples in the order in which they are drawn
	Argmax                 // which element of each window of a pool is its maximum
	Index                  // the order of a data set
	Packed                 // a backend's own form of weights, made by a Pack op; its shape counts bytes
	PerStep                // a StepParams
)

var roleNames = [...]string{"activation", "param", "flat", "pixels", "staged", "argmax", "index", "packed", "per step"}

func (r Role) String() string { return roleNames[r] }

// DType returns the type that the elements of a role have when nothing else is asked for. A PerStep tensor is a struct,
// whose type says nothing.
func (r Role) DType() DType {
	switch r {
	case Pixels, Staged, Argmax, Packed:
		return Uint8
	case Index:
		return Int32
	}
	return Float32
}

// DType is the type of a tensor's elements.
type DType uint8

const (
	Float32 DType = iota
	BFloat16
	Uint8
	Int32
	TF32 // float32 rounded to 10 bits of mantissa: a type of factors, never of a tensor
)

var dtypes = [...]struct {
	name string
	size int
}{{"float32", 4}, {"bfloat16", 2}, {"uint8", 1}, {"int32", 4}, {"tf32", 4}}

func (d DType) String() string { return dtypes[d].name }

// Size returns the bytes of an element.
func (d DType) Size() int { return dtypes[d].size }

// Buffer is memory of a device. Only the backend that made it knows what is in it.
type Buffer interface {
	Size() int // bytes
}

// Tensor is a shape in a buffer. It is a value: views cost nothing and nothing is allocated by passing one.
// The zero Tensor stands for an argument that an op does not need.
type Tensor struct {
	Shape  Shape
	Role   Role
	Type   DType
	Buffer Buffer
	Offset int // bytes from the start of the buffer, a multiple of Align (of an element's size for a Flat)
}

// NewTensor returns a tensor without memory, whose elements are of the role's usual type.
func NewTensor(r Role, s Shape) Tensor { return Tensor{Shape: s, Role: r, Type: r.DType()} }

// Align is the alignment of tensors in a buffer, in bytes.
const Align = 256

// IsZero reports whether t is the zero Tensor.
func (t Tensor) IsZero() bool { return t.Buffer == nil }

// Range returns elements lo to hi of a Flat tensor as a Flat tensor.
func (t Tensor) Range(lo, hi int) Tensor {
	if t.Role != Flat || lo < 0 || hi < lo || hi > t.Shape.Len() {
		panic("backend: Range needs a Flat tensor and bounds within it")
	}
	t.Offset += t.Type.Size() * lo
	t.Shape = Vec(hi - lo)
	return t
}

// AlignUp rounds n bytes up to a multiple of Align.
func AlignUp(n int) int { return (n + Align - 1) / Align * Align }

// Params are the tensors of a layer: weights, bias (zero when the layer has none) and the backend's packed form of
// the weights (zero when it needs none, and in gradients). Gradients can have a Flat tensor for partial sums; see Partial.
type Params struct{ W, Bias, Packed, Partials Tensor }

// Needs is the memory that a family's ops want besides their arguments, in bytes: Packed for the packed form of the
// weights, Workspace for scratch (see Memory.SetWorkspace), Forward for that of the forward op alone. Packed does not depend
// on the number of images, and none grows when there are fewer.
//
// Partials is how many partial sums the gradients of weights and bias, or the loss, are made in, 0 if in one. PartialBytes of the workspace are
// for them: only the gradients of weights want these, and not when they are given a tensor for partial sums.
type Needs struct{ Packed, Workspace, Forward, Partials, PartialBytes int }
