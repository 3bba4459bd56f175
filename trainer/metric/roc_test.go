package metric

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The area is that of all scores in order, but for those that count as equal.
func TestROC(t *testing.T) {
	src := rand.New(rand.NewPCG(1, 2))
	var r ROC
	var scores []float64
	var positive []bool
	for i := range 20000 {
		p := i%7 == 0
		v := float32(math.Exp(3*src.NormFloat64() - 5))
		if p {
			v *= 2
		}
		if i%50 == 0 {
			v = 0
		}
		r.Add(v, p)
		scores, positive = append(scores, float64(v)), append(positive, p)
	}
	if got, want := r.AUC(), AUC(scores, positive); math.Abs(got-want) > 2e-5 || want < 0.55 || want > 0.6 {
		t.Errorf("the area is %v, want %v", got, want)
	}
	for _, c := range []struct {
		negative, positive float32
		want               float64
	}{{1, 1.001, 1}, {1.001, 1, 0}, {1, 1.0001, 0.5}, {0, 1e-38, 1}, {3e38, float32(math.Inf(1)), 1}, {0, 0, 0.5}} {
		var r ROC
		r.Add(c.negative, false)
		if !math.IsNaN(r.AUC()) {
			t.Errorf("one kind of score alone: %v, want NaN", r.AUC())
		}
		if r.Add(c.positive, true); r.AUC() != c.want {
			t.Errorf("%v beside %v: %v, want %v", c.positive, c.negative, r.AUC(), c.want)
		}
	}
	if r := new(ROC); !math.IsNaN(r.AUC()) {
		t.Errorf("no scores: %v, want NaN", r.AUC())
	}
}
