package sass_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/cuda/sass"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
)

// compiler returns a compiler, or skips the test without NVIDIA's assembler.
func compiler(t *testing.T) *sass.Compiler {
	t.Helper()
	c, err := sass.NewCompiler()
	if errors.Is(err, sass.ErrNoTools) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The machine code of every launch of a step gives the bits that the PTX gives, and spills no registers: for all presets with
// CONVAE_TEST_SASS=1, which takes some minutes, else not at all. The other targets are asked for the kernels of the denoiser.
func TestStepBits(t *testing.T) {
	if os.Getenv("CONVAE_TEST_SASS") == "" {
		t.Skip("set CONVAE_TEST_SASS=1 to compare the machine code of a step of each preset with its PTX")
	}
	c := compiler(t)
	for _, name := range trainer.Presets() {
		t.Run(name, func(t *testing.T) {
			loaded := stepBits(t, c, ptxsim.Options{}, preset(t, name, "float32"))
			if name == trainer.DefaultPreset {
				noSpills(t, loaded)
			}
		})
	}
	for _, precision := range []string{"tf32", "bf16"} {
		t.Run(precision, func(t *testing.T) { stepBits(t, c, ptxsim.Options{}, preset(t, trainer.DefaultPreset, precision)) })
		t.Run("warpgroups in "+precision, func(t *testing.T) {
			cfg, err := trainer.DecodeConfig(strings.NewReader(warpgroups + precision + "}"))
			if err != nil {
				t.Fatal(err)
			}
			loaded := stepBits(t, c, ptxsim.Options{Major: 9}, cfg)
			if !slices.ContainsFunc(loaded, func(ptx string) bool { return strings.Contains(ptx, "wgmma.mma_async") }) {
				t.Error("no product by warpgroups was run")
			}
		})
	}
	t.Run("resident", func(t *testing.T) {
		stepBits(t, c, ptxsim.Options{Major: 9}, preset(t, trainer.DefaultPreset, "tf32"))
	})
	if names, err := c.Spilling(); err != nil || len(names) > 0 {
		t.Errorf("kernels that spill on sm_90: %v (%v)", names, err)
	}
}

// noSpills asks that kernels spill no registers on the targets whose machine code is not executed.
func noSpills(t *testing.T, loaded []string) {
	tools, err := sass.FindTools()
	if err != nil {
		t.Fatal(err)
	}
	for _, ptx := range loaded {
		_, least, _ := strings.Cut(ptx, ".target ")
		least, _, _ = strings.Cut(least, "\n")
		for _, target := range []string{"sm_75", "sm_80"} {
			if target < least { // which cannot run it
				continue
			}
			if n, err := tools.Spills(ptx, target); err != nil || n > 0 {
				_, entry, _ := strings.Cut(ptx, ".entry ")
				name, _, _ := strings.Cut(entry, "(")
				t.Errorf("%s spills %d bytes on %s (%v)", name, n, target, err)
			}
		}
	}
}

// warpgroups is a model whose layers take the kernels of compute capability 9.0 alone.
const warpgroups = `
model:
  name: warpgroups
  input: [16, 16, 16]
  encoder:
    - conv2d: {filters: 80, kernel: 3, activation: relu}
    - maxpool2d: {size: 2}
    - conv2d: {filters: 48, kernel: 3, activation: relu}
  decoder:
    - upsampling2d: {size: 2}
    - conv2d: {filters: 48, kernel: 3, activation: tanh}
    - conv2d: {filters: 16, kernel: 1}
data: {name: digits}
training: {epochs: 1, batch: 2, loss: mse, precision: `

// stepBits compares the launches of a step of a model on a device with some options, and returns the PTX that was loaded.
func stepBits(t *testing.T, c *sass.Compiler, options ptxsim.Options, cfg trainer.Config) (loaded []string) {
	w := &sass.Watch{Compiler: c}
	var mu sync.Mutex
	options.BeforeLaunch, options.OnLaunch, options.OnLoad = w.Before, w.After, func(ptx string) {
		c.Loaded(ptx)
		mu.Lock()
		defer mu.Unlock()
		loaded = append(loaded, ptx)
	}
	dev, err := device.OpenSim(options)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m, err := nn.New(cfg.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	const batch = 2
	cfg.Training.Batch, cfg.Training.Accumulate = batch, 0
	o, err := cfg.Training.Options(batch) // with the preset's noise, penalties and clipping
	if err != nil {
		t.Fatal(err)
	}
	tr, err := nn.NewTrainer(m, dev, o)
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
	w.Active = true
	_, err = tr.Profile(0, batch, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Err(); err != nil {
		t.Fatal(err)
	}
	if n := w.Launches(); n < 2 { // the whole step, and the optimiser
		t.Errorf("%d launches were compared, want at least 2", n)
	}
	return loaded
}

// preset is the configuration of a preset in a precision.
func preset(t *testing.T, name, precision string) trainer.Config {
	t.Helper()
	var changes []trainer.Change
	switch name {
	case "kl-small", "super-resolution": // on smaller pictures, which they take too
		changes = append(changes, trainer.Set("model.input=[8, 8, 3]"))
	case "kl-f8":
		t.Skip("83 million parameters; kl-small has the same layers")
	case "unet-denoiser", "resnet-ae", "inpainting":
		t.Skip("has the ops of super-resolution")
	case "anomaly", "dense32", "sparse-l1", "circle-scaled":
		t.Skip("has the ops of sparse-kl and circle")
	}
	cfg, err := trainer.Preset(name, changes...)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Training.Precision = precision
	return cfg
}
