package exchange

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
)

// mixed is a model of all layers that have weights.
func mixed(t *testing.T, seed uint64) *nn.Model {
	t.Helper()
	m, err := nn.New(nn.Config{Name: "mixed", Input: []int{8, 8, 3},
		Encoder: []graph.Spec{
			{Layer: &layer.Conv2D{Filters: 4, Kernel: layer.Size{H: 3, W: 5}}, Name: "first"},
			{Layer: &layer.BatchNormalization{}},
			{Layer: &layer.SeparableConv2D{Filters: 4, Kernel: layer.Square(3)}, Name: "apart"},
			{Layer: &layer.SpatialAttention{Groups: 2}},
			{Layer: &layer.LayerNormalization{}},
			{Layer: &layer.MaxPool2D{Size: 2}},
			{Layer: &layer.Flatten{}},
			{Layer: &layer.Dense{Units: 10}, Name: "code"},
		},
		Decoder: []graph.Spec{
			{Layer: &layer.Dense{Units: 64}},
			{Layer: &layer.Reshape{Shape: []int{4, 4, 4}}},
			{Layer: &layer.Conv2DTranspose{Filters: 3, Kernel: layer.Square(3), Stride: 2}, Name: "last"},
		}}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sameWeights(t *testing.T, got, want *nn.Model) {
	t.Helper()
	for i, p := range want.Params {
		if !slices.Equal(got.Params[i].Data, p.Data) {
			t.Errorf("%s differs", p.Name)
		}
	}
}

// What is exported is imported, by whichever names.
func TestStateDict(t *testing.T) {
	want := mixed(t, 1)
	names, err := Names(want, Layers)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first.weight", "batch_normalization.running_mean", "apart.0.weight", "apart.1.bias", "spatial_attention.to_out.0.weight",
		"code.bias", "dense_1.weight", "last.weight"} {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s in %q", name, names)
		}
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(want.Params) {
		t.Errorf("names occur twice: %q", names)
	}
	for _, n := range []Naming{Modules, Layers} {
		path := filepath.Join(t.TempDir(), "state.safetensors")
		if err := Export(path, want, n); err != nil {
			t.Fatal(err)
		}
		got := mixed(t, 2)
		if found, err := Import(path, got); err != nil || found != n {
			t.Errorf("%q: imported by %q, %v", n, found, err)
		}
		sameWeights(t, got, want)
	}
	if err := Export(filepath.Join(t.TempDir(), "x.safetensors"), want, Diffusers); err == nil || !strings.Contains(err.Error(), `model "mixed" does not have the layers of an AutoencoderKL`) {
		t.Errorf("error %v", err)
	}
}

// A convolution's weights are PyTorch's (out, in, rows, columns) in files, and rows, columns, in for each filter here; a transposed one's begin
// with the channels that go in.
func TestLayouts(t *testing.T) {
	m := mixed(t, 1)
	path := filepath.Join(t.TempDir(), "state.safetensors")
	if err := Export(path, m, Layers); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]int{"first.weight": {4, 3, 3, 5}, "last.weight": {4, 3, 3, 3}, "code.weight": {10, 64}, "spatial_attention.to_q.weight": {4, 4}} {
		tensor, ok := f.Tensor(name)
		if !ok || !slices.Equal(tensor.Shape, want) {
			t.Fatalf("%s is %+v, want the shape %v", name, tensor, want)
		}
	}
	first, _ := f.Tensor("first.weight")
	v, err := first.Float32s()
	if got, want := v[((2*3+1)*3+2)*5+4], m.Params[0].Data[((2*3+2)*5+4)*3+1]; err != nil || got != want {
		t.Errorf("element [2,1,2,4] is %v, want %v: %v", got, want, err)
	}
}

// Files of other precisions, and with the counters of PyTorch's batch normalisation, are read too.
func TestForeignTensors(t *testing.T) {
	want := mixed(t, 1)
	names, _ := Names(want, Layers)
	tensors := want.TensorsNamed(names)
	for i := range tensors {
		v, err := tensors[i].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		for k, x := range v {
			v[k] = math.Float32frombits(math.Float32bits(x) &^ 0xffff) // a bfloat16
			switch i % 3 {
			case 0:
				data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(v[k])>>16))
			case 1:
				data = binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(v[k])))
			case 2:
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v[k]))
			}
		}
		tensors[i].DType, tensors[i].Data = []safetensors.DType{safetensors.BF16, safetensors.F64, safetensors.F32}[i%3], data
	}
	rounded := mixed(t, 1)
	for i := range rounded.Params {
		for k, x := range rounded.Params[i].Data {
			rounded.Params[i].Data[k] = math.Float32frombits(math.Float32bits(x) &^ 0xffff)
		}
	}
	tensors = append(tensors, safetensors.Tensor{Name: "batch_normalization.num_batches_tracked", DType: safetensors.I64, Shape: []int{}, Data: make([]byte, 8)})
	got := mixed(t, 2)
	if _, err := Import(save(t, tensors), got); err != nil {
		t.Fatal(err)
	}
	sameWeights(t, got, rounded)
}

func save(t *testing.T, tensors []safetensors.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := (&safetensors.File{Tensors: tensors}).Write(file); err != nil {
		t.Fatal(err)
	}
	return path
}

// Tensors that are missing, too much or of another shape are named, and nothing is taken.
func TestImportErrors(t *testing.T) {
	m := mixed(t, 1)
	names, _ := Names(m, Layers)
	tensors := func() []safetensors.Tensor { return m.TensorsNamed(names) }
	missing, extra, other := tensors()[1:], append(tensors(), safetensors.FromFloat32s("more", []int{1}, []float32{1})), tensors()
	other[0].Shape = []int{4, 3, 15}
	integer := tensors()
	integer[1].DType = safetensors.I32
	for want, file := range map[string][]safetensors.Tensor{
		"by the names of its layers: first.weight is not in the file":             missing,
		"more is not in the model":                                                extra,
		"first.weight has shape [4 3 15], the model's has [4 3 3 5]":              other,
		`tensor "first.bias" has dtype I32, want F32, F16, BF16 or F64`:           integer,
		"has none of the tensors of model \"mixed\": it has a, want first.weight": {safetensors.FromFloat32s("a", []int{1}, []float32{1})},
	} {
		got, before := mixed(t, 2), mixed(t, 2)
		if _, err := Import(save(t, file), got); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "weights.safetensors") {
			t.Errorf("error %v, want %q", err, want)
		}
		sameWeights(t, got, before)
	}
}

// golden writes the folder that diffusers would have saved of the golden file's first weights, with the names of attention as they are now or
// were, and returns its tensors.
func golden(t *testing.T, former bool) (dir string, tensors []safetensors.Tensor) {
	t.Helper()
	f, err := safetensors.ReadFile(filepath.Join("..", "..", "testdata", "golden", "large", "autoencoder_kl.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	was := strings.NewReplacer("to_q", "query", "to_k", "key", "to_v", "value", "to_out.0", "proj_attn")
	for _, tensor := range f.Tensors {
		if name, ok := strings.CutPrefix(tensor.Name, "init/"); ok {
			if tensor.Name = name; former {
				tensor.Name = was.Replace(name)
			}
			tensors = append(tensors, tensor)
		}
	}
	dir = t.TempDir()
	if err := os.Rename(save(t, tensors), filepath.Join(dir, "diffusion_pytorch_model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(f.Metadata["config"]), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir, tensors
}

func TestDiffusersFolder(t *testing.T) {
	for _, former := range []bool{false, true} {
		dir, tensors := golden(t, former)
		c, err := ReadFolder(dir, 0)
		if err != nil || !slices.Equal(c.Input, []int{16, 16, 3}) {
			t.Fatalf("input %v, %v", c.Input, err)
		}
		m, err := nn.New(c, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Import(filepath.Join(dir, "diffusion_pytorch_model.safetensors"), m); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := ExportFolder(out, m, 0.5); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.ReadFile(filepath.Join(out, "diffusion_pytorch_model.safetensors"))
		if err != nil || len(f.Tensors) != len(tensors) {
			t.Fatalf("%d tensors, want %d: %v", len(f.Tensors), len(tensors), err)
		}
		if !former {
			for _, want := range tensors {
				if got, ok := f.Tensor(want.Name); !ok || !reflect.DeepEqual(*got, want) {
					t.Errorf("%s is not what it was", want.Name)
				}
			}
		}
		again, err := ReadFolder(out, 0)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v, want %+v: %v", again, c, err)
		}
		if err := ExportFolder(out, m, 1); err == nil || !strings.Contains(err.Error(), "is not empty: want a new folder") {
			t.Errorf("error %v", err)
		}
	}
	dir, _ := golden(t, false)
	if _, err := ReadFolder(dir, 15); err == nil || !strings.Contains(err.Error(), "pictures of 15 rows and columns cannot be halved 1 times: want a multiple of 2") {
		t.Errorf("error %v", err)
	}
	if _, err := ReadFolder(t.TempDir(), 0); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("error %v", err)
	}
}
