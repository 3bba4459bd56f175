package exchange

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/onnx"
	"github.com/convae/convae/nn/onnx/onnxpb"
	"github.com/convae/convae/trainer"
)

// predict runs a model on the CPU.
func predict(t *testing.T, m *nn.Model, x []float32, n int) []float32 {
	t.Helper()
	dev, _, err := device.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	y := make([]float32, n*m.Output.Image())
	if err := net.Predict(y, x, n); err != nil {
		t.Fatal(err)
	}
	return y
}

func closeTo(t *testing.T, what string, got, want []float32, bound float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	scale := 1.0
	for _, v := range want {
		scale = max(scale, math.Abs(float64(v)))
	}
	for i := range got {
		if off := math.Abs(float64(got[i] - want[i])); !(off <= bound*scale) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// A model that is exported comes back with its configuration and the bits of its weights, whatever its layers are.
func TestONNXRoundTrip(t *testing.T) {
	for i, want := range peers(t) {
		for _, layout := range onnx.Layouts()[i%2:][:1] {
			path := filepath.Join(t.TempDir(), "m.onnx")
			c := trainer.Config{}
			c.Training.Batch, c.Training.Seed = 7, 5
			if err := c.Check(); err != nil {
				t.Fatal(err)
			}
			if err := ExportONNX(path, want, c, onnx.Options{Layout: layout}); err != nil {
				t.Fatal(err)
			}
			got, gotConfig, err := ImportONNX(path, onnx.ImportOptions{})
			if err != nil {
				t.Errorf("%s: %v", want.Config.Name, err)
				continue
			}
			if !reflect.DeepEqual(got.Config, want.Config) || gotConfig.Training.Batch != 7 {
				t.Errorf("%s: the configuration is %+v, want %+v", want.Config.Name, got.Config, want.Config)
			}
			for k, p := range want.Params {
				if p.Role == graph.State && strings.HasSuffix(p.Name, "cluster_size") || strings.HasSuffix(p.Name, "embed_avg") {
					continue // of training alone
				}
				if !slices.Equal(got.Params[k].Data, p.Data) {
					t.Errorf("%s: %s differs", want.Config.Name, p.Name)
				}
			}
		}
	}
}

// The same graphs without their configuration are made models of node by node, which compute the same, or the error names what no layer stands for.
func TestONNXNodes(t *testing.T) {
	refused := map[string]string{"kl-f8": "shape of 2 or 4 dimensions", "kl-small": "shape of 2 or 4 dimensions", "vae": "Slice", "vae-conv": "Slice", "vq-vae": "its shape is [-1 16]", "concrete": "ArgMax",
		"pools": "ReduceMean", "activations": "Erf", "branches": "a vector between", "vectors": "ReduceMean", "pixels": "Slice", "selected": "ArgMax"}
	r := rand.New(rand.NewPCG(5, 6))
	for _, want := range peers(t) {
		for _, layout := range onnx.Layouts() {
			file, err := onnx.Export(want, onnx.Options{Layout: layout})
			if err != nil {
				t.Fatal(err)
			}
			got, err := onnx.Import(file, onnx.ImportOptions{})
			if text := refused[want.Config.Name]; text != "" {
				if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), `node "`) {
					t.Errorf("%s: error %v, want one of a node with %s", want.Config.Name, err, text)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", want.Config.Name, err)
				continue
			}
			x := make([]float32, 2*want.Input.Image())
			for i := range x {
				x[i] = r.Float32()
			}
			closeTo(t, want.Config.Name, predict(t, got, x, 2), predict(t, want, x, 2), 1e-6)
		}
	}
}

// Graphs that PyTorch has exported compute what PyTorch did: see testdata/make.py.
func TestONNXOfTorch(t *testing.T) {
	for name, code := range map[string]int{"torch_strides": 5, "torch_pools": 6} {
		text, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var golden map[string]struct {
			Dims []int
			Data []float32
		}
		if err := json.Unmarshal(text, &golden); err != nil {
			t.Fatal(err)
		}
		m, c, err := ImportONNX("testdata/"+name+".onnx", onnx.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Config.Name != name || m.Code.C != code || m.Code.Image() != code || c.Model.Name != name {
			t.Errorf("%s: the model is %s, its code %v", name, m.Config.Name, m.Code)
		}
		in, out := golden["input"], golden["output"]
		want, _ := toNHWC(out.Data, out.Dims)
		x, _ := toNHWC(in.Data, in.Dims)
		closeTo(t, name, predict(t, m, x, in.Dims[0]), want, 1e-6)
		again := filepath.Join(t.TempDir(), "again.onnx")
		if err := ExportONNX(again, m, c, onnx.Options{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ImportONNX(again, onnx.ImportOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// toNHWC is the inverse of toNCHW.
func toNHWC(x []float32, dims []int) ([]float32, []int) {
	if len(dims) != 4 {
		return x, dims
	}
	out := make([]float32, len(x))
	c, pixels := dims[1], dims[2]*dims[3]
	for n := range dims[0] {
		for k := range c {
			for p := range pixels {
				out[(n*pixels+p)*c+k] = x[(n*c+k)*pixels+p]
			}
		}
	}
	return out, []int{dims[0], dims[2], dims[3], c}
}

// What is not ours is named, and a graph that was changed since it was exported is read as it is now.
func TestONNXImportErrors(t *testing.T) {
	file, err := onnx.ReadFile("testdata/torch_strides.onnx")
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(g *onnxpb.GraphProto)) *onnxpb.ModelProto {
		c := proto.Clone(file).(*onnxpb.ModelProto)
		change(c.Graph)
		return c
	}
	attribute := func(g *onnxpb.GraphProto, kind, name string) *onnxpb.AttributeProto {
		for _, n := range g.Node {
			for _, a := range n.Attribute {
				if n.OpType == kind && a.Name == name {
					return a
				}
			}
		}
		t.Fatalf("there is no %s of %s", name, kind)
		return nil
	}
	for want, m := range map[string]*onnxpb.ModelProto{
		`(Einsum): no layer of convae`:           changed(func(g *onnxpb.GraphProto) { g.Node[2].OpType = "Einsum" }),
		`its domain is "com.microsoft"`:          changed(func(g *onnxpb.GraphProto) { g.Node[0].Domain = "com.microsoft" }),
		"padding [5 5 5 5] with a kernel":        changed(func(g *onnxpb.GraphProto) { attribute(g, "Conv", "pads").Ints = []int64{5, 5, 5, 5} }),
		"pads is [-1 0 0 0]":                     changed(func(g *onnxpb.GraphProto) { attribute(g, "Conv", "pads").Ints = []int64{-1, 0, 0, 0} }),
		"want the same for rows and columns":     changed(func(g *onnxpb.GraphProto) { attribute(g, "Conv", "strides").Ints = []int64{1, 2} }),
		"is a constant or is not made before it": changed(func(g *onnxpb.GraphProto) { g.Node[1].Input[0] = "nothing" }),
		"has no fixed size in dimension 2": changed(func(g *onnxpb.GraphProto) {
			g.Input[0].Type.GetTensorType().Shape.Dim[2] = &onnxpb.TensorShapeProto_Dimension{}
		}),
		"the graph has 2 outputs":         changed(func(g *onnxpb.GraphProto) { g.Output = append(g.Output, g.Output[0]) }),
		"and the dimensions [":            changed(func(g *onnxpb.GraphProto) { g.Initializer[0].RawData = g.Initializer[0].RawData[4:] }),
		"its numbers are in another file": changed(func(g *onnxpb.GraphProto) { g.Initializer[0].DataLocation = onnxpb.TensorProto_EXTERNAL }),
		"its type is STRING":              changed(func(g *onnxpb.GraphProto) { g.Initializer[0].DataType = int32(onnxpb.TensorProto_STRING) }),
		"it has 4 inputs, want 5": changed(func(g *onnxpb.GraphProto) { // if the exporter has left one
			for _, n := range g.Node {
				if n.OpType == "BatchNormalization" {
					n.Input = n.Input[:4]
					return
				}
			}
			g.Node[0].OpType = "BatchNormalization"
		}),
	} {
		if _, err := onnx.Import(m, onnx.ImportOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := onnx.Import(file, onnx.ImportOptions{Code: "nothing"}); err == nil || !strings.Contains(err.Error(), `the tensor "nothing"`) {
		t.Errorf("error %v", err)
	}

	m := peers(t)[0]
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := ExportONNX(path, m, trainer.Config{}, onnx.Options{}); err != nil {
		t.Fatal(err)
	}
	own, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range own.Graph.Node {
		if n.OpType == "Relu" {
			n.OpType = "Tanh"
		}
	}
	data, err := onnx.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	other, _, err := ImportONNX(path, onnx.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(other.Config, m.Config) {
		t.Error("a graph that was changed gives the model that it was")
	}
	if err := ExportONNX(path, m, trainer.Config{}, onnx.Options{Part: onnx.Encoder}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ImportONNX(path, onnx.ImportOptions{}); err == nil || !strings.Contains(err.Error(), "a part of a model alone") {
		t.Errorf("error %v", err)
	}
	if _, err := onnx.Parse([]byte("no protobuf")); err == nil || !strings.Contains(err.Error(), "it is no ONNX file") {
		t.Errorf("error %v", err)
	}
}
