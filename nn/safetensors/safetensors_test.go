package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// raw returns a file of the given header and data, as they are.
func raw(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func readBytes(b []byte) (*File, error) {
	return Read(bytes.NewReader(b), int64(len(b)))
}

func writeBytes(t *testing.T, f *File) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := f.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// equal reports whether two files have equal content. Nil and empty are the
// same.
func equal(a, b *File) bool {
	return maps.Equal(a.Metadata, b.Metadata) &&
		slices.EqualFunc(a.Tensors, b.Tensors, func(s, t Tensor) bool {
			return s.Name == t.Name && s.DType == t.DType &&
				slices.Equal(s.Shape, t.Shape) && bytes.Equal(s.Data, t.Data)
		})
}

// wantError fails the test unless err has the whole given message.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	if err.Error() != want {
		t.Fatalf("error\n%s\nwant\n%s", err, want)
	}
}

// sample returns a small file with a scalar, empty tensors, and names that
// need escapes.
func sample() *File {
	return &File{
		Metadata: map[string]string{"b": "2", "a": "1 <\"quoted\">\n", "": ""},
		Tensors: []Tensor{
			FromUint64s("step", []int{}, []uint64{math.MaxUint64}),
			FromFloat32s("empty", []int{2, 0, 3}, nil),
			FromFloat32s("w/é\n", []int{2, 3}, []float32{0, -1.5, 3e-45, math.MaxFloat32, float32(math.Inf(1)), 1}),
			{Name: "half", DType: BF16, Shape: []int{1, 1}, Data: []byte{1, 2}},
			FromUint8s("u", []int{3}, []uint8{0, 127, 255}),
			FromUint8s("last", []int{0}, nil),
		},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, f := range map[string]*File{
		"sample":   sample(),
		"nothing":  {},
		"metadata": {Metadata: map[string]string{"k": "v"}},
		"scalar":   {Tensors: []Tensor{FromFloat32s("x", nil, []float32{1})}},
	} {
		t.Run(name, func(t *testing.T) {
			b := writeBytes(t, f)
			if n := binary.LittleEndian.Uint64(b); n%8 != 0 {
				t.Errorf("header size %d is not a multiple of 8", n)
			}
			g, err := readBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			if !equal(f, g) {
				t.Errorf("read %v, want %v", g, f)
			}
			if !bytes.Equal(writeBytes(t, g), b) {
				t.Error("written again, the bytes differ")
			}
		})
	}
}

func TestWriteBytes(t *testing.T) {
	f := &File{
		Metadata: map[string]string{"z": "1", "a": "2", "m": "3"},
		Tensors: []Tensor{
			FromFloat32s("w", []int{1, 2}, []float32{1, -2}),
			FromUint8s("b", nil, []uint8{7}),
			FromUint64s("a", []int{1}, []uint64{258}),
		},
	}
	header := `{"__metadata__":{"a":"2","m":"3","z":"1"},` +
		`"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},` +
		`"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]},` +
		`"a":{"dtype":"U64","shape":[1],"data_offsets":[9,17]}}`
	for len(header)%8 != 0 {
		header += " "
	}
	want := raw(header, "\x00\x00\x80\x3f\x00\x00\x00\xc0"+"\x07"+"\x02\x01\x00\x00\x00\x00\x00\x00")
	for range 20 { // the order of a map differs from run to run
		if got := writeBytes(t, f); !bytes.Equal(got, want) {
			t.Fatalf("wrote\n%q\nwant\n%q", got, want)
		}
	}
}

func TestRead(t *testing.T) {
	tests := []struct {
		name, header, data string
		want               []string // tensor names in order
	}{
		{"empty", `{}`, "", nil},
		{"padding", "{}      ", "", nil},
		{"empty metadata", `{"__metadata__":{}}`, "", nil},
		{"white space", "{ \"a\" :\n{\"dtype\": \"U8\", \"shape\": [ 2 ], \"data_offsets\": [0, 2]}\t} ", "xy", []string{"a"}},
		{"scalar", `{"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}`, "12345678", []string{"a"}},
		{"fields in any order", `{"a":{"data_offsets":[0,1],"shape":[1],"dtype":"BOOL"}}`, "\x01", []string{"a"}},
		{"order of the data", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
			"xy", []string{"b", "a"}},
		{"empty tensors", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},` +
			`"c":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[4,0],"data_offsets":[0,0]}}`,
			"x", []string{"c", "b", "a"}},
		{"same key in two objects", `{"dtype":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"__metadata__":{"dtype":""}}`, "x", []string{"dtype"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := readBytes(raw(tt.header, tt.data))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, tensor := range f.Tensors {
				got = append(got, tensor.Name)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("tensors %q, want %q", got, tt.want)
			}
		})
	}
}

// TestReadEmptyOrder has empty tensors before and after the data of another,
// in turns. Those that share an offset keep the order of the header.
func TestReadEmptyOrder(t *testing.T) {
	header := `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`
	var before, after []string
	for i := range 50 {
		name := fmt.Sprint(i)
		header += fmt.Sprintf(`,"%s":{"dtype":"U8","shape":[0],"data_offsets":[%d,%d]}`, name, i%2, i%2)
		if i%2 == 0 {
			before = append(before, name)
		} else {
			after = append(after, name)
		}
	}
	f, err := readBytes(raw(header+"}", "x"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tensor := range f.Tensors {
		got = append(got, tensor.Name)
	}
	if want := slices.Concat(before, []string{"a"}, after); !slices.Equal(got, want) {
		t.Errorf("tensors %q, want %q", got, want)
	}
}

func TestReadDTypes(t *testing.T) {
	sizes := map[string]int{
		"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
		"I16": 2, "U16": 2, "F16": 2, "BF16": 2,
		"I32": 4, "U32": 4, "F32": 4,
		"F64": 8, "I64": 8, "U64": 8,
	}
	for dtype, size := range sizes {
		data := "12345678"[:size]
		header := `{"a":{"dtype":"` + dtype + `","shape":[1],"data_offsets":[0,` + fmt.Sprint(size) + `]}}`
		f, err := readBytes(raw(header, data))
		if err != nil {
			t.Errorf("%s: %v", dtype, err)
			continue
		}
		if a, ok := f.Tensor("a"); !ok || a.DType != DType(dtype) || string(a.Data) != data {
			t.Errorf("%s: read %v, %v", dtype, a, ok)
		}
	}
}

func TestReadErrors(t *testing.T) {
	// one has the header of a tensor "a" with the given entry.
	one := func(entry string) string { return `{"a":` + entry + `}` }
	ab := func(a, b string) string {
		return `{"a":{"dtype":"U8","shape":[2],"data_offsets":` + a + `},"b":{"dtype":"U8","shape":[2],"data_offsets":` + b + `}}`
	}
	tests := []struct{ name, header, data, want string }{
		{"header of one byte", `{`, "", `header size 1 is too small for a JSON object`},
		{"leading space", ` {}`, "", `header begins with ' ', want '{'`},
		{"array", `[]`, "", `header begins with '[', want '{'`},
		{"invalid UTF-8", "{\"\xff\":0}", "", `header is not valid UTF-8`},
		{"invalid JSON", `{"a":}`, "", `header is not valid JSON: invalid character '}' looking for beginning of value`},
		{"trailing comma", `{"a":[1,],}`, "", `header is not valid JSON: invalid character ']' looking for beginning of value`},
		{"unfinished JSON", `{"a":{`, "", `header is not valid JSON: unexpected end of JSON input`},
		{"two values", `{}{}`, "", `header is not valid JSON: invalid character '{' after top-level value`},
		{"padding of zeros", "{}\x00", "", `header is not valid JSON: invalid character '\x00' after top-level value`},

		{"duplicate tensor", `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, "",
			`header: duplicate key "a"`},
		{"duplicate tensor by escape", `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":0}`, "", `header: duplicate key "a"`},
		{"duplicate metadata", `{"__metadata__":{},"__metadata__":{}}`, "", `header: duplicate key "__metadata__"`},
		{"duplicate metadata key", `{"__metadata__":{"k":"v","k":"v"}}`, "", `__metadata__: duplicate key "k"`},
		{"duplicate field", one(`{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}`), "", `tensor "a": duplicate key "shape"`},

		{"metadata null", `{"__metadata__":null}`, "", `__metadata__ is not a JSON object`},
		{"metadata number", `{"__metadata__":{"k":1}}`, "", `__metadata__: value of "k": not a string`},
		{"metadata object", `{"__metadata__":{"k":{}}}`, "", `__metadata__: value of "k": not a string`},

		{"entry not an object", one(`[]`), "", `tensor "a" is not a JSON object`},
		{"unknown field", one(`{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}`), "", `tensor "a": unknown field "x"`},
		{"field in upper case", one(`{"DType":"U8","shape":[0],"data_offsets":[0,0]}`), "", `tensor "a": unknown field "DType"`},
		{"empty entry", one(`{}`), "", `tensor "a": dtype is missing`},
		{"no shape", one(`{"dtype":"U8","data_offsets":[0,0]}`), "", `tensor "a": shape is missing`},
		{"no offsets", one(`{"dtype":"U8","shape":[0]}`), "", `tensor "a": data_offsets is missing`},

		{"dtype number", one(`{"dtype":8,"shape":[0],"data_offsets":[0,0]}`), "", `tensor "a": dtype: not a string`},
		{"dtype unknown", one(`{"dtype":"f32","shape":[0],"data_offsets":[0,0]}`), "", `tensor "a": unknown dtype "f32"`},

		{"shape number", one(`{"dtype":"U8","shape":0,"data_offsets":[0,0]}`), "", `tensor "a": shape: not an array`},
		{"shape null", one(`{"dtype":"U8","shape":null,"data_offsets":[0,1]}`), "x", `tensor "a": shape: not an array`},
		{"shape of strings", one(`{"dtype":"U8","shape":["0"],"data_offsets":[0,0]}`), "", `tensor "a": shape: an element is not a number`},
		{"shape nested", one(`{"dtype":"U8","shape":[[0]],"data_offsets":[0,0]}`), "", `tensor "a": shape: an element is not a number`},

		{"three offsets", one(`{"dtype":"U8","shape":[0],"data_offsets":[0,0,0]}`), "", `tensor "a": data_offsets: 3 integers, want 2`},
		{"no offset", one(`{"dtype":"U8","shape":[0],"data_offsets":[]}`), "", `tensor "a": data_offsets: 0 integers, want 2`},
		{"offsets object", one(`{"dtype":"U8","shape":[0],"data_offsets":{}}`), "", `tensor "a": data_offsets: not an array`},
		{"offsets in reverse", one(`{"dtype":"U8","shape":[1],"data_offsets":[1,0]}`), "x",
			`tensor "a": data_offsets [1 0] end before they begin`},
		{"offsets past the end", one(`{"dtype":"U8","shape":[3],"data_offsets":[0,3]}`), "xy",
			`tensor "a": data_offsets [0 3] exceed the data (2 bytes)`},
		{"shape too small", one(`{"dtype":"F32","shape":[1,2],"data_offsets":[0,12]}`), "123456789012",
			`tensor "a": F32 [1 2] takes 8 bytes, data_offsets [0 12] give 12`},
		{"scalar without data", one(`{"dtype":"F32","shape":[],"data_offsets":[0,0]}`), "",
			`tensor "a": F32 [] takes 4 bytes, data_offsets [0 0] give 0`},

		{"overlap", ab("[0,2]", "[1,3]"), "xyz", `tensor "b": data_offsets [1 3] overlap another tensor`},
		{"same bytes", ab("[0,2]", "[0,2]"), "xy", `tensor "b": data_offsets [0 2] overlap another tensor`},
		{"empty inside another", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}`, "xy",
			`tensor "b": data_offsets [1 1] overlap another tensor`},
		{"hole at the start", one(`{"dtype":"U8","shape":[1],"data_offsets":[1,2]}`), "xy",
			`data bytes 0 to 1, before tensor "a", belong to no tensor`},
		{"hole in the middle", ab("[3,5]", "[0,2]"), "12345", `data bytes 2 to 3, before tensor "a", belong to no tensor`},
		{"trailing bytes", ab("[0,2]", "[2,4]"), "123456", `data bytes 4 to 6, at the end, belong to no tensor`},
		{"data without tensors", `{}`, "x", `data bytes 0 to 1, at the end, belong to no tensor`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readBytes(raw(tt.header, tt.data))
			wantError(t, err, "safetensors: "+tt.want)
		})
	}
}

// TestReadBadInts has what stands where a non-negative integer must.
func TestReadBadInts(t *testing.T) {
	for _, num := range []string{"-1", "-0", "1.0", "1e2", "9223372036854775808", "99999999999999999999999"} {
		for _, field := range []string{"shape", "data_offsets"} {
			entry := map[string]string{"shape": "0", "data_offsets": "0"}
			entry[field] = num
			header := `{"a":{"dtype":"U8","shape":[` + entry["shape"] + `],"data_offsets":[0,` + entry["data_offsets"] + `]}}`
			_, err := readBytes(raw(header, ""))
			want := `safetensors: tensor "a": ` + field + `: ` + num + ` is not an integer from 0 to `
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s %s: error %v, want %s...", field, num, err, want)
			}
		}
	}
}

func TestReadOverflow(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		t.Skip("the shapes are for an int of 64 bits")
	}
	for _, shape := range []string{
		"2147483647,2147483647,2147483647",
		"2147483647,2147483647,2147483647,0",
		"65536,65536,65536,65536",                // 2^64, 0 if it wrapped
		"65536,65536,32768,16384",                // 2^62 elements of four bytes
		"2147483648,2147483648,2",                // 2^63
		"2147483647,2147483647,4,1,1,1,1,1,1,16", // above 2^64
	} {
		_, err := readBytes(raw(`{"a":{"dtype":"F32","shape":[`+shape+`],"data_offsets":[0,0]}}`, ""))
		want := `safetensors: tensor "a": the size of F32 [` + strings.ReplaceAll(shape, ",", " ") + `] overflows`
		wantError(t, err, want)
	}
}

func TestReadHeaderSize(t *testing.T) {
	length := func(n uint64, rest int) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), make([]byte, rest)...)
	}
	tests := []struct {
		name string
		in   []byte
		size int64
		want string
	}{
		{"empty", nil, 0, "a file of 0 bytes has no room for the header size (8 bytes)"},
		{"short", []byte("1234567"), 7, "a file of 7 bytes has no room for the header size (8 bytes)"},
		{"negative size", nil, -1, "a file of -1 bytes has no room for the header size (8 bytes)"},
		{"only a length", length(2, 0), 8, "header size 2 exceeds the file (8 bytes)"},
		{"one too many", length(1017, 1016), 1024, "header size 1017 exceeds the file (1024 bytes)"},
		{"large", length(99999999, 1016), 1024, "header size 99999999 exceeds the file (1024 bytes)"},
		{"largest", length(math.MaxUint64, 8), 16, "header size 18446744073709551615 exceeds the file (16 bytes)"},
		{"zero", length(0, 8), 16, "header size 0 is too small for a JSON object"},
		{"above the limit", length(100_000_001, 8), 1 << 30, "header size 100000001 exceeds the limit (100000000 bytes)"},
		{"size is false", length(100_000_000, 8), 1 << 30, "the file is truncated"},
		{"size is false from the start", []byte("123"), 1 << 30, "the file is truncated"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Read(bytes.NewReader(tt.in), tt.size)
			runtime.ReadMemStats(&after)
			wantError(t, err, "safetensors: "+tt.want)
			if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
				t.Errorf("allocated %d bytes for an input of %d", n, len(tt.in))
			}
		})
	}
}

// TestReadFalseSize has a size that is larger than the input, and a header
// that agrees with the size.
func TestReadFalseSize(t *testing.T) {
	in := raw(`{"a":{"dtype":"U8","shape":[1000000000],"data_offsets":[0,1000000000]}}`, "xyz")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Read(bytes.NewReader(in), int64(len(in))-3+1_000_000_000)
	runtime.ReadMemStats(&after)
	wantError(t, err, "safetensors: the file is truncated")
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("allocated %d bytes for an input of %d", n, len(in))
	}
}

func TestReadTruncated(t *testing.T) {
	b := writeBytes(t, sample())
	for n := range b {
		if _, err := readBytes(b[:n]); err == nil {
			t.Errorf("no error for the first %d of %d bytes", n, len(b))
		}
		_, err := Read(bytes.NewReader(b[:n]), int64(len(b)))
		if err == nil || err.Error() != "safetensors: the file is truncated" {
			t.Errorf("first %d of %d bytes with the size of all: error %v", n, len(b), err)
		}
	}
}

// TestReadNoMore checks that Read leaves what comes after its size.
func TestReadNoMore(t *testing.T) {
	b := writeBytes(t, sample())
	r := bytes.NewReader(append(slices.Clone(b), "rest"...))
	if _, err := Read(r, int64(len(b))); err != nil {
		t.Fatal(err)
	}
	if r.Len() != len("rest") {
		t.Errorf("%d bytes left, want %d", r.Len(), len("rest"))
	}
}

// TestReadLarge reads data in more than one chunk.
func TestReadLarge(t *testing.T) {
	v := make([]float32, 5<<18+1)
	for i := range v {
		v[i] = float32(i)
	}
	f := &File{Tensors: []Tensor{FromFloat32s("x", []int{len(v)}, v)}}
	g, err := readBytes(writeBytes(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if !equal(f, g) {
		t.Error("read differs from written")
	}
}

func TestReadData(t *testing.T) {
	f, err := readBytes(raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, "1234"))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(f.Tensors[0].Data, 'x')
	if got := string(f.Tensors[1].Data); got != "34" {
		t.Errorf("after an append to a, b is %q", got)
	}
}

var errReader = errors.New("bad cable")

type badReader struct{}

func (badReader) Read([]byte) (int, error)  { return 0, errReader }
func (badReader) Write([]byte) (int, error) { return 0, errReader }

func TestIOErrors(t *testing.T) {
	if _, err := Read(badReader{}, 100); !errors.Is(err, errReader) {
		t.Errorf("Read: error %v", err)
	}
	if err := sample().Write(badReader{}); err != errReader {
		t.Errorf("Write: error %v", err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	_, err := ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: error %v", err)
	}
	_, err = ReadFile(dir)
	wantError(t, err, "safetensors: "+dir+" is not a regular file but a folder")

	b := writeBytes(t, sample())
	if err := os.WriteFile(path, b[:len(b)-1], 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = ReadFile(path)
	if err == nil || !strings.HasPrefix(err.Error(), "safetensors: "+path+": tensor ") {
		t.Errorf("truncated file: error %v", err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !equal(f, sample()) {
		t.Errorf("read %v, want %v", f, sample())
	}
}

func TestWriteErrors(t *testing.T) {
	u8 := func(name string) Tensor { return FromUint8s(name, []int{1}, []uint8{1}) }
	tests := []struct {
		name string
		file File
		want string
	}{
		{"duplicate", File{Tensors: []Tensor{u8("a"), u8("b"), u8("a")}}, `tensor "a": the name is used twice`},
		{"reserved", File{Tensors: []Tensor{u8("__metadata__")}}, `tensor "__metadata__": the name is reserved`},
		{"name", File{Tensors: []Tensor{u8("\xff")}}, `tensor "\xff": the name is not valid UTF-8`},
		{"metadata key", File{Metadata: map[string]string{"\xff": ""}}, `__metadata__: key "\xff" or its value is not valid UTF-8`},
		{"metadata value", File{Metadata: map[string]string{"k": "\xff"}}, `__metadata__: key "k" or its value is not valid UTF-8`},
		{"dtype", File{Tensors: []Tensor{{Name: "a", DType: "F31"}}}, `tensor "a": unknown dtype "F31"`},
		{"zero tensor", File{Tensors: []Tensor{{}}}, `tensor "": unknown dtype ""`},
		{"size", File{Tensors: []Tensor{FromFloat32s("a", []int{2, 2}, make([]float32, 3))}}, `tensor "a": F32 [2 2] takes 16 bytes, the data has 12`},
		{"negative", File{Tensors: []Tensor{FromFloat32s("a", []int{-1, -1}, make([]float32, 1))}}, `tensor "a": shape [-1 -1] has a negative dimension`},
		{"overflow", File{Tensors: []Tensor{FromFloat32s("a", []int{math.MaxInt, 4}, nil)}}, `overflows`},
		{"header too large", File{Metadata: map[string]string{"k": strings.Repeat("x", maxHeader)}}, `exceeds the limit (100000000 bytes)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var buf bytes.Buffer
			err := tt.file.Write(&buf)
			if err == nil || !strings.HasPrefix(err.Error(), "safetensors: ") || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if buf.Len() != 0 {
				t.Errorf("wrote %d bytes", buf.Len())
			}
		})
	}
}

func TestElements(t *testing.T) {
	f32 := []float32{1, -0.5, float32(math.Inf(-1))}
	u64 := []uint64{1, math.MaxUint64, 1 << 33}
	u8 := []uint8{1, 255, 0}
	shape := []int{3}
	a, b, c := FromFloat32s("a", shape, f32), FromUint64s("b", shape, u64), FromUint8s("c", shape, u8)
	shape[0], u8[0] = 9, 9 // the tensors have copies
	if v, err := a.Float32s(); err != nil || !slices.Equal(v, f32) {
		t.Errorf("Float32s %v, %v", v, err)
	}
	if v, err := b.Uint64s(); err != nil || !slices.Equal(v, u64) {
		t.Errorf("Uint64s %v, %v", v, err)
	}
	if v, err := c.Uint8s(); err != nil || !slices.Equal(v, []uint8{1, 255, 0}) {
		t.Errorf("Uint8s %v, %v", v, err)
	}

	_, err := b.Float32s()
	wantError(t, err, `safetensors: tensor "b": dtype is U64, want F32`)
	_, err = c.Uint64s()
	wantError(t, err, `safetensors: tensor "c": dtype is U8, want U64`)
	_, err = a.Uint8s()
	wantError(t, err, `safetensors: tensor "a": dtype is F32, want U8`)

	odd := Tensor{Name: "odd", DType: F32, Shape: []int{1}, Data: make([]byte, 7)}
	_, err = odd.Float32s()
	wantError(t, err, `safetensors: tensor "odd": F32 [1] takes 4 bytes, the data has 7`)
	odd.DType = U64
	_, err = odd.Uint64s()
	wantError(t, err, `safetensors: tensor "odd": U64 [1] takes 8 bytes, the data has 7`)
	odd.DType = U8
	_, err = odd.Uint8s()
	wantError(t, err, `safetensors: tensor "odd": U8 [1] takes 1 bytes, the data has 7`)
}

func TestTensor(t *testing.T) {
	f := sample()
	a, ok := f.Tensor("u")
	if !ok || a != &f.Tensors[4] {
		t.Errorf("Tensor(u) = %v, %v", a, ok)
	}
	if a, ok := f.Tensor("none"); ok || a != nil {
		t.Errorf("Tensor(none) = %v, %v", a, ok)
	}
}

// TestGolden reads files that another writer made.
func TestGolden(t *testing.T) {
	tests := []struct {
		file     string
		metadata string // a key
		tensor   string
		dtype    DType
		shape    []int
	}{
		{"denoiser.safetensors", "batch", "init/conv1.weight", F32, []int{32, 3, 3, 32}},
		{"denoiser.safetensors", "steps", "losses", F32, []int{5}},
		{"ops.safetensors", "cases", "conv2d_0/x", F32, []int{2, 7, 9, 3}},
	}
	for _, tt := range tests {
		t.Run(tt.file+"/"+tt.tensor, func(t *testing.T) {
			f, err := ReadFile(filepath.Join("..", "..", "testdata", "golden", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if f.Metadata[tt.metadata] == "" {
				t.Errorf("no %q in the metadata", tt.metadata)
			}
			a, ok := f.Tensor(tt.tensor)
			if !ok {
				t.Fatal("no such tensor")
			}
			if a.DType != tt.dtype || !slices.Equal(a.Shape, tt.shape) {
				t.Errorf("%s %v, want %s %v", a.DType, a.Shape, tt.dtype, tt.shape)
			}
			g, err := readBytes(writeBytes(t, f))
			if err != nil {
				t.Fatal(err)
			}
			if !equal(f, g) {
				t.Error("written and read again, it differs")
			}
		})
	}
}

// TestGoldenValues checks elements whose values are known without the file:
// the cross-entropy of an untrained network is near ln 2, and training lowers
// it.
func TestGoldenValues(t *testing.T) {
	f, err := ReadFile(filepath.Join("..", "..", "testdata", "golden", "denoiser.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	a, ok := f.Tensor("losses")
	if !ok {
		t.Fatal("no losses")
	}
	losses, err := a.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(float64(losses[0])-math.Ln2) > 0.05 || losses[4] >= losses[0] || losses[4] < 0.1 {
		t.Errorf("losses %v", losses)
	}
}

// FuzzRead checks that no input makes Read panic, and that what it reads can
// be written and read again, equal.
func FuzzRead(f *testing.F) {
	var buf bytes.Buffer
	if err := sample().Write(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add(raw(`{}`, ""))
	f.Add(raw(`{"__metadata__":{"k":"v"}}  `, ""))
	f.Add(raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"\ud800":{"dtype":"F16","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "xy"))
	f.Add(raw(`{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,0]}}`, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := readBytes(b)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of more than one line: %q", err)
			}
			return
		}
		for i := range file.Tensors {
			tensor := &file.Tensors[i]
			if err := tensor.check(); err != nil {
				t.Error(err)
			}
			if _, err := tensor.Float32s(); (err == nil) != (tensor.DType == F32) {
				t.Errorf("Float32s of %s: error %v", tensor.DType, err)
			}
		}
		again, err := readBytes(writeBytes(t, file))
		if err != nil {
			t.Fatal(err)
		}
		if !equal(file, again) {
			t.Errorf("read %v, after writing %v", file, again)
		}
	})
}
