package nn

import (
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/rng"
)

var valuesModel = Config{Name: "table", Input: []int{5}, Encoder: graph.Specs(&layer.Dense{Units: 3, Activation: "tanh"}), Decoder: graph.Specs(&layer.Dense{Units: 5})}

// Training on a set of float32 values is training on the same values given batch by batch, with the noise that package
// rng specifies, unclipped; and, of values that are pixels, training on the pixels.
func TestSetValues(t *testing.T) {
	const samples, epochs = 20, 3 // batches of 8, 8 and 4
	m := mustModel(t, valuesModel)
	pixels := pixelsFor(m, samples)
	table, units := make([]float32, len(pixels)), make([]float32, len(pixels))
	for i, p := range pixels {
		table[i], units[i] = float32(p)/50-2, float32(p)/255
	}
	o := TrainerOptions{Batch: 8, Loss: MSE, Seed: 4}
	for name, dev := range map[string]backend.Device{"cpu": openTest(t), "sim": openSim(t)} {
		if name == "sim" && testing.Short() {
			continue
		}
		if got := trainValues(t, dev, o, units, samples, epochs); !slices.EqualFunc(got, train(t, mustModel(t, valuesModel), dev, o, samples, epochs), slices.Equal) {
			t.Errorf("%s: values that are pixels train otherwise than pixels", name)
		}
		noisy := o
		noisy.Noise = 0.7
		if got := trainValues(t, dev, noisy, table, samples, epochs); !slices.EqualFunc(got, trainFed(t, dev, noisy, table, samples, epochs), slices.Equal) {
			t.Errorf("%s: values train otherwise than the same given by StepOn", name)
		}
	}
}

func trainValues(t *testing.T, dev backend.Device, o TrainerOptions, values []float32, n, epochs int) [][]float32 {
	t.Helper()
	m := mustModel(t, valuesModel)
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	// A data set of the other kind before must leave no trace.
	if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
		t.Fatal(err)
	}
	tr.count = 8
	tr.first().prepare()
	if err := tr.SetValues(values, n); err != nil {
		t.Fatal(err)
	}
	trainEpochs(tr, n, epochs)
	return pulled(t, tr)
}

// trainFed is trainValues with the samples and their noise made here.
func trainFed(t *testing.T, dev backend.Device, o TrainerOptions, values []float32, n, epochs int) [][]float32 {
	t.Helper()
	m := mustModel(t, valuesModel)
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	size, order := m.Input.Len(), make([]int32, n)
	src := rng.Source{Seed: o.Seed, Stream: rng.StreamNoise}
	for e := range epochs {
		rng.Source{Seed: 3, Stream: rng.StreamShuffle}.Perm(order, uint32(e))
		for at := 0; at < n; at += o.Batch {
			var x, y []float32
			for _, i := range order[at:min(at+o.Batch, n)] {
				for j, v := range values[int(i)*size:][:size] {
					z := src.Normals(uint32(j/4), uint32(i), uint32(e))[j%4]
					x, y = append(x, v+float32(o.Noise*z)), append(y, v)
				}
			}
			if err := tr.StepOn(x, y, len(y)/size); err != nil {
				t.Fatal(err)
			}
		}
	}
	return pulled(t, tr)
}

func pulled(t *testing.T, tr *Trainer) [][]float32 {
	t.Helper()
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	var w [][]float32
	for _, p := range tr.m.Params {
		w = append(w, slices.Clone(p.Data))
	}
	return w
}

func TestSetValuesErrors(t *testing.T) {
	dev := &tiny{openTest(t), 1 << 20}
	tr, err := NewTrainer(mustModel(t, valuesModel), dev, TrainerOptions{Batch: 8, Loss: MSE})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	dev.free = 10_000
	if err := tr.SetValues(make([]float32, 5000), 1000); err == nil || !strings.Contains(err.Error(), "where 10000 B are free: float32 values must fit") {
		t.Errorf("too many values: error %v", err)
	}
	if err := tr.SetValues(make([]float32, 11), 2); err == nil || !strings.Contains(err.Error(), "11 values for 2 samples, want 5 a sample") {
		t.Errorf("values of another size: error %v", err)
	}
	dev.free = 1 << 20
	if err := tr.SetValues(make([]float32, 40), 8); err != nil {
		t.Fatal(err)
	}
	tr.Step(0, 8, 0)
	if n := testing.AllocsPerRun(3, func() { tr.Step(0, 8, 0) }); n != 0 {
		t.Errorf("a step makes %v allocations", n)
	}
}
