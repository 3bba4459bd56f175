package nn

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// quantized has a quantiser at the end of the encoder, and one in the decoder, whose vectors are moved more often.
func quantized() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "quantized", Input: []int{6, 8, 1},
		Encoder: graph.Specs(conv(4, "tanh"), &layer.MaxPool2D{Size: 2}, conv(3, ""), &layer.VectorQuantizer{Embeddings: 5}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, conv(4, "tanh"), &layer.VectorQuantizer{Embeddings: 7, Commitment: 0.5, Decay: 0.5, Epsilon: 0.01, Revive: 20}, conv(1, "sigmoid"))}
}

// A codebook moves by the whole batch: it trains the same to the bit on any number of lanes and on groups of devices, with a last batch that is
// not full.
func TestQuantizerIsOfTheWholeBatch(t *testing.T) {
	group, err := backend.NewGroup("group", openLanes(t, 1), openLanes(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	o := TrainerOptions{Batch: 9, Slots: 4, MicroBatch: 2, Noise: 0.1, Seed: 4, Loss: MSE}
	var want [][]float32
	for i, dev := range []backend.Device{openLanes(t, 1), openLanes(t, 3), group} {
		got := train(t, mustModel(t, quantized()), dev, o, 20, 2) // batches of 9, 9 and 2
		if want == nil {
			want = got
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("device %d trains otherwise than the first", i)
		}
	}
}

// A first step on the simulated GPU, which takes the batch at once, is the CPU's, which cuts it.
func TestQuantizerOnSim(t *testing.T) {
	o := TrainerOptions{Batch: 4, MicroBatch: 1, Seed: 4, Loss: MSE, Optimizer: Optimizer{Name: "sgd"}}
	want := train(t, mustModel(t, quantized()), openLanes(t, 1), o, 4, 1)
	o.MicroBatch = 0
	for i, got := range train(t, mustModel(t, quantized()), openSim(t), o, 4, 1) {
		within(t, quantizedName(t, i), got, want[i], backend.Bound{Abs: 2e-6, Rel: 1e-5})
	}
}

func quantizedName(t *testing.T, i int) string { return mustModel(t, quantized()).Params[i].Name }

// The gradient passes straight through a quantiser, and has the commitment's beside it: worked out by hand for one number and two vectors.
func TestQuantizerGradient(t *testing.T) {
	c := Config{Name: "small", Input: []int{2}, Encoder: graph.Specs(&layer.Dense{Units: 1, NoBias: true}, &layer.VectorQuantizer{Embeddings: 2, Commitment: 0.75}),
		Decoder: graph.Specs(&layer.Dense{Units: 2, NoBias: true})}
	m := mustModel(t, c)
	for i, p := range m.Params {
		data := map[string][]float32{"encoder.0.weight": {0.5, -1}, "encoder.1.embed": {2, -0.25}, "decoder.0.weight": {3, -2}}[p.Name]
		copy(m.Params[i].Data, data)
	}
	tr, err := NewTrainer(m, openLanes(t, 1), TrainerOptions{Batch: 1, Loss: MSE, Optimizer: Optimizer{Name: "sgd", LearningRate: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	x := []float32{0.5, 0.75}
	if err := tr.StepOn(x, x, 1); err != nil {
		t.Fatal(err)
	}
	loss, err := tr.Loss()
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	const z, q = -0.5, -0.25 // what goes in is nearest to the second vector
	e := [2]float64{3*q - 0.5, -2*q - 0.75}
	if want := (e[0]*e[0]+e[1]*e[1])/2 + 0.75*(z-q)*(z-q); math.Abs(loss-want) > 1e-6 {
		t.Errorf("loss %v, want %v", loss, want)
	}
	g := 3*e[0] - 2*e[1] + 2*0.75*(z-q)
	within(t, "encoder", m.Params[0].Data, []float32{float32(0.5 - 0.5*g), float32(-1 - 0.75*g)}, backend.Bound{Abs: 1e-6})
	// Both vectors have been chosen by less than one pixel on average, so both move to the batch's only one.
	for i, p := range m.Params {
		switch {
		case strings.HasSuffix(p.Name, ".embed"), strings.HasSuffix(p.Name, ".embed_avg"):
			within(t, p.Name, m.Params[i].Data, []float32{z, z}, backend.Bound{})
		case strings.HasSuffix(p.Name, ".cluster_size"):
			within(t, p.Name, m.Params[i].Data, []float32{1, 1}, backend.Bound{})
		}
	}
}

func TestQuantizerErrors(t *testing.T) {
	for want, l := range map[string]*layer.VectorQuantizer{
		"embeddings is 1, want 2 to 65535": {Embeddings: 1}, "decay is 1, want more than 0": {Embeddings: 2, Decay: 1}, "commitment is -1, want more than 0 and at most 10": {Embeddings: 2, Commitment: -1},
		"epsilon is 2": {Embeddings: 2, Epsilon: 2}, "revive is -1": {Embeddings: 2, Revive: -1},
	} {
		c := Config{Name: "small", Input: []int{4, 4, 1}, Encoder: graph.Specs(l), Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3)})}
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if m := mustModel(t, quantized()); !m.Quantized() || mustModel(t, zoo()[0]).Quantized() {
		t.Error("Quantized tells quantised codes from others the wrong way")
	}
}
