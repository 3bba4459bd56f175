package trainer

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// shaped is a run on images of a shape, of models that need memory for different things.
type shaped struct {
	h, w, c int
	model   nn.Config
	loss    nn.Loss
	noise   float64
}

func shapes() []shaped {
	conv := func(filters, kernel int) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(kernel), Activation: "relu"}
	}
	out := func(c int) graph.Layer {
		return &layer.Conv2D{Filters: c, Kernel: layer.Square(1), Activation: "sigmoid"}
	}
	return []shaped{
		{28, 28, 1, nn.Config{Name: "denoiser", Input: []int{28, 28, 1}, Encoder: graph.Specs(conv(8, 3), &layer.MaxPool2D{Size: 2}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, out(1))}, nn.BCE, 0.3},
		{32, 48, 3, nn.Config{Name: "colour", Input: []int{32, 48, 3}, Encoder: graph.Specs(conv(6, 3)), Decoder: graph.Specs(out(3))}, nn.MSE, 0},
		{16, 16, 1, nn.Config{Name: "vae", Input: []int{16, 16, 1}, Encoder: graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 300, Activation: "relu"}, &layer.Dense{Units: 4}, &layer.Sampling{}),
			Decoder: graph.Specs(&layer.Dense{Units: 256}, &layer.Reshape{Shape: []int{16, 16, 1}}, &layer.Activation{Function: "sigmoid"})}, nn.BCE, 0},
		{48, 80, 1, nn.Config{Name: "strided", Input: []int{48, 80, 1}, Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Stride: 2, Activation: "relu"}),
			Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(3), Stride: 2, Activation: "sigmoid"})}, nn.MSE, 0.1},
		{96, 128, 3, nn.Config{Name: "large", Input: []int{96, 128, 3}, Encoder: graph.Specs(conv(4, 1), &layer.MaxPool2D{Size: 4}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 4}, out(3))}, nn.MSE, 0.1},
	}
}

func (s shaped) config() Config {
	c := smallConfig()
	c.Model = s.model
	c.Training.Loss, c.Training.Noise.Std, c.Training.Batch, c.Training.Epochs, c.Training.KeepBest = s.loss, s.noise, 4, 1, true
	if s.model.Name == "vae" {
		c.Training.Reduction = "sample"
	}
	return c
}

func (s shaped) set(n int) *dataset.Set {
	set := &dataset.Set{Name: s.model.Name, H: s.h, W: s.w, C: s.c, Pixels: make([]uint8, n*s.h*s.w*s.c)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range set.Pixels {
		set.Pixels[i] = uint8(r.Uint32())
	}
	return set
}

// starts is an Observer that keeps what the run announces.
type starts struct {
	silent
	start Start
}

func (s *starts) Start(a Start) { s.start = a }

// near reports whether a peak is within 10 % of what was planned.
func near(peak, planned int) bool {
	d := float64(peak-planned) / float64(planned)
	return d <= 0.1 && d >= -0.1
}

// What a run announces of the device's memory is what it takes to its end, validation and pictures included: on the CPU, on the
// simulator, and on a device with less memory than would be taken of an ample one. The host's part is compared by
// TestHostMemoryIsPlanned.
func TestDeviceMemoryIsAsAnnounced(t *testing.T) {
	sim, err := device.OpenSim(ptxsim.Options{Skip: ptxsim.Checks{Init: true, Race: true, GlobalRace: true, Count: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	for _, s := range shapes() {
		train := func(name string, dev *backendtest.Metered) nn.Memory {
			t.Helper()
			var o starts
			_, err := Train(t.Context(), s.config(), Options{Dir: filepath.Join(t.TempDir(), "run"), Device: dev, Train: s.set(4), Test: s.set(3), Observer: &o})
			if err != nil {
				t.Fatalf("%s on %s: %v", s.model.Name, name, err)
			}
			planned := o.start.Memory.Device
			if peak := dev.Peak(); !near(peak, planned.Total()) || peak > dev.Limit {
				t.Errorf("%s on %s: %s were taken, %v announced", s.model.Name, name, nn.BytesText(peak), planned)
			}
			if dev.Used() != 0 {
				t.Errorf("%s on %s: %d bytes are still taken", s.model.Name, name, dev.Used())
			}
			return planned
		}
		train("cpu", backendtest.Meter(openCPU(t), 1<<40))
		train("sim", backendtest.Meter(sim, 1<<31))
		whole := func(limit int) *backendtest.Metered {
			dev := backendtest.Meter(openCPU(t), limit)
			dev.Whole = true
			return dev
		}
		ample := train("a large device", whole(1<<40))
		limit := ample.Total()*65/64 - ample.Activations/3
		if little := train("a little device", whole(limit)); little.Activations >= ample.Activations {
			t.Errorf("%s: in %d bytes %v is announced, in ample memory %v", s.model.Name, limit, little, ample)
		}
	}
}

// allocated returns the bytes that f allocates on the Go heap, freed ones included, so that the garbage collector has no say.
func allocated(f func()) int {
	var a, b runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return int(b.TotalAlloc - a.TotalAlloc)
}

// What is planned of the host's memory is what evaluation, a checkpoint and the pictures allocate.
func TestHostMemoryIsPlanned(t *testing.T) {
	for _, s := range shapes() {
		m, c, train, test := mustNew(t, s.model), s.config(), s.set(8), s.set(12)
		dev := openCPU(t)
		o, err := c.Training.Options(train.Len())
		if err != nil {
			t.Fatal(err)
		}
		plan, err := PlanMemory(m, dev, o, train, test)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := nn.NewTrainer(m, dev, o)
		if err != nil {
			t.Fatal(err)
		}
		net := tr.Network()
		// Compiling the programs takes about 100 KiB once, fonts as well: that is not counted.
		_, warm := use.Evaluate(t.Context(), net, test, nn.Loss{}, use.Corruption{Std: 0.1}, 1, true)
		if err := errors.Join(warm, writeSamples(filepath.Join(t.TempDir(), "a.png"), net, test, use.Corruption{Std: 0.1}, 1)); err != nil {
			t.Fatal(err)
		}
		var e *use.Evaluator
		h := HostMemory{Evaluation: allocated(func() {
			e, err = use.NewEvaluator(net, test, nn.Loss{})
			if _, err := e.Evaluate(t.Context(), use.Corruption{Std: 0.1}, 1, true); err != nil {
				t.Fatal(err)
			}
		})}
		if again := allocated(func() { _, err = e.Evaluate(t.Context(), use.Corruption{Std: 0.1}, 1, true) }); err != nil || again > h.Evaluation/20+200_000 {
			t.Errorf("%s: a second evaluation allocates %d bytes, the first %d; %v", s.model.Name, again, h.Evaluation, err)
		}
		h.Saving = allocated(func() { _, err = tr.State() })
		h.Pictures = allocated(func() {
			err = errors.Join(err, writeSamples(filepath.Join(t.TempDir(), "a.png"), net, test, use.Corruption{Std: 0.1}, 1))
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: planned %v, taken %v", s.model.Name, plan.Host, h)
		for _, v := range []struct {
			what           string
			taken, planned int
		}{{"evaluation", h.Evaluation, plan.Host.Evaluation}, {"saving", h.Saving, plan.Host.Saving}} {
			if !near(v.taken, v.planned) && v.taken > v.planned+50_000 {
				t.Errorf("%s: %s takes %d bytes, planned are %d", s.model.Name, v.what, v.taken, v.planned)
			}
		}
		if h.Pictures > plan.Host.Pictures {
			t.Errorf("%s: pictures take %d bytes, planned are %d", s.model.Name, h.Pictures, plan.Host.Pictures)
		}
		net.Close()
		tr.Close()
	}
}

// A device that has just room for training also has it for all that follows: nothing fails after the first epoch.
func TestLittleMemoryLastsToTheEnd(t *testing.T) {
	c, err := Preset("denoiser")
	if err != nil {
		t.Fatal(err)
	}
	c.Training.Epochs, c.Training.Batch = 1, 512
	train, test := dataset.Digits(512, 1), dataset.Digits(300, 2)
	for _, mib := range []int{80, 128} {
		dev := backendtest.Meter(openCPU(t), mib<<20)
		dev.Whole = true
		var o starts
		if _, err := Train(t.Context(), c, Options{Dir: filepath.Join(t.TempDir(), "run"), Device: dev, Train: train, Test: test, Observer: &o}); err != nil {
			t.Fatalf("in %d MiB: %v", mib, err)
		}
		if peak := dev.Peak(); !near(peak, o.start.Memory.Device.Total()) || peak > mib<<20 {
			t.Errorf("in %d MiB %d bytes were taken, %v announced", mib, peak, o.start.Memory.Device)
		}
	}
}

// mute is a device that does not give out what a network makes.
type mute struct{ backend.Device }

func (d mute) Lanes() (lanes []backend.Backend) {
	for _, b := range d.Device.Lanes() {
		lanes = append(lanes, muteLane{b})
	}
	return lanes
}

type muteLane struct{ backend.Backend }

func (l muteLane) Download(dst []float32, src backend.Tensor) error {
	if src.Role == backend.Activation {
		return errors.New("planted")
	}
	return l.Backend.Download(dst, src)
}

// A first validation that fails loses nothing: the run goes on from the end of its epoch.
func TestFailedFirstValidationLosesNothing(t *testing.T) {
	root := t.TempDir()
	whole, broken := filepath.Join(root, "whole"), filepath.Join(root, "broken")
	if _, err := Train(t.Context(), smallConfig(), smallOptions(t, whole)); err != nil {
		t.Fatal(err)
	}
	o := smallOptions(t, broken)
	good := o.Device
	o.Device = mute{good}
	if _, err := Train(t.Context(), smallConfig(), o); err == nil {
		t.Fatal("a validation without results is no error")
	}
	c, _, err := newestCheckpoint(broken)
	if err != nil || c.Progress.Epoch != 1 || c.Progress.Offset != o.Train.Len() {
		t.Fatalf("the checkpoint is of epoch %d, sample %d; %v", c.Progress.Epoch, c.Progress.Offset, err)
	}
	o.Device, o.Resume = good, true
	if _, err := Train(t.Context(), smallConfig(), o); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, broken)
}

func mustNew(t *testing.T, c nn.Config) *nn.Model {
	t.Helper()
	m, err := nn.New(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
