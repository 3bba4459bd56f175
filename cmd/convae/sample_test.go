package main

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"convae/nn"
	"convae/trainer"
)

// saveRun writes a run's folder with a model of random weights.
func saveRun(t *testing.T, dir string, c trainer.Config) {
	t.Helper()
	makeRun(t, dir, 4)
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	m, err := nn.New(c.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(filepath.Join(dir, trainer.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	if err := trainer.SaveModel(filepath.Join(dir, trainer.ModelFile), m); err != nil {
		t.Fatal(err)
	}
}

func TestSample(t *testing.T) {
	t.Chdir(t.TempDir())
	vae := trainer.Config{Model: nn.Config{Name: "vae", Input: []int{9}, Encoder: nn.Spec(&nn.Dense{Units: 12}, &nn.Sampling{}),
		Decoder: nn.Spec(&nn.Dense{Units: 9, Activation: "sigmoid"})}}
	saveRun(t, "vae", vae)
	mustRun(t, sampleCommand(), "a.npy", "--model", "vae", "--count", "700")
	mustRun(t, sampleCommand(), "b.npy", "--model", "vae", "--count", "3", "--seed", "2")
	mustRun(t, sampleCommand(), "c.npy", "--model", "vae", "--count", "3")
	mustRun(t, sampleCommand(), "a.png", "--model", "vae")
	a, b, c := mustReadNPY(t, "a.npy"), mustReadNPY(t, "b.npy"), mustReadNPY(t, "c.npy")
	if !slices.Equal(a.Shape, []int{700, 9}) || !slices.Equal(a.Data[:27], c.Data) || slices.Equal(b.Data, c.Data) {
		t.Errorf("shapes %v, %v, %v; a seed does not decide its samples", a.Shape, b.Shape, c.Shape)
	}
	// Codes are standard normal: so their mean decodes to about a half.
	mean := 0.0
	for _, v := range a.Data {
		mean += float64(v) / float64(len(a.Data))
	}
	if math.Abs(mean-0.5) > 0.05 {
		t.Errorf("the mean sample is %v", mean)
	}
	makeRun(t, "plain", 9)
	wantError(t, "is not variational", sampleCommand(), "a.npy", "--model", "plain")
	wantError(t, "--count is 0, want 1 to", sampleCommand(), "a.npy", "--model", "vae", "--count", "0")
	wantError(t, "want a name that ends in .npy or .csv or .png", sampleCommand(), "a.txt", "--model", "vae")
	vae.Model.Decoder, vae.Model.Input = nn.Spec(&nn.Dense{Units: 8}), []int{8}
	saveRun(t, "vector", vae)
	wantError(t, "which is no image: want OUT.npy", sampleCommand(), "a.png", "--model", "vector")
}
