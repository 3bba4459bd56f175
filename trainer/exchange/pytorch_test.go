package exchange

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// PyTorch computes what convae does, with the modules that are exported of all presets and all layers, and loads their weights.
func TestPyTorchModules(t *testing.T) {
	if os.Getenv("CONVAE_TEST_TORCH") == "" {
		t.Skip("CONVAE_TEST_TORCH is not set: it wants /usr/bin/python3 with torch (Debian: python3-torch)")
	}
	dev, _, err := device.Open("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	dir := t.TempDir()
	type job struct {
		Module  string `json:"module"`
		Weights string `json:"weights"`
		Method  string `json:"method"`
		Input   string `json:"input"`
		Dims    []int  `json:"dims"`
		Output  string `json:"output"`
	}
	type check struct {
		what string
		want []float32
		dims []int
	}
	var jobs []job
	var checks []check
	r := rand.New(rand.NewPCG(7, 8))
	for _, m := range peers(t) {
		net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		module := filepath.Join(dir, fmt.Sprintf("model_%d.py", len(jobs)))
		weights, err := ExportPyTorch(module, m)
		if err != nil {
			t.Errorf("%s: %v", m.Config.Name, err)
			continue
		}
		for _, method := range []string{"forward", "encode", "decode"} {
			run, in, out := net.Predict, m.Config.Input, outputDims(m)
			switch method {
			case "encode":
				run, out = net.Encode, m.CodeDims()
			case "decode":
				if run, in = net.Decode, m.CodeDims(); !m.Separable() {
					continue
				}
			}
			const n = 3
			x, want := make([]float32, n*product(in)), make([]float32, n*product(out))
			for i := range x {
				x[i] = r.Float32()
			}
			if err := run(want, x, n); err != nil {
				t.Fatal(err)
			}
			x, inDims := toNCHW(x, append([]int{n}, in...))
			want, outDims := toNCHW(want, append([]int{n}, out...))
			j := job{module, weights, method, fmt.Sprintf("%s/%d.in", dir, len(jobs)), inDims, fmt.Sprintf("%s/%d.out", dir, len(jobs))}
			writeFloats(t, j.Input, x)
			jobs, checks = append(jobs, j), append(checks, check{m.Config.Name + ": " + method, want, outDims})
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
	cmd := exec.Command("/usr/bin/python3", "testdata/run_modules.py", filepath.Join(dir, "jobs.json"))
	cmd.Stderr = &complaint
	text, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err != nil || len(lines) != len(jobs) {
		t.Fatalf("%s: %v\n%s", checks[min(len(lines), len(checks)-1)].what, err, complaint.String())
	}
	worst := 0.0
	for i, line := range lines {
		var dims []int
		if err := json.Unmarshal([]byte(line), &dims); err != nil {
			t.Fatal(err)
		}
		c := checks[i]
		if !reflect.DeepEqual(dims, c.dims) {
			t.Errorf("%s: dimensions %v, want %v", c.what, dims, c.dims)
			continue
		}
		off, scale := 0.0, 1.0
		for k, v := range readFloats(t, jobs[i].Output) {
			if v != v {
				off = math.Inf(1)
			}
			off, scale = max(off, math.Abs(float64(v-c.want[k]))), max(scale, math.Abs(float64(c.want[k])))
		}
		worst = max(worst, off/scale)
		if !(off <= 1e-5*scale) {
			t.Errorf("%s: off by %g of %g", c.what, off, scale)
		}
	}
	t.Logf("%d runs, off by %.2g at most", len(jobs), worst)
}

// The module of a small model, in full; and the state dict beside it.
func TestPyTorchText(t *testing.T) {
	m, err := nn.New(nn.Config{Name: "small", Input: []int{6, 6, 1}, Encoder: graph.Specs(&layer.Conv2D{Filters: 2, Kernel: layer.Square(3), Stride: 2, Activation: "relu"}),
		Decoder: []graph.Spec{{Layer: &layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(3), Stride: 2}, Name: "up.last"}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "small.py")
	weights, err := ExportPyTorch(path, m)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, class, _ := strings.Cut(string(text), "class Model(nn.Module):\n")
	const want = `    def __init__(self):
        super().__init__()
        self.conv2d = nn.Conv2d(1, 2, (3, 3), stride=2, bias=True)
        self.up = container({
            "last": nn.ConvTranspose2d(2, 1, (3, 3), stride=2, bias=True),
        })

    def encode(self, x):
        x1 = self.conv2d(F.pad(x, (0, 1, 0, 1)))
        x2 = F.relu(x1)
        return x2

    def decode(self, x):
        x3 = self.up.last(x)[:, :, 0:6, 0:6]
        return x3

    def forward(self, x):
        return self.decode(self.encode(x))
`
	if class != want {
		t.Errorf("the class is\n%s\nwant\n%s", class, want)
	}
	again := mixed(t, 2)
	if _, err := Import(weights, again); err == nil {
		t.Error("the weights fit another model")
	}
	m.Config.Encoder[0].Name = "forward"
	if m, err = nn.New(m.Config, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := ExportPyTorch(path, m); err == nil || !strings.Contains(err.Error(), `a module cannot be called "forward"`) {
		t.Errorf("error %v", err)
	}
}
