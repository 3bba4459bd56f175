package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
)

// A first look is the preset that the README shows, but on a slow device, which would need minutes or hours.
func TestFirstLook(t *testing.T) {
	look := func(name string) (trainer.Config, bool) {
		dev, _, err := device.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		c, err := trainer.Preset("denoiser")
		if err != nil {
			t.Fatal(err)
		}
		slow := firstLook(&c, dev)
		return c, slow
	}
	preset, err := trainer.Preset("denoiser")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range simd.Supported() {
		restore := simd.Use(l)
		c, slow := look("cpu")
		if !slow && !reflect.DeepEqual(c, preset) {
			t.Errorf("cpu at %v: the first look is not the preset: %+v", l, c)
		}
		if slow != (l == simd.None) || slow != (c.Data.Limit > 0) {
			t.Errorf("cpu at %v: slow %v, %d samples", l, slow, c.Data.Limit)
		}
		restore()
	}
	if c, slow := look("sim"); !slow || c.Data.Limit*c.Training.Epochs > 12000 {
		t.Errorf("sim: slow %v, %d samples, %d epochs", slow, c.Data.Limit, c.Training.Epochs)
	}
}

// A configuration in JSON is one, too; --limit bounds the samples to validate on.
func TestTrainJSON(t *testing.T) {
	out, _, err := run(t, "presets", "dense32", "--json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "arch.json")
	if err := os.WriteFile(path, []byte(out), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err = run(t, "train", path, "--data", "digits", "--limit", "40", "--epochs", "1", "--device", "cpu", "--out", filepath.Join(dir, "run")); err != nil {
		t.Fatal(err)
	}
	if out, _, err = run(t, "eval", filepath.Join(dir, "run"), "--json"); err != nil || !strings.Contains(out, `"N": 40`) {
		t.Errorf("%v, want 40 samples in\n%s", err, out)
	}
}
