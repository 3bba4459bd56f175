package collective_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/collective"
	"github.com/convae/convae/nn/collective/collectivetest"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
)

const samples = 21

// train does a few steps of a preset on a rank's devices, and returns the loss and the weights.
func train(t *testing.T, c nn.Config, o nn.TrainerOptions, dev backend.Device) (float64, [][]float32) {
	t.Helper()
	m, err := nn.New(c, 1)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	tr, err := nn.NewTrainer(m, dev, o)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer tr.Close()
	pixels := make([]byte, samples*m.Input.Len())
	for i := range pixels {
		pixels[i] = byte(i * i / 7)
	}
	if err := tr.SetSource(source(pixels), samples); err != nil {
		t.Error(err)
		return 0, nil
	}
	for range 2 {
		for at := 0; at < samples; at += o.Batch {
			tr.Step(at, min(o.Batch, samples-at), 0)
		}
	}
	loss, err := tr.Loss()
	if err == nil {
		err = tr.Pull()
	}
	if err != nil {
		t.Error(err)
	}
	var weights [][]float32
	for i := range m.Params {
		weights = append(weights, m.Params[i].Data)
	}
	return loss, weights
}

// source reads samples of equal size from memory.
type source []byte

func (s source) Read(dst []byte, _ int, order []int32) error {
	size := len(s) / samples
	if len(dst) != size*len(order) {
		return fmt.Errorf("%d bytes for %d samples", len(dst), len(order))
	}
	for i, n := range order {
		copy(dst[i*size:][:size], s[int(n)*size:])
	}
	return nil
}

// Ranks of one device or of two end with the weights of one process, bit for bit where slots are summed in order and nearly so where not: also with a
// norm over all of the gradient, with statistics of the whole batch, and with more ranks than chunks.
func TestRanksTrainAsOneProcess(t *testing.T) {
	config := func(preset string) nn.Config {
		c, err := trainer.Preset(preset)
		if err != nil {
			t.Fatal(err)
		}
		return c.Model
	}
	normalised := config("denoiser")
	for _, c := range []struct {
		name   string
		config nn.Config
		o      nn.TrainerOptions
		device string
		each   int // devices of a rank
		ranks  int
		fast   bool
	}{
		{"denoiser", normalised, nn.TrainerOptions{Batch: 8, Slots: 4, Noise: 0.2, Seed: 3}, "cpu", 1, 2, false},
		{"fast", normalised, nn.TrainerOptions{Batch: 8, Slots: 4, Noise: 0.2, Seed: 3}, "cpu", 1, 2, true},
		{"norm", normalised, nn.TrainerOptions{Batch: 8, Slots: 8, Clip: nn.Clip{Norm: 0.1}}, "cpu", 1, 4, false},
		{"idle", normalised, nn.TrainerOptions{Batch: 5, Slots: 2}, "cpu", 1, 3, false},
		{"devices", normalised, nn.TrainerOptions{Batch: 8, Slots: 4}, "cpu", 2, 2, false},
		{"statistics", config("resnet-ae"), nn.TrainerOptions{Batch: 4, Slots: 2}, "cpu", 1, 2, false},
		{"sim", normalised, nn.TrainerOptions{Batch: 4, Slots: 2}, "sim", 1, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "statistics" && testing.Short() {
				t.Skip("a large model")
			}
			open := func() backend.Device {
				var all []backend.Device
				for range c.each {
					d, _, err := device.Open(c.device)
					if err != nil {
						t.Error(err)
						return nil
					}
					all = append(all, d)
				}
				g, err := backend.NewGroup("group", all...)
				if err != nil {
					t.Error(err)
				}
				return g
			}
			dev := open()
			defer dev.Close()
			wantLoss, want := train(t, c.config, c.o, backend.Members(dev)[0])
			var all sync.WaitGroup
			for _, comm := range collectivetest.Ranks(c.ranks) {
				all.Go(func() {
					dev := open()
					defer dev.Close()
					o := c.o
					o.World = nn.World{First: comm.Rank() * c.each, Devices: c.ranks * c.each}
					o.Reducer = collective.NewOrdered(comm)
					if c.fast {
						o.Reducer = collective.NewFast(comm)
					}
					loss, got := train(t, c.config, o, dev)
					if c.fast {
						near(t, want, got)
						return
					}
					if loss != wantLoss {
						t.Errorf("rank %d: loss %v, want %v", comm.Rank(), loss, wantLoss)
					}
					for i := range want {
						if !slices.Equal(got[i], want[i]) {
							t.Errorf("rank %d: parameter %d is not that of one process", comm.Rank(), i)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// near compares weights after a few steps of a learning rate of 0.001.
func near(t *testing.T, want, got [][]float32) {
	for i := range want {
		for j, w := range want[i] {
			if d := math.Abs(float64(w - got[i][j])); !(d < 1e-4) {
				t.Fatalf("parameter %d, %d: %v, want %v", i, j, got[i][j], w)
			}
		}
	}
}
