package nn

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
)

// openGPU opens a simulated GPU; a build with the driver makes it go through the real bindings.
var openGPU = func() (backend.Device, error) { return device.OpenSim(ptxsim.Options{}) }

func openSim(t testing.TB) backend.Device {
	t.Helper()
	dev, err := openGPU()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// The shipped GPU code trains the denoiser as the CPU does: noise drawn on the device, recorded steps, a partial batch.
func TestSimTrainsAsCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the simulator takes some ten seconds")
	}
	t.Parallel()
	const samples, epochs = 18, 4 // batches of 4, 4, 4, 4 and 2: 20 steps
	o := TrainerOptions{Batch: 4, Loss: BCE, Noise: 0.5, Seed: 2}
	want := train(t, mustModel(t, Denoiser()), openTest(t), o, samples, epochs)
	got := train(t, mustModel(t, Denoiser()), openSim(t), o, samples, epochs)
	for i := range got {
		within(t, fmt.Sprintf("parameter %d", i), got[i], want[i], backend.Bound{Abs: 1e-4})
	}
}

// Every model of the zoo, fused and not, has the same gradients on the simulated GPU as on the CPU.
func TestSimGradientsAsCPU(t *testing.T) {
	t.Parallel()
	for _, c := range zoo() {
		for _, unfused := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/unfused=%v", c.Name, unfused), func(t *testing.T) {
				var grads [2][]float32
				for i, dev := range []backend.Device{openTest(t), openSim(t)} {
					m := mustModel(t, c)
					tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 6, Noise: 0.2, Seed: 4, Unfused: unfused, Optimizer: Optimizer{Name: "sgd"}})
					if err != nil {
						t.Fatal(err)
					}
					defer tr.Close()
					if err := tr.SetData(pixelsFor(m, 6), 6); err != nil {
						t.Fatal(err)
					}
					tr.Step(0, 6, 0)
					for k, g := range gradients(tr) {
						if g.IsZero() {
							continue // of what is not trained
						}
						v := make([]float32, m.Params[k].Shape.Len())
						if err := tr.first().mem.b.Download(v, g); err != nil {
							t.Fatal(err)
						}
						grads[i] = append(grads[i], v...)
					}
				}
				within(t, "gradients", grads[1], grads[0], backend.Bound{Abs: 1e-6, Rel: 1e-4})
			})
		}
	}
}

// On a device whose kernels wait for the launch before them by themselves, training gives the same bits.
func TestSimTrainsWithWaits(t *testing.T) {
	t.Parallel()
	o := TrainerOptions{Batch: 2, Loss: BCE, Noise: 0.5, Seed: 2}
	var results [2][][]float32
	for i, major := range []int{8, 9} {
		var waits atomic.Int64 // modules are loaded in parallel
		dev, err := device.OpenSim(ptxsim.Options{Major: major, OnLoad: func(ptx string) {
			waits.Add(int64(strings.Count(ptx, "griddepcontrol.wait;")))
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		results[i] = train(t, mustModel(t, Denoiser()), dev, o, 3, 2)
		if (waits.Load() > 0) != (major == 9) {
			t.Errorf("compute capability %d.0: %d kernels wait", major, waits.Load())
		}
	}
	for i, got := range results[1] {
		within(t, fmt.Sprintf("parameter %d", i), got, results[0][i], backend.Bound{})
	}
}
