package driver

import (
	"errors"
	"fmt"
)

// TensorMap is a CUtensorMap: where the elements of a tensor lie, and what box of them a copy of the tensor memory accelerator brings. A kernel has it as
// a parameter; what its bytes mean is the driver's own.
type TensorMap [16]uint64

// ElementType is the type of a tensor's elements.
type ElementType int

// The types of elements, with their numbers in cuda.h.
const (
	ElementFloat32  ElementType = 7
	ElementBFloat16 ElementType = 9
)

// Bytes is the size of an element.
func (t ElementType) Bytes() int {
	if t == ElementFloat32 {
		return 4
	}
	return 2
}

// Tiled is a tensor of 1 to 5 dimensions, the one whose elements are neighbours first. A copy brings Box elements of each dimension to
// shared memory, one behind the other in the same order, and zeros for those outside of the tensor.
type Tiled struct {
	Type    ElementType
	Base    Ptr   // a multiple of 16
	Sizes   []int // elements of each dimension
	Strides []int // bytes from an element to the next, of all dimensions but the first: multiples of 16, each of the one before
	Box     []int // elements, up to 256 of each dimension, and multiples of 16 bytes of the first
}

// TakesTensorMaps says whether a device takes tensor maps: by its compute capability, and by the version of CUDA that its driver is for.
func (i Info) TakesTensorMaps() bool { return i.Major >= 9 && i.Driver >= 12000 }

// Check says what is wrong with a tensor, by the rules that cuTensorMapEncodeTiled documents.
func (t *Tiled) Check() error {
	rank, bytes := len(t.Sizes), t.Type.Bytes()
	switch {
	case t.Type != ElementFloat32 && t.Type != ElementBFloat16:
		return fmt.Errorf("elements of type %d", t.Type)
	case rank < 1 || rank > 5:
		return fmt.Errorf("a tensor of %d dimensions, want 1 to 5", rank)
	case len(t.Strides) != rank-1 || len(t.Box) != rank:
		return fmt.Errorf("%d strides and a box of %d dimensions for a tensor of %d", len(t.Strides), len(t.Box), rank)
	case t.Base == 0 || t.Base%16 != 0:
		return fmt.Errorf("a tensor at address %#x, want a multiple of 16", uint64(t.Base))
	case t.Box[0]*bytes%16 != 0:
		return fmt.Errorf("a box of %d elements of %d bytes, want a multiple of 16 bytes", t.Box[0], bytes)
	}
	for i, n := range t.Sizes {
		if n < 1 || n > 1<<32 {
			return fmt.Errorf("dimension %d has %d elements, want 1 to 2^32", i, n)
		}
		if b := t.Box[i]; b < 1 || b > 256 {
			return fmt.Errorf("the box has %d elements of dimension %d, want 1 to 256", b, i)
		}
	}
	for i, s := range t.Strides {
		if s < 1 || s%16 != 0 || s >= 1<<40 {
			return fmt.Errorf("dimension %d has a stride of %d bytes, want a multiple of 16 below 2^40", i+1, s)
		}
		if i > 0 && s%t.Strides[i-1] != 0 {
			return fmt.Errorf("dimension %d has a stride of %d bytes, want a multiple of the %d of the one before", i+1, s, t.Strides[i-1])
		}
	}
	return nil
}

// ErrNoTensorMaps says that a device or its driver knows no tensor maps.
var ErrNoTensorMaps = errors.New("no tensor maps: they need compute capability 9.0 and a driver for CUDA 12.0 or newer")
