package trainer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/sbinet/npyio/npy"

	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
)

// Array is the content of a .npy file.
type Array struct {
	Shape []int
	Data  []float32 // in C order: the last index is the fastest
	DType string    // of the file, as NumPy calls it: float32, uint8
}

const (
	npyMagic       = "\x93NUMPY"
	maxNPYHeader   = 1 << 16 // bytes; NumPy's own are below 200
	maxNPYElements = math.MaxInt / 8
)

// ReadNPY reads a .npy file of numbers or booleans, such as numpy.save writes, in C or Fortran order. Values are kept as
// they are: a uint8 of 255 becomes 255, and true 1. It is an error, which names the file, if there are none, or if the
// file holds less or more than its shape says.
func ReadNPY(path string) (Array, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return Array{}, fmt.Errorf("npy: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Array{}, fmt.Errorf("npy: %w", err)
	}
	a, err := readNPY(bufio.NewReaderSize(f, 1<<16), info.Size())
	if err != nil {
		return Array{}, fmt.Errorf("npy: %s: %w", path, err)
	}
	return a, nil
}

// DecodeNPY reads what a .npy file of so many bytes has in it, as ReadNPY does. Errors name no file.
func DecodeNPY(r io.Reader, size int64) (Array, error) { return readNPY(r, size) }

// EncodeNPY writes values as [WriteNPY] does.
func EncodeNPY(w io.Writer, data []float32, shape []int) error {
	return encodeNPY(w, shape, func(write func(part []float32) error) error { return write(data) })
}

// readNPY reads a .npy file of size bytes. It allocates no more than a few times that size.
func readNPY(r io.Reader, size int64) (a Array, err error) {
	start, rest, err := readNPYHeader(r, size)
	if err != nil {
		return a, err
	}
	malformed := func(why any) error {
		return fmt.Errorf("header is %.80q (%v), want a dictionary of descr, fortran_order and shape", start[10:], why)
	}
	// The library takes a header for well-formed: it slices out of range where one is not.
	defer func() {
		if p := recover(); p != nil {
			a, err = Array{}, malformed(p)
		}
	}()
	file, err := npy.NewReader(bytes.NewReader(start))
	if err != nil {
		return a, malformed(err)
	}
	descr := file.Header.Descr
	t, order, err := parseNPYType(descr.Type)
	if err != nil {
		return a, err
	}
	n := 1
	for _, d := range descr.Shape {
		if d < 1 || d > maxNPYElements/n {
			return a, fmt.Errorf("shape is %s, want extents of at least 1 and at most %d elements", dataset.ShapeText(descr.Shape), maxNPYElements)
		}
		n *= d
	}
	a.Shape, a.DType = descr.Shape, t.name
	if want := int64(n) * int64(t.bytes); rest != want {
		return a, fmt.Errorf("the file has %d bytes of data, want %d for shape %s of %s", rest, want, dataset.ShapeText(a.Shape), a.DType)
	}
	if a.Data, err = t.read(r, order, n); err != nil {
		return a, fmt.Errorf("data: %w", err)
	}
	if descr.Fortran {
		a.Data = fromFortran(a.Data, a.Shape)
	}
	return a, nil
}

// readNPYHeader reads all before the data, of which there are rest bytes, and checks the length that it states: the
// library would allocate it.
func readNPYHeader(r io.Reader, size int64) (start []byte, rest int64, err error) {
	start = make([]byte, 12)
	if _, err := io.ReadFull(r, start[:10]); err != nil || string(start[:6]) != npyMagic {
		return nil, 0, errors.New("is not a .npy file")
	}
	length, used := int64(binary.LittleEndian.Uint16(start[8:])), 10
	switch start[6] {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return nil, 0, errors.New("is truncated")
		}
		length, used = int64(binary.LittleEndian.Uint32(start[8:])), 12
	default:
		return nil, 0, fmt.Errorf("format version is %d, want 1, 2 or 3", start[6])
	}
	if rest = size - int64(used) - length; length > maxNPYHeader || rest < 0 {
		return nil, 0, fmt.Errorf("header has %d bytes, want at most %d and no more than the file", length, maxNPYHeader)
	}
	start[6] = min(start[6], 2) // 3 differs in the encoding of names, which plain elements have none of, and the library lacks it
	start = append(start[:used], make([]byte, length)...)
	if _, err := io.ReadFull(r, start[used:]); err != nil {
		return nil, 0, errors.New("is truncated")
	}
	return start, rest, nil
}

// WriteNPY writes values as a .npy file of float32 in C order (the library writes a slice in one dimension only). It is an error if the shape does not hold as many.
func WriteNPY(path string, data []float32, shape []int) error {
	return WriteNPYParts(path, shape, func(write func(part []float32) error) error { return write(data) })
}

// WriteNPYParts writes such a file of the values that parts gives to write, one part after the other, so that they need not be in memory at
// once. There is no file if parts has an error, or if the shape does not hold as many values.
func WriteNPYParts(path string, shape []int, parts func(write func(part []float32) error) error) error {
	return atomicfile.Write(path, func(w io.Writer) error { return encodeNPY(w, shape, parts) })
}

func encodeNPY(w io.Writer, shape []int, parts func(write func(part []float32) error) error) error {
	want, given := 1, 0
	for _, d := range shape {
		want *= d
	}
	// NumPy aligns the data to 64 bytes; the header ends in a line feed.
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", dataset.ShapeText(shape))
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	b := binary.LittleEndian.AppendUint16([]byte(npyMagic+"\x01\x00"), uint16(len(header)))
	b = append(b, header...)
	err := parts(func(part []float32) error {
		for _, v := range part {
			if len(b) > 8<<10 {
				if _, err := w.Write(b); err != nil {
					return err
				}
				b = b[:0]
			}
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		given += len(part)
		return nil
	})
	if err != nil {
		return err
	}
	if given != want {
		return fmt.Errorf("npy: shape %s does not hold %d values", dataset.ShapeText(shape), given)
	}
	_, err = w.Write(b)
	return err
}
