package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
)

// batchNormalised is the model of the zoo that has batch normalisations.
func batchNormalised() Config {
	all := zoo()
	return all[slices.IndexFunc(all, func(c Config) bool { return c.Name == "batch normalised" })]
}

// Batches train the same to the bit on any number of lanes, on groups of devices, recorded and not, with a last batch that is not full; cut into
// micro-batches and slots in another way, the same but for rounding.
func TestBatchNormIsOfTheWholeBatch(t *testing.T) {
	group := func(n int, open func() backend.Device) backend.Device {
		var all []backend.Device
		for range n {
			all = append(all, open())
		}
		g, err := backend.NewGroup("group", all...)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	onCPU := func() backend.Device { return openLanes(t, 1) }
	onSim := func() backend.Device { return openSim(t) }
	o := TrainerOptions{Batch: 9, Slots: 4, MicroBatch: 2, Noise: 0.1, Seed: 4, Loss: MSE}
	for _, c := range []struct {
		name    string
		devices []backend.Device
	}{
		{"cpu", []backend.Device{openLanes(t, 1), openTest(t), openLanes(t, 5), group(2, onCPU), group(3, onCPU)}},
		{"sim", []backend.Device{openSim(t), group(2, onSim)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want [][]float32
			for i, dev := range c.devices {
				got := train(t, mustModel(t, batchNormalised()), dev, o, 20, 2) // batches of 9, 9 and 2
				if want == nil {
					want = got
				}
				if !slices.EqualFunc(got, want, slices.Equal) {
					t.Errorf("device %d trains otherwise than the first", i)
				}
			}
		})
	}
	// Each step is compared by itself: an optimiser would magnify what rounding changes.
	var want []float32
	for _, micro := range []int{1, 3, 9} {
		for _, slots := range []int{1, 4, 9} {
			o.MicroBatch, o.Slots, o.Optimizer = micro, slots, Optimizer{Name: "sgd"}
			m := mustModel(t, batchNormalised())
			tr, err := NewTrainer(m, openTest(t), o)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := tr.SetData(pixelsFor(m, 9), 9); err != nil {
				t.Fatal(err)
			}
			tr.Step(0, 9, 0)
			var got []float32
			for _, p := range pulled(t, tr) {
				got = append(got, p...)
			}
			if want == nil {
				want = got
			}
			f := make([]float64, len(want))
			for i, w := range want {
				f[i] = float64(w)
			}
			if share, at := (backend.Bound{Abs: 1e-6, Rel: 1e-5}).Worst(got, f); share > 1 {
				t.Errorf("%d at a time, %d slots: parameter %d is %v, want %v", micro, slots, at, got[at], want[at])
			}
		}
	}
}

// averaged is a model whose first layer normalises the input.
func averaged(l *layer.BatchNormalization) Config {
	return Config{Name: "averaged", Input: []int{2, 3, 2}, Encoder: graph.Specs(l), Decoder: graph.Specs(&layer.Conv2D{Filters: 2, Kernel: layer.Square(1)})}
}

// The averages move by Keras's rule, or by PyTorch's, with batches that are not full and of one sample, and evaluation during training, and of the
// model afterwards, is by them as they are.
func TestBatchNormAverages(t *testing.T) {
	for _, unbiased := range []bool{false, true} {
		for name, dev := range map[string]backend.Device{"cpu": openTest(t), "sim": openSim(t)} {
			l := &layer.BatchNormalization{Momentum: 0.8, Epsilon: 0.01, Unbiased: unbiased}
			m := mustModel(t, averaged(l))
			tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 5, MicroBatch: 2, Slots: 2, Loss: MSE, Optimizer: Optimizer{Name: "sgd", LearningRate: 1e-30}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			const samples = 11 // batches of 5, 5 and 1
			pixels := pixelsFor(m, samples)
			if err := tr.SetData(pixels, samples); err != nil {
				t.Fatal(err)
			}
			mean, variance := []float64{0, 0}, []float64{1, 1}
			for at := 0; at < samples; at += 5 {
				n := min(5, samples-at)
				tr.Step(at, n, 0)
				x := pixels[at*12:][:n*12]
				for c := range mean {
					sum, squares, count := 0.0, 0.0, float64(len(x)/2)
					for i := c; i < len(x); i += 2 {
						sum += float64(x[i]) / 255
					}
					for i := c; i < len(x); i += 2 {
						d := float64(x[i])/255 - sum/count
						squares += d * d
					}
					if mean[c] = 0.8*mean[c] + 0.2*sum/count; unbiased {
						count--
					}
					variance[c] = 0.8*variance[c] + 0.2*squares/count
				}
				got := pulled(t, tr)
				within64(t, name+" mean", got[2], mean)
				within64(t, name+" variance", got[3], variance)
				// What the network makes of a sample, with the weights of the last layer, follows from these.
				var x0, y [12]float32
				for i := range x0 {
					x0[i] = float32(i) / 12
				}
				networks := []*Network{tr.Network()}
				after, err := NewNetwork(m, dev, NetworkOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, net := range append(networks, after) {
					if err := net.Predict(y[:], x0[:], 1); err != nil {
						t.Fatal(err)
					}
					want := make([]float64, 12)
					for i := range want {
						for c := range 2 {
							h := (float64(x0[i/2*2+c]) - mean[c]) / math.Sqrt(variance[c]+0.01)
							want[i] += h * float64(got[4][i%2*2+c])
						}
					}
					within64(t, name+" output", y[:], want)
					net.Close()
				}
			}
		}
	}
}

// within64 compares what a few float32 operations have made.
func within64(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if share, at := (backend.Bound{Abs: 2e-6, Rel: 2e-6}).Worst(got, want); share > 1 {
		t.Errorf("%s: element %d is %v, want %v", what, at, got[at], want[at])
	}
}

// A run that is cut in two by its state goes on bit for bit, averages included.
func TestBatchNormStateGoesOn(t *testing.T) {
	o := TrainerOptions{Batch: 4, Seed: 9}
	start := func() *Trainer {
		m := mustModel(t, batchNormalised())
		tr, err := NewTrainer(m, openTest(t), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tr.Close)
		if err := tr.SetData(pixelsFor(m, 10), 10); err != nil {
			t.Fatal(err)
		}
		return tr
	}
	whole, first, second := start(), start(), start()
	for at := 0; at < 8; at += 2 {
		whole.Step(at, 4-at%4, 0)
	}
	first.Step(0, 4, 0)
	first.Step(2, 2, 0)
	state, err := first.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.SetState(&safetensors.File{Tensors: state}); err != nil {
		t.Fatal(err)
	}
	second.Step(4, 4, 0)
	second.Step(6, 2, 0)
	if !slices.EqualFunc(pulled(t, whole), pulled(t, second), slices.Equal) {
		t.Error("the run goes on otherwise")
	}
}
