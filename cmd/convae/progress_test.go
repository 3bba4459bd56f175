package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/convae/convae/trainer"
)

var escapeSequences = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// No line that is written over again is as wide as the terminal, and no line of an epoch is wider; what matters most is on
// each of them.
func TestProgressFitsTheTerminal(t *testing.T) {
	for _, columns := range []int{12, 20, 40, 79, 80, 200} {
		var w bytes.Buffer
		r, err := newProgress("bar", &w, &w)
		if err != nil {
			t.Fatal(err)
		}
		r.columns = func() int { return columns }
		r.images = true
		r.loading(trainer.Loading{File: "train-images-idx3-ubyte.gz", Done: 5e6, Total: 99e6})
		for step := 1; step <= 1875; step += 234 {
			loss := 160.1234
			if step == 1 {
				loss = math.NaN()
			}
			r.Step(trainer.Step{Epoch: 100, Step: step, Steps: 1875, Loss: loss, Rate: 123456, Left: 100 * time.Minute})
		}
		r.stop()
		over := strings.FieldsFunc(escapeSequences.ReplaceAllString(w.String(), ""), func(r rune) bool { return r == '\r' || r == '\n' })
		if len(over) < 8 {
			t.Fatalf("%d columns: only %d lines", columns, len(over))
		}
		for _, line := range over {
			if n := utf8.RuneCountInString(line); n >= columns {
				t.Errorf("%d columns: a line of %d: %q", columns, n, line)
			}
			if columns >= 40 && strings.Contains(line, "%") && !(strings.Contains(line, "epoch 100") && strings.Contains(line, "loss ")) {
				t.Errorf("%d columns: %q does not say the epoch and the loss", columns, line)
			}
		}
		w.Reset()
		r.Epoch(trainer.Epoch{Epoch: 10, Loss: 0.1234, ValLoss: 0.1234, ValPSNR: 19.56, ValSSIM: 0.84, Rate: 12345})
		line := strings.TrimSuffix(w.String(), "\n")
		if !strings.HasPrefix(line, "epoch 10: loss 0.1234, val 0.1234") || columns >= 40 && len(line) > columns {
			t.Errorf("%d columns: %d wide: %q", columns, len(line), line)
		}
		if columns >= 80 && !strings.HasSuffix(line, ", PSNR 19.56 dB, SSIM 0.840, 12345 images/s") {
			t.Errorf("%d columns: %q lacks what it has room for", columns, line)
		}
	}
}

// jsonLines reads a log.
func jsonLines(t *testing.T, log string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("not JSON: %q", line)
		}
		lines = append(lines, v)
	}
	return lines
}

// What the first step took is said; kernels only where some were compiled.
func TestFirstStepIsSaid(t *testing.T) {
	for _, c := range []struct {
		mode string
		step trainer.FirstStep
		want string
	}{
		{"bar", trainer.FirstStep{After: 1234 * time.Millisecond, Kernels: 24, Compiling: 800 * time.Millisecond},
			"first step after 1.23 s: compiled 24 kernels in 0.80 s\n"},
		{"bar", trainer.FirstStep{After: 200 * time.Millisecond}, "first step after 0.20 s\n"},
		{"json", trainer.FirstStep{After: 1234 * time.Millisecond, Kernels: 24, Compiling: 800 * time.Millisecond},
			`"after_s":1.234,"kernels":24,"compiling_s":0.8,`},
		{"json", trainer.FirstStep{After: 200 * time.Millisecond}, `"after_s":0.2,"time"`},
	} {
		var w bytes.Buffer
		r, err := newProgress(c.mode, &w, &w)
		if err != nil {
			t.Fatal(err)
		}
		if r.First(c.step); !strings.Contains(w.String(), c.want) {
			t.Errorf("%s: %q, want %q", c.mode, w.String(), c.want)
		}
	}
}

// The JSON log says what means something for the run, and nothing else.
func TestLogSaysWhatMeansSomething(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(strings.Replace(tinyConfig, "noise: {std: 0.5}, ", "", 1)), dir, "tiny.yaml")
	table := write(t, []byte(tableModel), dir, "table.yaml")
	pictures := filepath.Join(dir, "pictures")
	for _, name := range []string{"1.png", "2.png"} {
		var b bytes.Buffer
		if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 28, 28))); err != nil {
			t.Fatal(err)
		}
		write(t, b.Bytes(), pictures, name)
	}
	for _, c := range []struct {
		args    []string
		has, no []string
	}{
		{[]string{config}, []string{"val_bce", "val_mse", "psnr_after", "ssim_after", "code_values"}, []string{"psnr_before", "ssim_before"}},
		{[]string{config, "--noise", "0.5", "--loss", "mse"}, []string{"val_mse", "psnr_before", "psnr_after"}, []string{"val_bce"}},
		{[]string{table}, []string{"val_mse", "val_mae"}, []string{"val_bce", "psnr_after", "psnr_before"}},
		{[]string{config, "--data", pictures, "--batch", "2"}, []string{"val_bce"}, nil},
	} {
		stdout, stderr, err := run(t, append([]string{"train", "--device", "cpu", "--log", "json", "--out", filepath.Join(t.TempDir(), "run")}, c.args...)...)
		if err != nil || stdout != "" {
			t.Fatalf("%v: %v, and beside the log %q", c.args, err, stdout)
		}
		lines := jsonLines(t, stderr)
		for _, line := range lines {
			if line["file"] == "" {
				t.Errorf("%v: an empty name of a file: %v", c.args, line)
			}
		}
		done := lines[len(lines)-1]
		if done["message"] != "done" {
			t.Fatalf("%v: the last line is %v", c.args, done)
		}
		for _, key := range c.has {
			if _, ok := done[key]; !ok {
				t.Errorf("%v: %v lacks %s", c.args, done, key)
			}
		}
		for _, key := range c.no {
			if _, ok := done[key]; ok {
				t.Errorf("%v: %v has %s", c.args, done, key)
			}
		}
	}
}

// With a log of JSON the error that ends a command is a line of it too.
func TestLoggedErrors(t *testing.T) {
	t.Setenv(logVariable, "json")
	for _, args := range [][]string{{"train", "--epochs", "0"}, {"train", "nosuch"}, {"train", "--device", "tpu"}} {
		var stderr bytes.Buffer
		root := rootCommand()
		root.SetArgs(args)
		if status := runRoot(t.Context(), root, os.Stdout, &stderr); status != 1 {
			t.Errorf("%v: status %d", args, status)
		}
		lines := jsonLines(t, stderr.String())
		if last := lines[len(lines)-1]; last["level"] != "error" || last["message"] == "" {
			t.Errorf("%v: %v", args, last)
		}
	}
}

// Without noise the inputs are the samples, whose quality says nothing: eval leaves it out.
func TestEvalWithoutNoise(t *testing.T) {
	dest := tinyRun(t)
	for noise, want := range map[string]bool{"0.5": true, "0": false} {
		text, _, err := run(t, "eval", dest, "--noise", noise)
		if err != nil || strings.Contains(text, "\ninput ") != want || !strings.Contains(text, "\noutput ") {
			t.Errorf("noise %s: %v\n%s", noise, err, text)
		}
		text, _, err = run(t, "eval", dest, "--noise", noise, "--json")
		if err != nil || strings.Contains(text, `"input": {`) != want || !strings.Contains(text, `"output": {`) {
			t.Errorf("noise %s: %v\n%s", noise, err, text)
		}
	}
}
