package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
)

// A first look on a slow device is a part of the preset that docs/configuration.md shows, which would need minutes or hours.
func TestFirstLook(t *testing.T) {
	preset, err := trainer.Preset("denoiser")
	if err != nil {
		t.Fatal(err)
	}
	c := preset
	firstLook(&c)
	if c.Data.Limit*c.Training.Epochs > 12000 || c.Data.Limit == 0 || !reflect.DeepEqual(c.Model, preset.Model) {
		t.Errorf("a first look has %d samples, %d epochs", c.Data.Limit, c.Training.Epochs)
	}
	sim, _, err := device.Open("sim")
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if !isSlow(sim) {
		t.Error("the simulator is not slow")
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

// What is recomputed is told by log and summary, and changes no bit of the loss; a run goes on with it or without.
func TestRecomputeSetting(t *testing.T) {
	var losses []string
	for how, want := range map[string]string{"never": `"recomputed":0,`, "always": `"recomputed":0.`} {
		dir := filepath.Join(t.TempDir(), "run")
		_, log, err := run(t, "train", "deep32", "--limit", "20", "--epochs", "1", "--set", "training.recompute="+how, "--out", dir, "--device", "cpu", "--log", "json")
		if err != nil || !strings.Contains(log, want) || how == "always" && strings.Contains(log, `"recomputed":0,`) {
			t.Errorf("%s: %v\n%s", how, err, log)
		}
		_, loss, _ := strings.Cut(log, `"val_loss":`)
		loss, _, _ = strings.Cut(loss, ",")
		losses = append(losses, loss)
		out, _, err := run(t, "summary", dir)
		if err != nil || strings.Contains(out, "made again") != (how == "always") {
			t.Errorf("%s: %v\n%s", how, err, out)
		}
		if _, log, err = run(t, "train", "--resume", dir, "--epochs", "2", "--set", "training.recompute=auto", "--device", "cpu", "--log", "json"); err != nil || !strings.Contains(log, `"recomputed":0,`) {
			t.Errorf("%s: %v\n%s", how, err, log)
		}
	}
	if losses[0] != losses[1] || losses[0] == "" {
		t.Errorf("losses %q differ", losses)
	}
	wantError(t, `training.recompute is "often", want auto, never or always`, trainCommand(), "circle", "--set", "training.recompute=often")
}

// The flag decides the precision, which log, summary and history say; a run that goes on keeps it.
func TestPrecisionFlag(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	_, log, err := run(t, "train", "circle", "--epochs", "1", "--precision", "tf32", "--out", dir, "--device", "cpu", "--log", "json")
	if err != nil || !strings.Contains(log, `"precision":"tf32"`) {
		t.Errorf("%v\n%s", err, log)
	}
	out, _, err := run(t, "summary", dir)
	if err != nil || !strings.Contains(out, ": precision tf32, ") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, log, err = run(t, "train", "--resume", dir, "--epochs", "2", "--device", "cpu", "--log", "json"); err != nil || !strings.Contains(log, `"precision":"tf32"`) {
		t.Errorf("%v\n%s", err, log)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"cannot go on in another precision (training.precision: tf32 -> float32)", []string{"train", "--resume", dir, "--epochs", "3", "--precision", "float32"}},
		{"cannot go on in another precision (training.precision: tf32 -> bf16)", []string{"train", "--resume", dir, "--epochs", "3", "--precision", "bf16"}},
		{`precision is "half", want float32, tf32, bf16 or winograd`, []string{"train", "--precision", "half"}},
		{`precision is "half", want float32, tf32, bf16 or winograd`, []string{"bench", "circle", "--precision", "half"}},
		{`precision is "half", want float32, tf32, bf16 or winograd`, []string{"profile", "circle", "--precision", "half"}},
	} {
		if _, _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.args, err, c.want)
		}
	}
	if out, _, err = run(t, "bench", "circle", "--precision", "bf16", "--train", "4", "--seconds", "0.01", "--rounds", "1", "--device", "cpu"); err != nil || !strings.Contains(out, " in bf16, ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// --find-rate suggests a rate, draws the curve and writes no run.
func TestFindRate(t *testing.T) {
	t.Chdir(t.TempDir())
	out := mustRun(t, trainCommand(), "circle", "--set", "training.batch=50", "--device", "cpu", "--find-rate", "rates.png", "--find-rate-steps", "40")
	if !strings.Contains(out, "suggested: --learning-rate") || !strings.Contains(out, "look at: rates.png") {
		t.Errorf("it says %q", out)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 1 {
		t.Errorf("files %v, error %v", entries, err)
	}
	out = mustRun(t, trainCommand(), "circle", "--batch", "full", "--device", "cpu", "--find-rate", "rates.png", "--find-rate-steps", "40", "--find-rate-range", "1e-4,1e-3")
	if !strings.Contains(out, "the loss was still falling at the end of the range: take a wider one") || strings.Contains(out, "too high") || strings.Contains(out, "suggested: --") {
		t.Errorf("of a range that ends too early it says %q", out)
	}
	out = mustRun(t, trainCommand(), "circle", "--set", "training.batch=50", "--device", "cpu", "--find-rate", "rates.png", "--find-rate-steps", "40", "--find-rate-range", "1e-3,1e-1")
	if !strings.Contains(out, "suggested: ") || strings.Contains(out, "too high") || !strings.Contains(out, "the range ends before it rises") {
		t.Errorf("of a range that ends soon it says %q", out)
	}
	// These are errors before the device is opened.
	for _, c := range []struct{ words, want string }{
		{"--find-rate nowhere/rates.png", "--find-rate: there is no folder nowhere for rates.png"},
		{"--find-rate rates.jpg", "want a name that ends in .png"},
		{"--find-rate rates.png --find-rate-range 10,1", "want the lower rate first"},
		{"--find-rate rates.png --find-rate-range a,b", `--find-rate-range is "a,b", want numbers, as 1e-6,10`},
		{"--find-rate-range 1,10", "--find-rate-range is for --find-rate"},
		{"--find-rate-steps 20", "--find-rate-steps is for --find-rate"},
		{"--token-file secret", "--token-file is for the page of --serve"},
	} {
		wantError(t, c.want, trainCommand(), append(strings.Fields(c.words), "circle", "--device", "abacus")...)
	}
	wantError(t, "--find-rate trains no run: leave out --out", trainCommand(), "circle", "--find-rate", "rates.png", "--out", "run")
	wantError(t, "want a name that ends in .png", trainCommand(), "circle", "--find-rate", "rates.txt")
	wantError(t, "--find-rate-range has 1 numbers, want two", trainCommand(), "circle", "--find-rate", "rates.png", "--find-rate-range", "1")
}

// --tensorboard=false holds for a run that goes on, too.
func TestTensorBoardFlag(t *testing.T) {
	t.Chdir(t.TempDir())
	files := func() int {
		entries, err := os.ReadDir("a/tensorboard")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	mustRun(t, trainCommand(), "circle", "--epochs", "1", "--device", "cpu", "--out", "a", "--tensorboard")
	before := files()
	mustRun(t, trainCommand(), "--resume", "a", "--epochs", "2", "--device", "cpu", "--tensorboard=false")
	if n := files(); n != before {
		t.Errorf("%d event files, want the %d of before", n, before)
	}
	mustRun(t, trainCommand(), "--resume", "a", "--epochs", "3", "--device", "cpu")
	if n := files(); n != before+1 {
		t.Errorf("%d event files without the flag, want one more than %d", n, before)
	}
}
