// Package convae_test benchmarks the main job: the MNIST convolutional denoiser.
//
//	go test -run '^$' -bench . -benchtime 3s .
package convae_test

import (
	"fmt"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer/dataset"
)

func open(b *testing.B) (*nn.Model, backend.Device) {
	b.Helper()
	m, err := nn.New(nn.Denoiser(), 1)
	if err != nil {
		b.Fatal(err)
	}
	dev, _, err := device.Open("auto")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { dev.Close() })
	return m, dev
}

// BenchmarkDenoiserTrain is a training step at batch 128: gather, noise, forward, backward, Adam.
func BenchmarkDenoiserTrain(b *testing.B) {
	const batch, batches = 128, 4
	m, dev := open(b)
	t, err := nn.NewTrainer(m, dev, nn.TrainerOptions{Batch: batch, Loss: nn.BCE, Noise: 0.5, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	set := dataset.Digits(batch*batches, 1)
	if err := t.SetData(set.Pixels, set.Len()); err != nil {
		b.Fatal(err)
	}
	t.Step(0, batch, 0)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		t.Step(i%batches*batch, batch, 0)
		i++
	}
	if _, err := t.Loss(); err != nil { // waits for the device
		b.Fatal(err)
	}
	b.ReportMetric(float64(i*batch)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkDenoiserTrainSim is a training step at batch 8 on the simulated GPU, with all of its checks.
func BenchmarkDenoiserTrainSim(b *testing.B) {
	const batch = 8
	dev, _, err := device.Open("sim")
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	m, err := nn.New(nn.Denoiser(), 1)
	if err != nil {
		b.Fatal(err)
	}
	t, err := nn.NewTrainer(m, dev, nn.TrainerOptions{Batch: batch, Loss: nn.BCE, Noise: 0.5, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	if err := t.SetData(dataset.Digits(batch, 1).Pixels, batch); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		t.Step(0, batch, 0)
	}
	if _, err := t.Loss(); err != nil { // waits for the device
		b.Fatal(err)
	}
}

// BenchmarkDenoiserPredict is inference.
func BenchmarkDenoiserPredict(b *testing.B) {
	for _, n := range []int{1, 128, 1024} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			m, dev := open(b)
			net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer net.Close()
			x, y := make([]float32, n*m.Input.Len()), make([]float32, n*m.Output.Len())
			for i, p := range dataset.Digits(n, 1).Pixels {
				x[i] = float32(p) / 255
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := net.Predict(y, x, n); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(i*n)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
