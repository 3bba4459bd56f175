package main

import (
	"encoding/json"
	"math"
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
		if o.Op == "ConvBackInput" && (o.Path == "" || o.GFLOPS <= 0) {
			t.Errorf("%+v has no path or speed", o)
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
		!strings.Contains(out, "few results") || !strings.Contains(out, simd.Current().String()) {
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
	// A step of two images has 13.5 million multiply-adds an image, less the first layer's input gradient.
	if total != sim.Step.Total || sim.Step.Classes["fma"] < 2*11e6 {
		t.Errorf("the rows add up to %d instructions of %d; %d are multiply-adds", total, sim.Step.Total, sim.Step.Classes["fma"])
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
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CUDA", "")
	t.Chdir(t.TempDir())
	out, log, err := run(t, "profile", "denoiser", "--device", "sim", "--machine", "h100", "--batch", "1")
	if err != nil || !strings.Contains(log, "no times are predicted: sass: ptxas and nvdisasm are not in the PATH") || !strings.Contains(out, "per FMA: of them") {
		t.Errorf("%v: %s%s", err, log, out)
	}
}
