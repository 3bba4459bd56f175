package nn

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/safetensors"
)

// goldenDir is the folder of the reference vectors; see its README.
func goldenDir() string {
	if dir := os.Getenv("CONVAE_GOLDEN"); dir != "" {
		return dir
	}
	return filepath.Join("..", "testdata", "golden")
}

// golden reads tensors of a reference file.
type golden struct {
	t *testing.T
	f *safetensors.File
}

func (g golden) floats(name string) []float32 {
	t, ok := g.f.Tensor(name)
	if !ok {
		g.t.Fatalf("the golden file lacks %q", name)
	}
	v, err := t.Float32s()
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}

// metadata reads numbers of the file's metadata by a format of fmt.Sscanf.
func (g golden) metadata(key, format string, into ...any) {
	if _, err := fmt.Sscanf(g.f.Metadata[key], format, into...); err != nil {
		g.t.Fatalf("the golden file's %s is %q, want the form %q", key, g.f.Metadata[key], format)
	}
}

// adamW reads the metadata's optimizer, PyTorch's AdamW.
func (g golden) adamW() Optimizer {
	o := Optimizer{Name: "adamw", DecayAll: true}
	var beta1, beta2, decay float64
	numbers := strings.Fields(strings.NewReplacer("adamw lr ", "", "betas ", "", "eps ", "", "weight decay ", "").Replace(g.f.Metadata["optimizer"]))
	for i, into := range []*float64{&o.LearningRate, &beta1, &beta2, &o.Epsilon, &decay} {
		if len(numbers) != 5 {
			g.t.Fatalf("the golden file's optimizer is %q, want adamw with 5 numbers", g.f.Metadata["optimizer"])
		}
		var err error
		if *into, err = strconv.ParseFloat(numbers[i], 64); err != nil {
			g.t.Fatal(err)
		}
	}
	o.Beta1, o.Beta2, o.WeightDecay = Given(beta1), Given(beta2), Given(decay)
	return o
}

// TestGoldenDenoiser trains the denoiser for a few steps from PyTorch's weights on its batches, fused and not, and
// compares output, gradients, losses and final weights.
func TestGoldenDenoiser(t *testing.T) {
	path := filepath.Join(goldenDir(), "denoiser.safetensors")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && os.Getenv("CONVAE_GOLDEN") != "" {
		t.Skipf("CONVAE_GOLDEN has no denoiser.safetensors")
	}
	f, err := safetensors.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, unfused := range []bool{false, true} {
		for _, l := range simd.Supported() {
			t.Run(fmt.Sprintf("cpu/%v/unfused=%v", l, unfused), func(t *testing.T) {
				defer simd.Use(l)()
				testGoldenDenoiser(golden{t, f}, openTest(t), unfused)
			})
		}
	}
	t.Run("sim", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short: the simulator takes some ten seconds")
		}
		t.Parallel()
		testGoldenDenoiser(golden{t, f}, openSim(t), false)
	})
}

func testGoldenDenoiser(g golden, dev backend.Device, unfused bool) {
	t := g.t
	var batch int
	var factor float32
	opt := Optimizer{Name: "adam"}
	var beta1, beta2 float64
	g.metadata("batch", "%d", &batch)
	g.metadata("noise_factor", "%g", &factor)
	g.metadata("optimizer", "adam lr %g beta %g %g eps %g", &opt.LearningRate, &beta1, &beta2, &opt.Epsilon)
	opt.Beta1, opt.Beta2 = Given(beta1), Given(beta2)
	names := []string{}
	for i := range 5 {
		names = append(names, fmt.Sprintf("conv%d.weight", i), fmt.Sprintf("conv%d.bias", i))
	}
	m, err := New(Denoiser(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Params {
		copy(m.Params[i].Data, g.floats("init/"+names[i]))
	}
	tr, err := NewTrainer(m, dev, TrainerOptions{Batch: batch, Loss: BCE, Optimizer: opt, Unfused: unfused})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	net := tr.Network()
	defer net.Close()

	u8, _ := g.f.Tensor("clean_u8")
	noise := g.floats("noise")
	clean, noisy := make([]float32, len(noise)), make([]float32, len(noise))
	for i, p := range u8.Data {
		clean[i] = float32(p) / 255
		noisy[i] = min(max(clean[i]+factor*noise[i], 0), 1)
	}
	out := make([]float32, batch*784)
	if err := net.Predict(out, noisy[:len(out)], batch); err != nil {
		t.Fatal(err)
	}
	within(t, "step0/output", out, g.floats("step0/output"), backend.Bound{Abs: 2e-6, Rel: 1e-5})
	losses := g.floats("losses")
	for step, want := range losses {
		lo, hi := step*batch*784, (step+1)*batch*784
		tr.ResetLoss()
		if err := tr.StepOn(noisy[lo:hi], clean[lo:hi], batch); err != nil {
			t.Fatal(err)
		}
		loss, err := tr.Loss()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("step %d: loss %.7f, golden %.7f", step, loss, want)
		if math.Abs(loss-float64(want)) > 1e-5 {
			t.Errorf("step %d: loss %.7f, want %.7f within 1e-5", step, loss, want)
		}
		if step > 0 {
			continue
		}
		grads := gradients(tr)
		for i, name := range names {
			got := make([]float32, m.Params[i].Shape.Len())
			if err := tr.first().mem.b.Download(got, grads[i]); err != nil {
				t.Fatal(err)
			}
			// Gradients are sums over 32 images of terms with both signs; the largest are about 1e-2.
			within(t, "step0/grad/"+name, got, g.floats("step0/grad/"+name), backend.Bound{Abs: 1e-8, Rel: 1e-5})
		}
	}
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		within(t, "final/"+name, m.Params[i].Data, g.floats("final/"+name), backend.Bound{Abs: 1e-4})
	}
}

// within fails the test if got is outside the bound, and logs the worst error as a share of it.
func within(t *testing.T, what string, got, want []float32, b backend.Bound) {
	t.Helper()
	w := make([]float64, len(want))
	for i, v := range want {
		w[i] = float64(v)
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	share, at := b.Worst(got, w)
	t.Logf("%-24s worst error %.3f of its bound", what, share)
	if !(share <= 1) {
		t.Errorf("%s[%d] is %v, want %v within %+v", what, at, got[at], want[at], b)
	}
}

// wantLoss reports a loss of a step that is not the golden one.
func wantLoss(t *testing.T, tr *Trainer, step int, want float32) {
	t.Helper()
	loss, err := tr.Loss()
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(loss-float64(want)) > 1e-5 {
		t.Errorf("step %d: loss %.7f, want %.7f within 1e-5", step, loss, want)
	}
}
