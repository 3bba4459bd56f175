package main

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
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
	vae := trainer.Config{Model: nn.Config{Name: "vae", Input: []int{9}, Encoder: graph.Specs(&layer.Dense{Units: 12}, &layer.Sampling{}),
		Decoder: graph.Specs(&layer.Dense{Units: 9, Activation: "sigmoid"})}}
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
	vae.Model.Decoder, vae.Model.Input = graph.Specs(&layer.Dense{Units: 8}), []int{8}
	saveRun(t, "vector", vae)
	wantError(t, "which is no image: want OUT.npy", sampleCommand(), "a.png", "--model", "vector")
}

func TestSampleManifold(t *testing.T) {
	t.Chdir(t.TempDir())
	vae := trainer.Config{Model: nn.Config{Name: "plane", Input: []int{9}, Encoder: graph.Specs(&layer.Dense{Units: 4}, &layer.Sampling{}),
		Decoder: graph.Specs(&layer.Dense{Units: 9, Activation: "sigmoid"})}}
	saveRun(t, "runs/plane", vae)
	out := mustRun(t, sampleCommand(), "grid.npy", "--manifold", "--grid", "3")
	if want := "grid.npy: samples (9, 9), with " + filepath.Join("runs", "plane"); !strings.HasPrefix(out, want) {
		t.Errorf("printed %q, want %q", out, want)
	}
	axis := use.PriorAxis(3)
	if err := trainer.WriteNPY("codes.npy", use.ManifoldCodes(axis, axis), []int{9, 2}); err != nil {
		t.Fatal(err)
	}
	mustRun(t, decodeCommand(), "codes.npy", "decoded.npy")
	if got, want := mustReadNPY(t, "grid.npy"), mustReadNPY(t, "decoded.npy"); !slices.Equal(got.Data, want.Data) {
		t.Errorf("samples %v, want those of the codes on the grid, %v", got.Data, want.Data)
	}
	mustRun(t, sampleCommand(), "grid.png", "--manifold")
	if m, err := picture.Load("grid.png", 1); err != nil || m.W != 2*24+20*3*15 {
		t.Errorf("%d pixels wide, error %v", m.W, err)
	}
	makeRun(t, "plain", 2)
	wantError(t, "want `convae report`, which draws their manifold", sampleCommand(), "a.png", "--manifold", "--model", "plain")
	makeRun(t, "long", 9)
	wantError(t, `--manifold: the code of model "same" has 9 numbers, want 2`, sampleCommand(), "a.png", "--manifold", "--model", "long")
	wantError(t, "--grid is 1, want 2 to 100", sampleCommand(), "a.png", "--manifold", "--grid", "1")
	wantError(t, "--grid is for --manifold", sampleCommand(), "a.png", "--grid", "5")
	wantError(t, "--count and --seed are for codes that are drawn", sampleCommand(), "a.png", "--manifold", "--seed", "5")
}
