package nn

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/nn/safetensors"
)

func openTest(t testing.TB) backend.Device { return openLanes(t, 2) }

func openLanes(t testing.TB, lanes int) backend.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Lanes: lanes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func mustModel(t testing.TB, c Config) *Model {
	t.Helper()
	m, err := New(c, 7)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// zoo are small models that together have every layer and every way of fusing.
func zoo() []Config {
	return []Config{
		{Name: "small denoiser", Input: []int{8, 8, 1},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}, &layer.Conv2D{Filters: 3, Kernel: layer.Square(3), Activation: "tanh"}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})},
		{Name: "odd pool", Input: []int{7, 5, 2},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Size{H: 3, W: 5}, Activation: "sigmoid"}, &layer.MaxPool2D{Size: 2}, &layer.Flatten{}, &layer.Dense{Units: 6, Activation: "relu", NoBias: true}),
			Decoder: graph.Specs(&layer.Dense{Units: 70, Activation: "tanh"}, &layer.Reshape{Shape: []int{7, 5, 2}}, &layer.Conv2D{Filters: 2, Kernel: layer.Square(1), Initializer: graph.Initializer{Name: "he_normal"}}, &layer.Activation{Function: "sigmoid"})},
		{Name: "strided", Input: []int{6, 10, 3},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 5, Kernel: layer.Square(3), Stride: 2, Activation: "relu"}, &layer.Dropout{Rate: 0.25}),
			Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 3, Kernel: layer.Square(3), Stride: 2, Activation: "tanh"}, &layer.Conv2DTranspose{Filters: 3, Kernel: layer.Square(2), NoBias: true}, &layer.Activation{Function: "sigmoid"})},
		{Name: "dense", Input: []int{33},
			Encoder: graph.Specs(&layer.Dense{Units: 9, Activation: "relu"}, &layer.Dropout{Rate: 0}),
			Decoder: graph.Specs(&layer.Dense{Units: 33, Activation: "sigmoid", Initializer: graph.Initializer{Name: "he_uniform"}})},
		{Name: "valid", Input: []int{9, 9, 1},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(4), Padding: "valid", Activation: "relu"}, &layer.MaxPool2D{Size: 3}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 3}, &layer.Activation{Function: "tanh"}, &layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(4), Padding: "valid", Activation: "sigmoid"})},
		skips(),
		activations(),
		excitation(),
		normalised(),
		// The second layer's stride is larger than the factor by which its input is upsampled, so it does not read it so.
		{Name: "large kernels", Input: []int{12, 12, 1},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(11), Stride: 4, Activation: "relu"}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Stride: 3, Activation: "tanh"},
				&layer.Conv2DTranspose{Filters: 3, Kernel: layer.Square(9), Stride: 3, Activation: "tanh"}, &layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(2), Stride: 2, Activation: "sigmoid"})},
		{Name: "depthwise", Input: []int{8, 10, 1},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Activation: "relu"}, &layer.DepthwiseConv2D{Kernel: layer.Size{H: 3, W: 5}, Stride: 2, DepthMultiplier: 2, Activation: "silu"},
				&layer.DepthwiseConv2D{Kernel: layer.Square(3), Dilation: 2, NoBias: true}),
			Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.SeparableConv2D{Filters: 3, Kernel: layer.Square(3), Activation: "tanh"}, &layer.SeparableConv2D{Filters: 1, Kernel: layer.Square(5), Activation: "sigmoid"})},
		{Name: "dilated", Input: []int{7, 8, 4},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 6, Kernel: layer.Square(3), Dilation: 2, Activation: "relu"}, &layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Groups: 2, Activation: "tanh"}),
			Decoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(2), Dilation: 3, Activation: "tanh"}, &layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Groups: 2, Dilation: 2, Activation: "sigmoid"})},
		{Name: "batch normalised", Input: []int{6, 8, 2},
			Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), NoBias: true}, &layer.BatchNormalization{Activation: "silu"}, &layer.MaxPool2D{Size: 2},
				&layer.Conv2D{Filters: 3, Kernel: layer.Square(3), Activation: "tanh"}, &layer.BatchNormalization{NoScale: true, Unbiased: true}),
			Decoder: graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 24}, &layer.BatchNormalization{NoCenter: true, Epsilon: 0.1, Momentum: 0.5}, &layer.Reshape{Shape: []int{3, 4, 2}},
				&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 2, Kernel: layer.Square(3)}, &layer.BatchNormalization{}, &layer.Activation{Function: "sigmoid"})},
		attentive(),
	}
}

// excitation has a squeeze-and-excitation block, a gate of the same shape, means of windows, interpolation and pixel shuffles.
func excitation() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "excitation", Input: []int{8, 12, 1},
		Encoder: []graph.Spec{{Layer: conv(4, "relu")}, {Layer: &layer.AveragePooling2D{Size: 2}}, {Layer: conv(6, "tanh"), Name: "block"},
			{Layer: &layer.GlobalAveragePooling2D{}}, {Layer: &layer.Dense{Units: 3, Activation: "relu"}}, {Layer: &layer.Dense{Units: 6, Activation: "sigmoid"}, Name: "weights"},
			{Layer: &layer.Multiply{}, Inputs: []string{"block", "weights"}, Name: "weighted"},
			{Layer: &layer.Activation{Function: "sigmoid"}, Name: "gate"}, {Layer: &layer.Multiply{}, Inputs: []string{"weighted", "gate"}},
			{Layer: &layer.AveragePooling2D{Size: 3, Stride: 2}}},
		Decoder: []graph.Spec{{Layer: &layer.UpSampling2D{Size: 2, Interpolation: "bilinear"}}, {Layer: conv(12, "relu")}, {Layer: &layer.DepthToSpace{Size: 2, Order: "torch"}},
			{Layer: conv(4, "linear")}, {Layer: &layer.DepthToSpace{Size: 2}}, {Layer: &layer.AveragePooling2D{Size: 2, Padding: "valid"}}, {Layer: conv(1, "sigmoid")}}}
}

// activations has all functions that convolutions and dense layers do not fuse, behind them and by themselves, and one whose input two read.
func activations() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "activations", Input: []int{4, 6, 1},
		Encoder: []graph.Spec{{Layer: conv(3, "silu")}, {Layer: conv(4, "gelu")}, {Layer: &layer.MaxPool2D{Size: 2}}, {Layer: &layer.LeakyReLU{}},
			{Layer: conv(3, "linear"), Name: "both"}, {Layer: &layer.Activation{Function: "swish"}, Name: "left"},
			{Layer: &layer.ELU{Alpha: 0.7}, Inputs: []string{"both"}, Name: "right"}, {Layer: &layer.Add{}, Inputs: []string{"left", "right"}}},
		Decoder: []graph.Spec{{Layer: &layer.UpSampling2D{Size: 2}}, {Layer: &layer.Conv2DTranspose{Filters: 3, Kernel: layer.Square(2), Activation: "gelu_tanh"}},
			{Layer: &layer.Flatten{}}, {Layer: &layer.Dense{Units: 24, Activation: "softsign"}}, {Layer: &layer.Activation{Function: "elu"}},
			{Layer: &layer.LeakyReLU{NegativeSlope: 0.1}}, {Layer: &layer.Activation{Function: "softplus"}}, {Layer: &layer.Reshape{Shape: []int{4, 6, 1}}},
			{Layer: conv(1, "sigmoid")}}}
}

// attentive has attention of one head and of several, with a normalisation and a residual connection and without.
func attentive() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "attentive", Input: []int{6, 4, 1},
		Encoder: graph.Specs(conv(6, "tanh"), &layer.SpatialAttention{Groups: 2, Epsilon: 0.1, Residual: true}, &layer.MaxPool2D{Size: 2}),
		Decoder: graph.Specs(&layer.SpatialAttention{Heads: 3, Initializer: graph.Initializer{Std: 0.8}}, &layer.UpSampling2D{Size: 2}, conv(1, "sigmoid"))}
}

// normalised has normalisations of groups and of pixels: of the input, of which no gradient is wanted, before an activation, and
// without one of their parameters, or both. Epsilons are such that the loss is no more curved than differences of it bear.
func normalised() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "normalised", Input: []int{6, 8, 2},
		Encoder: graph.Specs(&layer.GroupNormalization{Groups: 1, Epsilon: 0.1}, conv(6, ""), &layer.GroupNormalization{Groups: 3, Activation: "silu"},
			&layer.MaxPool2D{Size: 2}, &layer.LayerNormalization{NoCenter: true, Epsilon: 0.02}, conv(4, "tanh"), &layer.GroupNormalization{Groups: 2, NoScale: true, NoCenter: true}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.LayerNormalization{NoScale: true, Epsilon: 0.05}, conv(4, ""), &layer.LayerNormalization{Activation: "sigmoid", Epsilon: 0.05},
			conv(2, "sigmoid"))}
}

// skips is a small U-Net with a residual block: values with several readers, in the encoder, in the decoder and from one to
// the other.
func skips() Config {
	conv := func(filters int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Square(3), Activation: act}
	}
	return Config{Name: "skips", Input: []int{6, 8, 1},
		Encoder: []graph.Spec{{Layer: conv(3, "relu"), Name: "wide"}, {Layer: &layer.MaxPool2D{Size: 2}, Name: "pooled"},
			{Layer: conv(3, "tanh")}, {Layer: &layer.Dropout{Rate: 0.2}, Name: "block"}, {Layer: &layer.Add{}, Inputs: []string{"block", "pooled"}},
			{Layer: &layer.Activation{Function: "tanh"}}},
		Decoder: []graph.Spec{{Layer: conv(4, "relu")}, {Layer: &layer.UpSampling2D{Size: 2}, Name: "up"},
			{Layer: &layer.Concatenate{}, Inputs: []string{"wide", "up", "wide"}}, {Layer: conv(1, "sigmoid")}}}
}

func pixelsFor(m *Model, n int) []byte {
	src := rng.Source{Seed: 5, Stream: rng.StreamTest}
	p := make([]byte, n*m.Input.Len())
	for i := range p {
		p[i] = byte(src.Words(uint32(i/4), 0, 0)[i%4])
	}
	return p
}

// train runs a few epochs over n samples and returns the weights.
func train(t testing.TB, m *Model, dev backend.Device, o TrainerOptions, n, epochs int) [][]float32 {
	t.Helper()
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, n), n); err != nil {
		t.Fatal(err)
	}
	trainEpochs(tr, n, epochs)
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	var w [][]float32
	for _, p := range m.Params {
		w = append(w, slices.Clone(p.Data))
	}
	return w
}

func trainEpochs(tr *Trainer, n, epochs int) {
	order := make([]int32, n)
	for e := range epochs {
		rng.Source{Seed: 3, Stream: rng.StreamShuffle}.Perm(order, uint32(e))
		tr.SetOrder(order)
		for at := 0; at < n; at += tr.o.Batch {
			tr.Step(at, min(tr.o.Batch, n-at), uint32(e))
		}
	}
}

// Where parameters outweigh activations there are few gradient slots; micro-batches of a chunk are of one size.
func TestSlotsFollowSizes(t *testing.T) {
	dense := Config{Name: "dense", Input: []int{784}, Encoder: graph.Specs(&layer.Dense{Units: 512}), Decoder: graph.Specs(&layer.Dense{Units: 784})}
	for _, c := range []struct {
		model                      Config
		batch, slots, chunk, micro int
	}{{Denoiser(), 128, 16, 8, 4}, {Denoiser(), 3, 2, 2, 2}, {dense, 128, 2, 64, 64}, {dense, 512, 8, 64, 64}, {dense, 1, 1, 1, 1}} {
		tr, err := planTrainer(mustModel(t, c.model), openTest(t), TrainerOptions{Batch: c.batch, Loss: MSE})
		if err != nil {
			t.Fatal(err)
		}
		if p := tr.plan; p.slots != c.slots || p.chunk != c.chunk || p.micro != c.micro {
			t.Errorf("%s, batch %d: %d slots of %d samples, %d at a time", c.model.Name, c.batch, p.slots, p.chunk, p.micro)
		}
	}
}

// The number of lanes must not change a single bit, for any model and with a partial last batch.
func TestLanesDoNotChangeBits(t *testing.T) {
	for _, l := range simd.Supported() {
		t.Run(l.String(), func(t *testing.T) {
			defer simd.Use(l)()
			lanesDoNotChangeBits(t)
		})
	}
}

func lanesDoNotChangeBits(t *testing.T) {
	for _, c := range zoo() {
		t.Run(c.Name, func(t *testing.T) {
			var want [][]float32
			for _, lanes := range []int{1, 2, 5} {
				got := train(t, mustModel(t, c), openLanes(t, lanes), TrainerOptions{Batch: 20, Noise: 0.3, Seed: 4}, 47, 2)
				if want == nil {
					want = got
				}
				for i := range got {
					if !slices.Equal(got[i], want[i]) {
						t.Fatalf("%d lanes: parameter %d differs from one lane's", lanes, i)
					}
				}
			}
		})
	}
}

// Fused and unfused programs compute the same up to rounding: compared on gradients, before any optimiser magnifies
// them.
func TestFusedEqualsUnfused(t *testing.T) {
	for _, c := range zoo() {
		for _, loss := range []Loss{BCE, MSE} {
			t.Run(fmt.Sprintf("%s/%v", c.Name, loss), func(t *testing.T) {
				var grads, outs [2][]float32
				var losses [2]float64
				for i, unfused := range []bool{false, true} {
					m := mustModel(t, c)
					tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 6, Loss: loss, Noise: 0.2, Seed: 4, Unfused: unfused, Optimizer: Optimizer{Name: "sgd"}})
					if err != nil {
						t.Fatal(err)
					}
					defer tr.Close()
					if err := tr.SetData(pixelsFor(m, 6), 6); err != nil {
						t.Fatal(err)
					}
					tr.Step(0, 6, 0)
					losses[i], _ = tr.Loss()
					grads[i] = make([]float32, tr.layout.floats())
					if err := tr.first().mem.b.Download(grads[i], tr.first().slots[0].sums[op.SlotSums].Range(0, tr.layout.floats())); err != nil {
						t.Fatal(err)
					}
					net := tr.Network()
					defer net.Close()
					outs[i] = make([]float32, 6*m.Output.Len())
					x := make([]float32, len(outs[i]))
					for k := range x {
						x[k] = float32(k%17) / 17
					}
					if err := net.Predict(outs[i], x, 6); err != nil {
						t.Fatal(err)
					}
				}
				if d := math.Abs(losses[0] - losses[1]); d > 1e-6 {
					t.Errorf("losses %v and %v", losses[0], losses[1])
				}
				within(t, "gradients", grads[0], grads[1], backend.Bound{Abs: 1e-6, Rel: 1e-4})
				within(t, "outputs", outs[0], outs[1], backend.Bound{Abs: 1e-6, Rel: 1e-5})
			})
		}
	}
}

// A model's gradient agrees with finite differences of its loss, dropout and noise included, because the draws of a step
// can be repeated.
func TestGradientByFiniteDifferences(t *testing.T) {
	for i, c := range append(zoo(), zoo()[0]) {
		criterion := MSE
		if i == len(zoo()) {
			criterion, c.Name = everyLoss, c.Name+" by every loss"
			criterion.FocalFrequency = 0 // whose gradient takes its weights for constants, and so is not the slope
		}
		t.Run(c.Name, func(t *testing.T) {
			const n = 3
			m := mustModel(t, c)
			loss := func(grad bool) (float64, []float32) {
				o := TrainerOptions{Batch: n, Loss: criterion, Noise: 0.2, Seed: 4, Optimizer: Optimizer{Name: "sgd"}}
				tr, err := NewTrainer(m, openTest(t), o)
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				if err := tr.SetData(pixelsFor(m, n), n); err != nil {
					t.Fatal(err)
				}
				tr.Step(0, n, 0)
				l, err := tr.Loss()
				if err != nil {
					t.Fatal(err)
				}
				if !grad {
					return l, nil
				}
				var g []float32
				for i, gt := range gradients(tr) {
					if gt.IsZero() {
						continue // of what is not trained
					}
					v := make([]float32, m.Params[i].Shape.Len())
					if err := tr.first().mem.b.Download(v, gt); err != nil {
						t.Fatal(err)
					}
					g = append(g, v...)
				}
				return l, g
			}
			_, g := loss(true)
			var norm float64
			for _, v := range g {
				norm += float64(v) * float64(v)
			}
			norm = math.Sqrt(norm)
			// Along the gradient the loss must change by |g| a unit. One direction takes in every parameter.
			const h = 2e-3
			move := func(by float64) {
				k := 0
				for i := range m.Params {
					if !m.Params[i].Trained() {
						continue
					}
					for j := range m.Params[i].Data {
						m.Params[i].Data[j] += float32(by * float64(g[k]) / norm)
						k++
					}
				}
			}
			move(h)
			up, _ := loss(false)
			move(-2 * h)
			down, _ := loss(false)
			got := (up - down) / (2 * h)
			t.Logf("|grad| %.6f, finite difference %.6f", norm, got)
			if math.Abs(got-norm) > 0.02*norm {
				t.Errorf("the loss changes by %v a unit along the gradient, want %v", got, norm)
			}
		})
	}
}

// RecentLoss gives each sum that it asked for, one call later.
func TestRecentLoss(t *testing.T) {
	m := mustModel(t, zoo()[0])
	tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := tr.RecentLoss(); ok {
		t.Error("there is a loss before the first step")
	}
	tr.Step(0, 4, 0)
	if _, _, ok := tr.RecentLoss(); ok {
		t.Error("there is a loss before it was asked for")
	}
	first, err := tr.Loss()
	if err != nil {
		t.Fatal(err)
	}
	tr.Step(4, 4, 0)
	if loss, n, ok := tr.RecentLoss(); !ok || loss != first || n != 4 {
		t.Errorf("after the second step: %v, %v; want that after the first, %v", loss, ok, first)
	}
	tr.ResetLoss()
	if _, _, ok := tr.RecentLoss(); ok {
		t.Error("there is a loss after ResetLoss")
	}
}

func TestStepDoesNotAllocate(t *testing.T) {
	m := mustModel(t, Denoiser())
	tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 8, Noise: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, 12), 12); err != nil {
		t.Fatal(err)
	}
	step := func() {
		tr.Step(0, 8, 1)
		tr.Step(8, 4, 1)
	}
	step()
	if n := testing.AllocsPerRun(3, step); n != 0 {
		t.Errorf("two steps make %v allocations, want 0", n)
	}
	net := tr.Network()
	defer net.Close()
	x, y := make([]float32, 5*784), make([]float32, 5*784)
	predict := func() {
		if err := net.Predict(y, x, 5); err != nil {
			t.Fatal(err)
		}
	}
	predict()
	if n := testing.AllocsPerRun(3, predict); n != 0 {
		t.Errorf("Predict makes %v allocations, want 0", n)
	}
}

// A run that is cut in two by its state goes on bit for bit.
func TestStateGoesOn(t *testing.T) {
	for _, opt := range []Optimizer{{Name: "adam"}, {Name: "adamw"}, {Name: "sgd"}, {Name: "sgd", Momentum: 0.9, Nesterov: true}, {Name: "adadelta"}, {Name: "rmsprop"}, {Name: "rmsprop", Momentum: 0.9}, {Name: "lion", WeightDecay: Given(0.1)}, {Name: "nadam"}, {Name: "lamb"}} {
		t.Run(opt.Name, func(t *testing.T) {
			c, o := zoo()[2], TrainerOptions{Batch: 4, Noise: 0.1, Seed: 9, Optimizer: opt}
			start := func() *Trainer {
				m := mustModel(t, c)
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
			trainEpochs(whole, 10, 2)
			trainEpochs(first, 10, 1)
			state, err := first.State()
			if err != nil {
				t.Fatal(err)
			}
			if err := second.SetState(&safetensors.File{Tensors: state}); err != nil {
				t.Fatal(err)
			}
			order := make([]int32, 10)
			rng.Source{Seed: 3, Stream: rng.StreamShuffle}.Perm(order, 1)
			second.SetOrder(order)
			for at := 0; at < 10; at += 4 {
				second.Step(at, min(4, 10-at), 1)
			}
			a, err := whole.State()
			if err != nil {
				t.Fatal(err)
			}
			b, err := second.State()
			if err != nil {
				t.Fatal(err)
			}
			for i := range a {
				if a[i].Name != b[i].Name || !slices.Equal(a[i].Data, b[i].Data) {
					t.Errorf("%s differs", a[i].Name)
				}
			}
		})
	}
}

func TestSetStateRejects(t *testing.T) {
	m := mustModel(t, zoo()[0])
	tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	good, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		edit func([]safetensors.Tensor) []safetensors.Tensor
		want string
	}{
		{"missing", func(s []safetensors.Tensor) []safetensors.Tensor { return s[1:] }, "lacks loss_sum and counters"},
		{"renamed", func(s []safetensors.Tensor) []safetensors.Tensor { s[1].Name = "x"; return s }, `lacks the tensor "weights/encoder.0.weight"`},
		{"reshaped", func(s []safetensors.Tensor) []safetensors.Tensor { s[1].Shape = []int{36}; return s }, "has shape [36]"},
		{"one more", func(s []safetensors.Tensor) []safetensors.Tensor { x := s[1]; x.Name = "x"; return append(s, x) }, `has a tensor "x"`},
		{"half a state", func(s []safetensors.Tensor) []safetensors.Tensor {
			return slices.DeleteFunc(s, func(t safetensors.Tensor) bool { return t.Name == "optimizer/v/encoder.0.bias" })
		}, `lacks the tensor "optimizer/v/encoder.0.bias"`},
	} {
		if err := tr.SetState(&safetensors.File{Tensors: c.edit(slices.Clone(good))}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// The state of another optimiser leaves the weights; its own starts anew, so that its first step is that of a new trainer
// with these weights.
func TestSetStateOfOtherOptimizer(t *testing.T) {
	m := mustModel(t, zoo()[0])
	trainer := func(m *Model, name string) *Trainer {
		tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 4, Optimizer: Optimizer{Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tr.Close)
		if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
			t.Fatal(err)
		}
		return tr
	}
	first := trainer(m, "sgd")
	for range 3 {
		first.Step(0, 4, 0)
	}
	state, err := first.State()
	if err != nil {
		t.Fatal(err)
	}
	second := trainer(m, "adam")
	second.Step(4, 4, 0) // what it was before does not count
	if err := second.SetState(&safetensors.File{Tensors: state}); err != nil {
		t.Fatal(err)
	}
	if err := first.Pull(); err != nil {
		t.Fatal(err)
	}
	fresh := trainer(m, "adam")
	second.Step(4, 4, 0)
	fresh.Step(4, 4, 0)
	a, errA := second.State()
	b, errB := fresh.State()
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	for i := range a {
		if strings.Contains(a[i].Name, "/") && !slices.Equal(a[i].Data, b[i].Data) {
			t.Errorf("%s differs", a[i].Name)
		}
	}
	if second.Steps() != 4 {
		t.Errorf("%d steps, want 4", second.Steps())
	}
}

// Trace does what Step does, and names the first value that is not finite.
func TestTrace(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(m *Model)
		rate  float64
		want  string
	}{
		{"sound", func(*Model) {}, 0.01, ""},
		{"weight", func(m *Model) { m.Params[2].Data[3] = float32(math.NaN()) }, 0.01, "the output in layer " + zooLayer(t, 2) + " is NaN"},
		{"update", func(*Model) {}, 1e38, "the value of encoder.0.weight in layer " + zooLayer(t, 0) + " is "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustModel(t, zoo()[0])
			c.spoil(m)
			for i := range m.Params { // so that the update overflows
				if c.rate > 1 {
					for k := range m.Params[i].Data {
						m.Params[i].Data[k] *= 30
					}
				}
			}
			var states [2][]safetensors.Tensor
			for i := range states {
				tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 8, Optimizer: Optimizer{Name: "sgd", LearningRate: c.rate}, Reduction: SumReduction})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					tr.Step(0, 8, 0)
				} else if f, found, err := tr.Trace(0, 8, 0); err != nil || found != (c.want != "") || found && !strings.HasPrefix(f.String(), c.want) {
					t.Errorf("found %v: %v, %v; want %s", found, f, err, c.want)
				}
				if states[i], err = tr.State(); err != nil {
					t.Fatal(err)
				}
			}
			for i := range states[0] {
				if !slices.Equal(states[0][i].Data, states[1][i].Data) {
					t.Errorf("%s differs from that of Step", states[0][i].Name)
				}
			}
		})
	}
}

// A gradient that overflows is named by its parameter, also where a device leaves it in partial sums.
func TestTraceGradient(t *testing.T) {
	c := Config{Name: "overflow", Input: []int{8, 8, 1}, Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3)}),
		Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3)})}
	for _, dev := range []backend.Device{openTest(t), openSim(t)} {
		m := mustModel(t, c)
		for i, x := range []float32{1e-30, 0, 1e28, 0} { // weights and biases
			for k := range m.Params[i].Data {
				m.Params[i].Data[k] = x
			}
		}
		tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 4, Loss: MSE, Reduction: SumReduction})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetValues(slices.Repeat([]float32{1e6}, 4*64), 4); err != nil {
			t.Fatal(err)
		}
		want := "the gradient of " + m.Params[0].Name + " in layer " + m.Params[0].Layer + " is "
		if f, found, err := tr.Trace(0, 4, 0); err != nil || !found || !strings.HasPrefix(f.String(), want) {
			t.Errorf("%s: found %v: %v, %v; want %s", dev.Name(), found, f, err, want)
		}
	}
}

// zooLayer returns the name of the layer of the first model's i'th parameter.
func zooLayer(t *testing.T, i int) string {
	return mustModel(t, zoo()[0]).Params[i].Layer
}

// tiny is a device that says it has little memory.
type tiny struct {
	backend.Device
	free int
}

func (d tiny) Free() (int, error) { return d.free, nil }

func TestTooLargeBatchSaysWhatFits(t *testing.T) {
	c := Config{Name: "wide", Input: []int{64, 64, 1}, Encoder: graph.Specs(&layer.Conv2D{Filters: 64, Kernel: layer.Square(3)}), Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})}
	m := mustModel(t, c)
	whole := wholeBatch{openTest(t)}
	o := TrainerOptions{Batch: 64}
	tr, err := NewTrainer(m, tiny{whole, 1 << 30}, o)
	if err != nil {
		t.Fatal(err)
	}
	full := tr.Memory()
	tr.Close()
	if full.MicroBatch != 64 {
		t.Fatalf("with enough memory the micro-batch is %d, want the whole batch", full.MicroBatch)
	}
	tr, err = NewTrainer(m, tiny{whole, full.Total() / 3}, o)
	if err != nil {
		t.Fatalf("a batch that fits in parts: %v", err)
	}
	if got := tr.Memory(); got.MicroBatch >= 64 || got.Total() > full.Total()/3 {
		t.Errorf("in a third of the memory: micro-batch %d, %v", got.MicroBatch, got)
	}
	tr.Close()
	_, err = NewTrainer(m, tiny{whole, 1000}, o)
	if err == nil || !strings.Contains(err.Error(), "not even a batch of 1 fits") || !strings.Contains(err.Error(), "1000 B are free") {
		t.Errorf("error %v", err)
	}
}

// trainStreamed trains on 40 samples for two epochs, with a data set that does not fit.
func trainStreamed(t *testing.T, dev backend.Device) (*Trainer, *Model) {
	t.Helper()
	m := mustModel(t, streamedModel)
	tr, err := NewTrainer(m, tiny{dev, 90_000}, streamedOptions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	// Only the first 40 samples are drawn; the rest makes the set too large.
	const samples = 3000
	pixels := append(pixelsFor(m, 40), make([]byte, (samples-40)*m.Input.Len())...)
	if err := tr.SetData(pixels, samples); err != nil {
		t.Fatal(err)
	}
	if mem := tr.Memory(); !mem.Streamed || mem.Data > 20_000 {
		t.Fatalf("a set of %d bytes takes %d and is streamed: %v", len(pixels), mem.Data, mem.Streamed)
	}
	order := make([]int32, samples)
	for e := range streamedEpochs {
		rng.Source{Seed: 3, Stream: rng.StreamShuffle}.Perm(order[:40], uint32(e))
		tr.SetOrder(order)
		for at := 0; at < 40; at += streamedOptions.Batch {
			tr.Step(at, min(streamedOptions.Batch, 40-at), uint32(e))
		}
	}
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	return tr, m
}

var (
	streamedModel   = zoo()[3]
	streamedOptions = TrainerOptions{Batch: 16, Noise: 0.2, Seed: 3}
)

const streamedEpochs = 3

// sameParams reports whether a model's parameters have the bits of want.
func sameParams(m *Model, want [][]float32) bool {
	for i := range want {
		if !slices.Equal(m.Params[i].Data, want[i]) {
			return false
		}
	}
	return true
}

// A data set that does not fit is streamed, with the same result and without allocation.
func TestStreamedData(t *testing.T) {
	for name, dev := range map[string]backend.Device{"cpu": openTest(t), "sim": openSim(t)} {
		want := train(t, mustModel(t, streamedModel), dev, streamedOptions, 40, streamedEpochs)
		tr, m := trainStreamed(t, dev)
		if !sameParams(m, want) {
			t.Errorf("%s: the parameters differ from a resident data set's", name)
		}
		if name == "cpu" {
			if n := testing.AllocsPerRun(3, func() { tr.Step(0, 16, 0) }); n != 0 {
				t.Errorf("a streamed step makes %v allocations", n)
			}
		}
	}
}

// sourceOf is a Source of pixels that are there, which fails when it is asked for a sample.
type sourceOf struct {
	pixels []byte
	size   int
	bad    int32
	calls  [][2]int // offset and samples
}

func (s *sourceOf) Read(dst []byte, offset int, samples []int32) error {
	s.calls = append(s.calls, [2]int{offset, len(samples)})
	for n, i := range samples {
		if i == s.bad {
			return errors.New("planted")
		}
		copy(dst[n*s.size:][:s.size], s.pixels[int(i)*s.size:])
	}
	return nil
}

// Samples that are read when they are needed train as a data set on the device does, on a group of devices too, and each batch is
// read once. After an error nothing is trained on any more, and the error is heard.
func TestSource(t *testing.T) {
	group, err := backend.NewGroup("group", openLanes(t, 1), openLanes(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, dev := range map[string]backend.Device{"cpu": openTest(t), "sim": openSim(t), "group": group} {
		want := train(t, mustModel(t, streamedModel), dev, streamedOptions, 40, streamedEpochs)
		m := mustModel(t, streamedModel)
		tr, err := NewTrainer(m, dev, streamedOptions)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		s := &sourceOf{pixels: pixelsFor(m, 40), size: m.Input.Len(), bad: -1}
		if err := tr.SetSource(s, 40); err != nil {
			t.Fatal(err)
		}
		order := make([]int32, 40)
		for e := range streamedEpochs {
			rng.Source{Seed: 3, Stream: rng.StreamShuffle}.Perm(order, uint32(e))
			tr.SetOrder(order)
			for at := 0; at < 40; at += streamedOptions.Batch {
				tr.Step(at, min(streamedOptions.Batch, 40-at), uint32(e))
			}
		}
		if err := tr.Pull(); err != nil {
			t.Fatal(err)
		}
		if !sameParams(m, want) {
			t.Errorf("%s: the parameters differ from a resident data set's", name)
		}
		if want := [][2]int{{0, 16}, {16, 16}, {32, 8}}; len(s.calls) != 3*streamedEpochs || !slices.Equal(s.calls[:3], want) {
			t.Errorf("%s: reads %v, want %v in each epoch", name, s.calls, want)
		}
		steps := tr.Steps()
		s.bad = order[20]
		tr.Step(0, 16, 0)
		if err := tr.Wait(); err != nil || tr.Steps() != steps+1 {
			t.Errorf("%s: before the bad sample: error %v", name, err)
		}
		want = weightsOf(t, tr, m)
		tr.Step(16, 16, 0)
		tr.Step(0, 16, 0)
		if err := tr.Wait(); err == nil || err.Error() != "nn: planted" || tr.Steps() != steps+1 {
			t.Errorf("%s: error %v after %d steps, want planted after %d", name, err, tr.Steps(), steps+1)
		}
		if !slices.EqualFunc(weightsOf(t, tr, m), want, slices.Equal[[]float32]) {
			t.Errorf("%s: weights change after the error", name)
		}
	}
}

// weightsOf returns a copy of a trainer's weights.
func weightsOf(t *testing.T, tr *Trainer, m *Model) (w [][]float32) {
	t.Helper()
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	for i := range m.Params {
		w = append(w, slices.Clone(m.Params[i].Data))
	}
	return w
}

// Work that is done as late as CUDA allows, or copies that are done as early, change no bit; a missing wait would.
func TestStreamOrder(t *testing.T) {
	open := func(l *driver.Late) backend.Device {
		l.Driver = ptxsim.New(ptxsim.Options{})
		dev, err := cuda.Open(l, 0, "sim")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dev.Close() })
		return dev
	}
	want := train(t, mustModel(t, streamedModel), openSim(t), streamedOptions, 40, streamedEpochs)
	for name, eager := range map[string][]int{"all late": nil, "copies early": {1}, "computing early": {0}} {
		if _, m := trainStreamed(t, open(&driver.Late{Eager: eager})); !sameParams(m, want) {
			t.Errorf("%s: the parameters differ", name)
		}
	}
	// Of the two waits of each batch, the copies' matters when copies are early (but for the first batches, which
	// overwrite nothing, and those after a recording, which all work is done before), the ops' when all is late (but for copies that a
	// later Stage has waited for).
	for name, eager := range map[string][]int{"copies early": {1}, "all late": nil} {
		found, left := 0, []int{4, 5, 8, 9, 10, 11, 16, 17}
		for _, i := range left {
			drop := func(n int) bool { return n == i }
			if _, m := trainStreamed(t, open(&driver.Late{Eager: eager, DropWait: drop})); !sameParams(m, want) {
				found++
			}
		}
		if found < 2 {
			t.Errorf("%s: of %d waits left out one by one only %d change the result", name, len(left), found)
		}
		t.Logf("%s: %d of %d missing waits found", name, found, len(left))
	}
}

// wholeBatch is a device that wants a batch in one piece, as a GPU does.
type wholeBatch struct{ backend.Device }

func (wholeBatch) Policy() backend.Policy { return backend.Policy{Slots: 1, SlotBytes: 1 << 40} }

func TestTrainerErrors(t *testing.T) {
	dev := openTest(t)
	good := zoo()[0]
	linear := Config{Name: "linear", Input: []int{4}, Encoder: graph.Specs(&layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 4})}
	shrinks := Config{Name: "shrinks", Input: []int{4}, Encoder: graph.Specs(&layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 3, Activation: "sigmoid"})}
	for _, c := range []struct {
		name string
		c    Config
		o    TrainerOptions
		want string
	}{
		{"batch", good, TrainerOptions{}, "batch is 0"},
		{"noise", good, TrainerOptions{Batch: 1, Noise: -1}, "noise is -1"},
		{"optimizer", good, TrainerOptions{Batch: 1, Optimizer: Optimizer{Name: "adagrad"}}, `optimizer is "adagrad"`},
		{"unused constant", good, TrainerOptions{Batch: 1, Optimizer: Optimizer{Name: "sgd", Rho: Given(0.5)}}, "sgd has no rho"},
		{"beta", good, TrainerOptions{Batch: 1, Optimizer: Optimizer{Beta1: Given(1)}}, "beta1 is 1"},
		{"rate", good, TrainerOptions{Batch: 1, Optimizer: Optimizer{LearningRate: -1}}, "learning_rate is -1"},
		{"bce without sigmoid", linear, TrainerOptions{Batch: 1}, "last activation is sigmoid"},
		{"output", shrinks, TrainerOptions{Batch: 1}, "output (3) differs from its input (4)"},
	} {
		if _, err := NewTrainer(mustModel(t, c.c), dev, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// The micro-batch's live tensors must not overlap in the arena: checked on every program of the zoo, with ops one after the other
// and with branches.
func TestPlanKeepsLiveTensorsApart(t *testing.T) {
	for _, dev := range []backend.Device{openTest(t), openSim(t)} {
		for _, c := range append(zoo(), Denoiser()) {
			for _, unfused := range []bool{true, false} {
				keepsLiveTensorsApart(t, dev.Lanes()[0], c, unfused)
			}
		}
	}
}

func keepsLiveTensorsApart(t *testing.T, b backend.Backend, c Config, unfused bool) {
	p, err := compileTraining(mustModel(t, c), b, TrainerOptions{Loss: MSE, Noise: 1, Unfused: unfused}, source{gather: true}, 3)
	if err != nil {
		t.Fatal(err)
	}
	offsets, bytes := p.Plan(b)
	first, last := map[op.Value]int{}, map[op.Value]int{}
	at := 0
	for i, s := range p.Calls {
		if i == 0 || !p.Calls[i-1].Beside { // what is beside the call before is done at the same time
			at = i
		}
		for _, v := range append(op.Reads(s.Op), op.Writes(s.Op)...) {
			if _, ok := first[v]; !ok {
				first[v] = at
			}
			last[v] = at
		}
	}
	sum := 0
	for a := op.Value(1); int(a) < len(p.Values); a++ {
		if p.Values[a].Space != op.Arena {
			continue
		}
		size := b.Bytes(p.Values[a].Role, p.Values[a].Type, p.Values[a].Shape)
		sum += backend.AlignUp(size)
		if offsets[a]+size > bytes || offsets[a]%backend.Align != 0 {
			t.Fatalf("%s: tensor %d at %d+%d of %d", c.Name, a, offsets[a], size, bytes)
		}
		for z := range a {
			if _, ok := first[z]; !ok || p.Values[z].Space != op.Arena || last[z] < first[a] || last[a] < first[z] {
				continue
			}
			if _, ok := first[a]; !ok {
				continue
			}
			zsize := b.Bytes(p.Values[z].Role, p.Values[z].Type, p.Values[z].Shape)
			if offsets[a] < offsets[z]+zsize && offsets[z] < offsets[a]+size {
				t.Fatalf("%s: live tensors %d and %d overlap\n%v", c.Name, z, a, p)
			}
		}
	}
	if bytes > sum || c.Name == "denoiser" && bytes > sum*3/4 {
		t.Errorf("%s: the arena has %d bytes for tensors of %d together", c.Name, bytes, sum)
	}
}

// recorder is a device of one lane that records.
type recorder struct {
	backend.Device
	lane *recorderLane
}

func (d recorder) Lanes() []backend.Backend { return []backend.Backend{d.lane} }

type recorderLane struct {
	backend.Backend
	records, replays, closed int
}

type recording struct {
	lane *recorderLane
	f    func()
}

func (l *recorderLane) Record(f func()) backend.Recording {
	l.records++
	return &recording{l, f}
}

func (l *recorderLane) Replay(r backend.Recording) {
	l.replays++
	r.(*recording).f()
}

func (r *recording) Close() { r.lane.closed++ }

// A device that records is given each batch size once, and replays it from then on with the same result.
func TestRecordedSteps(t *testing.T) {
	c, o := zoo()[0], TrainerOptions{Batch: 4, Noise: 0.1, Seed: 3}
	dev := openLanes(t, 1)
	want := train(t, mustModel(t, c), dev, o, 10, 3)
	rec := recorder{dev, &recorderLane{Backend: dev.Lanes()[0]}}
	got := train(t, mustModel(t, c), rec, o, 10, 3)
	for i := range got {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("parameter %d differs from a run without recording", i)
		}
	}
	// Batches of 4, 4 and 2 samples, three epochs.
	if l := rec.lane; l.records != 2 || l.replays != 9 || l.closed != 2 {
		t.Errorf("%d recordings, %d replays, %d closed; want 2, 9 and 2", l.records, l.replays, l.closed)
	}
}

// gradients returns the gradients of the last step of a trainer with one slot, by parameter.
func gradients(tr *Trainer) []backend.Tensor { return tr.first().slots[0].grads }
