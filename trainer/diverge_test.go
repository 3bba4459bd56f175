package trainer

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
)

// finiteRun reports files of a run with values that are not finite, and returns how many files with weights there are.
func finiteRun(t *testing.T, dir string) (files int) {
	t.Helper()
	for _, pattern := range []string{"*.safetensors", filepath.Join(checkpointDir, "*.safetensors")} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			f, err := safetensors.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if text, found := notFinite(f.Tensors); found {
				t.Errorf("%s: %s", path, text)
			}
			files++
		}
	}
	return files
}

// divergent trains well for some epochs, until its learning rate has become too high.
func divergent() Config {
	c := smallConfig()
	c.Model = nn.Config{Name: "linear", Input: []int{784}, Encoder: graph.Specs(&layer.Dense{Units: 16}), Decoder: graph.Specs(&layer.Dense{Units: 784})}
	c.Training.Loss, c.Training.Epochs = nn.MSE, 30
	c.Training.Optimizer = nn.Optimizer{Name: "sgd", LearningRate: 150}
	c.Training.Schedule = nn.Schedule{Warmup: 30}
	return c
}

// A run that diverges ends within a checkpoint interval, names step, layer and tensor, keeps only what is finite, and goes
// on from there with the command that it names.
func TestDivergence(t *testing.T) {
	for _, every := range []int{0, 1} {
		dir := filepath.Join(t.TempDir(), "run")
		c := divergent()
		c.Training.Checkpoint, c.Training.KeepBest = every, true
		o := smallOptions(t, dir)
		_, err := Train(t.Context(), c, o)
		var d *DivergedError
		if !errors.As(err, &d) {
			t.Fatalf("error %v", err)
		}
		if d.Step < 5 || d.Epoch != (d.Step-1)/4+1 || d.Fault == (nn.Fault{}) || d.From < 4 || d.From >= d.Step {
			t.Errorf("%+v", d)
		}
		if text := err.Error(); !strings.Contains(text, d.Fault.String()) || !strings.Contains(text, "convae train --resume "+dir+" --learning-rate 1`") {
			t.Errorf("error %s", text)
		}
		if files := finiteRun(t, dir); files < 2 {
			t.Errorf("%d files with weights", files)
		}
		o.Resume = true
		c.Training.Epochs, c.Training.Optimizer.LearningRate = d.Epoch+1, 0.15
		r, err := Train(t.Context(), c, o)
		if err != nil || len(r.History) != d.Epoch+1 {
			t.Fatalf("the run that went on: %+v, %v", r.History, err)
		}
		if e := r.History[d.From/4]; !strings.Contains(e.Changes, "training.optimizer.learning_rate: 150 -> 0.15") || !(e.ValLoss < 0.2) {
			t.Errorf("its first epoch: %+v", e)
		}
	}
}

// A run that diverges at once goes on from its first weights.
func TestDivergenceInFirstStep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := smallConfig()
	c.Training.Optimizer = nn.Optimizer{Name: "sgd", LearningRate: 1e30}
	o := smallOptions(t, dir)
	_, err := Train(t.Context(), c, o)
	var d *DivergedError
	if !errors.As(err, &d) || d.From != 0 || d.Step < 1 || d.Step > 3 || d.Fault == (nn.Fault{}) {
		t.Fatalf("error %v", err)
	}
	finiteRun(t, dir)
	o.Resume = true
	c.Training.Optimizer.LearningRate = 0.01
	if r, err := Train(t.Context(), c, o); err != nil || len(r.History) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// An interrupt after a run has diverged saves nothing that is not finite.
func TestDivergenceInterrupted(t *testing.T) {
	for steps := 1; steps < 4; steps++ {
		dir := filepath.Join(t.TempDir(), "run")
		c := smallConfig()
		c.Training.Optimizer = nn.Optimizer{Name: "sgd", LearningRate: 1e30}
		r, err := Train(&countdown{Context: t.Context(), left: steps}, c, smallOptions(t, dir))
		var d *DivergedError
		if !errors.As(err, &d) && !(err == nil && r.Interrupted) {
			t.Errorf("after %d steps: %v", steps, err)
		}
		finiteRun(t, dir)
	}
}

// Training losses that are finite do not hide a validation loss that is not.
func TestDivergenceOfValidation(t *testing.T) {
	o := pointsOptions(t, filepath.Join(t.TempDir(), "run"))
	test := *o.Test
	test.Values = append([]float32{float32(math.Inf(1)), 0}, test.Values[2:]...)
	o.Test = &test
	_, err := Train(context.Background(), pointsConfig(), o)
	var d *DivergedError
	if !errors.As(err, &d) || d.Fault != (nn.Fault{}) || !strings.Contains(err.Error(), "the loss or the validation loss is not finite") {
		t.Errorf("error %v", err)
	}
}
