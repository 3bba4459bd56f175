package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tableModel is a configuration for tables of two columns.
const tableModel = `
model:
  name: table
  input: [2]
  encoder:
    - dense: {units: 1, activation: tanh}
  decoder:
    - dense: {units: 2}
data: {name: circle}
training: {epochs: 4, batch: full, loss: mse, optimizer: {name: sgd, learning_rate: 0.1}, validation_freq: 2}
`

func tableFile(t *testing.T, rows int) string {
	text := "a,b\n"
	for i := range rows {
		text += fmt.Sprintf("%d,%d\n", i, 3-i)
	}
	return write(t, []byte(text), t.TempDir(), "rows.csv")
}

// A table is trained on, evaluated with the run's scaling, and encoded.
func TestTrainOnTable(t *testing.T) {
	dir := t.TempDir()
	config, dest := write(t, []byte(tableModel), dir, "model.yaml"), filepath.Join(dir, "run")
	stdout, _, err := run(t, "train", config, "--data", tableFile(t, 20), "--set", "data.scaling=standard", "--set", "training.epochs=6", "--batch", "5", "--out", dest, "--device", "cpu")
	if err != nil || !strings.Contains(stdout, "reconstructed: MSE ") || strings.Contains(stdout, "samples.png") || strings.Contains(stdout, "PSNR") {
		t.Fatalf("%v\n%s", err, stdout)
	}
	for _, args := range [][]string{{"eval", dest}, {"eval", dest, "--data", tableFile(t, 7)}} {
		stdout, _, err = run(t, args...)
		if err != nil || !strings.Contains(stdout, "samples of csv, noise 0") || !strings.Contains(stdout, "max error") {
			t.Errorf("%v: %v\n%s", args, err, stdout)
		}
	}
	if !strings.Contains(stdout, "on 7 samples") {
		t.Errorf("other rows: %s", stdout)
	}
	codes := filepath.Join(dir, "codes.npy")
	if _, _, err = run(t, "encode", "--model", dest, "--data", tableFile(t, 7), codes); err != nil {
		t.Fatal(err)
	}
	if a := mustReadNPY(t, codes); len(a.Data) != 7 {
		t.Errorf("codes of shape %v", a.Shape)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--split is test, want train: data set csv has no test set", []string{"encode", "--model", dest, "--split", "test", "--data", tableFile(t, 7), codes}},
		{"data.seed is not for csv", []string{"encode", "--model", dest, "--seed", "4", "--data", tableFile(t, 7), codes}},
		{`data set digits has images of 28 x 28 pixels, channels: 1; model "table" takes (2,)`, []string{"encode", "--model", dest, "--data", "digits", codes}},
		{"data.file is missing: want the .csv file to read (data: {name: csv, file: PATH}, or --data PATH.csv)", []string{"train", config, "--data", "csv"}},
		{"no_header: true", []string{"train", config, "--data", write(t, []byte("1,2\n3,4\n"), dir, "bare.csv")}},
		{"training has no \"epoch\", perhaps epochs", []string{"train", config, "--set", "training.epoch=1"}},
		{"perhaps spiral", []string{"train", "spirals"}},
		{`--batch is "half", want a number of samples, or full`, []string{"train", config, "--batch", "half"}},
	} {
		if _, _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(oneLine(err), "\n") {
			t.Errorf("%v: error %v, want one with %q", c.args, err, c.want)
		}
	}
}

func TestPresetsCommand(t *testing.T) {
	stdout, _, err := run(t, "presets")
	if err != nil || !strings.HasPrefix(stdout, "denoiser  ") || !strings.Contains(stdout, "\nspiral ") {
		t.Errorf("%v\n%s", err, stdout)
	}
	stdout, _, err = run(t, "presets", "spiral")
	if err != nil {
		t.Fatal(err)
	}
	// What it prints is a configuration.
	dir := t.TempDir()
	config := write(t, []byte(stdout), dir, "mine.yaml")
	if stdout, _, err = run(t, "summary", config); err != nil || !strings.Contains(stdout, "batch 500:") {
		t.Errorf("%v\n%s", err, stdout)
	}
	if stdout, _, err = run(t, "train", config, "--set", "training.epochs=200", "--out", filepath.Join(dir, "run")); err != nil || !strings.Contains(stdout, "(500 samples)") {
		t.Errorf("%v\n%s", err, stdout)
	}
	if _, _, err = run(t, "presets", "nosuch"); err == nil || !strings.Contains(err.Error(), "the presets are denoiser") {
		t.Errorf("error %v", err)
	}
}

func TestDataOfValues(t *testing.T) {
	out := mustRun(t, dataCommand(), "circle", "--seed", "5")
	if !strings.Contains(out, "circle: vectors of 2 values\ntrain  samples: 500\n       column 1: 0 to 1, mean 0.") || strings.Contains(out, "test") {
		t.Errorf("circle:\n%s", out)
	}
	out = mustRun(t, dataCommand(), tableFile(t, 3))
	if !strings.Contains(out, "column 2: 1 to 3, mean 2\n") {
		t.Errorf("table:\n%s", out)
	}
	classes := write(t, []byte("x,kind\n1,dog\n2,cat\n3,dog\n"), t.TempDir(), "classes.csv")
	wantError(t, `column kind: is "dog", want a finite number (data.label, or --label of some commands, names a column of classes`, dataCommand(), classes)
	if out = mustRun(t, dataCommand(), classes, "--label", "kind"); !strings.Contains(out, "column 1: 1 to 3, mean 2\n") || !strings.Contains(out, "dog: 2") {
		t.Errorf("table with classes:\n%s", out)
	}
	path := filepath.Join(t.TempDir(), "circle.npy")
	mustRun(t, dataCommand(), "circle", "--export", path)
	if a := mustReadNPY(t, path); len(a.Shape) != 2 || a.Shape[0] != 500 || a.Shape[1] != 2 {
		t.Errorf("exported shape %v", a.Shape)
	}
	wantError(t, "is there already: want another name", dataCommand(), "circle", "--export", path)
	wantError(t, "want a name that ends in .npy: the samples are no images", dataCommand(), "circle", "--export", t.TempDir())
	wantError(t, "--out draws images, circle has samples of 2 values", dataCommand(), "circle", "--out", filepath.Join(t.TempDir(), "x.png"))
	wantError(t, "--size has 1 numbers, want rows, columns and perhaps channels, as 28,28 or 28,28,3", dataCommand(), "images", "--size", "28")
	wantError(t, "data.dir is missing: want the folder with the pictures (data: {name: images, dir: PATH}, or --data-dir PATH)", dataCommand(), "images", "--size", "28,28")
	pictures := filepath.Join(t.TempDir(), "pictures")
	mustWrite(t, filepath.Join(filepath.Dir(write(t, nil, pictures, "x.txt")), "a.png"), ramp(9, 7, 3))
	if out = mustRun(t, dataCommand(), pictures, "--size", "5,6,3"); !strings.Contains(out, "6 x 5 pixels, channels: 3\ntrain  images: 1,") {
		t.Errorf("pictures:\n%s", out)
	}
	if out = mustRun(t, dataCommand(), pictures); !strings.Contains(out, "7 x 9 pixels, channels: 3 (as the first; --size sets others)\ntrain  images: 1,") {
		t.Errorf("pictures without --size:\n%s", out)
	}
	write(t, []byte("text"), pictures, "b.png")
	wantError(t, "b.png: want a PNG, JPEG", dataCommand(), pictures)
	if out = mustRun(t, dataCommand(), pictures, "--skip-unreadable"); !strings.Contains(out, "images: 1,") {
		t.Errorf("pictures, one of them unreadable:\n%s", out)
	}
	wantError(t, "data.dir is not for circle", dataCommand(), "circle", "--data-dir", "x")
}

// The labels that a preset trains on hold for other digits, and for no other data.
func TestTrainOnOnly(t *testing.T) {
	dir := t.TempDir()
	table := tableFile(t, 9)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"only: [0]", []string{"--data", "digits"}},
		{"only: [3, 4]", []string{"--set", "data.only=[3, 4]"}},
		{"name: csv", []string{"--data", table, "--set", "model.input=[2]", "--set", "model.decoder.2.dense.units=2"}},
	} {
		dest := filepath.Join(dir, safeName(c.want))
		args := append([]string{"train", "anomaly", "--epochs", "1", "--out", dest, "--log", "json"}, c.args...)
		if _, _, err := run(t, args...); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dest, "config.yaml"))
		if err != nil || !strings.Contains(string(text), c.want) || strings.Contains(string(text), "only") != strings.Contains(c.want, "only") {
			t.Errorf("%v: %s, %v", c.args, text, err)
		}
	}
}

func safeName(s string) string { return strings.Map(safeRune, s) }
