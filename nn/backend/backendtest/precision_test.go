package backendtest

import (
	"testing"

	"github.com/convae/convae/nn/backend"
)

// A backend that does not round one of the two factors, or neither, is beyond the bound in some case of every op.
func TestPrecisionNeedsRounding(t *testing.T) {
	if testing.Short() {
		t.Skip("-short, which is for the race detector: one goroutine computes references alone")
	}
	for _, multiply := range []backend.DType{backend.TF32, backend.BFloat16} {
		t.Run(multiply.String(), func(t *testing.T) { needsRounding(t, multiply) })
	}
}

func needsRounding(t *testing.T, multiply backend.DType) {
	worst := map[string]float64{}
	look := func(rounding, plain Case) {
		for _, factor := range []string{"neither", "x", "w", "gradOut"} {
			key := rounding.Ops[1] + " that rounds " + factor
			if worst[key] > 1 {
				continue // found already
			}
			d, exact := data{}, data{}
			for name, v := range rounding.inputs() {
				exact[name], d[name] = floats(v), floats(v)
				if name == factor {
					d[name] = rounded(multiply, d[name])
				}
			}
			if factor != "neither" && d[factor] == nil {
				continue
			}
			got, want := plain.reference(d), rounding.reference(exact)
			for _, a := range rounding.args {
				if a.use != out && a.use != inout || a.name == "argmax" || a.name == "gradBias" {
					continue
				}
				v := make([]float32, len(got[a.name].v))
				for i, x := range got[a.name].v {
					v[i] = float32(x)
				}
				share, _ := a.bound.WorstOf(v, want[a.name].v, want[a.name].magnitude())
				worst[key] = max(worst[key], share)
			}
		}
	}
	for _, c := range roundedConvs(multiply) {
		plain := c
		plain.Multiply = backend.Float32
		look(c.forward(), plain.forward())
		look(c.backInput(), plain.backInput())
		look(c.backWeights(), plain.backWeights())
	}
	for _, c := range roundedConvTransposes(multiply) {
		plain := c
		plain.Multiply = backend.Float32
		look(c.forward(), plain.forward())
		look(c.backInput(), plain.backInput())
		look(c.backWeights(), plain.backWeights())
	}
	for _, c := range roundedDenses(multiply) {
		plain := c
		plain.Multiply = backend.Float32
		look(c.forward(), plain.forward())
		look(c.backInput(), plain.backInput())
		look(c.backWeights(), plain.backWeights())
	}
	for key, share := range worst {
		if share <= 1 {
			t.Errorf("%s is only %.2f of the bound away", key, share)
		}
	}
	if len(worst) < 9*3 {
		t.Errorf("%d ways to go wrong, want at least 27: %v", len(worst), worst)
	}
}
