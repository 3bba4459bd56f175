package nn

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

var (
	tf32 = backend.Precision{Multiply: backend.TF32}
	bf16 = backend.Precision{Multiply: backend.BFloat16, Store: backend.BFloat16}
	wino = backend.Precision{Winograd: true}
)

// No precision is computed in but those that have a name, and none is taken in silence.
func TestPrecisions(t *testing.T) {
	m := mustModel(t, coder())
	for p, want := range map[backend.Precision]string{
		{Multiply: backend.BFloat16}:                   "nn: precision is multiply bfloat16, store float32: want float32, tf32, bf16 or winograd",
		{Store: backend.BFloat16}:                      "nn: precision is multiply float32, store bfloat16: want float32, tf32, bf16 or winograd",
		{Multiply: backend.TF32, Winograd: true}:       "nn: precision is multiply tf32, store float32, Winograd: want float32, tf32, bf16 or winograd",
		{Multiply: backend.TF32, Store: backend.Int32}: "nn: precision is multiply tf32, store int32: want float32, tf32, bf16 or winograd",
	} {
		_, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 2, Precision: p})
		_, err2 := NewNetwork(m, openTest(t), NetworkOptions{Precision: p})
		for _, err := range []error{err, err2} {
			if err == nil || err.Error() != want {
				t.Errorf("%v: error %v, want %q", p, err, want)
			}
		}
	}
	net, err := NewNetwork(m, openTest(t), NetworkOptions{Precision: backend.Precision{Multiply: backend.Float32, Store: backend.Float32}})
	if err != nil {
		t.Fatal(err)
	}
	net.Close()
	if _, err := NewNetwork(m, openTest(t), NetworkOptions{Batch: -1}); err == nil {
		t.Error("a batch of -1 samples is taken")
	}
}

// multiplies returns what the factors of a product are rounded to.
func multiplies(t *testing.T, o op.Sized) backend.DType {
	t.Helper()
	switch s := o.Geometry().(type) {
	case backend.ConvShape:
		return s.Multiply
	case backend.ConvTransposeShape:
		if s.Dual.Multiply != s.Multiply {
			t.Errorf("the dual has factors of type %v, want %v", s.Dual.Multiply, s.Multiply)
		}
		return s.Multiply
	case backend.DenseShape:
		return s.Multiply
	}
	t.Errorf("a product with the geometry %T", o.Geometry())
	return backend.Float32
}

// Every product of a program, forward and backward, fused or not, is in the precision asked for, and so are those of a trainer's network.
func TestPrecisionReachesEveryProduct(t *testing.T) {
	b := openTest(t).Lanes()[0]
	kinds := map[string]bool{}
	for _, c := range zoo() {
		for _, unfused := range []bool{false, true} {
			for _, p := range []backend.Precision{{}, tf32, bf16} {
				m := mustModel(t, c)
				tr := &Trainer{o: TrainerOptions{Loss: MSE, Unfused: unfused, Precision: p}}
				training, err := compileTraining(m, b, tr.o, source{gather: true}, 2)
				if err != nil {
					t.Fatal(err)
				}
				forward, err := compileForward(m, b, wholePart, 2, tr.network())
				if err != nil {
					t.Fatal(err)
				}
				for _, call := range append(training.Calls, forward.Calls...) {
					if o, ok := call.Op.(op.Sized); ok {
						kinds[call.Op.Name()] = true
						if _, ok := o.Geometry().(backend.GroupedShape); ok {
							continue // whose factors are not rounded
						}
						if got := multiplies(t, o); got != p.Multiply {
							t.Errorf("%s, unfused %t: %s of %s rounds to %v, want %v", c.Name, unfused, call.Op.Name(), call.Layer, got, p.Multiply)
						}
					}
				}
			}
		}
	}
	if len(kinds) != 12 {
		t.Errorf("the models have products of %d kinds, want 12: %v", len(kinds), kinds)
	}
}

// Training in tf32 or bf16 is other than in float32, but little; and it is the same on the simulated GPU as on the CPU.
func TestTrainsInPrecisions(t *testing.T) {
	t.Parallel()
	zoo := zoo()
	for i, c := range append(zoo[:3:3], zoo[0], zoo[1], zoo[2], zoo[5]) {
		p, rel := tf32, 1.0
		if i >= 3 {
			p, rel = bf16, 8 // three bits less
		}
		t.Run(fmt.Sprintf("%s in %v", c.Name, p), func(t *testing.T) {
			t.Parallel()
			step := func(dev backend.Device, p backend.Precision) [][]float32 {
				return train(t, mustModel(t, c), dev, TrainerOptions{Batch: 4, Noise: 0.2, Seed: 4, Precision: p, Optimizer: Optimizer{Name: "sgd"}}, 4, 1)
			}
			exact, cpu, sim := step(openTest(t), backend.Precision{}), step(openTest(t), p), step(openSim(t), p)
			differs := false
			for i := range cpu {
				// A sum of products with errors of up to 2^-11 of each factor in tf32, times the learning rate.
				within(t, fmt.Sprintf("parameter %d", i), cpu[i], exact[i], backend.Bound{Abs: rel * 1e-4})
				// Two devices round a sum to neighbours where their orders of summation differ.
				within(t, fmt.Sprintf("parameter %d on the GPU", i), sim[i], cpu[i], backend.Bound{Abs: rel * 1e-5})
				for j := range cpu[i] {
					differs = differs || cpu[i][j] != exact[i][j]
				}
			}
			if !differs {
				t.Error("nothing is rounded")
			}
		})
	}
}

// By Winograd's filtering training is other than directly, but no more than by rounding; other devices do as without it.
func TestTrainsByWinograd(t *testing.T) {
	t.Parallel()
	c := Config{Name: "tiles", Input: []int{18, 16, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 16, Kernel: layer.Square(3), Activation: "relu"}, &layer.Conv2D{Filters: 20, Kernel: layer.Square(3), Activation: "relu"}),
		Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 16, Kernel: layer.Square(3), Activation: "tanh"}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})}
	step := func(dev backend.Device, p backend.Precision) [][]float32 {
		return train(t, mustModel(t, c), dev, TrainerOptions{Batch: 4, Noise: 0.2, Seed: 4, Precision: p, Optimizer: Optimizer{Name: "sgd"}}, 4, 1)
	}
	exact, cpu := step(openTest(t), backend.Precision{}), step(openTest(t), wino)
	direct, sim := step(openSim(t), backend.Precision{}), step(openSim(t), wino)
	differs := false
	for i := range cpu {
		within(t, fmt.Sprintf("parameter %d", i), cpu[i], exact[i], backend.Bound{Abs: 1e-6})
		if !slices.Equal(sim[i], direct[i]) {
			t.Errorf("parameter %d is other on the simulated GPU", i)
		}
		differs = differs || !slices.Equal(cpu[i], exact[i])
	}
	if !differs {
		t.Error("the CPU did as without it")
	}
}

// In bf16 what layers hand on is narrow, and what is the model's or the loss's is not; on a GPU a value then takes two bytes.
func TestNarrowActivations(t *testing.T) {
	m, b := mustModel(t, Denoiser()), openSim(t).Lanes()[0]
	o, err := TrainerOptions{Batch: 2, Loss: BCE, Noise: 0.5, Precision: bf16}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p, err := compileTraining(m, b, o, source{gather: true}, 2)
	if err != nil {
		t.Fatal(err)
	}
	narrow := map[string]int{}
	for _, c := range p.Calls {
		c.Op.Args(func(v *op.Value, _ op.Use) {
			if i := p.Values[*v]; i.Role == backend.Activation && *v != op.None && i.Type == backend.BFloat16 {
				narrow[c.Op.Name()]++
				if n := b.Bytes(i.Role, i.Type, i.Shape); n != 2*i.Shape.Len() {
					t.Errorf("a narrow tensor %v takes %d bytes", i.Shape, n)
				}
			}
		})
	}
	// Of five convolutions the first reads the input, and the last writes the logits, whose gradient is the loss's.
	want := map[string]int{"Conv": 4 + 4, "ConvBackInput": 4 + 3 + 4, "ConvBackWeights": 4 + 4}
	if !maps.Equal(narrow, want) {
		t.Errorf("%v are narrow, want %v:\n%v", narrow, want, p)
	}
	wide, err := TrainingMemory(m, openSim(t), TrainerOptions{Batch: 64, Loss: BCE, Noise: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	half, err := TrainingMemory(m, openSim(t), TrainerOptions{Batch: 64, Loss: BCE, Noise: 0.5, Precision: bf16})
	if err != nil {
		t.Fatal(err)
	}
	if half.Activations >= wide.Activations {
		t.Errorf("activations take %d bytes in bf16, and %d in float32", half.Activations, wide.Activations)
	}
}
