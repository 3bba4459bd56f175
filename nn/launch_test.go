package nn

import (
	"testing"

	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// On a GPU an update is one launch an optimiser, and a norm two, whatever the number of parameters.
// Neither the step parameters nor the sum of the losses take a launch of their own.
func TestLaunchesOfAStep(t *testing.T) {
	dense := func(units int, act string) graph.Layer { return &layer.Dense{Units: units, Activation: act} }
	for _, c := range []struct {
		config Config
		o      TrainerOptions
		most   int
	}{
		{Config{Name: "wide", Input: []int{784}, Encoder: graph.Specs(dense(2048, "relu"), dense(32, "relu")), Decoder: graph.Specs(dense(2048, "relu"), dense(784, "sigmoid"))},
			TrainerOptions{Batch: 128, Clip: Clip{Norm: 1}}, 18},
		{Denoiser(), TrainerOptions{Batch: 128, Noise: 0.5}, 20},
	} {
		f := driver.NewFake(driver.Info{Name: "fake", Major: 9, Minor: 0, SMs: 132, Memory: 80 << 30})
		dev, err := cuda.Open(f, 0, "fake")
		if err != nil {
			t.Fatal(err)
		}
		m := mustModel(t, c.config)
		tr, err := NewTrainer(m, dev, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.SetData(pixelsFor(m, 128), 128); err != nil {
			t.Fatal(err)
		}
		f.Launches()
		tr.Step(0, 128, 0)
		kernels := map[string]int{}
		n := 0
		for _, l := range f.Launches() {
			kernels[l.Name]++
			n++
		}
		if n == 0 || n > c.most {
			t.Errorf("%s: %d launches a step, want at most %d: %v", c.config.Name, n, c.most, kernels)
		}
		t.Logf("%s: %d launches: %v", c.config.Name, n, kernels)
		tr.Close()
		dev.Close()
	}
}
