package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
)

const goldenFolder = "../../testdata/golden"

func TestGolden(t *testing.T) {
	r, err := Run(t.Context(), open(t, cpu.Options{}), open(t, cpu.Options{}), Options{Golden: goldenFolder, Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed || r.Cases < 50 || r.Training.Reference != goldenTraining || r.Training.Steps != 5 || !r.Training.Passed {
		t.Errorf("%d cases, passed %v, training %+v", r.Cases, r.Passed, r.Training)
	}
	if r, err = Run(t.Context(), wrong{open(t, cpu.Options{})}, open(t, cpu.Options{}), Options{Golden: goldenFolder, Words: []string{"conv"}, Steps: 1}); err != nil {
		t.Fatal(err)
	}
	if r.Passed || r.Training.Passed || len(r.op("ConvBackWeights").Failures) == 0 {
		t.Errorf("a device with a wrong op passes: %+v", r)
	}
	if r, err = Run(t.Context(), open(t, cpu.Options{}), open(t, cpu.Options{}), Options{Golden: goldenFolder + "/large", Steps: 1}); err != nil {
		t.Fatal(err)
	}
	if !r.Passed || r.Cases < 20 || r.Training.Steps != 0 || !slices.ContainsFunc(r.NotRun, func(n string) bool { return strings.HasPrefix(n, goldenTraining) }) {
		t.Errorf("a folder without a training: %d cases, passed %v, training %+v, not run %v", r.Cases, r.Passed, r.Training, r.NotRun)
	}
	if _, err := Run(t.Context(), open(t, cpu.Options{}), open(t, cpu.Options{}), Options{Golden: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "golden") && !strings.Contains(err.Error(), "safetensors") {
		t.Errorf("an empty folder: error %v", err)
	}
}

// One in so many cases of each op is all of an op that has one.
func TestEvery(t *testing.T) {
	all, _, err := pick(Options{})
	if err != nil {
		t.Fatal(err)
	}
	some, _, err := pick(Options{Every: 10})
	if err != nil {
		t.Fatal(err)
	}
	ops := make(map[string]bool)
	for _, c := range some {
		for _, op := range c.Ops {
			ops[op] = true
		}
	}
	for _, c := range all {
		for _, op := range c.Ops {
			if !ops[op] {
				t.Errorf("no case of %s is left", op)
			}
		}
	}
	if len(some) < len(all)/10 || len(some) > len(all)/4 {
		t.Errorf("%d of %d cases are left", len(some), len(all))
	}
}
