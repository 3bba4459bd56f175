package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// After a step of gradient descent at a learning rate of 1, weights are what they were less the gradient: on the CPU, on a GPU that does the step op by op
// or at once in its processors' memory, on devices of a group, with a clipped norm, of which the norm before is told, and with slots.
func TestInspect(t *testing.T) {
	t.Parallel()
	resident, kernels := openNewSim(t)
	group := func(open func() backend.Device) backend.Device {
		g, err := backend.NewGroup("group", open(), open())
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	plain := TrainerOptions{Batch: 4, Noise: 0.2, Seed: 3}
	slots, clipped, averaged, at := plain, plain, plain, plain
	slots.Slots, clipped.Clip.Norm, averaged.Decay, at.Precision = 2, 1e-3, 0.9, tf32
	for _, c := range []struct {
		name string
		dev  backend.Device
		o    TrainerOptions
	}{
		{"cpu", openTest(t), plain},
		{"slots", openTest(t), slots},
		{"clipped", openTest(t), clipped},
		{"averaged", openTest(t), averaged},
		{"sim", openSim(t), plain},
		{"resident", resident, at},
		{"cpus", group(func() backend.Device { return openLanes(t, 1) }), slots},
		{"sims", group(func() backend.Device { return openSim(t) }), slots},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustModel(t, residentModels()[0])
			c.o.Optimizer = Optimizer{Name: "sgd", LearningRate: 1}
			tr, err := NewTrainer(m, c.dev, c.o)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if err := tr.SetData(pixelsFor(m, 8), 8); err != nil {
				t.Fatal(err)
			}
			look := func() (values, gradients [][]float32, norm float64) {
				norm, err := tr.Inspect(func(p *Param, v, g []float32) {
					values, gradients = append(values, slices.Clone(v)), append(gradients, slices.Clone(g))
				})
				if err != nil {
					t.Fatal(err)
				}
				return values, gradients, norm
			}
			before, none, norm := look()
			if none[0] != nil || !math.IsNaN(norm) {
				t.Errorf("before the first step there is a gradient, of norm %v", norm)
			}
			for offset := range 2 { // the second replays what the first recorded
				tr.Step(4*offset, 4, 0)
				after, gradients, norm := look()
				squares := 0.0
				for i := range after {
					for k, g := range gradients[i] {
						squares += float64(g) * float64(g)
						if want := before[i][k] - g; after[i][k] != want {
							t.Fatalf("value %d of %s is %v, want %v", k, m.Params[i].Name, after[i][k], want)
						}
					}
				}
				of := math.Sqrt(squares)
				if limit := c.o.Clip.Norm; limit > 0 {
					// The squares of the stretches, and the quotient that clips, are float32s.
					if math.Abs(of-limit) > 1e-5*limit || norm < 10*limit {
						t.Errorf("the norm is %v, clipped from %v to at most %v", of, norm, limit)
					}
				} else if norm != of || norm == 0 {
					t.Errorf("the norm is %v, that of the gradients %v", norm, of)
				}
				before = after
			}
			if c.name == "resident" && !slices.Contains(kernels(), "resident_step") {
				t.Error("the step is not done in the memory of processors")
			}
			if tr.Average(true); c.o.Decay > 0 {
				if _, g, norm := look(); g[0] != nil || !math.IsNaN(norm) {
					t.Error("averages have taken the gradient's place, and there is a gradient")
				}
			}
		})
	}
}
