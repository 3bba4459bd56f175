package nn

import (
	"slices"
	"testing"

	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// Where the gradients have one use, the optimiser's op adds up their partial sums itself, and gives the bits that two ops give.
func TestJoinedSums(t *testing.T) {
	t.Parallel()
	dev, kernels := openNewSim(t)
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	c := Config{Name: "joined", Input: []int{6, 5, 1}, Encoder: graph.Specs(conv(5, "relu")), Decoder: graph.Specs(conv(4, "relu"), conv(1, "sigmoid"))}
	const batch = 9
	steps := func(o TrainerOptions) (params [][]float32, joined bool) {
		o.Batch, o.Seed, o.Noise = batch, 3, 0.5
		m := mustModel(t, c)
		tr, err := NewTrainer(m, dev, o)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetData(pixelsFor(m, batch), batch); err != nil {
			t.Fatal(err)
		}
		kernels()
		for range 2 {
			tr.Step(0, batch, 1)
		}
		loss, err := tr.Loss()
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Pull(); err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Params {
			params = append(params, slices.Clone(p.Data))
		}
		list := kernels()
		return append(params, []float32{float32(loss)}), !slices.Contains(list, "partial_sum")
	}
	for _, o := range []Optimizer{{Name: "sgd"}, {Name: "sgd", Momentum: 0.9}, {Name: "adam"}, {Name: "nadam"}, {Name: "adadelta"}, {Name: "rmsprop"}, {Name: "lion"}} {
		got, joined := steps(TrainerOptions{Optimizer: o})
		want, apart := steps(TrainerOptions{Optimizer: o, Apart: true})
		if !joined || apart {
			t.Errorf("%s: partial sums are added up by the optimiser's op: %t, and %t where ops are apart", o.Name, joined, apart)
		}
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("%s: parameters %d are not those of ops that are apart", o.Name, i)
			}
		}
	}
	for name, o := range map[string]TrainerOptions{
		"clipped":        {Clip: Clip{Norm: 1}},
		"values clipped": {Clip: Clip{Value: 1}},
		"penalised":      {Kernel: Regularizer{L2: 1e-3}},
		"two slots":      {Slots: 2},
		"micro-batches":  {MicroBatch: 4},
		"decaying":       {Optimizer: Optimizer{Name: "adamw"}},
	} {
		if _, joined := steps(o); joined {
			t.Errorf("%s: partial sums are added up by the optimiser's op", name)
		}
	}
}
