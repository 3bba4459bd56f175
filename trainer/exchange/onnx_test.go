package exchange

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/onnx"
	"github.com/convae/convae/trainer"
)

// peers are models that other libraries must compute alike: all presets, those of large pictures on smaller ones, and models of every layer.
func peers(t *testing.T) []*nn.Model {
	t.Helper()
	var configs []nn.Config
	for _, name := range trainer.Presets() {
		c, err := trainer.Preset(name, func(c *trainer.Config) error {
			if len(c.Model.Input) == 3 && c.Model.Input[0] > 28 {
				c.Model.Input = []int{16, 24, c.Model.Input[2]}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if name == "kl-f8" { // the same layers, a tenth of the filters
			for _, specs := range [][]graph.Spec{c.Model.Encoder, c.Model.Decoder} {
				for _, s := range specs {
					if l, ok := s.Layer.(*layer.Conv2D); ok && l.Filters >= 128 {
						l.Filters /= 4
					}
				}
			}
		}
		configs = append(configs, c.Model)
	}
	configs = append(configs, everyLayer()...)
	var models []*nn.Model
	for i, c := range configs {
		m, err := nn.New(c, uint64(i))
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		disturb(m)
		models = append(models, m)
	}
	return models
}

// disturb gives what begins as zeros and ones, biases, scales and running statistics, values that matter.
func disturb(m *nn.Model) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range m.Params {
		p := &m.Params[i]
		if p.Role == graph.ConvWeights || p.Role == graph.DenseWeights || p.Role == graph.Codebook {
			continue
		}
		for k := range p.Data {
			if p.Role == graph.State || p.Role == graph.Scale {
				p.Data[k] = 0.5 + r.Float32()
			} else {
				p.Data[k] = 0.4 * (r.Float32() - 0.5)
			}
		}
	}
}

// everyLayer lists models that have all layers among them, with what makes them different.
func everyLayer() []nn.Config {
	named := func(l graph.Layer, name string, inputs ...string) graph.Spec {
		return graph.Spec{Layer: l, Name: name, Inputs: inputs}
	}
	k, k2 := layer.Square(3), layer.Size{H: 2, W: 5}
	activations := func(list ...string) (specs []graph.Spec) {
		for _, a := range list {
			specs = append(specs, graph.Specs(&layer.Conv2D{Filters: 4, Kernel: k, Activation: a})...)
		}
		return specs
	}
	return []nn.Config{
		{Name: "convolutions", Input: []int{13, 10, 3}, Encoder: slices.Concat(graph.Specs(
			&layer.Conv2D{Filters: 4, Kernel: k2, Stride: 2},
			&layer.Conv2D{Filters: 6, Kernel: k, Dilation: 2},
			&layer.Conv2D{Filters: 6, Kernel: k2, Groups: 2, Stride: 2, Dilation: 2, NoBias: true},
			&layer.DepthwiseConv2D{Kernel: k, DepthMultiplier: 2},
			&layer.SeparableConv2D{Filters: 5, Kernel: layer.Square(2), Padding: "valid"})),
			Decoder: graph.Specs(
				&layer.Conv2DTranspose{Filters: 4, Kernel: layer.Square(2), Stride: 3},
				&layer.Conv2DTranspose{Filters: 4, Kernel: layer.Square(2), Stride: 3, Padding: "valid", NoBias: true},
				&layer.Conv2DTranspose{Filters: 3, Kernel: layer.Size{H: 4, W: 3}, Stride: 2},
				&layer.Conv2D{Filters: 3, Kernel: k, Stride: 2, Padding: "valid"},
				&layer.Conv2DTranspose{Filters: 3, Kernel: layer.Size{H: 5, W: 3}, Stride: 2, Padding: "valid"},
				&layer.Conv2D{Filters: 8, Kernel: layer.Square(1), Stride: 2},
				&layer.DepthToSpace{Size: 2}, &layer.Conv2D{Filters: 8, Kernel: k}, &layer.DepthToSpace{Size: 2, Order: "torch"})},
		{Name: "pools", Input: []int{11, 14, 4}, Encoder: graph.Specs(
			&layer.MaxPool2D{Size: 3, Stride: 2}, &layer.AveragePooling2D{Size: 2, Stride: 1}, &layer.AveragePooling2D{Size: 3, Stride: 2, Padding: "valid"},
			&layer.UpSampling2D{Size: 3, Interpolation: "bilinear"}, &layer.MaxPool2D{Size: 2, Padding: "valid"}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.LayerNormalization{}, &layer.UpSampling2D{Size: 2, Interpolation: "bilinear"},
				&layer.GroupNormalization{Groups: 2, NoScale: true}, &layer.LayerNormalization{NoCenter: true}, &layer.BatchNormalization{NoScale: true}, &layer.BatchNormalization{NoCenter: true})},
		{Name: "activations", Input: []int{6, 6, 2}, Encoder: slices.Concat(activations("relu", "sigmoid", "tanh", "leaky_relu", "elu", "swish"), graph.Specs(
			&layer.LeakyReLU{}, &layer.ELU{Alpha: 0.5}, &layer.Rescaling{Scale: 3, Offset: -1})),
			Decoder: activations("gelu", "gelu_tanh", "softplus", "softsign", "linear")},
		{Name: "vectors", Input: []int{6, 4, 3}, Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: k, Stride: 2}, &layer.Flatten{}, &layer.BatchNormalization{Activation: "relu"},
			&layer.Dense{Units: 10, NoBias: true}, &layer.LayerNormalization{}, &layer.Dropout{Rate: 0.5}, &layer.GroupNormalization{Groups: 5}),
			Decoder: graph.Specs(&layer.Dense{Units: 24}, &layer.BatchNormalization{}, &layer.Activation{Function: "tanh"}, &layer.Reshape{Shape: []int{3, 2, 4}},
				&layer.Reshape{Shape: []int{2, 6, 2}}, &layer.Flatten{}, &layer.Reshape{Shape: []int{4, 1, 6}}, &layer.Conv2D{Filters: 2, Kernel: k})},
		{Name: "flat code", Input: []int{4, 4, 3}, Encoder: graph.Specs(&layer.Conv2D{Filters: 2, Kernel: k}, &layer.Flatten{}),
			Decoder: graph.Specs(&layer.Reshape{Shape: []int{4, 4, 2}}, &layer.Conv2D{Filters: 3, Kernel: k}, &layer.Flatten{}, &layer.Dense{Units: 5})},
		{Name: "branches", Input: []int{8, 8, 4}, Encoder: []graph.Spec{
			named(&layer.Conv2D{Filters: 4, Kernel: k}, "a"), {Layer: &layer.GlobalAveragePooling2D{}}, named(&layer.Dense{Units: 4, Activation: "sigmoid"}, "gates"),
			named(&layer.Multiply{}, "squeezed", "a", "gates"), named(&layer.Multiply{}, "squared", "squeezed", "a"), named(&layer.Concatenate{}, "", "squared", "input", "a"),
			named(&layer.Conv2D{Filters: 4, Kernel: k}, "b"), named(&layer.Add{}, "", "a", "b", "squeezed"), {Layer: &layer.SpatialAttention{Heads: 2}},
			{Layer: &layer.SpatialAttention{Groups: 2, Residual: true}}, {Layer: &layer.Conv2D{Filters: 6, Kernel: k}}, {Layer: &layer.VectorQuantizer{Embeddings: 16}}},
			Decoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: k})},
		{Name: "pixels", Input: []int{4, 4, 2}, Encoder: []graph.Spec{{Layer: &layer.Conv2D{Filters: 6, Kernel: layer.Square(4), Padding: "valid"}},
			{Layer: &layer.Sampling{Clamp: []float32{-5, 5}}}},
			Decoder: graph.Specs(&layer.Dense{Units: 8}, &layer.Conv2DTranspose{Filters: 2, Kernel: k, Stride: 4})},
		{Name: "selected", Input: []int{3, 2, 2}, Encoder: graph.Specs(&layer.Flatten{}, &layer.Concrete{Select: 5}), Decoder: graph.Specs(&layer.Dense{Units: 12}, &layer.Reshape{Shape: []int{3, 2, 2}})},
	}
}

// All layers that there are can be exported, and models that other libraries check have them all.
func TestEveryLayerIsCompared(t *testing.T) {
	has := map[string]bool{}
	for _, m := range peers(t) {
		for _, l := range m.Layers {
			key, _ := graph.Key(l.Layer)
			has[key] = true
		}
		for _, part := range onnx.Parts() {
			if part == onnx.Decoder && !m.Separable() {
				continue
			}
			if _, err := onnx.Export(m, onnx.Options{Part: part}); err != nil {
				t.Errorf("%s: %s: %v", m.Config.Name, part, err)
			}
		}
	}
	for _, key := range graph.Keys() {
		if !has[key] {
			t.Errorf("no model has %s", key)
		}
	}
}

type ortJob struct {
	Model  string `json:"model"`
	Input  string `json:"input"`
	Dims   []int  `json:"dims"`
	Output string `json:"output"`
}

// onnxruntime computes what convae does, with every preset and every layer: whole, encoder and decoder, in both layouts, for one sample and for three.
func TestONNXRuntime(t *testing.T) {
	if os.Getenv("CONVAE_TEST_ONNX") == "" {
		t.Skip("CONVAE_TEST_ONNX is not set: it wants node and onnxruntime-node in NODE_PATH")
	}
	dev, _, err := device.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	dir := t.TempDir()
	type check struct {
		what  string
		want  []float32
		dims  []int // of the output
		names [2]string
	}
	var jobs []ortJob
	var checks []check
	r := rand.New(rand.NewPCG(3, 4))
	for _, m := range peers(t) {
		net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		codeDims := m.CodeDims()
		outDims := outputDims(m)
		for _, part := range onnx.Parts() {
			if part == onnx.Decoder && !m.Separable() {
				continue
			}
			run, in, out, names := net.Predict, m.Config.Input, outDims, [2]string{"input", "output"}
			switch part {
			case onnx.Encoder:
				run, out, names[1] = net.Encode, codeDims, "code"
			case onnx.Decoder:
				run, in, names[0] = net.Decode, codeDims, "code"
			}
			for _, layout := range onnx.Layouts() {
				file := filepath.Join(dir, fmt.Sprintf("%d.onnx", len(jobs)))
				if err := ExportONNX(file, m, trainer.Config{}, onnx.Options{Part: part, Layout: layout}); err != nil {
					t.Fatalf("%s: %s: %v", m.Config.Name, part, err)
				}
				for _, n := range []int{1, 3} {
					x, want := make([]float32, n*product(in)), make([]float32, n*product(out))
					for i := range x {
						x[i] = r.Float32()
					}
					if err := run(want, x, n); err != nil {
						t.Fatal(err)
					}
					job := ortJob{Model: file, Input: fmt.Sprintf("%s.%d.in", file, n), Output: fmt.Sprintf("%s.%d.out", file, n), Dims: append([]int{n}, in...)}
					c := check{what: fmt.Sprintf("%s: %s, %s, %d samples", m.Config.Name, part, layout, n), want: want, dims: append([]int{n}, out...), names: names}
					if layout == onnx.NCHW {
						x, job.Dims = toNCHW(x, job.Dims)
						c.want, c.dims = toNCHW(c.want, c.dims)
					}
					writeFloats(t, job.Input, x)
					jobs, checks = append(jobs, job), append(checks, c)
				}
			}
		}
		net.Close()
	}
	list, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "jobs.json"), list, 0o666); err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd := exec.Command("node", filepath.Join("..", "..", "scripts", "onnx_run.js"), filepath.Join(dir, "jobs.json"))
	cmd.Stderr = &complaint
	text, err := cmd.Output()
	lines := bufio.NewScanner(bytes.NewReader(text))
	done, worst := 0, 0.0
	for ; lines.Scan(); done++ {
		var got struct {
			Input, Output string
			Dims          []int
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		c := checks[done]
		if got.Input != c.names[0] || got.Output != c.names[1] || !reflect.DeepEqual(got.Dims, c.dims) {
			t.Errorf("%s: %+v, want names %q and dimensions %v", c.what, got, c.names, c.dims)
			continue
		}
		off, scale := 0.0, 1.0
		for i, v := range readFloats(t, jobs[done].Output) {
			off = max(off, math.Abs(float64(v-c.want[i])))
			scale = max(scale, math.Abs(float64(c.want[i])))
			if v != v {
				off = math.NaN()
				break
			}
		}
		worst = max(worst, off/scale)
		// Both round sums in orders of their own.
		if !(off <= 1e-5*scale) {
			t.Errorf("%s: off by %g of %g", c.what, off, scale)
		}
	}
	if err != nil || done < len(jobs) {
		t.Fatalf("%s: %v\n%s", checks[min(done, len(checks)-1)].what, err, complaint.String())
	}
	t.Logf("%d runs, off by %.2g at most", done, worst)
}

// outputDims is the shape of the output of a model: a vector if its last layers are such as make one.
func outputDims(m *nn.Model) []int {
	vector := len(m.CodeDims()) == 1
	for _, l := range m.Layers {
		if l.Part == "decoder" {
			switch v := l.Layer.(type) {
			case *layer.Dense, *layer.Flatten:
				vector = true
			case *layer.Reshape:
				vector = len(v.Shape) == 1
			case *layer.Conv2D, *layer.Conv2DTranspose:
				vector = false
			}
		}
	}
	if vector && m.Output.H*m.Output.W == 1 {
		return []int{m.Output.C}
	}
	return []int{m.Output.H, m.Output.W, m.Output.C}
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// toNCHW turns images of (n, rows, columns, channels); vectors stay as they are.
func toNCHW(x []float32, dims []int) ([]float32, []int) {
	if len(dims) != 4 {
		return x, dims
	}
	out := make([]float32, len(x))
	pixels, c := dims[1]*dims[2], dims[3]
	for n := range dims[0] {
		for p := range pixels {
			for k := range c {
				out[(n*c+k)*pixels+p] = x[(n*pixels+p)*c+k]
			}
		}
	}
	return out, []int{dims[0], c, dims[1], dims[2]}
}

func writeFloats(t *testing.T, path string, x []float32) {
	t.Helper()
	data := make([]byte, 0, 4*len(x))
	for _, v := range x {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func readFloats(t *testing.T, path string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(data)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return x
}
