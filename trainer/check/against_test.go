package check

import (
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
)

func same(ptx string) string { return ptx }

// The same code on the same inputs gives the same bits; code that is changed is found, and the op named.
func TestAgainst(t *testing.T) {
	o := Options{Words: []string{"upsample/", "act/back/sigmoid/", "act/forward/sigmoid/"}, Steps: 1, Batch: 2}
	o.Against = openSim(t, same)
	r, err := Run(t.Context(), openSim(t, same), open(t, cpu.Options{}), o)
	if err != nil {
		t.Fatal(err)
	}
	if a := r.Against; !r.Passed || !a.BitEqual || a.Worst != 0 || len(a.Differences) > 0 || a.Device != "sim" {
		t.Errorf("passed %v, %+v", r.Passed, a)
	}
	o.Steps = 0
	o.Against = openSim(t, replaceIn(t, "upsample_back", "add.rn.f32", "sub.rn.f32"))
	if r, err = Run(t.Context(), openSim(t, same), open(t, cpu.Options{}), o); err != nil {
		t.Fatal(err)
	}
	a := r.Against
	if r.Passed || a.Passed || a.BitEqual || a.Worst <= 1 || len(a.Differences) == 0 {
		t.Errorf("passed %v, %+v", r.Passed, a)
	}
	for _, d := range a.Differences {
		if d.Op != "UpsampleBack" || d.Times == 0 {
			t.Errorf("%+v", d)
		}
	}
}

// Every op of the training is compared too: of one that generates its samples, and of a golden one, which is given them.
func TestAgainstTraining(t *testing.T) {
	for golden, word := range map[string]string{"": "upsample/", goldenFolder: "dense"} {
		o := Options{Words: []string{word}, Golden: golden, Steps: 1, Batch: 2, Against: wrong{open(t, cpu.Options{Lanes: 1})}}
		r, err := Run(t.Context(), open(t, cpu.Options{Lanes: 1}), open(t, cpu.Options{}), o)
		if err != nil {
			t.Fatal(err)
		}
		a := r.Against
		if !r.Training.Passed || r.Passed || a.Passed || a.Worst <= 1 || len(a.Differences) == 0 {
			t.Errorf("passed %v, training %+v, %+v", r.Passed, r.Training, a)
		}
		for _, d := range a.Differences {
			if d.Op != "ConvBackWeights" || !strings.HasPrefix(d.Where, "training, ") {
				t.Errorf("%+v", d)
			}
		}
	}
}
