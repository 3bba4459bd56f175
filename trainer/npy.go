package trainer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"convae/trainer/atomicfile"
)

// Array is the content of a .npy file.
type Array struct {
	Shape []int
	Data  []float32 // in C order: the last index is the fastest
	DType string    // of the file: float32, float64 or uint8
}

const (
	npyMagic       = "\x93NUMPY"
	maxNPYHeader   = 1 << 16 // bytes; NumPy's own are below 200
	maxNPYElements = math.MaxInt / 8
)

// npyHeader is the dictionary that NumPy writes, and others after it: its keys in this order, a shape and nothing else.
var npyHeader = regexp.MustCompile(`^\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? ?\}[ \n]*$`)

// npyTypes are the element types that are read; their sizes are the last digit.
var npyTypes = map[string]string{"f4": "float32", "f8": "float64", "u1": "uint8"}

// ReadNPY reads a .npy file of float32, float64 or uint8 values in C order, such as numpy.save writes. Values are
// kept as they are: a uint8 of 255 becomes 255. It is an error, which names the file, if there are none, or if the file
// holds less or more than its shape says.
func ReadNPY(path string) (Array, error) {
	f, err := os.Open(path)
	if err != nil {
		return Array{}, fmt.Errorf("npy: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Array{}, fmt.Errorf("npy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Array{}, fmt.Errorf("npy: %s is not a file", path)
	}
	a, err := readNPY(bufio.NewReaderSize(f, 1<<16), info.Size())
	if err != nil {
		return Array{}, fmt.Errorf("npy: %s: %w", path, err)
	}
	return a, nil
}

// readNPY reads a .npy file of size bytes. It allocates no more than a few times that size.
func readNPY(r io.Reader, size int64) (a Array, err error) {
	header, rest, err := readNPYHeader(r, size)
	if err != nil {
		return a, err
	}
	m := npyHeader.FindStringSubmatch(header)
	if m == nil {
		return a, fmt.Errorf("header is %.80q, want a dictionary of descr, fortran_order and shape", header)
	}
	descr := m[1]
	if len(descr) == 3 && strings.Contains("<>|", descr[:1]) {
		a.DType = npyTypes[descr[1:]]
	}
	if a.DType == "" {
		return a, fmt.Errorf("element type is %q, want float32, float64 or uint8", descr)
	}
	if m[2] == "True" {
		return a, errors.New("array is in Fortran order, want C order (numpy.ascontiguousarray)")
	}
	width := int(descr[2] - '0')
	n := 1
	for _, s := range strings.Split(m[3], ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue // after the comma of (5,), or all of ()
		}
		d, err := strconv.Atoi(s)
		if err != nil || d < 1 || d > maxNPYElements/n {
			return a, fmt.Errorf("shape is (%s), want extents of at least 1 and at most %d elements", m[3], maxNPYElements)
		}
		n *= d
		a.Shape = append(a.Shape, d)
	}
	if want := int64(n) * int64(width); rest != want {
		return a, fmt.Errorf("the file has %d bytes of data, want %d for shape %s of %s", rest, want, ShapeText(a.Shape), a.DType)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if descr[0] == '>' {
		order = binary.BigEndian
	}
	a.Data = make([]float32, n)
	chunk := make([]byte, 8<<10)
	for lo := 0; lo < n; lo += len(chunk) / width {
		part := a.Data[lo:min(lo+len(chunk)/width, n)]
		b := chunk[:len(part)*width]
		if _, err := io.ReadFull(r, b); err != nil {
			return a, fmt.Errorf("data: %w", err)
		}
		for i := range part {
			switch width {
			case 1:
				part[i] = float32(b[i])
			case 4:
				part[i] = math.Float32frombits(order.Uint32(b[4*i:]))
			case 8:
				part[i] = float32(math.Float64frombits(order.Uint64(b[8*i:])))
			}
		}
	}
	return a, nil
}

// readNPYHeader reads all before the data, of which there are rest bytes.
func readNPYHeader(r io.Reader, size int64) (header string, rest int64, err error) {
	start := make([]byte, 12)
	if _, err := io.ReadFull(r, start[:10]); err != nil || string(start[:6]) != npyMagic {
		return "", 0, errors.New("is not a .npy file")
	}
	length, used := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	switch start[6] {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return "", 0, errors.New("is truncated")
		}
		length, used = int64(binary.LittleEndian.Uint32(start[8:])), 12
	default:
		return "", 0, fmt.Errorf("format version is %d, want 1, 2 or 3", start[6])
	}
	if rest = size - used - length; length > maxNPYHeader || rest < 0 {
		return "", 0, fmt.Errorf("header has %d bytes, want at most %d and no more than the file", length, maxNPYHeader)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", 0, errors.New("is truncated")
	}
	return string(b), rest, nil
}

// WriteNPY writes values as a .npy file of float32 in C order. It is an error if the shape does not hold as many.
func WriteNPY(path string, data []float32, shape []int) error {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if n != len(data) {
		return fmt.Errorf("npy: %s: shape %s does not hold %d values", path, ShapeText(shape), len(data))
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		// NumPy aligns the data to 64 bytes; the header ends in a line feed.
		header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", ShapeText(shape))
		header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
		b := binary.LittleEndian.AppendUint16([]byte(npyMagic+"\x01\x00"), uint16(len(header)))
		b = append(b, header...)
		for _, v := range data {
			if len(b) > 8<<10 {
				if _, err := w.Write(b); err != nil {
					return err
				}
				b = b[:0]
			}
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		_, err := w.Write(b)
		return err
	})
}

// ShapeText prints a shape as Python does: (2, 28, 28), (5,), ().
func ShapeText(shape []int) string {
	s := make([]string, len(shape))
	for i, d := range shape {
		s[i] = strconv.Itoa(d)
	}
	if len(s) == 1 {
		return "(" + s[0] + ",)"
	}
	return "(" + strings.Join(s, ", ") + ")"
}
