package trainer

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npy"
)

// npyFile makes a file of format version 1 of a dictionary and data.
func npyFile(header string, data ...byte) []byte {
	header += "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), data...)
}

func dictionary(descr, fortran, shape string) string {
	return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }"
}

func TestNPYRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	many := make([]float32, 7*11*13)
	for i := range many {
		many[i] = float32(i) / 3
	}
	many[5] = float32(math.Inf(-1))
	for _, shape := range [][]int{{7, 11, 13}, {1001}, {1, 1001, 1, 1}, {7, 143}} {
		if err := WriteNPY(path, many, shape); err != nil {
			t.Fatal(err)
		}
		a, err := ReadNPY(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Shape, shape) || !slices.Equal(a.Data, many) || a.DType != "float32" {
			t.Errorf("shape %v came back as %v of %s, or with other values", shape, a.Shape, a.DType)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if (len(raw)-4*len(many))%64 != 0 {
			t.Errorf("shape %v: data starts at byte %d, want a multiple of 64 as in NumPy", shape, len(raw)-4*len(many))
		}
		// Another reader reads the same.
		r, err := npy.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		var v []float32
		if err := r.Read(&v); err != nil || !slices.Equal(r.Header.Descr.Shape, shape) || !slices.Equal(v, many) {
			t.Errorf("npyio reads shape %v as %v, error %v", shape, r.Header.Descr.Shape, err)
		}
	}
	if err := WriteNPY(path, many, []int{7, 11}); err == nil || !strings.Contains(err.Error(), "(7, 11) does not hold 1001") {
		t.Errorf("a wrong shape: %v", err)
	}
}

// What another writer writes is read.
func TestReadNPYOfOthers(t *testing.T) {
	for _, c := range []struct {
		value any
		dtype string
	}{{[]float64{0.5, -2, 1e300}, "float64"}, {[]uint8{0, 7, 255}, "uint8"}, {[]float32{1, 2, 3}, "float32"}} {
		var b bytes.Buffer
		if err := npy.Write(&b, c.value); err != nil {
			t.Fatal(err)
		}
		a, err := readNPY(&b, int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]float32{"float64": {0.5, -2, float32(math.Inf(1))}, "uint8": {0, 7, 255}, "float32": {1, 2, 3}}[c.dtype]
		if a.DType != c.dtype || !slices.Equal(a.Data, want) || !slices.Equal(a.Shape, []int{3}) {
			t.Errorf("%v was read as %+v", c.value, a)
		}
	}
	// The bytes that NumPy 2 writes for numpy.arange(6, dtype=numpy.uint8).reshape(2, 3).
	header := dictionary("|u1", "False", "(2, 3)")
	b := npyFile(header+strings.Repeat(" ", 117-len(header)), 0, 1, 2, 3, 4, 5)
	a, err := readNPY(bytes.NewReader(b), int64(len(b)))
	if err != nil || !slices.Equal(a.Shape, []int{2, 3}) || !slices.Equal(a.Data, []float32{0, 1, 2, 3, 4, 5}) {
		t.Errorf("%+v, error %v", a, err)
	}
	b = npyFile(dictionary(">f4", "False", "()"), 0x3f, 0x80, 0, 0)
	if a, err = readNPY(bytes.NewReader(b), int64(len(b))); err != nil || len(a.Shape) != 0 || a.Data[0] != 1 {
		t.Errorf("a big-endian scalar: %+v, error %v", a, err)
	}
}

func TestReadNPYErrors(t *testing.T) {
	good := npyFile(dictionary("<f4", "False", "(2,)"), make([]byte, 8)...)
	change := func(i int, v byte) []byte {
		b := slices.Clone(good)
		b[i] = v
		return b
	}
	huge := append([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), good...)
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "not a .npy file"},
		{"text", []byte("hello, this is no array"), "not a .npy file"},
		{"magic only", good[:8], "not a .npy file"},
		{"version", change(6, 9), "version is 9"},
		{"header beyond the file", good[:40], "no more than the file"},
		{"header of 4 GB", huge, "header has 4294967295 bytes"},
		{"no header", npyFile(""), "want a dictionary"},
		{"cut dictionary", npyFile("{'descr': '<f4', 'fortran_order"), "want a dictionary"},
		{"truncated", good[:len(good)-1], "has 7 bytes of data, want 8"},
		{"trailing", append(slices.Clone(good), 0), "has 9 bytes of data, want 8"},
		{"complex numbers", npyFile(dictionary("<c8", "False", "(1,)"), make([]byte, 8)...), `type is "<c8", want float16, float32, float64, an integer of up to 64 bits or bool`},
		{"objects", npyFile(dictionary("|O", "False", "(1,)"), make([]byte, 8)...), `type is "|O"`},
		{"cut in Fortran order", npyFile(dictionary("<f4", "True", "(2, 2)"), make([]byte, 8)...), "has 8 bytes of data, want 16"},
		{"huge shape", npyFile(dictionary("<f4", "False", "(4294967296, 4294967296)"), make([]byte, 8)...), "at most"},
		{"larger than the file", npyFile(dictionary("<f8", "False", "(1000000, 1000000)"), make([]byte, 8)...), "has 8 bytes of data, want 8000000000000 for shape (1000000, 1000000) of float64"},
		{"beyond int", npyFile(dictionary("<f4", "False", "(99999999999999999999)"), make([]byte, 8)...), "value out of range"},
		{"negative", npyFile(dictionary("<f4", "False", "(-2, -1)"), make([]byte, 8)...), "want extents of at least 1"},
		{"none", npyFile(dictionary("<f4", "False", "(0, 28, 28)")), "want extents of at least 1"},
	} {
		path := filepath.Join(t.TempDir(), "bad.npy")
		if err := os.WriteFile(path, c.file, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadNPY(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want the file's name and %q", c.name, err, c.want)
		}
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none.npy")} {
		if _, err := ReadNPY(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one that names %s", err, path)
		}
	}
}

// All that is harmless is read: other types, orders and format versions.
func TestReadNPYKinds(t *testing.T) {
	version3 := append([]byte("\x93NUMPY\x03\x00"), 72, 0, 0, 0)
	version3 = append(version3, fmt.Sprintf("%-71s\n", dictionary("<f4", "False", "(1,)"))...)
	for _, c := range []struct {
		name string
		file []byte
		want []float32
	}{
		{"bool", npyFile(dictionary("|b1", "False", "(3,)"), 0, 1, 1), []float32{0, 1, 1}},
		{"int8", npyFile(dictionary("|i1", "False", "(2,)"), 0x80, 127), []float32{-128, 127}},
		{"int16", npyFile(dictionary("<i2", "False", "(2,)"), 0xfe, 0xff, 2, 1), []float32{-2, 258}},
		{"uint16", npyFile(dictionary(">u2", "False", "(1,)"), 0xff, 0xfe), []float32{65534}},
		{"int32", npyFile(dictionary("<i4", "False", "(1,)"), 0xff, 0xff, 0xff, 0xff), []float32{-1}},
		{"uint32", npyFile(dictionary("<u4", "False", "(1,)"), 0, 0, 0, 0x80), []float32{1 << 31}},
		{"int64", npyFile(dictionary("<i8", "False", "(1,)"), 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), []float32{-3}},
		{"uint64", npyFile(dictionary(">u8", "False", "(1,)"), 0, 0, 0, 0, 0, 0, 1, 0), []float32{256}},
		{"float16", npyFile(dictionary("<f2", "False", "(5,)"), 0, 0x3c, 0, 0xc0, 0x55, 0x35, 1, 0, 0, 0xfc), []float32{1, -2, 0.33325195, 1. / (1 << 24), float32(math.Inf(-1))}},
		{"float32", append(version3, 0, 0, 0x20, 0x40), []float32{2.5}},
		{"uint8", npyFile(dictionary("|u1", "True", "(2, 3)"), 0, 3, 1, 4, 2, 5), []float32{0, 1, 2, 3, 4, 5}},
		{"uint8", npyFile(dictionary("|u1", "True", "(2, 2, 2)"), 0, 4, 2, 6, 1, 5, 3, 7), []float32{0, 1, 2, 3, 4, 5, 6, 7}},
	} {
		a, err := readNPY(bytes.NewReader(c.file), int64(len(c.file)))
		if err != nil || a.DType != c.name || !slices.Equal(a.Data, c.want) {
			t.Errorf("%s: %+v, %v; want %v", c.name, a, err, c.want)
		}
	}
}

func FuzzNPY(f *testing.F) {
	f.Add(npyFile(dictionary("<f4", "False", "(2,)"), make([]byte, 8)...))
	f.Add(npyFile(dictionary(">f8", "False", "(1, 2)"), make([]byte, 16)...))
	f.Add(npyFile(dictionary("|u1", "True", "()"), 1))
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{}"))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := readNPY(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		n := 1
		for _, d := range a.Shape {
			n *= d
		}
		if n != len(a.Data) || n > len(file) {
			t.Errorf("shape %v with %d values from %d bytes", a.Shape, len(a.Data), len(file))
		}
	})
}
