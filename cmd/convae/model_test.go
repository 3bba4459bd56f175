package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer"
)

// execute runs one command as the root would and returns what it printed.
func execute(t *testing.T, c *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetFlagErrorFunc(flagError) // as the root's
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func mustRun(t *testing.T, c *cobra.Command, args ...string) string {
	t.Helper()
	out, err := execute(t, c, args...)
	if err != nil {
		t.Fatalf("%s %v: %v", c.Name(), args, err)
	}
	return out
}

// wantError checks that a command fails with one line that says so.
func wantError(t *testing.T, want string, c *cobra.Command, args ...string) {
	t.Helper()
	_, err := execute(t, c, args...)
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s %v: error %v, want one line with %q", c.Name(), args, err, want)
	}
}

// makeRun writes the folder of a run whose model hands on its input, through a code of the input's shape.
func makeRun(t *testing.T, dir string, input ...int) {
	t.Helper()
	one := graph.Layer(&layer.Conv2D{Filters: input[len(input)-1], Kernel: layer.Square(1)})
	if len(input) == 1 {
		one = &layer.Dense{Units: input[0]}
	}
	c := trainer.Config{Model: nn.Config{Name: "same", Input: input, Encoder: graph.Specs(one), Decoder: graph.Specs(one)}}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	m, err := nn.New(c.Model, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params {
		clear(p.Data)
		if strings.HasSuffix(p.Name, "weight") {
			for i := range p.Shape.N {
				p.Data[i*p.Shape.Image()+i] = 1
			}
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(filepath.Join(dir, trainer.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	if err := trainer.SaveModel(filepath.Join(dir, trainer.ModelFile), m); err != nil {
		t.Fatal(err)
	}
}

func TestFindModel(t *testing.T) {
	t.Chdir(t.TempDir())
	if p, err := findModel("given"); p != "given" || err != nil {
		t.Errorf("a named model: %q, error %v", p, err)
	}
	if _, err := findModel(""); err == nil || !strings.Contains(err.Error(), "train one first") {
		t.Errorf("no run: error %v", err)
	}
	now := time.Now()
	for i, name := range []string{"old", "new", "older"} { // the newest model is not in the last folder by name
		makeRun(t, filepath.Join("runs", name), 4, 4, 1)
		at := now.Add([]time.Duration{-2, -1, -3}[i] * time.Hour)
		if err := os.Chtimes(filepath.Join("runs", name, trainer.ModelFile), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join("runs", "zz-no-model-yet"), 0o777); err != nil {
		t.Fatal(err)
	}
	if p, err := findModel(""); p != filepath.Join("runs", "new") || err != nil {
		t.Errorf("the newest run: %q, error %v", p, err)
	}
}

func TestOpenDevice(t *testing.T) {
	dev, _, err := openDevice("cpu")
	if err != nil {
		t.Fatal(err)
	}
	dev.Close()
	if _, _, err := openDevice("abacus"); err == nil || !strings.Contains(fmt.Sprint(err), "--device abacus") {
		t.Errorf("error %v, want one that names the flag", err)
	}
}

// A run's weights file is enough, wherever it lies, and weights alone are with the configuration of their model.
func TestModelFiles(t *testing.T) {
	dest := tinyRun(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "mine.safetensors")
	f, err := safetensors.ReadFile(filepath.Join(dest, trainer.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, f *safetensors.File) string {
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(file, f)
	weights := write(filepath.Join(dir, "weights.safetensors"), &safetensors.File{Tensors: f.Tensors})
	config := filepath.Join(dest, trainer.ConfigFile)
	same := func(args ...[]string) {
		t.Helper()
		want := ""
		for i, a := range args {
			stdout, _, err := run(t, a...)
			stdout = stdout[strings.Index(stdout, "\n")+1:] // without the line that names the model
			if i == 0 {
				want = stdout
			}
			if err != nil || stdout != want {
				t.Errorf("%v: %v\n%swant\n%s", a, err, stdout, want)
			}
		}
	}
	same([]string{"eval", dest}, []string{"eval", file}, []string{"eval", weights, "--config", config}, []string{"eval", weights, "--config", dest})
	same([]string{"summary", dest}, []string{"summary", file}, []string{"summary", config})
	var codes [][]byte
	for i, model := range [][]string{{dest}, {file}, {weights, "--config", config}} {
		out := filepath.Join(dir, fmt.Sprint(i, ".npy"))
		if _, _, err := run(t, append([]string{"encode", "--data", "digits", "--limit", "3", out, "--model"}, model...)...); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, data)
	}
	if !bytes.Equal(codes[0], codes[1]) || !bytes.Equal(codes[0], codes[2]) {
		t.Error("the codes differ")
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"weights.safetensors has weights alone, and no config.yaml lies beside it: want the configuration of its model too, with --config", []string{"eval", weights}},
		{"has weights alone", []string{"summary", weights}},
		{"want that WEIGHTS.safetensors too", []string{"eval", dest, "--config", config}},
		{"want that WEIGHTS.safetensors too", []string{"encode", "--data", "digits", "x.npy", "--config", config}},
		{`has shape [2 1 3 3], model "denoiser" wants [32 1 3 3]`, []string{"eval", weights, "--config", "denoiser"}},
	} {
		if _, _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.args, err, c.want)
		}
	}
}

// summary --json and presets --json are what programs read.
func TestSummaryAsJSON(t *testing.T) {
	stdout, _, err := run(t, "summary", "denoiser", "--json")
	var s summary
	if err == nil {
		err = json.Unmarshal([]byte(stdout), &s)
	}
	if err != nil || s.Params != 28353 || s.Trained != 28353 || s.Fixed != 0 || len(s.Layers) != 9 || s.Training.Batch != 128 || s.Training.Bytes < 1<<20 {
		t.Errorf("%v: %+v", err, s)
	}
	if want := (layerSummary{"encoder", "conv2d_1", "Conv2D", []int{14, 14, 32}, 9248, 1}); !reflect.DeepEqual(s.Layers[2], want) {
		t.Errorf("layer %+v, want %+v", s.Layers[2], want)
	}
	stdout, _, err = run(t, "presets", "vae", "--json")
	var c struct {
		Training struct{ Divergence struct{ Beta float64 } }
	}
	if err == nil {
		err = json.Unmarshal([]byte(stdout), &c)
	}
	if err != nil || c.Training.Divergence.Beta != 1 {
		t.Errorf("%v:\n%s", err, stdout)
	}
	if _, _, err := run(t, "presets", "--json"); err == nil || !strings.Contains(err.Error(), "--json is for one preset: want its name too") {
		t.Errorf("error %v", err)
	}
}
