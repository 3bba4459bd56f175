package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer"
)

// The command line repeats the published run of the spiral from its initial weights, to the six digits of its ten losses.
func TestTrainRepeatsPublishedSpiral(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "run")
	stdout, _, err := run(t, "train", "spiral", "--init", "../../testdata/spiral/init.safetensors", "--out", dest, "--device", "cpu", "--set", "training.validation_freq=200")
	if err != nil || !strings.Contains(stdout, "MSE 0.036107, MAE 0.152370") {
		t.Fatalf("%v\n%s", err, stdout)
	}
	history, err := trainer.ReadHistory(dest)
	if err != nil {
		t.Fatal(err)
	}
	published := []float64{.072515, .070820, .068194, .063840, .057983, .052350, .047691, .043407, .039406, .036121}
	if len(history) != len(published) {
		t.Fatalf("%d losses, want %d", len(history), len(published))
	}
	for i, e := range history {
		if got := math.Round(e.Loss*1e6) / 1e6; math.Abs(got-published[i]) > 1e-7 {
			t.Errorf("epoch %d: loss %.6f, published is %.6f", e.Epoch, got, published[i])
		}
	}
}

// Weights that fit are taken, the others are named, and a file of which nothing fits is an error before any data are read.
func TestInitInPart(t *testing.T) {
	dir := t.TempDir()
	config := write(t, []byte(tinyConfig), dir, "tiny.yaml")
	m, err := nn.New(nn.Config{Name: "other", Input: []int{28, 28, 1},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 2, Kernel: layer.Square(3), Activation: "relu"}, &layer.MaxPool2D{Size: 2}),
		Decoder: graph.Specs(&layer.UpSampling2D{Size: 2}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(5), NoBias: true, Activation: "sigmoid"}, &layer.Conv2D{Filters: 1, Kernel: layer.Square(1)})}, 9)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "other.safetensors")
	if err := trainer.SaveModel(file, m); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(dir, "run")
	// A rate of next to nothing leaves the weights as they began.
	_, stderr, err := run(t, "train", config, "--init", file, "--out", dest, "--learning-rate", "1e-30", "--log", "lines")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("2 of the model's 4 tensors begin as in %s, the others as drawn: decoder.1.weight has shape [1 2 5 5], the model's has [1 2 3 3]; decoder.1.bias is not in the file; decoder.3.weight is not in the model; decoder.3.bias is not in the model", file)
	if !strings.Contains(stderr, want) {
		t.Errorf("the log does not say %q:\n%s", want, stderr)
	}
	got, cfg, err := trainer.LoadModel(dest)
	if err != nil {
		t.Fatal(err)
	}
	if got.Params[0].Data[5] != m.Params[0].Data[5] || cfg.Training.Init != file {
		t.Errorf("the run begins with %v, want %v, and its configuration has init %q", got.Params[0].Data[5], m.Params[0].Data[5], cfg.Training.Init)
	}
	// To go on, the run does not need the file.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"train", "--resume", dest, "--epochs", "2"}, {"train", config, "--continue", "--init", file, "--out", dest, "--learning-rate", "1e-30", "--epochs", "3"}} {
		if _, _, err := run(t, args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	nowhere := []string{"--data", "mnist", "--data-dir", filepath.Join(dir, "nowhere")} // reading it would be another error
	for _, c := range []struct {
		want string
		args []string
	}{
		{"training.init: safetensors: open " + file, []string{"train", config, "--init", file}},
		{"init.safetensors fits model \"dense32\": encoder.0.weight has shape [1 2], the model's has [32 784]", []string{"train", "dense32", "--init", "../../testdata/spiral/init.safetensors"}},
		{"--resume goes on with the weights of the run: leave out --init", []string{"train", "--resume", dest, "--init", file}},
	} {
		args := c.args
		if args[1] != "--resume" {
			args = append(args, nowhere...)
		}
		if _, _, err := run(t, args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", args, err, c.want)
		}
	}
}
