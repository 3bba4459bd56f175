package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
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
	layer := nn.Layer(&nn.Conv2D{Filters: input[len(input)-1], Kernel: nn.Square(1)})
	if len(input) == 1 {
		layer = &nn.Dense{Units: input[0]}
	}
	c := trainer.Config{Model: nn.Config{Name: "same", Input: input, Encoder: nn.Spec(layer), Decoder: nn.Spec(layer)}}
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
