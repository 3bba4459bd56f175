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

// coder is a dense autoencoder whose code lies between 0 and 1.
func coder() Config {
	return Config{Name: "coder", Input: []int{33},
		Encoder: graph.Specs(&layer.Dense{Units: 12, Activation: "tanh"}, &layer.Dense{Units: 9, Activation: "sigmoid"}),
		Decoder: graph.Specs(&layer.Dropout{Rate: 0}, &layer.Dense{Units: 33, Activation: "sigmoid"})}
}

// convCoder has a convolution's code, right before a convolution that could take its activation's derivative along.
func convCoder() Config {
	return Config{Name: "conv coder", Input: []int{6, 6, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Activation: "relu"}, &layer.Dropout{Rate: 0.2}, &layer.Conv2D{Filters: 3, Kernel: layer.Square(3), Stride: 2, Activation: "sigmoid"}),
		Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(3), Stride: 2, Activation: "sigmoid"})}
}

// oneDense has the encoder whose Jacobian is known.
func oneDense() Config {
	return Config{Name: "one dense", Input: []int{11, 3, 1},
		Encoder: graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 9, Activation: "sigmoid"}),
		Decoder: graph.Specs(&layer.Dense{Units: 33, Activation: "sigmoid"})}
}

// concrete selects inputs.
func concrete() Config {
	return Config{Name: "concrete", Input: []int{11, 3, 1},
		Encoder: graph.Specs(&layer.Flatten{}, &layer.Concrete{Select: 5}),
		Decoder: graph.Specs(&layer.Dense{Units: 12, Activation: "tanh"}, &layer.Dense{Units: 33, Activation: "sigmoid"})}
}

// vae and convVAE have Gaussian codes.
func vae() Config {
	return Config{Name: "vae", Input: []int{33},
		Encoder: graph.Specs(&layer.Dense{Units: 12, Activation: "tanh"}, &layer.Dense{Units: 10}, &layer.Sampling{}),
		Decoder: graph.Specs(&layer.Dense{Units: 12, Activation: "relu"}, &layer.Dense{Units: 33, Activation: "sigmoid"})}
}

func convVAE() Config {
	return Config{Name: "conv vae", Input: []int{6, 6, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Stride: 2, Activation: "relu"}, &layer.Rescaling{Scale: 2, Offset: -1},
			&layer.Conv2D{Filters: 6, Kernel: layer.Square(1), Activation: "tanh"}, &layer.Sampling{Clamp: []float32{-0.5, 0.75}}),
		Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 1, Kernel: layer.Square(3), Stride: 2, Activation: "sigmoid"})}
}

// stepped is what one step of gradient descent at the rate 1 makes of a model: its loss and, as the weights' change, its
// gradient.
func stepped(t testing.TB, m *Model, dev backend.Device, o TrainerOptions, n int) (loss float64, grad []float64) {
	t.Helper()
	if o.Batch = max(o.Batch, n); o.Optimizer.Name == "" {
		o.Optimizer = Optimizer{Name: "sgd", LearningRate: 1}
	}
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, n), n); err != nil {
		t.Fatal(err)
	}
	before := make([][]float32, len(m.Params))
	for i, p := range m.Params {
		before[i] = slices.Clone(p.Data)
	}
	tr.Step(0, n, 0)
	if loss, err = tr.Loss(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Pull(); err != nil {
		t.Fatal(err)
	}
	for i, p := range m.Params {
		for j, w := range p.Data {
			grad = append(grad, float64(before[i][j])-float64(w))
		}
		p.Data = before[i]
		m.Params[i].Data = before[i]
	}
	return loss, grad
}

func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// penalisedModels are those that can have the options.
func penalisedModels(o TrainerOptions) []Config {
	switch {
	case o.Activity.KL > 0:
		return []Config{coder(), convCoder()}
	case o.Contractive.Weight > 0:
		return []Config{coder(), convCoder(), oneDense()}
	}
	return []Config{coder(), convCoder(), vae(), convVAE(), concrete()}
}

// penalised are options that each add something to the loss.
func penalised() map[string]TrainerOptions {
	return map[string]TrainerOptions{
		"kernel":         {Kernel: Regularizer{L1: 0.01, L2: 0.02}},
		"activity":       {Activity: ActivityRegularizer{L1: 0.3, L2: 0.2}},
		"sparse":         {Activity: ActivityRegularizer{KL: 0.5, Rho: 0.1}},
		"sample":         {Reduction: SampleReduction, Activity: ActivityRegularizer{L2: 0.2}},
		"contractive":    {Contractive: Contractive{Weight: 0.2, Step: 0.1}}, // wide enough for differences across a ReLU's kink
		"estimate":       {Contractive: Contractive{Weight: 0.3, Step: 0.1, Estimate: true}, Activity: ActivityRegularizer{L2: 0.1}},
		"sum":            {Reduction: SumReduction, Activity: ActivityRegularizer{L1: 0.1}},
		"all, in pieces": {Kernel: Regularizer{L2: 0.01}, Activity: ActivityRegularizer{L1: 0.1, KL: 0.3, Rho: 0.2}, MicroBatch: 2},
	}
}

// Along the gradient the loss changes by |g| a unit, whatever was added to it.
func TestPenaltiesByFiniteDifferences(t *testing.T) {
	for name, o := range penalised() {
		for _, c := range penalisedModels(o) {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				const n = 5
				o := o
				o.Loss, o.Noise, o.Seed = MSE, 0.2, 4
				m := mustModel(t, c)
				_, g := stepped(t, m, openTest(t), o, n)
				length := norm(g)
				// The reported loss is a mean over samples; penalties of a batch are divided too when samples are summed.
				weight := 1.0
				if o.Reduction == SumReduction {
					weight = n
				}
				h := 2e-3
				at := func(by float64) float64 {
					k := 0
					for i := range m.Params {
						for j := range m.Params[i].Data {
							m.Params[i].Data[j] += float32(by * g[k] / length)
							k++
						}
					}
					loss, _ := stepped(t, m, openTest(t), o, n)
					return loss * weight
				}
				up := at(h)
				down := at(-2 * h)
				got := (up - down) / (2 * h)
				if math.Abs(got-length) > 0.02*length {
					t.Errorf("the loss changes by %v a unit along the gradient, want %v", got, length)
				}
			})
		}
	}
}

// Neither the lanes nor fusing nor the pieces of a batch matter: lanes not to a bit, the others but for rounding.
func TestPenaltiesDoNotDependOnCuts(t *testing.T) {
	for name, o := range penalised() {
		o.Batch, o.Noise, o.Seed, o.Clip = 20, 0.3, 4, Clip{Norm: 0.05}
		for _, c := range penalisedModels(o) {
			want := train(t, mustModel(t, c), openLanes(t, 1), o, 47, 2)
			for _, lanes := range []int{2, 5} {
				got := train(t, mustModel(t, c), openLanes(t, lanes), o, 47, 2)
				for i := range got {
					if !slices.Equal(got[i], want[i]) {
						t.Fatalf("%s, %s: %d lanes: parameter %d differs from one lane's", name, c.Name, lanes, i)
					}
				}
			}
			loss, g := stepped(t, mustModel(t, c), openTest(t), o, 19)
			o2 := o
			o2.Unfused, o2.MicroBatch = true, 3
			loss2, g2 := stepped(t, mustModel(t, c), openTest(t), o2, 19)
			if math.Abs(loss-loss2) > 1e-5*math.Abs(loss) {
				t.Errorf("%s, %s: losses %v and, unfused and in pieces, %v", name, c.Name, loss, loss2)
			}
			for i := range g {
				if math.Abs(g[i]-g2[i]) > 1e-6+1e-4*math.Abs(g[i]) {
					t.Fatalf("%s, %s: gradient %d is %v and, unfused and in pieces, %v", name, c.Name, i, g[i], g2[i])
				}
			}
		}
	}
}

// What the options add allocates nothing either.
func TestPenaltiesDoNotAllocate(t *testing.T) {
	for name, o := range penalised() {
		for _, c := range penalisedModels(o) {
			m := mustModel(t, c)
			o.Batch, o.Clip = 8, Clip{Norm: 1}
			tr, err := NewTrainer(m, openTest(t), o)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := tr.SetData(pixelsFor(m, 12), 12); err != nil {
				t.Fatal(err)
			}
			step := func() {
				tr.SetLearningRate(0.01)
				tr.Step(0, 8, 1)
				tr.Step(8, 4, 1)
			}
			step()
			if n := testing.AllocsPerRun(3, step); n != 0 {
				t.Errorf("%s, %s: two steps make %v allocations, want 0", name, c.Name, n)
			}
		}
	}
}

func TestClip(t *testing.T) {
	m := mustModel(t, coder())
	_, g := stepped(t, m, openTest(t), TrainerOptions{}, 8)
	length := norm(g)
	for _, limit := range []float64{length / 3, 2 * length} {
		_, got := stepped(t, m, openTest(t), TrainerOptions{Clip: Clip{Norm: limit}}, 8)
		factor := min(1, limit/length)
		for i := range g {
			if math.Abs(got[i]-factor*g[i]) > 1e-6 {
				t.Fatalf("norm %v of %v: element %d is %v, want %v", limit, length, i, got[i], factor*g[i])
			}
		}
	}
	const bound = 1e-3
	_, got := stepped(t, m, openTest(t), TrainerOptions{Clip: Clip{Value: bound}}, 8)
	clipped := 0
	for i := range g {
		want := min(max(g[i], -bound), bound)
		if want != g[i] {
			clipped++
		}
		if math.Abs(got[i]-want) > 1e-6 {
			t.Fatalf("value %v: element %d is %v, want %v", bound, i, got[i], want)
		}
	}
	if clipped == 0 || clipped == len(g) {
		t.Errorf("%d of %d elements were clipped", clipped, len(g))
	}
}

// What a kernel regulariser adds is known: L1 sign(w) + 2 L2 w for weights, nothing for biases.
func TestKernelRegularizer(t *testing.T) {
	m := mustModel(t, coder())
	for _, p := range m.Params {
		for j := range p.Data {
			p.Data[j] += 0.01 // biases are not 0
		}
	}
	const l1, l2 = 0.01, 0.03
	loss, g := stepped(t, m, openTest(t), TrainerOptions{}, 8)
	got, h := stepped(t, m, openTest(t), TrainerOptions{Kernel: Regularizer{L1: l1, L2: l2}}, 8)
	k := 0
	for _, p := range m.Params {
		for _, w := range p.Data {
			want := g[k]
			if w := float64(w); p.Role != graph.Bias {
				want += math.Copysign(l1, w) + 2*l2*w
				loss += l1*math.Abs(w) + l2*w*w
			}
			if math.Abs(h[k]-want) > 1e-6 {
				t.Fatalf("%s: gradient %v, want %v", p.Name, h[k], want)
			}
			k++
		}
	}
	if math.Abs(got-loss) > 1e-5 {
		t.Errorf("the loss is %v, want %v", got, loss)
	}
}

// The reductions differ by factors in the gradient and by the elements of a sample in the reported loss.
func TestReduction(t *testing.T) {
	m := mustModel(t, coder())
	const n, elements = 6, 33
	loss, g := stepped(t, m, openTest(t), TrainerOptions{}, n)
	for r, factor := range map[Reduction]float64{SampleReduction: elements, SumReduction: n * elements} {
		got, h := stepped(t, m, openTest(t), TrainerOptions{Reduction: r}, n)
		if want := loss * elements; math.Abs(got-want) > 1e-5*want {
			t.Errorf("%v: loss %v, want %v", r, got, want)
		}
		for i := range g {
			if math.Abs(h[i]-factor*g[i]) > 1e-5*factor {
				t.Fatalf("%v: gradient %v, want %v", r, h[i], factor*g[i])
			}
		}
	}
}

// The simulated GPU computes the penalties as the CPU does, and its recorded steps follow the learning rate.
func TestSimPenaltiesAsCPU(t *testing.T) {
	t.Parallel()
	for name, o := range penalised() {
		o.Batch, o.Noise, o.Seed, o.Clip, o.Optimizer = 6, 0.2, 4, Clip{Norm: 0.5}, Optimizer{Name: "sgd", LearningRate: 0.1}
		if name == "sum" {
			o.Clip = Clip{Value: 0.05}
		}
		for _, c := range penalisedModels(o) {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				var weights [2][]float32
				var losses [2]float64
				for i, dev := range []backend.Device{openTest(t), openSim(t)} {
					m := mustModel(t, c)
					tr, err := NewTrainer(m, dev, o)
					if err != nil {
						t.Fatal(err)
					}
					defer tr.Close()
					if err := tr.SetData(pixelsFor(m, 10), 10); err != nil {
						t.Fatal(err)
					}
					for epoch := range 2 {
						tr.SetLearningRate(0.1 / float64(1+epoch))
						tr.Step(0, 6, 0)
						tr.Step(6, 4, 0)
					}
					if losses[i], err = tr.Loss(); err != nil {
						t.Fatal(err)
					}
					if err := tr.Pull(); err != nil {
						t.Fatal(err)
					}
					for _, p := range m.Params {
						weights[i] = append(weights[i], p.Data...)
					}
				}
				within(t, "weights", weights[1], weights[0], backend.Bound{Abs: 2e-6, Rel: 1e-5})
				if math.Abs(losses[0]-losses[1]) > 1e-5*losses[0] {
					t.Errorf("losses %v and %v", losses[0], losses[1])
				}
			})
		}
	}
}

// A sparse code's mean activation comes near what was asked for.
func TestSparseCode(t *testing.T) {
	m := mustModel(t, coder())
	mean := func(o TrainerOptions) float64 {
		o.Batch, o.Optimizer = 16, Optimizer{LearningRate: 0.02}
		m := mustModel(t, coder())
		tr, err := NewTrainer(m, openTest(t), o)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetData(pixelsFor(m, 16), 16); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			tr.Step(0, 16, 0)
		}
		net := tr.Network()
		defer net.Close()
		x, z := make([]float32, 16*33), make([]float32, 16*9)
		for i, p := range pixelsFor(m, 16) {
			x[i] = float32(p) / 255
		}
		if err := net.Encode(z, x, 16); err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, v := range z {
			sum += float64(v)
		}
		return sum / float64(len(z))
	}
	if plain, sparse := mean(TrainerOptions{}), mean(TrainerOptions{Activity: ActivityRegularizer{KL: 1, Rho: 0.05}}); plain < 0.2 || math.Abs(sparse-0.05) > 0.02 {
		t.Errorf("model %q: mean activation %v, and %v with a target of 0.05", m.Config.Name, plain, sparse)
	}
}

func TestOptionErrors(t *testing.T) {
	relu := coder()
	relu.Encoder = graph.Specs(&layer.Dense{Units: 9, Activation: "relu"})
	none := coder()
	none.Encoder, none.Decoder = graph.Specs(&layer.Flatten{}), graph.Specs(&layer.Dense{Units: 33, Activation: "sigmoid"})
	for _, c := range []struct {
		m    Config
		o    TrainerOptions
		want string
	}{
		{coder(), TrainerOptions{Clip: Clip{Value: 1, Norm: 1}}, "clip: there are value 1 and norm 1, want one of them"},
		{coder(), TrainerOptions{Clip: Clip{Norm: -1}}, "clip: norm is -1, want 0 or more"},
		{coder(), TrainerOptions{Kernel: Regularizer{L1: math.NaN()}}, "kernel_regularizer: l1 is NaN"},
		{coder(), TrainerOptions{Activity: ActivityRegularizer{KL: 1}}, "rho is 0, want the mean activation"},
		{coder(), TrainerOptions{Activity: ActivityRegularizer{Rho: 0.1}}, "rho is 0.1 without kl"},
		{coder(), TrainerOptions{MicroBatch: -1}, "micro-batch is -1"},
		{vae(), TrainerOptions{Activity: ActivityRegularizer{KL: 1, Rho: 0.1}}, "sampling ends otherwise"},
		{coder(), TrainerOptions{Contractive: Contractive{Step: 0.1}}, "contractive: weight is missing"},
		{coder(), TrainerOptions{Contractive: Contractive{Weight: -1}}, "contractive: weight is -1, want 0 or more"},
		{coder(), TrainerOptions{Contractive: Contractive{Weight: 1, Step: 2}}, "contractive: step is 2, want 0.0001 to 1"},
		{vae(), TrainerOptions{Contractive: Contractive{Weight: 1}}, "want an encoder without sampling"},
		{none, TrainerOptions{Contractive: Contractive{Weight: 1}}, "contractive: the encoder of model \"coder\" has no weights"},
		{relu, TrainerOptions{Activity: ActivityRegularizer{KL: 1, Rho: 0.1}}, "an encoder that ends in sigmoid; dense ends otherwise"},
		{none, TrainerOptions{Activity: ActivityRegularizer{L1: 1}}, "has no weights that could change the code"},
	} {
		c.o.Batch = 4
		if _, err := NewTrainer(mustModel(t, c.m), openTest(t), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		s     Schedule
		epoch float64
		falls int
		want  float64
	}{
		{Schedule{}, 7, 0, 1},
		{Schedule{Warmup: 2}, 0, 0, 0.05}, {Schedule{Warmup: 2}, 0.9, 0, 0.5}, {Schedule{Warmup: 2}, 2, 0, 1},
		{Schedule{Name: "step", Every: 3}, 2.9, 0, 1}, {Schedule{Name: "step", Every: 3}, 3, 0, 0.1}, {Schedule{Name: "step", Every: 3, Factor: 0.5, Min: 0.2}, 12, 0, 0.2},
		{Schedule{Name: "cosine", Epochs: 10}, 0, 0, 1}, {Schedule{Name: "cosine", Epochs: 10, Min: 0.2}, 5, 0, 0.6}, {Schedule{Name: "cosine", Epochs: 10}, 12, 0, 0},
		{Schedule{Name: "cosine", Epochs: 10, Warmup: 2}, 6, 0, 0.5},
		{Schedule{Name: "plateau", Factor: 0.5}, 9, 3, 0.125}, {Schedule{Name: "plateau", Min: 0.01}, 9, 3, 0.01},
	} {
		s, err := c.s.WithDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Share(c.epoch, 10, c.falls); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v after %v epochs and %d falls: %v, want %v", c.s, c.epoch, c.falls, got, c.want)
		}
	}
	for want, s := range map[string]Schedule{
		`schedule is "poly", want constant, step, cosine or plateau`: {Name: "poly"},
		"schedule step: every is missing":                            {Name: "step"},
		"schedule cosine has no factor":                              {Name: "cosine", Factor: 0.5},
		"schedule constant has no min":                               {Min: 0.5},
		"schedule plateau: factor is 2, want 0 to 1":                 {Name: "plateau", Factor: 2},
		"want more than the 5 of warmup":                             {Name: "cosine", Epochs: 4, Warmup: 5},
	} {
		if _, err := s.WithDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", s, err, want)
		}
	}
}

func TestSamplingErrors(t *testing.T) {
	odd, early, twice := vae(), vae(), vae()
	odd.Encoder = graph.Specs(&layer.Dense{Units: 11}, &layer.Sampling{})
	early.Encoder = graph.Specs(&layer.Dense{Units: 12}, &layer.Sampling{}, &layer.Dense{Units: 4})
	twice.Decoder = graph.Specs(&layer.Dense{Units: 4}, &layer.Sampling{}, &layer.Dense{Units: 33})
	for want, c := range map[string]Config{"11 channels are no pairs": odd, "sampling of model \"vae\" is not the encoder's last layer": early,
		"sampling_1 of model \"vae\" is not the encoder's last layer": twice} {
		if _, err := New(c, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	net, err := NewNetwork(mustModel(t, coder()), openTest(t), NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	if err := net.Posterior(nil, nil, 0); err == nil || !strings.Contains(err.Error(), "does not end in sampling") {
		t.Errorf("Posterior: error %v", err)
	}
}

// A variational model's code is the posterior's mean, and its predictions are made of that.
func TestPosterior(t *testing.T) {
	for _, c := range []Config{vae(), convVAE()} {
		m := mustModel(t, c)
		if !m.Variational() {
			t.Fatalf("%s is not variational", c.Name)
		}
		net, err := NewNetwork(m, openTest(t), NetworkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer net.Close()
		const n = 3
		x, stats, z := make([]float32, n*m.Input.Len()), make([]float32, 2*n*m.Code.Len()), make([]float32, n*m.Code.Len())
		for i := range x {
			x[i] = float32(i%7) / 7
		}
		y, back := make([]float32, n*m.Output.Len()), make([]float32, n*m.Output.Len())
		for _, err := range []error{net.Posterior(stats, x, n), net.Encode(z, x, n), net.Predict(y, x, n), net.Decode(back, z, n)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for i, v := range z {
			if ch := m.Code.C; v != stats[i+i/ch*ch] {
				t.Fatalf("%s: code %d is %v, its mean %v", c.Name, i, v, stats[i+i/ch*ch])
			}
		}
		if !slices.Equal(y, back) {
			t.Errorf("%s: the prediction is not the decoded mean", c.Name)
		}
	}
}

// The divergence's weight of each step reaches the device.
func TestDivergenceWeight(t *testing.T) {
	if d, err := (Divergence{Warmup: 4}).WithDefaults(); err != nil || d.Weight(0) != 0 || d.Weight(1) != 0.25 || d.Weight(9) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := (Divergence{Beta: Given(-1)}).WithDefaults(); err == nil || !strings.Contains(err.Error(), "divergence: beta is -1, want 0 or more") {
		t.Errorf("error %v", err)
	}
	var losses []float64
	for _, w := range []float64{0, 1, 2} {
		m := mustModel(t, vae())
		tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 4, Reduction: SampleReduction})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetData(pixelsFor(m, 4), 4); err != nil {
			t.Fatal(err)
		}
		tr.SetDivergence(w)
		tr.Step(0, 4, 0)
		loss, err := tr.Loss()
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, loss)
	}
	if d := losses[1] - losses[0]; d <= 0 || math.Abs(losses[2]-losses[0]-2*d) > 1e-4 {
		t.Errorf("losses %v for weights 0, 1 and 2", losses)
	}
}

// The penalty on the Jacobian is what it is by its definition, and the estimate from directions has it for its mean, its
// gradient too.
func TestContractive(t *testing.T) {
	const n, draws, weight = 12, 300, 1.0
	m := mustModel(t, oneDense())
	gradients := func(o TrainerOptions, steps int) (loss float64, grad []float64) {
		// No training at all: the rate is so low that a step's change is a gradient, and the next one's draws are others.
		const rate = 1e-3
		o.Batch, o.Optimizer, o.Loss = n, Optimizer{Name: "sgd", LearningRate: rate}, MSE
		m := mustModel(t, oneDense())
		tr, err := NewTrainer(m, openTest(t), o)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetData(pixelsFor(m, n), n); err != nil {
			t.Fatal(err)
		}
		var before []float64
		for _, p := range m.Params {
			for _, w := range p.Data {
				before = append(before, float64(w))
			}
		}
		for range steps {
			tr.SetLearningRate(rate / float64(steps))
			tr.Step(0, n, 0)
		}
		if loss, err = tr.Loss(); err != nil {
			t.Fatal(err)
		}
		if err := tr.Pull(); err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Params {
			for _, w := range p.Data {
				grad = append(grad, (before[len(grad)]-float64(w))/rate)
			}
		}
		return loss, grad
	}
	plain, g0 := gradients(TrainerOptions{}, 1)
	exact, g1 := gradients(TrainerOptions{Contractive: Contractive{Weight: weight}}, 1)
	estimate, g2 := gradients(TrainerOptions{Contractive: Contractive{Weight: weight, Estimate: true}}, draws)

	// The definition, in float64.
	want, w, b := 0.0, m.Params[0].Data, m.Params[1].Data
	for i := range n {
		x := pixelsFor(m, n)[i*33 : (i+1)*33]
		for j := range 9 {
			z, squares := float64(b[j]), 0.0
			for k, p := range x {
				v := float64(w[j*33+k])
				z += v * float64(p) / 255
				squares += v * v
			}
			h := 1 / (1 + math.Exp(-z))
			want += h * (1 - h) * h * (1 - h) * squares / n
		}
	}
	if math.Abs(exact-plain-weight*want) > 1e-5*want {
		t.Errorf("the exact penalty is %v, want %v", exact-plain, want)
	}
	if math.Abs(estimate-plain-weight*want) > 0.02*want {
		t.Errorf("the estimated penalty is %v, want about %v", estimate-plain, want)
	}
	var diff, size float64
	for i := range g0 {
		diff += (g2[i] - g1[i]) * (g2[i] - g1[i])
		size += (g1[i] - g0[i]) * (g1[i] - g0[i])
	}
	if diff > 0.1*0.1*size {
		t.Errorf("the mean gradient of the estimate is %v off, of a norm of %v", math.Sqrt(diff), math.Sqrt(size))
	}
}

// A concrete model learns to select the inputs that matter: here two of ten are random and the others are copies of one or
// the other, or constant.
func TestConcreteSelects(t *testing.T) {
	c := Config{Name: "select", Input: []int{10}, Encoder: graph.Specs(&layer.Concrete{Select: 2}), Decoder: graph.Specs(&layer.Dense{Units: 10, Activation: "sigmoid"})}
	const n = 64
	for name, dev := range map[string]backend.Device{"cpu": openTest(t), "sim": openSim(t)} {
		m := mustModel(t, c)
		tr, err := NewTrainer(m, dev, TrainerOptions{Batch: n, Loss: BCE, Optimizer: Optimizer{LearningRate: 0.05}, Seed: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		src := pixelsFor(mustModel(t, coder()), n)
		pixels := make([]byte, 10*n)
		for i := range n {
			a, b := src[2*i]/128*255, src[2*i+1]/128*255
			copy(pixels[10*i:], []byte{a, 0, b, 0, b, 0, 0, a, 0, b})
		}
		if err := tr.SetData(pixels, n); err != nil {
			t.Fatal(err)
		}
		anneal, err := Temperature{End: 0.1, Epochs: 150}.WithDefaults()
		if err != nil {
			t.Fatal(err)
		}
		for epoch := range 150 {
			tr.SetTemperature(anneal.At(float64(epoch)))
			tr.Step(0, n, 0)
		}
		if err := tr.Pull(); err != nil {
			t.Fatal(err)
		}
		of := map[int]string{0: "a", 7: "a", 2: "b", 4: "b", 9: "b"}
		picked := m.Selected()
		if x, y := of[picked[0]], of[picked[1]]; x == "" || y == "" || x == y {
			t.Errorf("%s: it selects inputs %v", name, picked)
		}
		net := tr.Network()
		defer net.Close()
		x, code := []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, make([]float32, 2)
		if err := net.Encode(code, x, 1); err != nil {
			t.Fatal(err)
		}
		if int(code[0]) != picked[0] || int(code[1]) != picked[1] {
			t.Errorf("%s: the code of 0 to 9 is %v, want the inputs %v", name, code, picked)
		}
	}
}

func TestConcreteErrors(t *testing.T) {
	late, many, image := concrete(), concrete(), concrete()
	late.Encoder = graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 9}, &layer.Concrete{Select: 3})
	many.Encoder = graph.Specs(&layer.Flatten{}, &layer.Concrete{Select: 34})
	image.Encoder = graph.Specs(&layer.Concrete{Select: 3})
	for want, c := range map[string]Config{"want it first in the encoder": late, "select is 34, want 1 to the 33 inputs": many, "put a flatten layer before it": image} {
		if _, err := New(c, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := (Temperature{Start: 1, End: 2}).WithDefaults(); err == nil || !strings.Contains(err.Error(), "want 1000 >= start >= end >= 0.001") {
		t.Errorf("error %v", err)
	}
	if mustModel(t, coder()).Selected() != nil || mustModel(t, coder()).Concrete() {
		t.Error("a dense model selects inputs")
	}
}
