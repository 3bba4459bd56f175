// Package safetensors reads and writes the safetensors file format: named
// tensors and a few strings, without any code to run.
//
// A file is eight bytes with the little endian length of the header, the
// header, and the data. The header is a JSON object of one entry per tensor,
// giving its dtype, shape and byte offsets in the data, and of the optional
// entry "__metadata__", an object of strings.
//
// The reader is strict: what it accepts is well formed to the last byte, and
// no input makes it panic or allocate out of proportion to the input's size.
package safetensors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
)

// maxHeader is the format's bound on the header, in bytes.
const maxHeader = 100_000_000

// metadataKey is the header entry that is not a tensor.
const metadataKey = "__metadata__"

// A DType is the type of a tensor's elements, spelled as in the header.
type DType string

// The dtypes of the format.
const (
	BOOL    DType = "BOOL"
	U8      DType = "U8"
	I8      DType = "I8"
	F8_E5M2 DType = "F8_E5M2"
	F8_E4M3 DType = "F8_E4M3"
	I16     DType = "I16"
	U16     DType = "U16"
	F16     DType = "F16"
	BF16    DType = "BF16"
	I32     DType = "I32"
	U32     DType = "U32"
	F32     DType = "F32"
	F64     DType = "F64"
	I64     DType = "I64"
	U64     DType = "U64"
)

// Size returns the size of one element in bytes, or 0 if d is not a dtype of
// the format.
func (d DType) Size() int {
	switch d {
	case BOOL, U8, I8, F8_E5M2, F8_E4M3:
		return 1
	case I16, U16, F16, BF16:
		return 2
	case I32, U32, F32:
		return 4
	case F64, I64, U64:
		return 8
	}
	return 0
}

// A Tensor is a named array. Its elements lie in Data in row-major order,
// little endian. A scalar has an empty Shape; a tensor with a zero dimension
// has no data.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// FromFloat32s returns an F32 tensor with a copy of v. That shape and v agree
// is checked by [File.Write].
func FromFloat32s(name string, shape []int, v []float32) Tensor {
	data := make([]byte, 0, 4*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return Tensor{Name: name, DType: F32, Shape: slices.Clone(shape), Data: data}
}

// FromUint64s is [FromFloat32s] for a U64 tensor.
func FromUint64s(name string, shape []int, v []uint64) Tensor {
	data := make([]byte, 0, 8*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint64(data, x)
	}
	return Tensor{Name: name, DType: U64, Shape: slices.Clone(shape), Data: data}
}

// FromUint8s is [FromFloat32s] for a U8 tensor.
func FromUint8s(name string, shape []int, v []uint8) Tensor {
	return Tensor{Name: name, DType: U8, Shape: slices.Clone(shape), Data: slices.Clone(v)}
}

// Float32s returns a copy of the elements of an F32 tensor. It is an error if
// t has another dtype, or if its shape and data disagree.
func (t *Tensor) Float32s() ([]float32, error) {
	if err := t.expect(F32); err != nil {
		return nil, err
	}
	v := make([]float32, len(t.Data)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return v, nil
}

// ToFloat32 returns an F32 tensor as it is, and one of F16, BF16 or F64 with its elements as float32, rounded to nearest if they are of F64. It
// is an error for any other dtype.
func (t *Tensor) ToFloat32() (Tensor, error) {
	var at func(b []byte) float32
	switch t.DType {
	case F32:
		return *t, nil
	case F64:
		at = func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) }
	case BF16:
		at = func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) }
	case F16:
		at = func(b []byte) float32 { return halfToFloat32(binary.LittleEndian.Uint16(b)) }
	default:
		return Tensor{}, fmt.Errorf("safetensors: tensor %q has dtype %s, want F32, F16, BF16 or F64", t.Name, t.DType)
	}
	size := t.DType.Size()
	v := make([]float32, len(t.Data)/size)
	for i := range v {
		v[i] = at(t.Data[i*size:])
	}
	return FromFloat32s(t.Name, t.Shape, v), nil
}

// halfToFloat32 returns the value of a number of IEEE 754's half precision.
func halfToFloat32(h uint16) float32 {
	const fraction = 1<<10 - 1
	sign, exponent, f := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&fraction)
	switch exponent {
	case 0: // zero and what is below the smallest normal number, in units of 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(f)*0x1p-24))
	case 31: // infinities and NaN
		return math.Float32frombits(sign | 255<<23 | f<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | f<<13)
}

// Uint64s is [Tensor.Float32s] for a U64 tensor.
func (t *Tensor) Uint64s() ([]uint64, error) {
	if err := t.expect(U64); err != nil {
		return nil, err
	}
	v := make([]uint64, len(t.Data)/8)
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(t.Data[8*i:])
	}
	return v, nil
}

// Uint8s is [Tensor.Float32s] for a U8 tensor.
func (t *Tensor) Uint8s() ([]uint8, error) {
	if err := t.expect(U8); err != nil {
		return nil, err
	}
	return slices.Clone(t.Data), nil
}

// NotFinite returns the first element of an F32 tensor that is NaN or an infinity, and its index; found is false if there
// is none, as in a tensor of another dtype.
func (t *Tensor) NotFinite() (index int, value float32, found bool) {
	if t.DType != F32 {
		return 0, 0, false
	}
	for i := 0; i+4 <= len(t.Data); i += 4 {
		if bits := binary.LittleEndian.Uint32(t.Data[i:]); bits&0x7f800000 == 0x7f800000 { // the largest exponent
			return i / 4, math.Float32frombits(bits), true
		}
	}
	return 0, 0, false
}

// expect reports whether t is a valid tensor of dtype d.
func (t *Tensor) expect(d DType) error {
	if t.DType != d {
		return fmt.Errorf("safetensors: tensor %q: dtype is %s, want %s", t.Name, t.DType, d)
	}
	if err := t.check(); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return nil
}

// check reports whether the dtype, shape and data of t agree.
func (t *Tensor) check() error {
	n, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if n != len(t.Data) {
		return fmt.Errorf("tensor %q: %s %v takes %d bytes, the data has %d", t.Name, t.DType, t.Shape, n, len(t.Data))
	}
	return nil
}

// byteSize returns the size in bytes of a tensor.
func byteSize(d DType, shape []int) (int, error) {
	size := d.Size()
	if size == 0 {
		return 0, fmt.Errorf("unknown dtype %q", d)
	}
	n := 1
	for _, dim := range append(slices.Clone(shape), size) {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim > 0 && n > math.MaxInt/dim {
			return 0, fmt.Errorf("the size of %s %v overflows", d, shape)
		}
		n *= dim
	}
	return n, nil
}

// A File is the content of a safetensors file.
type File struct {
	Metadata map[string]string // nil if there is none
	Tensors  []Tensor          // in the order of their data
}

// checksumKey is the metadata's entry with a SHA-256 of all else that the file says.
const checksumKey = "convae_sha256"

// AddChecksum puts into the metadata a SHA-256 of the other metadata and of the tensors: [Read] then finds any bit that has
// changed since. Files of others have none.
func (f *File) AddChecksum() {
	metadata := maps.Clone(f.Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata[checksumKey] = f.checksum()
	f.Metadata = metadata
}

// verify reports a file that has another checksum than it states.
func (f *File) verify() error {
	if want, ok := f.Metadata[checksumKey]; ok && want != f.checksum() {
		return fmt.Errorf("damaged, or changed by other hands: the contents do not have the SHA-256 that the metadata's %s states", checksumKey)
	}
	return nil
}

func (f *File) checksum() string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
		if key != checksumKey {
			fmt.Fprintf(h, "%q %q\n", key, f.Metadata[key])
		}
	}
	for _, t := range f.Tensors {
		fmt.Fprintf(h, "%q %s %v %d\n", t.Name, t.DType, t.Shape, len(t.Data))
		h.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Tensor returns the tensor of the given name, and whether there is one. It
// points into f.Tensors.
func (f *File) Tensor(name string) (*Tensor, bool) {
	i := slices.IndexFunc(f.Tensors, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		return nil, false
	}
	return &f.Tensors[i], true
}
