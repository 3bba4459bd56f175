package nn

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// large is a model of images whose first layer has more values an image than 2^31/256.
func large() Config {
	return Config{Name: "large", Input: []int{512, 512, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 33, Kernel: layer.Square(1), Activation: "relu"}, &layer.MaxPool2D{Size: 8}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 8}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(1), Activation: "sigmoid"})}
}

func TestLargeImagesTrainAndPredict(t *testing.T) {
	cpu := openTest(t)
	sim, err := device.OpenSim(ptxsim.Options{Skip: ptxsim.Checks{Init: true, Race: true, GlobalRace: true, Count: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	m := mustModel(t, large())
	x, want, got := make([]float32, m.Input.Len()), make([]float32, m.Output.Len()), make([]float32, m.Output.Len())
	for i := range x {
		x[i] = float32(i%255) / 255
	}
	tr, err := NewTrainer(m, cpu, TrainerOptions{Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.StepOn(x, x, 1); err != nil {
		t.Fatal(err)
	}
	if loss, err := tr.Loss(); err != nil || !(loss > 0) {
		t.Errorf("loss %v, %v", loss, err)
	}
	trained := tr.Network()
	defer trained.Close()
	if err := errors.Join(tr.Pull(), trained.Predict(want, x, 1)); err != nil {
		t.Fatal(err)
	}
	net, err := NewNetwork(m, sim, NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if err := net.Predict(got, x, 1); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if d := got[i] - want[i]; !(d < 1e-5 && d > -1e-5) {
			t.Fatalf("value %d is %v on the simulator, %v on the CPU", i, got[i], want[i])
		}
	}
}

// A kernel's indices have 32 bits: so many samples are taken at a time that the largest tensor can be indexed, however much
// memory there is.
func TestSamplesAtATimeCanBeIndexed(t *testing.T) {
	dev := backendtest.Meter(openTest(t), 1<<50)
	dev.Whole = true
	m := mustModel(t, large())
	o := TrainerOptions{Batch: 4096}
	need, err := TrainingMemory(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := backend.MaxElements / (512 * 512 * 33); need.MicroBatch != want {
		t.Errorf("with all the memory in the world %d samples at a time, want %d", need.MicroBatch, want)
	}
}

// What could not be indexed if it were fused stays apart.
func TestTooLargeToFuse(t *testing.T) {
	c := Config{Name: "spread", Input: []int{4096, 4096, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 64, Kernel: layer.Square(1), Stride: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})}
	p, err := compileForward(mustModel(t, c), openTest(t).Lanes()[0], decoderPart, 1, NetworkOptions{})
	if err != nil || len(p.Calls) != 3 {
		t.Errorf("error %v, ops\n%vwant the upsampling and two convolutions", err, p)
	}
}

// wide is a model whose activations are much larger than its images.
func wide(size int) Config {
	return Config{Name: "wide", Input: []int{size, size, 3},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 32, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 3, Kernel: layer.Square(3), Activation: "sigmoid"})}
}

// A network takes the memory of its largest call: one image does not take what 256 would.
func TestPredictingOneImageTakesLittle(t *testing.T) {
	for _, whole := range []bool{false, true} {
		dev := backendtest.Meter(openTest(t), 1<<34)
		dev.Whole = whole
		m := mustModel(t, wide(256))
		need, err := TrainingMemory(m, dev, TrainerOptions{Batch: 16})
		if err != nil {
			t.Fatal(err)
		}
		net, err := NewNetwork(m, dev, NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		y := make([]float32, 6*m.Output.Len())
		one := m.Input.Len()
		if err := net.Predict(y[:one], y[:one], 1); err != nil {
			t.Fatal(err)
		}
		if got := dev.Peak(); got > 12<<20 || got > need.Total()/4 {
			t.Errorf("whole %v: one image takes %s, training %v", whole, BytesText(got), need)
		}
		// More images need more, and no memory is left behind.
		if err := net.Predict(y, slices.Clone(y), 6); err != nil {
			t.Fatal(err)
		}
		net.Close()
		if dev.Used() != 0 {
			t.Errorf("a closed network holds %d bytes", dev.Used())
		}
	}
}

// Where the device has little left, a network takes fewer samples at a time, with the same results.
func TestNetworkInLittleMemory(t *testing.T) {
	m := mustModel(t, wide(64))
	x := make([]float32, 9*m.Input.Len())
	for i := range x {
		x[i] = float32(i%17) / 17
	}
	run := func(limit int) ([]float32, int, error) {
		dev := backendtest.Meter(openTest(t), limit)
		dev.Whole = true
		net, err := NewNetwork(m, dev, NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer net.Close()
		y := make([]float32, len(x))
		err = net.Predict(y, x, 9)
		return y, dev.Peak(), err
	}
	want, all, err := run(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	for _, share := range []int{2, 3} {
		got, peak, err := run(all / share)
		if err != nil || !slices.Equal(got, want) || peak > all/share {
			t.Errorf("in 1/%d of %d bytes: %d bytes, error %v, the same results: %v", share, all, peak, err, slices.Equal(got, want))
		}
	}
	if _, _, err := run(all / 20); err == nil {
		t.Error("a sample that does not fit gives no error")
	}
}

// The plan is what is allocated, to the byte, whatever the memory and the options; validation allocates nothing more.
func TestPlanIsWhatIsAllocated(t *testing.T) {
	sparse := TrainerOptions{Activity: ActivityRegularizer{KL: 0.1, Rho: 0.1}}
	sigmoid := wide(32)
	sigmoid.Encoder = append(sigmoid.Encoder, graph.Specs(&layer.Activation{Function: "sigmoid"})...)
	for i, c := range []struct {
		model Config
		o     TrainerOptions
	}{
		{wide(32), TrainerOptions{Loss: BCE, Clip: Clip{Norm: 1}}},
		{wide(32), TrainerOptions{Unfused: true}},
		{sigmoid, sparse},
		{coder(), TrainerOptions{}},
		{large(), TrainerOptions{Batch: 2}},
	} {
		for _, whole := range []bool{false, true} {
			m := mustModel(t, c.model)
			if c.o.Batch == 0 {
				c.o.Batch = 40
			}
			ample := backendtest.Meter(openTest(t), 1<<40)
			ample.Whole = whole
			c.o.Samples = 2 * c.o.Batch
			need, err := TrainingMemory(m, ample, c.o)
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []int{1 << 40, 4 * need.Total() / 5, need.Total() / 2} {
				dev := backendtest.Meter(openTest(t), limit)
				dev.Whole = whole
				name := fmt.Sprintf("%d whole %v in %s", i, whole, BytesText(limit))
				tr, err := NewTrainer(m, dev, c.o)
				if err != nil {
					if limit < need.Total() && !whole {
						continue // micro-batches that fit the cache leave little to save
					}
					t.Fatalf("%s: %v", name, err)
				}
				if err := tr.SetData(pixelsFor(m, c.o.Samples), c.o.Samples); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got := dev.Peak(); got != tr.Memory().Total() || got > limit {
					t.Errorf("%s: %d bytes are allocated, planned were %d", name, got, tr.Memory().Total())
				}
				tr.Step(0, c.o.Batch, 0)
				net := tr.Network()
				n := min(2*c.o.Batch, 50)
				x, code := make([]float32, n*m.Input.Len()), make([]float32, n*m.Code.Len())
				for _, err := range []error{net.Encode(code, x, n), net.Decode(x, code, n), net.Predict(x, slices.Clone(x), n)} {
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				if got := dev.Peak(); got != tr.Memory().Total() {
					t.Errorf("%s: in use %d bytes are allocated, planned were %d", name, got, tr.Memory().Total())
				}
				net.Close()
				tr.Close()
				if dev.Used() != 0 {
					t.Errorf("%s: a closed trainer holds %d bytes", name, dev.Used())
				}
				runtime.GC()
			}
		}
	}
}
