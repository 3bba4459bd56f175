package nn

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// everyLoss has all losses at once but ms_ssim, which wants large images, and perceptual, which wants a file.
var everyLoss = Loss{BCE: 0.5, MSE: 2, L1: 1, Huber: 1.5, Charbonnier: 0.25, SSIM: 0.75, TotalVariation: 0.125, FocalFrequency: 0.375, Delta: 0.2, Epsilon: 0.01}

func TestEveryLossHasAll(t *testing.T) {
	l := everyLoss
	for _, f := range l.fields() {
		if *f.value == 0 && f.name != "ms_ssim" && f.name != perceptualName {
			t.Errorf("everyLoss has no %s", f.name)
		}
	}
}

// The loss and the gradients of a sum are the sums of those of its losses, whatever the reduction.
func TestLossIsTheSumOfItsLosses(t *testing.T) {
	for _, reduction := range []Reduction{MeanReduction, SampleReduction} {
		run := func(l Loss) (float64, []float32) {
			m := mustModel(t, zoo()[0])
			tr, err := NewTrainer(m, openLanes(t, 1), TrainerOptions{Batch: 3, Loss: l, Reduction: reduction, Noise: 0.2, Seed: 4, Optimizer: Optimizer{Name: "sgd"}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := tr.SetData(pixelsFor(m, 3), 3); err != nil {
				t.Fatal(err)
			}
			tr.Step(0, 3, 0)
			loss, err := tr.Loss()
			if err != nil {
				t.Fatal(err)
			}
			g := make([]float32, m.Params[0].Shape.Len())
			if err := tr.first().mem.b.Download(g, gradients(tr)[0]); err != nil {
				t.Fatal(err)
			}
			return loss, g
		}
		sum, want := 0.0, make([]float64, 36)
		all := everyLoss
		for _, f := range all.fields() {
			if !f.weight || *f.value == 0 {
				continue
			}
			one, err := ParseLoss(f.name)
			if err != nil {
				t.Fatal(err)
			}
			if f.name == "huber" {
				one.Delta = all.Delta
			}
			if f.name == "charbonnier" {
				one.Epsilon = all.Epsilon
			}
			l, g := run(one)
			sum += *f.value * l
			for i := range want {
				want[i] += *f.value * float64(g[i])
			}
		}
		loss, g := run(all)
		if !(math.Abs(loss-sum) <= 1e-5*sum) {
			t.Errorf("%v: loss %v, want %v", reduction, loss, sum)
		}
		largest := 0.0
		for _, v := range want {
			largest = max(largest, math.Abs(v))
		}
		share, at := backend.Bound{Abs: 1e-5 * largest}.Worst(g, want)
		if !(share <= 1) {
			t.Errorf("%v: gradient %d is %v, want %v", reduction, at, g[at], want[at])
		}
	}
}

func TestLossAsYAML(t *testing.T) {
	for _, c := range []struct {
		text, again string
		want        Loss
	}{
		{"mse", "mse", MSE}, {"l1", "l1", Loss{L1: 1}}, {"{l1: 1}", "l1", Loss{L1: 1}},
		{"{l1: 1, total_variation: 0.5}", "l1: 1.0\ntotal_variation: 0.5", Loss{L1: 1, TotalVariation: 0.5}},
		{"{huber: 1, delta: 0.05}", "delta: 0.05\nhuber: 1.0", Loss{Huber: 1, Delta: 0.05}},
	} {
		var l, back Loss
		if err := yaml.Unmarshal([]byte(c.text), &l); err != nil || l != c.want {
			t.Errorf("%s is read as %+v, %v", c.text, l, err)
		}
		text, err := yaml.Marshal(l)
		if err != nil || strings.TrimSpace(string(text)) != c.again {
			t.Errorf("%s is written as %q, %v", c.text, text, err)
		}
		if err := yaml.Unmarshal(text, &back); err != nil || back != l {
			t.Errorf("%s is read again as %+v, %v", text, back, err)
		}
	}
	text, err := json.Marshal([]Loss{MSE, {L1: 1, Huber: 2}})
	if err != nil || string(text) != `["mse",{"huber":2,"l1":1}]` {
		t.Errorf("JSON %s, %v", text, err)
	}
	if got := (Loss{L1: 1, Huber: 0.5, Delta: 0.25}).String(); got != "l1 + 0.5 huber (delta 0.25)" {
		t.Errorf("as text: %q", got)
	}
}

func TestLossErrors(t *testing.T) {
	for text, want := range map[string]string{
		"l7": "want one of bce, mse, l1", "{l7: 1}": "there is no l7: want bce, mse", "[l1]": "want the name of a loss, or weights", "{l1: many}": "l1 is many, want a number",
	} {
		var l Loss
		if err := yaml.Unmarshal([]byte(text), &l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	for want, l := range map[string]Loss{
		"loss: l1 is -1, want 0 or more": {L1: -1}, "loss: huber is NaN": {Huber: math.NaN()}, "loss: no loss has a weight above 0": {Delta: 1},
		"loss: delta is 2 without huber, want the weight of huber too": {L1: 1, Delta: 2}, "loss: epsilon is 1 without charbonnier": {L1: 1, Epsilon: 1},
	} {
		if _, err := l.WithDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", l, err, want)
		}
	}
	vector := Config{Name: "vector", Input: []int{4}, Encoder: graph.Specs(&layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 4})}
	if err := vector.CheckTraining(TrainerOptions{Batch: 1, Loss: Loss{TotalVariation: 1}}); err == nil || !strings.Contains(err.Error(), `loss total_variation is of images, and the output of model "vector" is a vector`) {
		t.Errorf("of a vector: error %v", err)
	}
	if err := zoo()[0].CheckTraining(TrainerOptions{Batch: 1, Loss: Loss{MSSSIM: 1}}); err == nil || !strings.Contains(err.Error(), "loss ms_ssim is of images of at least 176 pixels a side") {
		t.Errorf("of small images: error %v", err)
	}
	wide := Config{Name: "wide", Input: []int{2, 1025, 1}, Encoder: graph.Specs(&layer.Activation{Function: "linear"}), Decoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})}
	if err := wide.CheckTraining(TrainerOptions{Batch: 1, Loss: Loss{FocalFrequency: 1}}); err == nil || !strings.Contains(err.Error(), "loss focal_frequency is of images of at most 1024 pixels a side") {
		t.Errorf("of a wide image: error %v", err)
	}
	if err := vector.CheckTraining(TrainerOptions{Batch: 1, Loss: Loss{BCE: 1, L1: 1}}); err == nil || !strings.Contains(err.Error(), "loss bce needs a model whose last activation is sigmoid") {
		t.Errorf("without a sigmoid: error %v", err)
	}
}

// The focal frequency loss of a convolution that changes nothing, and the gradients of its weights, are those of PyTorch in float64, on the CPU and on the
// simulator.
func TestFocalFrequencyAsPyTorch(t *testing.T) {
	c := Config{Name: "same", Input: []int{5, 6, 3}, Encoder: graph.Specs(&layer.Activation{Function: "linear"}), Decoder: graph.Specs(&layer.Conv2D{Filters: 3, Kernel: layer.Square(3)})}
	x, y := make([]float32, 180), make([]float32, 180)
	for i := range x {
		x[i], y[i] = float32(math.Sin(float64(i))), float32(math.Cos(float64(3*i)))
	}
	want := map[int][]float64{ // by the place in the kernel: of each filter, of each channel
		4: {0.3132678417867018, 0.1500581993513915, -0.15111426138655665, 0.14909036726707917, 0.26004619827037134, 0.13191675087878116, -0.15982626470061037, 0.15491047576801167, 0.3272232444359264},
		2: {-0.1665237579154353, 0.023435442377903758, 0.19184820793558077, -0.17443839163008887, -0.11536931083303795, 0.04976978386319332, -0.07142900937566604, -0.20770084080350196, -0.1530134743654913},
	}
	for name, dev := range map[string]backend.Device{"cpu": openTest(t), "sim": openSim(t)} {
		m := mustModel(t, c)
		clear(m.Params[0].Data)
		for f := range 3 {
			m.Params[0].Data[(f*9+4)*3+f] = 1
		}
		tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 2, Loss: Loss{FocalFrequency: 1}, Optimizer: Optimizer{Name: "sgd"}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.StepOn(x, y, 2); err != nil {
			t.Fatal(err)
		}
		if loss, err := tr.Loss(); err != nil || !(math.Abs(loss-0.8376221010373204) <= 1e-6) {
			t.Errorf("%s: loss %v, %v", name, loss, err)
		}
		grad := make([]float32, m.Params[0].Shape.Len())
		if err := tr.first().mem.b.Download(grad, gradients(tr)[0]); err != nil {
			t.Fatal(err)
		}
		for tap, list := range want {
			for i, v := range list {
				if got := float64(grad[(i/3*9+tap)*3+i%3]); !(math.Abs(got-v) <= 1e-6) {
					t.Errorf("%s: gradient of filter %d, channel %d at %d is %v, want %v", name, i/3, i%3, tap, got, v)
				}
			}
		}
	}
}

// The loss of several scales falls along its gradient as that says.
func TestMultiScaleGradient(t *testing.T) {
	c := Config{Name: "large", Input: []int{176, 176, 1}, Encoder: graph.Specs(&layer.MaxPool2D{Size: 4, Padding: "valid"}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 4}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(3), Activation: "sigmoid"})}
	m := mustModel(t, c)
	x := make([]float32, m.Input.Len())
	for i := range x { // a texture
		x[i] = float32((i/176*7+i%176*5)%64) / 64
	}
	step := func(rate float64) float64 {
		tr, err := NewTrainer(m, openLanes(t, 1), TrainerOptions{Batch: 1, Loss: Loss{MSSSIM: 1}, Optimizer: Optimizer{Name: "sgd", LearningRate: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		tr.SetLearningRate(rate)
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
		return loss
	}
	weights := func() (all []float32) {
		for _, p := range m.Params {
			all = append(all, p.Data...)
		}
		return all
	}
	const rate = 1e-2
	before := weights()
	first := step(rate)
	after := weights()
	norm := 0.0
	for i, v := range after {
		d := (float64(v) - float64(before[i])) / rate
		norm += d * d
	}
	// The step has moved by rate times the gradient, along which the loss falls by its squared norm; the curvature of so short a step is below a tenth.
	if fall, want := first-step(0), rate*norm; !(math.Abs(fall-want) <= 0.1*want) || want == 0 {
		t.Errorf("the loss of %v falls by %v, want %v", first, fall, want)
	}
}
