package nn

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

// With epsilon_hat Adam is the formula at the end of section 2 of its paper, which Keras has:
// p -= lr sqrt(1-b2^t)/(1-b1^t) m / (sqrt(v) + epsilon). The gradients are small, so that epsilon counts.
func TestEpsilonHat(t *testing.T) {
	for _, b1 := range []float64{0.9, 0} { // a beta1 of 0 is no momentum, not the default
		testEpsilonHat(t, b1)
	}
}

func testEpsilonHat(t *testing.T, b1 float64) {
	const n, steps, rate, b2, eps = 7, 4, 0.1, 0.99, 1e-3
	for _, dev := range []backend.Device{openTest(t), openSim(t)} {
		o, err := Optimizer{Name: "adam", LearningRate: rate, Beta1: Given(b1), Beta2: Given(b2), Epsilon: eps, EpsilonHat: true}.WithDefaults()
		if err != nil {
			t.Fatal(err)
		}
		a := arena{b: dev.Lanes()[0]}
		defer a.free()
		tensor := func(role backend.Role, values int) backend.Tensor {
			x := backend.NewTensor(role, backend.Vec(values))
			if x.Buffer, err = a.alloc(a.b.Bytes(role, x.Type, x.Shape), "test"); err != nil {
				t.Fatal(err)
			}
			return x
		}
		param, m, v, grad, stepParams := tensor(backend.Flat, n), tensor(backend.Flat, n), tensor(backend.Flat, n), tensor(backend.Flat, n), tensor(backend.PerStep, 1)
		p, g, wantM, wantV := make([]float32, n), make([]float32, n), make([]float64, n), make([]float64, n)
		for i := range p {
			p[i] = float32(i) - 3
		}
		a.b.Upload(param, p)
		a.b.Upload(m, make([]float32, n))
		a.b.Upload(v, make([]float32, n))
		want := make([]float64, n)
		for i := range want {
			want[i] = float64(p[i])
		}
		for step := 1; step <= steps; step++ {
			alpha := rate * math.Sqrt(1-math.Pow(b2, float64(step))) / (1 - math.Pow(b1, float64(step)))
			for i := range g {
				g[i] = float32(1e-3 * math.Sin(float64(step*(i+1))))
				wantM[i] += (1 - b1) * (float64(g[i]) - wantM[i])
				wantV[i] += (1 - b2) * (float64(g[i])*float64(g[i]) - wantV[i])
				want[i] -= alpha * wantM[i] / (math.Sqrt(wantV[i]) + eps)
			}
			a.b.Upload(grad, g)
			a.b.SetStepParams(stepParams, o.stepParams(uint32(step), rate))
			f := op.Frame{B: a.b, Tensors: []backend.Tensor{{}, param, grad, m, v, stepParams}}
			(&op.Update{Optimizer: o.constants(), Param: 1, Grad: 2, State: [2]op.Value{3, 4}, StepParams: 5, Rate: 1}).Run(&f)
		}
		if err := a.b.Download(p, param); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if diff := math.Abs(float64(p[i]) - want[i]); diff > 1e-6 {
				t.Errorf("%s: parameter %d is %v, want %v", dev.Name(), i, p[i], want[i])
			}
		}
	}
}

func TestEpsilonHatIsAdams(t *testing.T) {
	for _, name := range []string{"sgd", "adadelta"} {
		if _, err := (Optimizer{Name: name, EpsilonHat: true}).WithDefaults(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("optimizer %s has no epsilon_hat", name)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Nadam's step is Keras's: of the mean of gradients, corrected by the product of the momenta up to the next step, and of the gradient itself.
func TestNadamSchedule(t *testing.T) {
	for _, decay := range []float64{1, 0.004} { // Keras's and PyTorch's
		o, err := Optimizer{Name: "nadam", LearningRate: 0.1, MomentumDecay: Given(decay)}.WithDefaults()
		if err != nil {
			t.Fatal(err)
		}
		product := 1.0
		for step := 1; step <= 1000; step++ {
			now, next := 0.9*(1-0.5*math.Pow(0.96, decay*float64(step))), 0.9*(1-0.5*math.Pow(0.96, decay*float64(step+1)))
			product *= now
			c := o.stepParams(uint32(step), 0.1)
			for what, v := range map[string][2]float64{
				"the gradient": {float64(c.LearningRate), 0.1 * (1 - now) / (1 - product)},
				"the mean":     {float64(c.LearningRate / c.BiasCorrection1), 0.1 * next / (1 - product*next)},
				"the root":     {float64(c.BiasCorrection2), 1 - math.Pow(0.999, float64(step))},
			} {
				if !(math.Abs(v[0]-v[1]) <= 3e-7*v[1]) { // three roundings of 2^-24, and the product that is left out
					t.Fatalf("step %d: that of %s is %v, want %v", step, what, v[0], v[1])
				}
			}
		}
	}
}

// A constant of 0 is one, unlike one that is left out.
func TestZeroConstants(t *testing.T) {
	for _, o := range []Optimizer{{Name: "adam", Beta1: Given(0), Beta2: Given(0)}, {Name: "adamw", WeightDecay: Given(0)}, {Name: "adadelta", Rho: Given(0)}} {
		got, err := o.WithDefaults()
		if err == nil {
			got, err = got.WithDefaults()
		}
		if err != nil || o.Beta1 == Given(0) && (got.Beta1 != o.Beta1 || got.Beta2 != o.Beta2) || o.WeightDecay == Given(0) && got.WeightDecay != o.WeightDecay || o.Rho == Given(0) && got.Rho != o.Rho {
			t.Errorf("%+v became %+v, %v", o, got, err)
		}
	}
	if d, err := (Divergence{Beta: Given(0)}).WithDefaults(); err != nil || d.Weight(3) != 0 {
		t.Errorf("a beta of 0 weighs %v, %v", d.Weight(3), err)
	}
	if d, err := (Divergence{}).WithDefaults(); err != nil || d.Weight(3) != 1 {
		t.Errorf("a beta that is left out weighs %v, %v", d.Weight(3), err)
	}
}

// Weights decay, and biases do not unless all shall: with a gradient of 0, which a model of zeros on zeros has, decay is all that happens.
func TestDecayIsOfWeights(t *testing.T) {
	c := Config{Name: "decay", Input: []int{4}, Encoder: graph.Specs(&layer.Dense{Units: 3, Activation: "relu"}), Decoder: graph.Specs(&layer.Dense{Units: 4})}
	for _, o := range []Optimizer{{Name: "adamw", LearningRate: 0.1, WeightDecay: Given(0.5)}, {Name: "adamw", LearningRate: 0.1, WeightDecay: Given(0.5), DecayAll: true},
		{Name: "lion", LearningRate: 0.1, WeightDecay: Given(0.5)}, {Name: "lion", LearningRate: 0.1, WeightDecay: Given(0.5), DecayAll: true},
		{Name: "lamb", LearningRate: 0.05, WeightDecay: Given(0.5)}, {Name: "lamb", LearningRate: 0.05, WeightDecay: Given(0.5), DecayAll: true}} { // a step as long as the weights
		m := mustModel(t, c)
		for i := range m.Params {
			for j := range m.Params[i].Data {
				m.Params[i].Data[j] = -1 // no unit of the encoder is active, and what the decoder should give is what it gives
			}
		}
		tr, err := NewTrainer(m, openTest(t), TrainerOptions{Batch: 2, Loss: MSE, Optimizer: o})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.StepOn(make([]float32, 8), []float32{-1, -1, -1, -1, -1, -1, -1, -1}, 2); err != nil {
			t.Fatal(err)
		}
		for i, w := range weightsOf(t, tr, m) {
			want := float32(-0.95)
			if m.Params[i].Role == graph.Bias && !o.DecayAll {
				want = -1
			}
			if j := slices.IndexFunc(w, func(v float32) bool { return v != want }); j >= 0 {
				t.Errorf("%s, all %v: %s is %v, want %v", o.Name, o.DecayAll, m.Params[i].Name, w[j], want)
			}
		}
	}
	for _, o := range []Optimizer{{Name: "adam", DecayAll: true}, {Name: "adam", MomentumDecay: Given(1)}, {Name: "nadam", WeightDecay: Given(1)}, {Name: "nadam", EpsilonHat: true}, {Name: "lion", Epsilon: 1}, {Name: "lion", EpsilonHat: true}, {Name: "rmsprop", Beta1: Given(0.5)}} {
		if _, err := o.WithDefaults(); err == nil || !strings.Contains(err.Error(), "optimizer "+o.Name+" has no ") {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}
