package nn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/safetensors"
)

// goldenUNet is the U-Net of the golden file, of images of that size: it predicts what is to be added to its input.
func goldenUNet(rows, columns int) Config {
	var specs []graph.Spec
	name := func(n string, l graph.Layer, inputs ...string) {
		specs = append(specs, graph.Spec{Name: n, Layer: l, Inputs: inputs})
	}
	block := func(n string, filters int) {
		name("", &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), NoBias: true})
		name("", &layer.BatchNormalization{Unbiased: true, Epsilon: 1e-3, Momentum: 0.99})
		name(n, &layer.LeakyReLU{NegativeSlope: 0.2})
	}
	pool := func() { name("", &layer.MaxPool2D{Size: 2}) }
	join := func(a, b string) { name("", &layer.Concatenate{}, a, b) }
	block("d1", 8)
	pool()
	block("d2", 16)
	pool()
	block("mid", 32)
	encoder := specs
	specs = nil
	name("up2", &layer.UpSampling2D{Size: 2, Interpolation: "bilinear"})
	join("up2", "d2")
	block("u2", 16)
	name("up1", &layer.UpSampling2D{Size: 2, Interpolation: "bilinear"})
	join("up1", "d1")
	block("u1", 8)
	name("out", &layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})
	name("", &layer.Add{}, graph.InputName, "out")
	return Config{Name: "unet", Input: []int{rows, columns, 1}, Encoder: encoder, Decoder: specs}
}

// TestGoldenUNet trains the U-Net for a few steps from PyTorch's weights, fused and not, whole and in micro-batches, and compares output,
// gradients, losses, final weights and averages.
func TestGoldenUNet(t *testing.T) {
	path := filepath.Join(goldenDir(), "large", "unet.safetensors")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && os.Getenv("CONVAE_GOLDEN") != "" {
		t.Skipf("CONVAE_GOLDEN has no large/unet.safetensors")
	}
	f, err := safetensors.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range simd.Supported() {
		for _, o := range []TrainerOptions{{}, {Unfused: true}, {MicroBatch: 1}, {MicroBatch: 3, Slots: 1}, {Slots: 2}} {
			t.Run(fmt.Sprintf("cpu/%v/unfused=%v-%d-at-a-time-%d-slots", l, o.Unfused, o.MicroBatch, o.Slots), func(t *testing.T) {
				defer simd.Use(l)()
				testGoldenUNet(golden{t, f}, openTest(t), o)
			})
		}
	}
	t.Run("sim", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short: the simulator takes some seconds")
		}
		t.Parallel()
		testGoldenUNet(golden{t, f}, openSim(t), TrainerOptions{})
	})
}

func testGoldenUNet(g golden, dev backend.Device, o TrainerOptions) {
	t := g.t
	o.Optimizer = g.adamW()
	file, _ := g.f.Tensor("x")
	o.Batch, o.Loss = file.Shape[0], MSE
	m := mustModel(t, goldenUNet(file.Shape[1], file.Shape[2]))
	var names []string
	for _, block := range []string{"d1", "d2", "mid", "u2", "u1"} {
		names = append(names, block+".0.weight", block+".1.weight", block+".1.bias", block+".1.running_mean", block+".1.running_var")
	}
	names = append(names, "out.weight", "out.bias")
	if len(names) != len(m.Params) {
		t.Fatalf("the model has %d parameters, want %d", len(m.Params), len(names))
	}
	of := func(prefix string, i int) []float32 {
		file, ok := g.f.Tensor(prefix + names[i])
		if !ok {
			t.Fatalf("the golden file lacks %q", prefix+names[i])
		}
		v, err := m.Params[i].fromTorch(file)
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
	x, clean := g.floats("x"), g.floats("clean")

	// What comes out in training, by the statistics of the batch, is looked at on the way to the loss; the averages it moves are put back.
	out := make([]float32, len(x))
	tr.x, tr.y = x, clean
	if err := tr.stepWith(0, o.Batch, 0, true, func(s *op.Call, f *op.Frame, _ []op.Info) {
		s.Op.Run(f)
		if loss, ok := s.Op.(*op.Pointwise); ok {
			v := f.At(loss.Prediction)
			if err := f.B.Download(out[f.First*v.Shape.Image():][:v.Shape.Len()], v); err != nil {
				t.Fatal(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	within(t, "step0/output", out, g.floats("step0/output"), backend.Bound{Abs: 2e-6, Rel: 1e-5})
	tr.Close()
	if tr, err = NewTrainer(m, dev, o); err != nil {
		t.Fatal(err)
	}
	for step, want := range g.floats("losses") {
		tr.ResetLoss()
		if err := tr.StepOn(x, clean, o.Batch); err != nil {
			t.Fatal(err)
		}
		wantLoss(t, tr, step, want)
		if step > 0 {
			continue
		}
		for i, name := range names {
			grad := gradients(tr)[i]
			if grad.IsZero() {
				continue // of an average
			}
			got := make([]float32, m.Params[i].Shape.Len())
			if err := tr.first().mem.b.Download(got, grad); err != nil {
				t.Fatal(err)
			}
			// Gradients are sums over 768 pixels of terms with both signs; those through a normalisation are differences of sums.
			within(t, "step0/grad/"+name, got, of("step0/grad/", i), backend.Bound{Abs: 1e-6, Rel: 1e-5})
		}
	}
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		within(t, "final/"+name, m.Params[i].Data, of("final/", i), backend.Bound{Abs: 1e-4})
	}
}
