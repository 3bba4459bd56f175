package trainer

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// variationalConfig is a small variational model of the digits.
func variationalConfig() Config {
	c := smallConfig()
	c.Model = nn.Config{Name: "small vae", Input: []int{28, 28, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Stride: 2, Activation: "relu"}, &layer.Flatten{}, &layer.Dense{Units: 8}, &layer.Sampling{}),
		Decoder: graph.Specs(&layer.Dense{Units: 32, Activation: "relu"}, &layer.Dense{Units: 784, Activation: "sigmoid"})}
	c.Training.Noise, c.Training.Epochs, c.Training.Optimizer.LearningRate = Noise{}, 6, 0.003
	c.Training.Divergence.Warmup = 2
	return c
}

func TestVariationalRun(t *testing.T) {
	root := t.TempDir()
	c := variationalConfig()
	whole, cut := filepath.Join(root, "whole"), filepath.Join(root, "cut")
	r, err := Train(t.Context(), c, smallOptions(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	first, last := r.History[0], r.History[len(r.History)-1]
	e := r.Final.Drawn
	if last.ValLoss >= first.ValLoss || last.Loss >= first.Loss || last.ValKL <= 0 {
		t.Errorf("history from %+v to %+v", first, last)
	}
	if math.Abs(e.ELBO+e.BCE+e.Divergence) > 1e-9 || math.Abs(last.ValLoss+e.ELBO) > 1e-9 || last.ValKL != e.Divergence {
		t.Errorf("evidence %+v, last epoch %+v", e, last)
	}
	// Drawn codes reconstruct about as well as their means.
	if mean := 784 * r.Final.Output.BCE; e.BCE == mean || math.Abs(e.BCE-mean) > 0.1*mean {
		t.Errorf("reconstruction %v of drawn codes, %v of their means", e.BCE, mean)
	}
	back, err := ReadConfig(filepath.Join(whole, ConfigFile))
	if err != nil || back.Training.Reduction != "sample" || back.Training.Divergence != (nn.Divergence{Beta: nn.Given(1), Warmup: 2}) {
		t.Errorf("the configuration came back as %+v, %v", back.Training, err)
	}
	o := smallOptions(t, cut)
	if _, err := Train(&countdown{Context: t.Context(), left: 6}, c, o); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := Train(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, cut)
}

func TestVariationalErrors(t *testing.T) {
	_, err := DecodeConfig(strings.NewReader(goodConfig + "  divergence: {beta: 2}\n"))
	if err == nil || !strings.Contains(err.Error(), `training.divergence: the encoder of model "m" does not end in sampling`) {
		t.Errorf("error %v", err)
	}
	vae := strings.Replace(goodConfig, "filters: 2, kernel: 3}", "filters: 2, kernel: 3}\n    - sampling: {}", 1)
	if _, err := DecodeConfig(strings.NewReader(vae + "  divergence: {beta: -2}\n")); err == nil || !strings.Contains(err.Error(), "training.divergence: beta is -2") {
		t.Errorf("error %v", err)
	}
	if c, err := DecodeConfig(strings.NewReader(vae)); err != nil || c.Training.Reduction != "sample" || c.Training.Divergence.Beta != nn.Given(1) {
		t.Errorf("%+v, %v", c.Training, err)
	}
}
