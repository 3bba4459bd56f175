package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
)

// goldenPerceptual returns PyTorch's values, of a VGG-16 with few filters whose weights are in the file too, and its losses, without LPIPS
// and with it.
// perceptualCases are those of the golden file.
var perceptualCases = []string{"1_channels", "3_channels", "lpips"}

func goldenPerceptual(t *testing.T) (golden, map[bool]Loss) {
	t.Helper()
	path := filepath.Join(goldenDir(), "perceptual", "perceptual.safetensors")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && os.Getenv("CONVAE_GOLDEN") != "" {
		t.Skip("CONVAE_GOLDEN has no perceptual/perceptual.safetensors")
	}
	f, err := safetensors.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	losses := map[bool]Loss{}
	for lpips, name := range map[bool]string{false: "loss", true: "lpips"} {
		var l Loss
		if err := yaml.Unmarshal([]byte(f.Metadata[name]), &l); err != nil {
			t.Fatal(err)
		}
		if l.Perceptual.File = path; l.Perceptual.LPIPS != lpips {
			t.Fatalf("the golden file's %s is %+v", name, l)
		}
		if losses[lpips], err = l.WithDefaults(); err != nil {
			t.Fatal(err)
		}
	}
	return golden{t, f}, losses
}

// One layer is trained for a few steps by PyTorch's perceptual loss: images of one and three channels whose sides no pool divides, whole
// and in micro-batches, on the devices, fused and not, and with activations made again.
func TestGoldenPerceptual(t *testing.T) {
	g, l := goldenPerceptual(t)
	for _, name := range perceptualCases {
		l := l[name == "lpips"]
		for _, o := range []TrainerOptions{{}, {Unfused: true}, {MicroBatch: 2, Slots: 1}, {Recompute: RecomputeAlways}} {
			t.Run(fmt.Sprintf("cpu/%s/unfused=%v-%d-at-a-time-recompute=%v", name, o.Unfused, o.MicroBatch, o.Recompute), func(t *testing.T) {
				testGoldenPerceptual(golden{t, g.f}, l, name, openTest(t), o, 1e-5)
			})
		}
		t.Run("group/"+name, func(t *testing.T) {
			dev, err := backend.NewGroup("group", openLanes(t, 1), openLanes(t, 1))
			if err != nil {
				t.Fatal(err)
			}
			testGoldenPerceptual(golden{t, g.f}, l, name, dev, TrainerOptions{Slots: 3}, 1e-5)
		})
		// Each of 28 products on the way there and back rounds two factors, by 2^-11 and 2^-9 at most.
		for precision, c := range map[string]struct {
			p     backend.Precision
			bound float64
		}{"float32": {backend.Precision{}, 1e-5}, "tf32": {tf32, 56 * 0x1p-11}, "bf16": {bf16, 56 * 0x1p-9}} {
			if precision != "float32" && name != "lpips" { // which has the ops of the others too
				continue
			}
			t.Run(fmt.Sprintf("sim/%s/%s", name, precision), func(t *testing.T) {
				if testing.Short() {
					t.Skip("-short: the simulator takes some seconds")
				}
				t.Parallel()
				testGoldenPerceptual(golden{t, g.f}, l, name, openSim(t), TrainerOptions{Precision: c.p}, c.bound)
			})
		}
	}
}

// perceived is a model of one layer.
func perceived(input []int) Config {
	return Config{Name: "perceived", Input: input, Encoder: graph.Specs(&layer.Activation{Function: "linear"}),
		Decoder: graph.Specs(&layer.Conv2D{Filters: input[2], Kernel: layer.Square(3), Activation: "sigmoid"})}
}

func testGoldenPerceptual(g golden, l Loss, name string, dev backend.Device, o TrainerOptions, bound float64) {
	t := g.t
	name += "/"
	file, _ := g.f.Tensor(name + "x")
	o.Batch, o.Loss, o.Optimizer = file.Shape[0], l, Optimizer{Name: "sgd", LearningRate: 0.05}
	m := mustModel(t, perceived(file.Shape[1:]))
	of := func(prefix string, i int) []float32 {
		tensor, ok := g.f.Tensor(name + prefix + []string{"weight", "bias"}[i])
		if !ok {
			t.Fatalf("the golden file lacks %s", name+prefix)
		}
		v, err := m.Params[i].fromTorch(tensor)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i := range m.Params {
		copy(m.Params[i].Data, of("init/", i))
	}
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	x, clean := g.floats(name+"x"), g.floats(name+"clean")
	for step, want := range g.floats(name + "losses") {
		tr.ResetLoss()
		if err := tr.StepOn(x, clean, o.Batch); err != nil {
			t.Fatal(err)
		}
		loss, err := tr.Loss()
		if err != nil {
			t.Fatal(err)
		}
		if off := math.Abs(loss/float64(want) - 1); !(off <= bound) {
			t.Errorf("step %d: loss %.7f, want %.7f within %g of it", step, loss, want, bound)
		}
		if step > 0 {
			continue
		}
		for i := range m.Params {
			got := make([]float32, m.Params[i].Shape.Len())
			if err := tr.first().mem.b.Download(got, gradients(tr)[i]); err != nil {
				t.Fatal(err)
			}
			wantGrad := of("step0/grad/", i)
			largest := 0.0
			for _, v := range wantGrad {
				largest = max(largest, math.Abs(float64(v)))
			}
			within(t, "step0/grad", got, wantGrad, backend.Bound{Abs: bound * largest})
		}
	}
}

// Evaluation computes the distances that PyTorch does.
func TestDistance(t *testing.T) {
	g, l := goldenPerceptual(t)
	for _, name := range perceptualCases {
		l := l[name == "lpips"]
		name += "/"
		file, _ := g.f.Tensor(name + "x")
		net, err := NewNetwork(mustModel(t, perceived(file.Shape[1:])), openTest(t), NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer net.Close()
		d, err := NewDistance(net, l.Perceptual)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		want := g.floats(name + "step0/distances")
		got := make([]float64, len(want))
		if err := d.Of(got, g.floats(name+"step0/output"), g.floats(name+"clean"), len(want)); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if off := math.Abs(got[i]/float64(want[i]) - 1); !(off <= 1e-6) {
				t.Errorf("distance %d is %v, want %v", i, got[i], want[i])
			}
		}
	}
}

// An output that is the target costs nothing, and noise that the model lets through does, by as much as the distance of its output.
func TestPerceptualOfData(t *testing.T) {
	_, losses := goldenPerceptual(t)
	l := losses[false]
	l.MSE = 0
	for _, input := range [][]int{{16, 20, 3}, {17, 16, 1}} {
		c := perceived(input)
		c.Decoder[0].Layer.(*layer.Conv2D).Activation = "linear"
		m := mustModel(t, c)
		for i := range m.Params {
			clear(m.Params[i].Data)
		}
		for f := range input[2] {
			m.Params[0].Data[(f*9+4)*input[2]+f] = 1
		}
		for _, noise := range []float32{0, 0.1} {
			tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 4, Loss: l, Noise: noise, Seed: 5, Optimizer: Optimizer{Name: "sgd"}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := tr.SetData(pixelsFor(m, 4), 4); err != nil {
				t.Fatal(err)
			}
			tr.Step(0, 4, 0)
			loss, err := tr.Loss()
			if err != nil || (loss > 0) != (noise > 0) {
				t.Errorf("%v, noise %v: loss %v, %v", input, noise, loss, err)
			}
		}
	}
}

// Down the gradient the loss falls as the gradient says.
func TestPerceptualGradient(t *testing.T) {
	g, losses := goldenPerceptual(t)
	l := losses[false]
	file, _ := g.f.Tensor("3_channels/x")
	m := mustModel(t, perceived(file.Shape[1:]))
	tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 3, Loss: l, Optimizer: Optimizer{Name: "sgd", LearningRate: 1e-30}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	loss := func() float64 {
		tr.ResetLoss()
		if err := tr.StepOn(g.floats("3_channels/x"), g.floats("3_channels/clean"), 3); err != nil {
			t.Fatal(err)
		}
		v, err := tr.Loss()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	loss()
	grad := make([]float32, m.Params[0].Shape.Len())
	if err := tr.first().mem.b.Download(grad, gradients(tr)[0]); err != nil {
		t.Fatal(err)
	}
	square := 0.0
	for _, v := range grad {
		square += float64(v) * float64(v)
	}
	const step = 1e-3 // times the gradient, either way
	var at [2]float64
	for i, way := range []float32{1, -2} {
		for j, v := range grad {
			m.Params[0].Data[j] += way * step * v
		}
		tr.Push()
		at[i] = loss()
	}
	if slope := (at[0] - at[1]) / (2 * step); !(math.Abs(slope/square-1) <= 0.01) {
		t.Errorf("the slope is %v, the square of the gradient %v", slope, square)
	}
}

// vggFile writes tensors as a file, without those that edit sets to nil.
func vggFile(t *testing.T, edit map[string]*safetensors.Tensor, rename func(string) string) string {
	t.Helper()
	g, _ := goldenPerceptual(t)
	var f safetensors.File
	for _, tensor := range g.f.Tensors {
		if !strings.HasPrefix(tensor.Name, "features.") && !strings.HasPrefix(tensor.Name, "lin") {
			continue
		}
		if e, ok := edit[tensor.Name]; ok {
			if e == nil {
				continue
			}
			tensor = *e
		}
		if rename != nil {
			tensor.Name = rename(tensor.Name)
		}
		f.Tensors = append(f.Tensors, tensor)
	}
	path := filepath.Join(t.TempDir(), "vgg16.safetensors")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := f.Write(w); err != nil {
		t.Fatal(err)
	}
	return path
}

// The list of features alone, and the library lpips, have names of their own; only what the loss looks at needs to be there.
func TestPerceptualNames(t *testing.T) {
	slices := map[string]string{"0": "1", "2": "1", "5": "2", "7": "2", "10": "3", "12": "3", "14": "3", "17": "4", "19": "4", "21": "4", "24": "5", "26": "5", "28": "5"}
	for name, rename := range map[string]func(string) string{
		"torchvision": nil,
		"features":    func(n string) string { return strings.TrimPrefix(n, "features.") },
		"lpips": func(n string) string {
			p := strings.Split(n, ".")
			if p[0] != "features" {
				return n
			}
			return "net.slice" + slices[p[1]] + "." + p[1] + "." + p[2]
		},
	} {
		p := Perceptual{Weight: 1, File: vggFile(t, map[string]*safetensors.Tensor{"features.28.bias": nil}, rename), Layers: 1 << 11}
		f, err := p.loadFeatures(3)
		if err != nil || len(f.params) != 2+2*12 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPerceptualErrors(t *testing.T) {
	floats := func(name string, shape []int, v float32) *safetensors.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		tensor := safetensors.FromFloat32s(name, shape, slices.Repeat([]float32{v}, n))
		return &tensor
	}
	edited := func(name string, e *safetensors.Tensor) string {
		return vggFile(t, map[string]*safetensors.Tensor{name: e}, nil)
	}
	for _, c := range []struct {
		input []int
		p     Perceptual
		want  string
	}{
		{[]int{16, 16, 3}, Perceptual{File: "nowhere.safetensors"}, "nowhere.safetensors"},
		{[]int{16, 16, 3}, Perceptual{File: edited("features.5.weight", nil)}, `vgg16.safetensors: there is no tensor "features.5.weight" of VGG-16`},
		{[]int{16, 16, 3}, Perceptual{File: edited("features.2.weight", floats("features.2.weight", []int{4, 3, 3, 3}, 1))}, `tensor "features.2.weight" has shape [4 3 3 3], want [filters 4 3 3]`},
		{[]int{16, 16, 3}, Perceptual{File: edited("features.2.bias", floats("features.2.bias", []int{5}, 1))}, `tensor "features.2.bias" has shape [5], want [4]`},
		{[]int{16, 16, 3}, Perceptual{File: edited("features.0.bias", floats("features.0.bias", []int{4}, float32(math.NaN())))}, `tensor "features.0.bias": value 1 is NaN, want finite weights`},
		{[]int{16, 16, 2}, Perceptual{File: edited("", nil)}, "loss perceptual is of images of 1 or 3 channels, and the model's have 2"},
		{[]int{7, 16, 3}, Perceptual{File: edited("", nil)}, "loss perceptual: the images are too small for layer relu4_3"},
		{[]int{16, 16, 3}, Perceptual{LPIPS: true, File: edited("lin2.model.1.weight", nil)}, `there is no tensor "lin2.model.1.weight" of LPIPS (nor lins.2.model.1.weight)`},
		{[]int{16, 16, 3}, Perceptual{LPIPS: true, File: edited("lin4.model.1.weight", floats("lin4.model.1.weight", []int{1, 9, 1, 1}, 1))}, `tensor "lin4.model.1.weight" has shape [1 9 1 1], want [1 8 1 1]`},
		{[]int{16, 16, 3}, Perceptual{LPIPS: true, File: edited("lin0.model.1.weight", floats("lin0.model.1.weight", []int{1, 4, 1, 1}, -1))}, `tensor "lin0.model.1.weight": value 1 is -1, want 0 or more`},
		{[]int{16, 16, 3}, Perceptual{LPIPS: true, File: "x", Layers: 1}, "loss: perceptual with lpips has the layers [relu1_1], want of [relu1_2 relu2_2 relu3_3 relu4_3 relu5_3]"},
		{[]int{16, 16, 3}, Perceptual{}, "loss: perceptual names no file: want the weights of VGG-16 as safetensors"},
		{[]int{16, 16, 3}, Perceptual{File: "x", Layers: 1 << 13}, "loss: perceptual has layers that there are not"},
	} {
		c.p.Weight = 1
		if err := perceived(c.input).CheckTraining(TrainerOptions{Batch: 1, Loss: Loss{Perceptual: c.p}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.p, err, c.want)
		}
	}
	vector := Config{Name: "vector", Input: []int{3}, Encoder: graph.Specs(&layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 3})}
	if err := vector.CheckTraining(TrainerOptions{Batch: 1, Loss: Loss{Perceptual: Perceptual{Weight: 1, File: edited("", nil)}}}); err == nil || !strings.Contains(err.Error(), "loss perceptual is of images") {
		t.Errorf("of vectors: error %v", err)
	}
	if _, err := (Loss{L1: 1, Perceptual: Perceptual{File: "x"}}).WithDefaults(); err == nil || !strings.Contains(err.Error(), "no weight") {
		t.Errorf("without a weight: error %v", err)
	}
}

func TestPerceptualAsYAML(t *testing.T) {
	text := "{l1: 1, perceptual: {weight: 0.1, file: vgg16.safetensors, layers: [relu2_2, relu1_2]}}"
	want := Loss{L1: 1, Perceptual: Perceptual{Weight: 0.1, File: "vgg16.safetensors", Layers: 1<<1 | 1<<3}}
	var l, back Loss
	if err := yaml.Unmarshal([]byte(text), &l); err != nil || l != want {
		t.Fatalf("read as %+v, %v", l, err)
	}
	if got := l.String(); got != "l1 + 0.1 perceptual" {
		t.Errorf("as text: %q", got)
	}
	written, err := yaml.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(written, &back); err != nil || back != l {
		t.Errorf("%s is read again as %+v, %v", written, back, err)
	}
	if text, err := json.Marshal(l); err != nil || string(text) != `{"l1":1,"perceptual":{"file":"vgg16.safetensors","layers":["relu1_2","relu2_2"],"weight":0.1}}` {
		t.Errorf("JSON %s, %v", text, err)
	}
	for text, want := range map[string]string{
		"{perceptual: {weight: much}}":    "perceptual: weight is much, want a number",
		"{perceptual: {file: [1]}}":       "perceptual: file is [1], want the name of a safetensors file",
		"{perceptual: {layers: relu1_1}}": "perceptual: layers is relu1_1, want a list of relu1_1, relu1_2",
		"{perceptual: {layers: [relu9]}}": "perceptual: there is no layer relu9: want of relu1_1",
		"{perceptual: {depth: 3}}":        "perceptual: there is no depth: want weight, file, layers, lpips",
		"{perceptual: {lpips: 1}}":        "perceptual: lpips is 1, want true or false",
		"{perceptual: [1]}":               "perceptual is [1]: want {weight: 0.1",
	} {
		if err := yaml.Unmarshal([]byte(text), &l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
