package nn

import (
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

// openNewSim opens a simulated GPU with as much shared memory as an H100, and returns what lists the kernels that were launched since the last
// call, each once.
func openNewSim(t *testing.T) (backend.Device, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var names []string
	dev, err := device.OpenSim(ptxsim.Options{Major: 9, OnLaunch: func(c *ptxsim.LaunchCount) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(names, c.Kernel) {
			names = append(names, c.Kernel)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev, func() []string {
		mu.Lock()
		defer mu.Unlock()
		list := names
		names = nil
		return list
	}
}

// gradientsOf returns the gradients of a step of a model on a device, and the loss behind them.
func gradientsOf(t *testing.T, c Config, dev backend.Device, o TrainerOptions) (grads [][]float32) {
	t.Helper()
	m := mustModel(t, c)
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, o.Batch), o.Batch); err != nil {
		t.Fatal(err)
	}
	tr.Step(0, o.Batch, 1)
	for k, g := range gradients(tr) {
		v := make([]float32, m.Params[k].Shape.Len())
		if err := tr.first().mem.b.Download(v, g); err != nil {
			t.Fatal(err)
		}
		grads = append(grads, v)
	}
	loss, err := tr.Loss()
	if err != nil {
		t.Fatal(err)
	}
	return append(grads, []float32{float32(loss)})
}

// apart is how far a is from b, as a share of b.
func apart(a, b []float32) float64 {
	var d, all float64
	for i := range a {
		e := float64(a[i]) - float64(b[i])
		d, all = d+e*e, all+float64(b[i])*float64(b[i])
	}
	return math.Sqrt(d / all)
}

// residentModels are chains of convolutions whose steps a GPU does at once: odd sizes, kernels of all kinds, pools, upsampled inputs, few and many
// channels.
func residentModels() []Config {
	kernel := func(filters, h, w int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Size{H: h, W: w}, Activation: act}
	}
	conv := func(filters int, act string) graph.Layer { return kernel(filters, 3, 3, act) }
	valid := func(filters, size int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(size), Activation: act, Padding: "valid"}
	}
	up, pool := &layer.UpSampling2D{Size: 2}, &layer.MaxPool2D{Size: 2}
	return []Config{
		{Name: "odd", Input: []int{9, 7, 1}, Encoder: graph.Specs(kernel(8, 5, 3, "relu")), Decoder: graph.Specs(kernel(16, 1, 1, ""), conv(1, "sigmoid"))},
		{Name: "colours", Input: []int{8, 12, 3}, Encoder: graph.Specs(conv(16, "relu"), pool), Decoder: graph.Specs(conv(24, "relu"), up, conv(3, "sigmoid"))},
		{Name: "many channels", Input: []int{8, 8, 1}, Encoder: graph.Specs(conv(40, "relu")), Decoder: graph.Specs(conv(72, "relu"), conv(1, "sigmoid"))},
		{Name: "even kernels", Input: []int{10, 10, 2}, Encoder: graph.Specs(kernel(8, 2, 2, "")), Decoder: graph.Specs(kernel(8, 4, 4, "relu"), kernel(2, 2, 2, "sigmoid"))},
		{Name: "valid", Input: []int{8, 8, 1}, Encoder: graph.Specs(valid(8, 3, "relu"), pool), Decoder: graph.Specs(conv(8, "relu"), up, valid(16, 3, "relu"), up, kernel(8, 4, 3, ""), conv(1, "sigmoid"))},
		{Name: "deep", Input: []int{8, 16, 1}, Encoder: graph.Specs(conv(8, "relu"), pool, conv(8, "relu"), pool, conv(16, "relu")), Decoder: graph.Specs(up, conv(8, "relu"), up, conv(8, "relu"), conv(1, "sigmoid"))},
	}
}

// A GPU does the step of a chain of convolutions in the shared memory of blocks, with the gradients that the CPU has. Where an input is read
// upsampled, sums of its copies are rounded in another place, each by at most 2^-11 of it: then they are as near to the CPU's as those are to
// float32's, and 2^-10.
func TestResidentGradientsAsCPU(t *testing.T) {
	t.Parallel()
	dev, kernels := openNewSim(t)
	for i, c := range append(residentModels(), Denoiser()) {
		t.Run(c.Name, func(t *testing.T) {
			o := TrainerOptions{Batch: 2, Loss: []Loss{BCE, MSE}[i%2], Noise: float32(i%3) / 4, Seed: 2, Precision: tf32, Optimizer: Optimizer{Name: "sgd"}}
			if c.Name == "odd" {
				o.Batch = 260 // more than blocks
			}
			want, got := gradientsOf(t, c, openTest(t), o), gradientsOf(t, c, dev, o)
			if list := kernels(); !slices.Contains(list, "resident_step") || len(list) > 5 {
				t.Errorf("the step took the kernels %v", list)
			}
			o.Precision = backend.Precision{}
			exact := gradientsOf(t, c, openTest(t), o)
			for k := range got {
				bound := 1e-4
				if slices.ContainsFunc(c.Decoder, func(s graph.Spec) bool { _, ok := s.Layer.(*layer.UpSampling2D); return ok }) {
					bound = 1./1024 + apart(want[k], exact[k])
				}
				if far := apart(got[k], want[k]); !(far <= bound) {
					t.Errorf("gradients %d are %g apart, want at most %g", k, far, bound)
				}
			}
		})
	}
}

// In float32 products are split in three, each off by 2^-21 at most: what that changes grows from layer to layer, here by less than a factor of 20.
func TestResidentGradientsInFloat32(t *testing.T) {
	t.Parallel()
	dev, kernels := openNewSim(t)
	for _, c := range residentModels()[1:3] {
		o := TrainerOptions{Batch: 66, Loss: BCE, Noise: 0.25, Seed: 2, Optimizer: Optimizer{Name: "sgd"}}
		want, got := gradientsOf(t, c, openTest(t), o), gradientsOf(t, c, dev, o)
		if list := kernels(); !slices.Contains(list, "resident_step_split") || len(list) > 5 {
			t.Errorf("%s: the step took the kernels %v", c.Name, list)
		}
		for k := range got {
			if far := apart(got[k], want[k]); !(far <= 1e-5) {
				t.Errorf("%s: gradients %d are %g apart, want at most 1e-5", c.Name, k, far)
			}
		}
	}
}

// The plan for a batch decides for all of its steps: also for the last of an epoch, of fewer samples.
func TestResidentByBatch(t *testing.T) {
	t.Parallel()
	dev, kernels := openNewSim(t)
	for _, c := range []struct {
		batch, n int
		resident bool
	}{{132, 5, true}, {133, 5, false}, {250, 200, true}, {265, 3, false}} {
		m := mustModel(t, residentModels()[0])
		tr, err := NewTrainer(m, dev, TrainerOptions{Batch: c.batch, Seed: 2, Precision: tf32})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetData(pixelsFor(m, c.n), c.n); err != nil {
			t.Fatal(err)
		}
		kernels()
		tr.Step(0, c.n, 0)
		if err := tr.Wait(); err != nil {
			t.Fatal(err)
		}
		if list := kernels(); slices.Contains(list, "resident_step") != c.resident {
			t.Errorf("%d samples of a batch of %d took the kernels %v", c.n, c.batch, list)
		}
	}
}

// A step that is checked is done op by op, and one that is not to be; a profile shows one op for it.
func TestResidentOrApart(t *testing.T) {
	t.Parallel()
	dev, kernels := openNewSim(t)
	o := TrainerOptions{Batch: checkSamples, Loss: BCE, Noise: 0.5, Seed: 2, Precision: tf32}
	c := residentModels()[1]
	tr := toCheck(t, c, dev, o)
	profile, err := tr.Profile(0, checkSamples, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if profile[0].Op != "ResidentStep" || profile[0].MACs == 0 || slices.ContainsFunc(profile, func(p OpProfile) bool { return p.Op == "Conv" }) {
		t.Errorf("the profile is %+v", profile)
	}
	kernels()
	if err := tr.Check(0, checkSamples, 0, op.Checker{Reference: openPlain(t), Bound: backend.Bound{Abs: 1e-3, Rel: 1e-3}, Report: func(m op.Mismatch) { t.Errorf("%+v", m) }}); err != nil {
		t.Fatal(err)
	}
	if list := kernels(); slices.Contains(list, "resident_step") || len(list) < 8 {
		t.Errorf("a checked step took the kernels %v", list)
	}
	tr.Step(0, checkSamples, 0)
	if list := kernels(); !slices.Contains(list, "resident_step") {
		t.Errorf("a step took the kernels %v", list)
	}
	o.Apart = true
	toCheck(t, c, dev, o).Step(0, checkSamples, 0)
	if list := kernels(); slices.Contains(list, "resident_step") {
		t.Errorf("a step of ops that are apart took the kernels %v", list)
	}
}
