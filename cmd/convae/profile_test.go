package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/convae/convae/cpu/simd"
)

func TestProfile(t *testing.T) {
	out, _, err := run(t, "profile", "denoiser", "--batch", "8", "--steps", "1", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Seconds float64
		Ops     []profileRow
	}
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	seconds, share, seen := 0.0, 0.0, map[string]int{}
	for _, o := range p.Ops {
		seconds += o.Seconds
		share += o.Share
		seen[o.Op]++
		if o.Op == "ConvBackInput" && (o.Path == "" || o.GFLOPS <= 0 || o.Limit <= 0) {
			t.Errorf("%+v has no path, speed or limit", o)
		}
		if o.Limit > 1.5 { // two measurements
			t.Errorf("%s of %s does %.2f of what can be done", o.Op, o.Layer, o.Limit)
		}
	}
	if math.Abs(seconds-p.Seconds) > 1e-9 || math.Abs(share-1) > 1e-9 {
		t.Errorf("the rows add up to %v s of %v and %v of the step", seconds, p.Seconds, share)
	}
	// Five convolutions, four of which pass a gradient on.
	if seen["Conv"] != 5 || seen["ConvBackWeights"] != 5 || seen["ConvBackInput"] != 4 || seen["GatherPixels"] != 1 || seen["Adam"] != 1 || seen["SigmoidBCE"] != 1 {
		t.Errorf("ops %v", seen)
	}
	if out, _, err = run(t, "profile", "--batch", "3", "--steps", "2"); err != nil || !strings.Contains(out, "ConvBackInput") || !strings.Contains(out, "GFLOP/s") ||
		!strings.Contains(out, "few results") || !strings.Contains(out, "of limit") || !strings.Contains(out, simd.Current().String()) {
		t.Errorf("%v: %s", err, out)
	}
	if out, _, err = run(t, "profile", "--batch", "2", "--device", "sim", "--json"); err != nil {
		t.Fatal(err)
	}
	var sim struct {
		Kernels []simRow
		Step    simRow
	}
	if err := json.Unmarshal([]byte(out), &sim); err != nil {
		t.Fatal(err)
	}
	var total uint64
	for _, k := range sim.Kernels {
		total += k.Total
		if k.Registers == 0 || k.Launches == 0 || k.Op == "" {
			t.Errorf("a row without an op, launches or registers: %+v", k)
		}
	}
	// A step of two images needs 9.0 million multiply-adds an image: 3.4 forward, where copies of an upsampled pixel share products, 2.8
	// for the gradients of inputs, and 2.8 for those of weights, of which the first layer's has only the maxima of its pool.
	// On tensor cores an instruction is 32 for each of its lanes, and three are one product of float32.
	products := sim.Step.Classes["fma"] + sim.Step.Classes["mma"]*32/3
	if total != sim.Step.Total || products < 2*8.9e6 {
		t.Errorf("the rows add up to %d instructions of %d; %d are multiply-adds", total, sim.Step.Total, products)
	}
	if out, _, err = run(t, "profile", "--batch", "2", "--device", "sim"); err != nil || !strings.Contains(out, "per FMA") || !strings.Contains(out, "random_gather") {
		t.Errorf("%v: %s", err, out)
	}
	if _, _, err = run(t, "profile", "--steps", "0"); err == nil || !strings.Contains(err.Error(), "--steps is 0") {
		t.Errorf("error %v", err)
	}
}

// A prediction needs the simulator and a machine that the model knows.
func TestProfileMachine(t *testing.T) {
	if _, _, err := run(t, "profile", "--device", "cpu", "--machine", "h100"); err == nil || !strings.Contains(err.Error(), "--machine is h100: it needs --device sim") {
		t.Errorf("error %v", err)
	}
	if _, _, err := run(t, "profile", "--device", "sim", "--machine", "k80"); err == nil || !strings.Contains(err.Error(), `machine is "k80", want h100, h200, a100, rtx4090`) {
		t.Errorf("error %v", err)
	}
	if _, _, err := run(t, "profile", "--device", "sim", "--sample"); err == nil || !strings.Contains(err.Error(), "--sample is without --machine") {
		t.Errorf("error %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CUDA", "")
	t.Chdir(t.TempDir())
	out, log, err := run(t, "profile", "denoiser", "--device", "sim", "--machine", "h100", "--batch", "1")
	if err != nil || !strings.Contains(log, "no times are predicted: sass: ptxas and nvdisasm are not in the PATH") || !strings.Contains(out, "per FMA: of them") {
		t.Errorf("%v: %s%s", err, log, out)
	}
}

// The committed table of the denoiser is read, and stands beside what is measured.
func TestProfilePredicted(t *testing.T) {
	const file = "../../testdata/sim/h100_denoiser_128.txt"
	times, err := readPredicted(file, "denoiser", 128)
	if err != nil {
		t.Fatal(err)
	}
	if len(times) != 2 || times[[2]string{"ResidentStep", "model"}] <= 0 || times[[2]string{"Adam", "update"}] <= 0 {
		t.Errorf("times %v", times)
	}
	table := filepath.Join(t.TempDir(), "table.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is written is read, also with names that are longer than their columns.
	var rows strings.Builder
	writePredictedRows(&rows, []predictedRow{{Op: "ConvTransposeBackWeights", Layer: "conv2d_transpose_1", Kernel: "conv_back_weights_few4", Micros: 12.5, Beside: true},
		{Op: "Adam", Layer: "update", Kernel: "optim_adam", Micros: 2.25, Together: 13}})
	write("model, batch 3: as predicted\n\n" + rows.String() + "\nstep: 13 us\n")
	times, err = readPredicted(table, "model", 3)
	if err != nil || len(times) != 2 || times[[2]string{"ConvTransposeBackWeights", "conv2d_transpose_1"}] != 12.5 || times[[2]string{"Adam", "update"}] != 2.25 {
		t.Errorf("times %v, error %v", times, err)
	}
	// The tensor cores have a column where they are used.
	rows.Reset()
	writePredictedRows(&rows, []predictedRow{{Op: "Conv", Layer: "conv2d", Micros: 12.5, Tensor: 0.42, Bytes: 1.5}, {Op: "Adam", Layer: "update", Micros: 2.25}})
	write("model, batch 3: as predicted\n\n" + rows.String() + "\nstep: 15 us\n")
	times, err = readPredicted(table, "model", 3)
	if err != nil || times[[2]string{"Conv", "conv2d"}] != 12.5 || !regexp.MustCompile(`core% byte us\n.*   42    1.50\n`).MatchString(rows.String()) {
		t.Errorf("times %v, error %v, of\n%s", times, err, rows.String())
	}
	const head = "denoiser, batch 2: as predicted\n\nop    layer   kernel      us together math us\n"
	const first = "-     -       clock     9.00\n"
	write(head + first + "Conv  conv2d  forward   1.50            1.00\nConv  conv2d  forward2 10.25     11.00  1.00\n\nstep: 11 us\n")
	out, _, err := run(t, "profile", "denoiser", "--device", "cpu", "--batch", "2", "--steps", "1", "--predicted", table, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Ops []profileRow }
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	for _, o := range p.Ops {
		want := 0.0
		if o.Op == "Conv" && o.Layer == "conv2d" {
			want = 11.75e-6
		}
		if math.Abs(o.Predicted-want) > 1e-12 || o.Seconds <= 0 {
			t.Errorf("%s of %s: %v s, predicted %v, want %v", o.Op, o.Layer, o.Seconds, o.Predicted, want)
		}
	}
	if out, _, err = run(t, "profile", "denoiser", "--device", "sim", "--batch", "2", "--steps", "1", "--predicted", table); err != nil || !strings.Contains(out, "predicted") {
		t.Errorf("%v: %s", err, out)
	}
	for text, want := range map[string]string{
		head + "Conv  conv2d  forward   fast\n":        "no time in the row",
		head + "Conv  conv2d_99 forward 1.0\n":         "the step has no Conv of conv2d_99",
		strings.Replace(head, "batch 2", "batch 8", 1): "is not of denoiser at batch 2",
	} {
		write(text)
		if _, _, err := run(t, "profile", "denoiser", "--device", "cpu", "--batch", "2", "--steps", "1", "--predicted", table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
