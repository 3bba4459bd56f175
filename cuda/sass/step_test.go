package sass_test

import (
	"errors"
	"os"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/cuda/sass"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
)

// watch returns a Watch, or skips the test without NVIDIA's assembler.
func watch(t *testing.T) *sass.Watch {
	t.Helper()
	w, err := sass.NewWatch()
	if errors.Is(err, sass.ErrNoTools) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The machine code of every launch of a step gives the bits that the PTX gives: for all presets with CONVAE_TEST_SASS=1, which takes a
// minute or two, else not at all.
func TestStepBits(t *testing.T) {
	if os.Getenv("CONVAE_TEST_SASS") == "" {
		t.Skip("set CONVAE_TEST_SASS=1 to compare the machine code of a step of each preset with its PTX")
	}
	w := watch(t)
	for _, name := range trainer.Presets() {
		t.Run(name, func(t *testing.T) { stepBits(t, w, name) })
	}
}

func stepBits(t *testing.T, w *sass.Watch, preset string) {
	dev, err := device.OpenSim(ptxsim.Options{BeforeLaunch: w.Before, OnLaunch: w.After})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	cfg, err := trainer.Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nn.New(cfg.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	const batch = 2
	tr, err := nn.NewTrainer(m, dev, nn.TrainerOptions{Batch: batch, Loss: nn.MSE})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	pixels := make([]byte, batch*m.Input.Len())
	for i := range pixels {
		pixels[i] = byte(uint32(i) * 2654435761 >> 24)
	}
	if err := tr.SetData(pixels, batch); err != nil {
		t.Fatal(err)
	}
	before := w.Launches()
	w.Active = true
	_, err = tr.Profile(0, batch, 0, nil)
	w.Active = false
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Err(); err != nil {
		t.Fatal(err)
	}
	if n := w.Launches() - before; n < 5 {
		t.Errorf("%d launches were compared, want at least 5", n)
	}
}
