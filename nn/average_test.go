package nn

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/safetensors"
)

// averaging returns a trainer with an average, and data for it.
func averaging(t *testing.T, dev backend.Device) (*Model, *Trainer) {
	t.Helper()
	m := mustModel(t, chainOf(3))
	tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 4, Loss: Loss{MSE: 1}, Decay: 0.75, Optimizer: Optimizer{Name: "adam", LearningRate: 0.01}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
		t.Fatal(err)
	}
	return m, tr
}

// averagesOf returns the averages of the weights, or the weights.
func averagesOf(t *testing.T, tr *Trainer, averages bool) [][]float32 {
	t.Helper()
	tr.Average(averages)
	return pulled(t, tr)
}

// The average is that of the weights after each step, from the first ones on; states and what is frozen have none.
func TestAverage(t *testing.T) {
	for _, dev := range []backend.Device{openTest(t), openSim(t)} {
		m, tr := averaging(t, dev)
		want := make([][]float64, len(m.Params))
		for i, p := range m.Params {
			for _, v := range p.Data {
				want[i] = append(want[i], float64(v))
			}
		}
		for step := range 3 {
			tr.Step(4*(step%2), 4, 0)
			for i, w := range averagesOf(t, tr, false) {
				for j, v := range w {
					want[i][j] += 0.25 * (float64(v) - want[i][j])
				}
			}
			tr.Average(step == 1) // exchanged or not, the next step goes on with the weights
		}
		weights, averages := averagesOf(t, tr, false), averagesOf(t, tr, true)
		for i, p := range m.Params {
			for j, got := range averages[i] {
				w := want[i][j]
				if !p.Trained() {
					w = float64(weights[i][j])
				}
				if math.Abs(float64(got)-w) > 1e-6*(1+math.Abs(w)) { // three steps of two roundings of 2^-24 each, and those of the weights
					t.Fatalf("%s: %s[%d] is %v, want %v", dev.Name(), p.Name, j, got, w)
				}
			}
			if p.Trained() && slices.Equal(averages[i], weights[i]) {
				t.Errorf("%s: the averages of %s are the weights", dev.Name(), p.Name)
			}
		}
	}
}

// A state has both, and training goes on from it with the same bits; one without averages begins them with the weights.
func TestAverageResumes(t *testing.T) {
	dev := openTest(t)
	_, tr := averaging(t, dev)
	tr.Step(0, 4, 0)
	tr.Average(true)
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	tr.Step(4, 4, 0)
	want := averagesOf(t, tr, true)
	other, again := averaging(t, dev)
	if err := again.SetState(&safetensors.File{Tensors: state}); err != nil {
		t.Fatal(err)
	}
	again.Step(4, 4, 0)
	if averagesOf(t, again, true); !sameParams(other, want) {
		t.Error("the averages of the run that goes on are others")
	}
	without := slices.DeleteFunc(slices.Clone(state), func(s safetensors.Tensor) bool { return strings.HasPrefix(s.Name, "average/") })
	if len(without) == len(state) {
		t.Fatal("the state has no averages")
	}
	if err := again.SetState(&safetensors.File{Tensors: without}); err != nil {
		t.Fatal(err)
	}
	weights := averagesOf(t, again, false)
	if averagesOf(t, again, true); !sameParams(other, weights) {
		t.Error("averages that are not in a state do not begin with the weights")
	}
}
