package trainer

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// npyType is a type of elements in a .npy file.
type npyType struct {
	name  string
	bytes int
	value func(b []byte, order binary.ByteOrder) float32
}

// npyTypes are the types of elements that are read, by what NumPy calls them behind the mark of the byte order.
var npyTypes = map[string]npyType{
	"b1": {"bool", 1, func(b []byte, _ binary.ByteOrder) float32 { return float32(min(b[0], 1)) }},
	"i1": {"int8", 1, func(b []byte, _ binary.ByteOrder) float32 { return float32(int8(b[0])) }},
	"u1": {"uint8", 1, func(b []byte, _ binary.ByteOrder) float32 { return float32(b[0]) }},
	"i2": {"int16", 2, func(b []byte, o binary.ByteOrder) float32 { return float32(int16(o.Uint16(b))) }},
	"u2": {"uint16", 2, func(b []byte, o binary.ByteOrder) float32 { return float32(o.Uint16(b)) }},
	"i4": {"int32", 4, func(b []byte, o binary.ByteOrder) float32 { return float32(int32(o.Uint32(b))) }},
	"u4": {"uint32", 4, func(b []byte, o binary.ByteOrder) float32 { return float32(o.Uint32(b)) }},
	"i8": {"int64", 8, func(b []byte, o binary.ByteOrder) float32 { return float32(int64(o.Uint64(b))) }},
	"u8": {"uint64", 8, func(b []byte, o binary.ByteOrder) float32 { return float32(o.Uint64(b)) }},
	"f2": {"float16", 2, func(b []byte, o binary.ByteOrder) float32 { return halfToFloat32(o.Uint16(b)) }},
	"f4": {"float32", 4, func(b []byte, o binary.ByteOrder) float32 { return math.Float32frombits(o.Uint32(b)) }},
	"f8": {"float64", 8, func(b []byte, o binary.ByteOrder) float32 { return float32(math.Float64frombits(o.Uint64(b))) }},
}

const npyTypeNames = "float16, float32, float64, an integer of up to 64 bits or bool"

// parseNPYType reads the mark of the byte order and the type, as "<f4".
func parseNPYType(descr string) (npyType, binary.ByteOrder, error) {
	var order binary.ByteOrder = binary.LittleEndian
	if len(descr) == 3 {
		switch descr[0] {
		case '>':
			order = binary.BigEndian
			fallthrough
		case '<', '|', '=':
			if t, ok := npyTypes[descr[1:]]; ok {
				return t, order, nil
			}
		}
	}
	return npyType{}, nil, fmt.Errorf("element type is %.40q, want %s", descr, npyTypeNames)
}

// read reads n elements.
func (t npyType) read(r io.Reader, order binary.ByteOrder, n int) ([]float32, error) {
	values := make([]float32, 0, n)
	buf := make([]byte, 1<<13)
	for len(values) < n {
		chunk := buf[:min(len(buf)/t.bytes, n-len(values))*t.bytes]
		if _, err := io.ReadFull(r, chunk); err != nil {
			return nil, err
		}
		for at := 0; at < len(chunk); at += t.bytes {
			values = append(values, t.value(chunk[at:], order))
		}
	}
	return values, nil
}

// halfToFloat32 returns the value of a float16, IEEE 754's binary16.
func halfToFloat32(h uint16) float32 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch {
	case exponent == 31 && fraction != 0:
		return float32(math.NaN())
	case exponent == 31:
		return float32(math.Inf(int(sign)))
	case exponent == 0:
		return float32(math.Copysign(math.Ldexp(fraction, -24), sign))
	}
	return float32(sign * math.Ldexp(1024+fraction, exponent-25))
}

// fromFortran returns the elements of an array in C order that are in Fortran order, the first index the fastest.
func fromFortran(values []float32, shape []int) []float32 {
	out, index, strides := make([]float32, len(values)), make([]int, len(shape)), make([]int, len(shape))
	stride := 1
	for k, d := range shape {
		strides[k] = stride
		stride *= d
	}
	at := 0
	for i := range out {
		out[i] = values[at]
		for k := len(shape) - 1; k >= 0; k-- { // the next index, the last one the fastest
			index[k]++
			at += strides[k]
			if index[k] < shape[k] {
				break
			}
			at -= index[k] * strides[k]
			index[k] = 0
		}
	}
	return out
}
