package main

import (
	"context"
	"fmt"
	"math"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// residentStem is the source of the kernel that does a whole step, which few cases of the table take, and no noise, no small differences.
const residentStem = "resident.sm_80"

// residentTrials are models that take it, with a batch and how far their weights may be from the CPU's after a step, as a share of the change:
// of factors that are rounded in the same places by what sums in another order change of a few of them, else by twice the rounding of a factor for
// each upsampled layer.
func residentTrials() []residentTrial {
	conv := func(filters, h, w int, act string) graph.Layer {
		return &layer.Conv2D{Filters: filters, Kernel: layer.Size{H: h, W: w}, Activation: act}
	}
	up, pool := &layer.UpSampling2D{Size: 2}, &layer.MaxPool2D{Size: 2}
	return []residentTrial{
		{nn.Config{Name: "odd", Input: []int{9, 7, 1}, Encoder: graph.Specs(conv(8, 5, 3, "relu")), Decoder: graph.Specs(conv(40, 3, 3, "relu"), conv(1, 3, 3, "sigmoid"))}, 250, 1e-4},
		{nn.Config{Name: "pooled", Input: []int{12, 10, 2}, Encoder: graph.Specs(conv(16, 3, 3, "relu"), pool, conv(8, 3, 3, "")),
			Decoder: graph.Specs(up, conv(32, 3, 3, ""), conv(2, 2, 2, "sigmoid"))}, 2, 1. / 512},
		{nn.Config{Name: "deep", Input: []int{8, 16, 1}, Encoder: graph.Specs(conv(8, 3, 3, ""), pool, conv(8, 3, 3, ""), pool),
			Decoder: graph.Specs(conv(8, 3, 3, ""), up, conv(8, 3, 3, ""), up, conv(1, 3, 3, "sigmoid"))}, 2, 1. / 256},
	}
}

type residentTrial struct {
	nn.Config
	batch int
	bound float64
}

// residentSteps compares a step of each trial with the CPU's.
func residentSteps(_ context.Context, s swapped, _ mutant) (how string, err error) {
	return beside(s, func(d *cuda.Device, reference *cpu.Device) (string, error) { return residentFailure(d, reference) })
}

func residentFailure(d, reference backend.Device) (how string, err error) {
	for _, t := range residentTrials() {
		want, err := t.step(reference)
		if err != nil {
			return "", err
		}
		got, err := t.step(d)
		if err != nil {
			return err.Error(), nil
		}
		for i := range want {
			if far := apart(got[i], want[i]); !(far <= t.bound) {
				return fmt.Sprintf("a step of %s: change %d of its parameters is %.3g apart, want at most %.3g", t.Name, i, far, t.bound), nil
			}
		}
	}
	return "", nil
}

// step returns how a step changes each parameter.
func (t *residentTrial) step(dev backend.Device) (changes [][]float32, err error) {
	m, err := nn.New(t.Config, 1)
	if err != nil {
		return nil, err
	}
	o := nn.TrainerOptions{Batch: t.batch, Noise: 0.25, Seed: 2, Precision: backend.Precision{Multiply: backend.TF32}, Optimizer: nn.Optimizer{Name: "sgd", LearningRate: 1}}
	tr, err := nn.NewTrainer(m, dev, o)
	if err != nil {
		return nil, err
	}
	defer tr.Close()
	pixels := make([]byte, t.batch*m.Input.Len())
	for i := range pixels {
		pixels[i] = byte(uint32(i) * 2654435761 >> 24)
	}
	if err := tr.SetData(pixels, t.batch); err != nil {
		return nil, err
	}
	for _, p := range m.Params {
		changes = append(changes, append([]float32(nil), p.Data...))
	}
	tr.Step(0, t.batch, 1)
	if err := tr.Pull(); err != nil {
		return nil, err
	}
	for i, p := range m.Params {
		for k := range p.Data {
			changes[i][k] = p.Data[k] - changes[i][k]
		}
	}
	return changes, nil
}

// apart is how far a is from b, as a share of b.
func apart(a, b []float32) float64 {
	var d, all float64
	for i := range a {
		e := float64(a[i]) - float64(b[i])
		d, all = d+e*e, all+float64(b[i])*float64(b[i])
	}
	return math.Sqrt(d / all)
}
