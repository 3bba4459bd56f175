package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/safetensors"
)

// goldenTraining is the file of a recorded training of the denoiser; testdata/golden/README.md tells what is in it.
const goldenTraining = "denoiser.safetensors"

// hasTraining says whether there is a golden training in a folder.
func hasTraining(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, goldenTraining))
	return !errors.Is(err, os.ErrNotExist)
}

// trainGolden does the steps of the golden training in folder dir.
func trainGolden(ctx context.Context, dev backend.Device, against *compared, dir string) Training {
	g, err := readGolden(filepath.Join(dir, goldenTraining))
	if err != nil {
		return Training{Reference: goldenTraining, Error: err.Error()}
	}
	return compareTraining(Training{Reference: goldenTraining, Steps: len(g.want.losses), Batch: g.batch},
		func() (outcome, error) { return g.run(ctx, dev, against) },
		func() (outcome, error) { return g.want, nil })
}

// golden is a recorded training: the weights and batches that it starts with and what it comes to.
type golden struct {
	model        *nn.Model
	batch        int
	optimizer    nn.Optimizer
	noisy, clean []float32
	want         outcome
}

// readGolden reads a recorded training.
func readGolden(path string) (*golden, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g := &golden{}
	if g.model, err = nn.New(nn.Denoiser(), 1); err != nil {
		return nil, err
	}
	floats := func(name string, length int) (v []float32) { // of any length when that is 0; the first error stays
		if err != nil {
			return nil
		}
		if t, ok := f.Tensor(name); !ok {
			err = fmt.Errorf("%s: there is no tensor %q", path, name)
		} else if v, err = t.Float32s(); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		} else if length > 0 && len(v) != length {
			err = fmt.Errorf("%s: tensor %q has %d elements, want %d", path, name, len(v), length)
		}
		return v
	}
	o, factor := &g.optimizer, float32(0)
	o.Name = "adam"
	var beta1, beta2 float64
	for _, m := range []struct {
		key, format string
		into        []any
	}{
		{"batch", "%d", []any{&g.batch}},
		{"noise_factor", "%g", []any{&factor}},
		{"optimizer", "adam lr %g beta %g %g eps %g", []any{&o.LearningRate, &beta1, &beta2, &o.Epsilon}},
	} {
		if _, err := fmt.Sscanf(f.Metadata[m.key], m.format, m.into...); err != nil {
			return nil, fmt.Errorf("%s: metadata %s is %q, want the form %q", path, m.key, f.Metadata[m.key], m.format)
		}
	}
	o.Beta1, o.Beta2 = nn.Given(beta1), nn.Given(beta2)
	for i := range g.model.Params {
		p := &g.model.Params[i]
		name := fmt.Sprintf("conv%d.%s", i/2, [...]string{"weight", "bias"}[i%2])
		copy(p.Data, floats("init/"+name, len(p.Data)))
		g.want.weights = appendFloats(g.want.weights, floats("final/"+name, len(p.Data)))
	}
	losses := floats("losses", 0)
	g.want.losses = appendFloats(nil, losses)
	n := len(losses) * g.batch * g.model.Input.Len()
	noise := floats("noise", n)
	if err != nil {
		return nil, err
	}
	clean, ok := f.Tensor("clean_u8")
	if n == 0 || !ok || len(clean.Data) != n {
		return nil, fmt.Errorf("%s: there is no tensor clean_u8 of %d steps of batch %d", path, len(losses), g.batch)
	}
	g.clean, g.noisy = make([]float32, n), make([]float32, n)
	for i, p := range clean.Data {
		g.clean[i] = float32(p) / 255
		g.noisy[i] = min(max(g.clean[i]+factor*noise[i], 0), 1)
	}
	return g, nil
}

// run does the steps on a device. Each op is compared, if against is not nil.
func (g *golden) run(ctx context.Context, dev backend.Device, against *compared) (outcome, error) {
	t, err := nn.NewTrainer(g.model, dev, nn.TrainerOptions{Batch: g.batch, Loss: nn.BCE, Optimizer: g.optimizer})
	if err != nil {
		return outcome{}, err
	}
	defer t.Close()
	size := g.batch * g.model.Input.Len()
	return follow(ctx, g.model, t, len(g.want.losses), func(i int) error {
		return against.stepOn(t, g.noisy[i*size:][:size], g.clean[i*size:][:size], g.batch)
	})
}
