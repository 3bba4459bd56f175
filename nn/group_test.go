package nn

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// A group of devices ends with the weights of a single one, bit for bit where the batch is cut into the same slots: also with
// fewer chunks than devices, with a loss that needs the mean code of the batch, a norm over all of the gradient, a data set
// that is streamed, and samples that are fed.
func TestGroupTrainsAsOneDevice(t *testing.T) {
	group := func(name string, n int, open func() backend.Device) backend.Device {
		var all []backend.Device
		for range n {
			all = append(all, open())
		}
		g, err := backend.NewGroup(name, all...)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	onCPU := func() backend.Device { return openLanes(t, 1) }
	onSim := func() backend.Device { return openSim(t) }
	sparse := TrainerOptions{Batch: 12, Slots: 4, Activity: ActivityRegularizer{KL: 0.5, Rho: 0.1}, Noise: 0.1, Seed: 2}
	for _, c := range []struct {
		name    string
		config  Config
		o       TrainerOptions
		open    func() backend.Device
		members int
	}{
		{"denoiser", zoo()[0], TrainerOptions{Batch: 8, Slots: 4, Noise: 0.2, Seed: 3, Optimizer: Optimizer{Name: "adam"}}, onCPU, 2},
		{"skips", skips(), TrainerOptions{Batch: 8, Slots: 5, Clip: Clip{Norm: 0.1}, Kernel: Regularizer{L2: 0.01}}, onCPU, 3},
		{"sparse", coder(), sparse, onCPU, 2},
		{"idle", zoo()[3], TrainerOptions{Batch: 2, Slots: 2, Optimizer: Optimizer{Name: "sgd", Momentum: 0.9}}, onCPU, 3},
		{"gpu", zoo()[0], TrainerOptions{Batch: 6, Slots: 2, Noise: 0.2, Seed: 3}, onSim, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var weights [2][][]float32
			var losses [2]float64
			for i, dev := range []backend.Device{c.open(), group("group", c.members, c.open)} {
				m := mustModel(t, c.config)
				tr, err := NewTrainer(m, dev, c.o)
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				if err := tr.SetData(pixelsFor(m, 15), 15); err != nil {
					t.Fatal(err)
				}
				trainEpochs(tr, 15, 2)
				if err := tr.StepOn(make([]float32, 2*m.Input.Len()), make([]float32, 2*m.Input.Len()), 2); err != nil {
					t.Fatal(err)
				}
				if losses[i], err = tr.Loss(); err != nil {
					t.Fatal(err)
				}
				for _, r := range tr.replicas { // all end with the same weights
					for k := range m.Params {
						v := make([]float32, m.Params[k].Shape.Len())
						if err := r.mem.b.Download(v, r.weights[k]); err != nil {
							t.Fatal(err)
						}
						if r.index == 0 {
							weights[i] = append(weights[i], v)
						} else if !slices.Equal(v, weights[i][k]) {
							t.Errorf("parameter %d of device %d differs from the first's", k, r.index)
						}
					}
				}
			}
			if losses[0] != losses[1] {
				t.Errorf("loss %v on one device, %v on a group", losses[0], losses[1])
			}
			for k := range weights[0] {
				if !slices.Equal(weights[0][k], weights[1][k]) {
					t.Errorf("parameter %d differs between one device and a group", k)
				}
			}
		})
	}
}

// lossy is a reducer that fails.
type lossy struct{}

func (lossy) Reduce([]Contribution) error { return fmt.Errorf("a cable is unplugged") }

func TestGroupReductionFails(t *testing.T) {
	g, err := backend.NewGroup("group", openLanes(t, 1), openLanes(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	m := mustModel(t, zoo()[0])
	tr, err := NewTrainer(m, g, TrainerOptions{Batch: 4, Slots: 2, Reducer: lossy{}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, 4), 4); err != nil {
		t.Fatal(err)
	}
	tr.Step(0, 4, 0)
	if _, err := tr.Loss(); err == nil || !strings.Contains(err.Error(), "the gradients of 2 devices could not be summed: a cable is unplugged") {
		t.Errorf("error %v", err)
	}
}

func TestGroupOfUnlikeDevices(t *testing.T) {
	if _, err := backend.NewGroup("mixed", openLanes(t, 1), openLanes(t, 2)); err == nil || !strings.Contains(err.Error(), "a group is of devices of one kind") {
		t.Errorf("error %v", err)
	}
	if _, err := backend.NewGroup("none"); err == nil {
		t.Error("an empty group")
	}
}
