package nn

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/device"
)

// Whatever runs a model on a GPU runs its products in forms for its shapes, which are compiled before and never again: nothing of
// a shape changes from step to step.
func TestSpecialForms(t *testing.T) {
	special := map[string]bool{}
	for e := range kernels.Entry(kernels.Count) {
		special[e.Name()] = e.Specialised()
	}
	var loaded atomic.Int64
	loads := func() int { return int(loaded.Load()) }
	launches, general := 0, map[string]bool{}
	dev, err := device.OpenSim(ptxsim.Options{
		OnLoad: func(string) { loaded.Add(1) },
		BeforeLaunch: func(l *ptxsim.Launching) {
			if !special[l.Kernel] {
				return
			}
			launches++
			if strings.Count(l.PTX, "ld.param.u32") > 3 { // the number of samples, and of rows of a bias, and how a sum over them is split
				general[l.Kernel] = true
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m := mustModel(t, Denoiser())
	tr, err := NewTrainer(m, dev, TrainerOptions{Batch: 2, Loss: BCE, Noise: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.SetData(pixelsFor(m, 5), 5); err != nil {
		t.Fatal(err)
	}
	net := tr.Network()
	defer net.Close()
	x := make([]float32, 2*m.Input.Len())
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		run  func(i int)
	}{
		{"Step", func(i int) { tr.Step(2*(i%2), 2, uint32(i)) }},
		{"Step on fewer samples", func(int) { tr.Step(4, 1, 0) }},
		{"StepOn", func(int) { must(tr.StepOn(x, x, 2)) }},
		{"Profile", func(i int) { _, err := tr.Profile(2*(i%2), 2, 0, nil); must(err) }},
		{"Predict", func(int) { must(net.Predict(x, x, 2)) }},
		{"Encode", func(int) { must(net.Encode(make([]float32, 2*m.Code.Len()), x, 2)) }},
	} {
		launches = 0
		c.run(0)
		first := loads()
		for i := range 3 {
			tr.SetLearningRate(1e-3 / float64(i+1))
			c.run(i + 1)
		}
		must(tr.Wait())
		if loads() != first {
			t.Errorf("%s: %d kernels were loaded after the first time", c.name, loads()-first)
		}
		if launches == 0 || len(general) > 0 {
			t.Errorf("%s: of %d launches, these were of the general form: %v", c.name, launches, general)
		}
		clear(general)
	}
	if n, took := tr.Compiled(); n != loads() || took <= 0 {
		t.Errorf("%d kernels were compiled in %v, want the %d that were loaded", n, took, loads())
	}
}
