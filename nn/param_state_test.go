package nn

import (
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/safetensors"
)

// keeper hands its input on and has a state, before and after which there are weights.
type keeper struct{}

func (*keeper) Kind() string { return "Keeper" }
func (*keeper) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	b.Param("running", graph.Param{Shape: backend.Vec(5), Role: graph.State, Init: graph.Constant(3)})
	b.Module()
	return in[0], nil
}

// A state is part of the model: it is counted apart, saved and loaded, on the device, in checkpoints, and no optimiser or
// penalty changes it.
func TestStateIsNotTrained(t *testing.T) {
	c := Config{Name: "with a state", Input: []int{6}, Encoder: graph.Specs(&layer.Dense{Units: 4}, &keeper{}),
		Decoder: graph.Specs(&layer.Dense{Units: 6, Activation: "sigmoid"})}
	m := mustModel(t, c)
	if m.Size() != 6*4+4+4*6+6 || m.StateSize() != 5 || m.Layers[1].State != 5 || m.Layers[1].Trainable != 0 {
		t.Errorf("%d trained numbers and %d of states, layer %+v", m.Size(), m.StateSize(), m.Layers[1])
	}
	if s := m.Summary(); s.Fixed != "5 (20 B)" || s.Trainable != "58 (232 B)" || s.Params != "63 (252 B)" {
		t.Errorf("summary %+v", s)
	}
	want := []float32{3, 4, 5, 6, 7}
	copy(m.Params[2].Data, want)
	tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 8, Optimizer: Optimizer{Name: "adamw", LearningRate: 0.1}, Kernel: Regularizer{L2: 0.1}, Clip: Clip{Norm: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(m.Params[0].Data)
	for range 5 {
		tr.Step(0, 8, 0)
	}
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, s := range state {
		names[s.Name]++
	}
	if names["weights/encoder.1.running"] != 1 || names["optimizer/m/encoder.1.running"] != 0 {
		t.Errorf("the checkpoint has %v", names)
	}
	again := mustModel(t, c)
	other, err := NewTrainer(again, openTest(t), tr.Options())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.SetState(&safetensors.File{Tensors: state}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Trainer{tr, other} {
		if err := p.Pull(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.m.Params[2].Data, want) {
			t.Errorf("the state is %v, want %v", p.m.Params[2].Data, want)
		}
	}
	if slices.Equal(before, m.Params[0].Data) || !sameParams(again, [][]float32{m.Params[0].Data, m.Params[1].Data, want, m.Params[3].Data, m.Params[4].Data}) {
		t.Error("the weights were not trained, or not resumed")
	}
	third := mustModel(t, c)
	if err := third.SetTensors(&safetensors.File{Tensors: m.Tensors()}); err != nil || !slices.Equal(third.Params[2].Data, want) {
		t.Errorf("a file's state is %v, %v", third.Params[2].Data, err)
	}
}
