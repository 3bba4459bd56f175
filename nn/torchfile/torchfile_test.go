package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/safetensors"
)

// numbers32 are those of make.py.
func numbers32(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)/8 - 1
	}
	return v
}

func wantTensor(t *testing.T, f *safetensors.File, name string, d safetensors.DType, shape []int, want ...float32) {
	t.Helper()
	x, ok := f.Tensor(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	if x.DType != d || !slices.Equal(x.Shape, shape) {
		t.Errorf("%s is %s %v, want %s %v", name, x.DType, x.Shape, d, shape)
	}
	y, err := x.ToFloat32()
	if err != nil {
		t.Fatal(err)
	}
	got, err := y.Float32s()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s is %v, want %v: %v", name, got, want, err)
	}
}

// Files that PyTorch has made are read: see testdata/make.py.
func TestReadModule(t *testing.T) {
	f, err := ReadFile("testdata/module.pt")
	if err != nil {
		t.Fatal(err)
	}
	plus := func(v []float32, by float32) []float32 {
		for i := range v {
			v[i] += by
		}
		return v
	}
	wantTensor(t, f, "0.weight", safetensors.F32, []int{3, 2, 2, 3}, numbers32(36)...)
	wantTensor(t, f, "0.bias", safetensors.F32, []int{3}, plus(numbers32(3), 1)...)
	wantTensor(t, f, "1.running_var", safetensors.F32, []int{3}, 1, 1, 1)
	wantTensor(t, f, "2.weight", safetensors.F32, []int{2, 3}, plus(numbers32(6), 4)...)
	if x, ok := f.Tensor("1.num_batches_tracked"); !ok || x.DType != safetensors.I64 || len(x.Shape) != 0 || len(x.Data) != 8 {
		t.Errorf("the counter is %+v", x)
	}
	if len(f.Tensors) != 9 || f.Tensors[0].Name != "0.weight" {
		t.Errorf("it has %d tensors, first %s", len(f.Tensors), f.Tensors[0].Name)
	}
}

// A state dict within a checkpoint, with views, other types and parameters.
func TestReadCheckpoint(t *testing.T) {
	f, err := ReadFile("testdata/checkpoint.pth")
	if err != nil {
		t.Fatal(err)
	}
	base := numbers32(24)
	at := func(i ...int) (v []float32) {
		for _, k := range i {
			v = append(v, base[k])
		}
		return v
	}
	var turned, third []float32
	for c := range 6 {
		for r := range 4 {
			turned = append(turned, base[r*6+c])
		}
	}
	for _, v := range base {
		third = append(third, float32(float64(v)/3))
	}
	wantTensor(t, f, "plain", safetensors.F32, []int{4, 6}, base...)
	wantTensor(t, f, "turned", safetensors.F32, []int{6, 4}, turned...)
	wantTensor(t, f, "part", safetensors.F32, []int{2, 3}, at(8, 9, 10, 14, 15, 16)...)
	wantTensor(t, f, "column", safetensors.F32, []int{4}, at(3, 9, 15, 21)...)
	wantTensor(t, f, "repeated", safetensors.F32, []int{3, 2}, 0.5, 1.5, 0.5, 1.5, 0.5, 1.5)
	wantTensor(t, f, "scalar", safetensors.F32, nil, 2.5)
	wantTensor(t, f, "nothing", safetensors.F32, []int{0, 3})
	wantTensor(t, f, "parameter", safetensors.F32, []int{6}, base[:6]...)
	wantTensor(t, f, "half", safetensors.F16, []int{4, 6}, base...)
	wantTensor(t, f, "brain", safetensors.BF16, []int{4, 6}, base...)
	wantTensor(t, f, "double", safetensors.F64, []int{4, 6}, third...)
	if x, _ := f.Tensor("whole"); x.DType != safetensors.I64 || !bytes.Equal(x.Data, []byte{255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 1, 0, 0}) {
		t.Errorf("whole numbers are %+v", x)
	}
}

func written(t testing.TB, tensors ...safetensors.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, &safetensors.File{Tensors: tensors}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWrite(t *testing.T) {
	data := written(t, safetensors.FromFloat32s("a.b", []int{2, 3}, []float32{1, 2, 3, 4, 5, float32(math.Inf(1))}), safetensors.FromFloat32s("ü", nil, []float32{7}),
		safetensors.FromFloat32s("none", []int{0, 2}, nil), safetensors.Tensor{Name: "n", DType: safetensors.I64, Data: make([]byte, 8)})
	f, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	wantTensor(t, f, "a.b", safetensors.F32, []int{2, 3}, 1, 2, 3, 4, 5, float32(math.Inf(1)))
	wantTensor(t, f, "ü", safetensors.F32, nil, 7)
	wantTensor(t, f, "none", safetensors.F32, []int{0, 2})
	if x, ok := f.Tensor("n"); !ok || x.DType != safetensors.I64 {
		t.Errorf("n is %+v", x)
	}
	if err := Write(&bytes.Buffer{}, &safetensors.File{Tensors: []safetensors.Tensor{{Name: "x", DType: safetensors.U64, Shape: []int{1}, Data: make([]byte, 8)}}}); err == nil {
		t.Error("a type that PyTorch lacks is written")
	}
}

// archived makes an archive of a pickle and a storage 0 of 4 floats.
func archived(t testing.TB, pickle string, more ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(more); i += 2 {
		if err := store(z, "x/"+more[i], []byte(more[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := store(z, "x/data.pkl", []byte(pickle)); err != nil {
		t.Fatal(err)
	}
	if err := store(z, "x/data/0", make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// view is a pickle of a dict with a tensor of storage 0 of so many elements, with an offset, and a dimension with a stride.
func view(count, offset, size, stride int) string {
	p := &pickler{}
	p.WriteString("\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu")
	p.int(count)
	p.WriteString("tQ")
	p.int(offset)
	p.ints([]int{size})
	p.ints([]int{stride})
	p.WriteString("\x89}tRu.")
	return p.String()
}

// What no state dict has is refused by its name, and nothing is reached beyond a storage.
func TestReadErrors(t *testing.T) {
	for want, data := range map[string][]byte{
		`it names "os.system"`:                                    archived(t, "\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."),
		`it names "builtins.eval"`:                                archived(t, "\x80\x02cbuiltins\neval\n."),
		`it names "__main__.Net"`:                                 archived(t, "\x80\x02c__main__\nNet\n)\x81}b."),
		"the instruction 0x81":                                    archived(t, "\x80\x02ccollections\nOrderedDict\n)\x81."),
		"its protocol is 4, want 2":                               archived(t, "\x80\x04."),
		"it ends too early":                                       archived(t, "\x80\x02}"),
		"it leaves 2 values":                                      archived(t, "\x80\x02}}."),
		"a value that is not there":                               archived(t, "\x80\x02R."),
		"remembers value 7, which":                                archived(t, "\x80\x02h\x07."),
		"it has a list, want a state dict":                        archived(t, "\x80\x02]."),
		"it has no tensors":                                       archived(t, "\x80\x02}."),
		"it reaches to element 4 of a storage of 4":               archived(t, view(4, 1, 4, 1)),
		"it reaches to element 9 of a storage of 4":               archived(t, view(4, 0, 4, 3)),
		"has 16 bytes, want 5 elements of F32":                    archived(t, view(5, 0, 4, 1)),
		"more than 16 times the elements":                         archived(t, view(4, 0, 1<<30, 0)),
		"want numbers from 0 to 2147483647":                       archived(t, view(4, 0, 1<<40, 0)),
		"the archive has no data/0":                               bytes.ReplaceAll(archived(t, view(4, 0, 4, 1)), []byte("x/data/0"), []byte("x/data/1")),
		"it is a TorchScript program":                             archived(t, "\x80\x02}.", "constants.pkl", ""),
		`its byte order is "big"`:                                 archived(t, "\x80\x02}.", "byteorder", "big"),
		"no archive of torch.save":                                []byte("PK\x03\x04"),
		"it calls collections.OrderedDict with a dict":            archived(t, "\x80\x02ccollections\nOrderedDict\n}R."),
		"it puts values into None":                                archived(t, "\x80\x02N}}s."),
		`"b" is the number 1, want a tensor`:                      archived(t, strings.TrimSuffix(view(4, 0, 4, 1), ".")+"X\x01\x00\x00\x00bK\x01s."),
		`"w" is there twice`:                                      archived(t, strings.TrimSuffix(view(4, 0, 4, 1), ".")+strings.TrimSuffix(strings.TrimPrefix(view(4, 0, 4, 1), "\x80\x02}"), ".")+"."),
		"a reference that is no storage":                          archived(t, "\x80\x02NQ."),
		"it makes a tensor of what is no storage, offset, shape ": archived(t, "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR."),
	} {
		if _, err := Read(bytes.NewReader(data), int64(len(data))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := ReadFile("testdata/make.py"); err == nil || !strings.Contains(err.Error(), "testdata/make.py: it is no archive") {
		t.Errorf("error %v", err)
	}
}

// A small file does not become gigabytes: values are bounded, those that are copied among them, and those that are remembered.
func TestReadMany(t *testing.T) {
	remembered := []byte("\x80\x02}")
	for i := range uint32(maxValues + 1) {
		remembered = binary.LittleEndian.AppendUint32(append(remembered, 'r'), i)
	}
	pairs := "\x80\x02](" + strings.Repeat("K\x01K\x02\x86", 1000) + "eq\x00" + strings.Repeat("\x85ccollections\nOrderedDict\nh\x00\x85R", 2000) + "."
	for want, pickle := range map[string]string{
		"at byte 1048579: it makes more than 1048576 values": "\x80\x02" + strings.Repeat("}", 3_000_000) + ".",
		"at byte 1048579: it makes more than 1048576":        "\x80\x02" + strings.Repeat("(", 2_000_000) + ".",
		"it remembers more than 1048576 values":              string(remembered) + ".",
		"it makes more than 1048576 values, which no":        pairs,
	} {
		data := archived(t, pickle)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Read(bytes.NewReader(data), int64(len(data)))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		// A dict has 64 bytes; the stack and what is remembered have some hundred for each value while they grow.
		if made, most := after.TotalAlloc-before.TotalAlloc, uint64(len(pickle)+256*maxValues); made > most {
			t.Errorf("%s: %d bytes are allocated, want at most %d", want, made, most)
		}
	}
	// A state dict of thousands of tensors is none of these.
	var tensors []safetensors.Tensor
	for i := range 20_000 {
		tensors = append(tensors, safetensors.FromFloat32s(fmt.Sprint("layer.", i), []int{1}, []float32{float32(i)}))
	}
	data := written(t, tensors...)
	if f, err := Read(bytes.NewReader(data), int64(len(data))); err != nil || len(f.Tensors) != len(tensors) {
		t.Error(err)
	}
}

// Whatever a file is, what is read of it is well formed and in proportion.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"testdata/module.pt", "testdata/checkpoint.pth"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(archived(f, view(4, 1, 2, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, data)
	})
}

// FuzzPickle is FuzzRead with a whole archive round a pickle, in which more of it is reached.
func FuzzPickle(f *testing.F) {
	f.Add([]byte(view(4, 1, 2, 1)))
	f.Add([]byte(view(4, 0, 2, 3)))
	f.Add([]byte("\x80\x02ccollections\nOrderedDict\n)Rq\x00(h\x00K\x01M\x01\x01\x8a\x02\x01\xffG\x3f\xf0\x00\x00\x00\x00\x00\x00\x88Nu}b."))
	f.Fuzz(func(t *testing.T, pickle []byte) {
		if len(pickle) < 1<<16 {
			check(t, archived(t, string(pickle)))
		}
	})
}

func check(t *testing.T, data []byte) {
	out, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	total := 0
	for _, x := range out.Tensors {
		n := x.DType.Size()
		for _, d := range x.Shape {
			n *= d
		}
		if n != len(x.Data) {
			t.Errorf("%q has the shape %v and %d bytes", x.Name, x.Shape, len(x.Data))
		}
		total += n
	}
	if total > 8*(maxViews*len(data)+1<<16) {
		t.Errorf("%d bytes come out of %d", total, len(data))
	}
}
