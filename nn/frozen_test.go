package nn

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/safetensors"
)

// chainOf is a model with some of its layers frozen, counted through encoder and decoder.
func chainOf(frozen ...int) Config {
	conv := func(filters int) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: "tanh"}
	}
	c := Config{Name: "chain", Input: []int{6, 5, 2},
		Encoder: graph.Specs(conv(4), &layer.BatchNormalization{}, conv(3)),
		Decoder: graph.Specs(&layer.GroupNormalization{Groups: 1, Activation: "tanh"}, &layer.Conv2D{Filters: 2, Kernel: layer.Square(1), Activation: "sigmoid"})}
	no := false
	for _, i := range frozen {
		if i < len(c.Encoder) {
			c.Encoder[i].Trainable = &no
		} else {
			c.Decoder[i-len(c.Encoder)].Trainable = &no
		}
	}
	return c
}

// oneStep returns the weights after a step of SGD.
func oneStep(t *testing.T, c Config, dev backend.Device) *Model {
	t.Helper()
	return stepBy(t, c, dev, Optimizer{Name: "sgd", Momentum: 0.9})
}

// stepBy returns the weights after a step of an optimiser.
func stepBy(t *testing.T, c Config, dev backend.Device, o Optimizer) *Model {
	t.Helper()
	m := mustModel(t, c)
	tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 4, Loss: Loss{MSE: 1}, Optimizer: o})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	x := make([]float32, 4*m.Input.Len())
	for i := range x {
		x[i] = float32(i*37%101) / 101
	}
	if err := tr.StepOn(x, x, 4); err != nil {
		t.Fatal(err)
	}
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	return m
}

// What is frozen stays, and all else is trained as if nothing were.
func TestFrozen(t *testing.T) {
	for _, dev := range []backend.Device{openTest(t), openSim(t)} {
		all := oneStep(t, chainOf(), dev)
		for _, frozen := range [][]int{{2}, {3}, {2, 3, 4}, {0}} {
			m, before := oneStep(t, chainOf(frozen...), dev), mustModel(t, chainOf(frozen...))
			for i, p := range m.Params {
				want := all.Params[i].Data
				if p.Rate == 0 {
					want = before.Params[i].Data
				}
				if !reflect.DeepEqual(p.Data, want) {
					t.Errorf("%s, with %v frozen: %s is %v, want %v", dev.Name(), frozen, p.Name, p.Data[:2], want[:2])
				}
			}
		}
	}
}

// A codebook that is frozen stays.
func TestFrozenCodebook(t *testing.T) {
	c, no := chainOf(), false
	c.Encoder = append(c.Encoder, graph.Spec{Layer: &layer.VectorQuantizer{Embeddings: 4}, Trainable: &no})
	m, before := oneStep(t, c, openTest(t)), mustModel(t, c)
	for i, p := range m.Params {
		if same := reflect.DeepEqual(p.Data, before.Params[i].Data); same != (p.Rate == 0) {
			t.Errorf("%s, frozen: %v, is the same after a step: %v", p.Name, p.Rate == 0, same)
		}
	}
}

// Nothing is computed back to where nothing is trained, and no state is kept.
func TestFrozenCostsNothing(t *testing.T) {
	m := mustModel(t, chainOf(0, 1, 2))
	dev := openTest(t)
	p, err := compileTraining(m, dev.Lanes()[0], TrainerOptions{Batch: 4, Loss: Loss{MSE: 1}}, source{}, 4)
	if err != nil {
		t.Fatal(err)
	}
	var back []string
	for _, c := range p.Calls {
		if name := c.Op.Name(); strings.Contains(name, "Back") {
			back = append(back, c.Layer+" "+name)
		}
		if _, ok := c.Op.(*op.BatchNormMoments); ok {
			t.Error("a frozen normalisation has statistics of the batch")
		}
	}
	want := []string{"conv2d_2 ConvBackWeights", "conv2d_2 ConvBackInput", "group_normalization GroupNormBack"}
	if back = slices.DeleteFunc(back, func(s string) bool { return strings.Contains(s, "Activate") }); !slices.Equal(back, want) {
		t.Errorf("gradients %q, want %q", back, want)
	}
	if want := 2*3 + 3*2 + 2; m.Size() != want || !strings.HasPrefix(m.Summary().Trainable, "14 ") || m.Summary().Fixed[:4] != "203 " {
		t.Errorf("%d trained, %s and %s, want %d", m.Size(), m.Summary().Trainable, m.Summary().Fixed, want)
	}
	tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 4, Loss: Loss{MSE: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range state {
		if strings.HasPrefix(s.Name, "optimizer/") && strings.Contains(s.Name, "encoder") {
			t.Errorf("there is %s", s.Name)
		}
	}
	_, err = NewTrainer(mustModel(t, chainOf(1)), dev, TrainerOptions{Batch: 4, Loss: Loss{MSE: 1}})
	if want := "layer batch_normalization, a batch normalisation, is not trainable, but layers before it"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

// A State of a model of which less was trained goes on with its weights and averages, and with an optimiser that starts anew: as a new trainer of
// these weights.
func TestTrainedFromStateOfFrozen(t *testing.T) {
	dev := openTest(t)
	open := func(m *Model) *Trainer {
		tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 4, Loss: Loss{MSE: 1}, Optimizer: Optimizer{Name: "adam"}, Decay: 0.9})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tr.Close)
		if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
			t.Fatal(err)
		}
		return tr
	}
	frozen := mustModel(t, chainOf(0, 1))
	first := open(frozen)
	for range 3 {
		first.Step(0, 4, 0)
	}
	state, err := first.State()
	if err != nil {
		t.Fatal(err)
	}
	m := mustModel(t, chainOf())
	second := open(m)
	if err := second.SetState(&safetensors.File{Tensors: state}); err != nil {
		t.Fatal(err)
	}
	if second.Steps() != 3 || second.OptimizerSteps() != 0 {
		t.Errorf("step %d, %d of the optimiser", second.Steps(), second.OptimizerSteps())
	}
	if err := first.Pull(); err != nil {
		t.Fatal(err)
	}
	other := mustModel(t, chainOf())
	for i := range other.Params {
		copy(other.Params[i].Data, frozen.Params[i].Data)
	}
	third := open(other)
	for _, tr := range []*Trainer{second, third} {
		tr.Step(4, 4, 0)
		if err := tr.Pull(); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range m.Params {
		if !reflect.DeepEqual(p.Data, other.Params[i].Data) {
			t.Errorf("%s is %v, want %v", p.Name, p.Data[:2], other.Params[i].Data[:2])
		}
	}
}
