package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestQuantile(t *testing.T) {
	values := []float64{9, 1, 4, 2} // numpy.quantile([9, 1, 4, 2], ...)
	for q, want := range map[float64]float64{0: 1, 0.25: 1.75, 0.5: 3, 0.9: 7.5, 1: 9} {
		if got := Quantile(values, q); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if values[0] != 9 {
		t.Error("the values were sorted in place")
	}
	if got := Quantile([]float64{3}, 0.99); got != 3 {
		t.Errorf("of one value: %v", got)
	}
}

// The area is the share of pairs that are in order, by its definition.
func TestAUC(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		scores, positive := make([]float64, 40), make([]bool, 40)
		for i := range scores {
			positive[i] = i%3 == 0
			scores[i] = float64(r.IntN(12)) // many are equal
			if positive[i] {
				scores[i] += 2
			}
		}
		won, pairs := 0.0, 0.0
		for i, a := range scores {
			for j, b := range scores {
				if positive[i] && !positive[j] {
					pairs++
					if a > b {
						won++
					} else if a == b {
						won += 0.5
					}
				}
			}
		}
		if got := AUC(scores, positive); math.Abs(got-won/pairs) > 1e-12 {
			t.Fatalf("area %v, want %v", got, won/pairs)
		}
	}
	if got := AUC([]float64{1, 2}, []bool{true, true}); !math.IsNaN(got) {
		t.Errorf("without negatives: %v, want NaN", got)
	}
}

// Of the four pairs of a positive and a negative sample three are in order.
func ExampleAUC() {
	scores, anomalous := []float64{0.1, 0.4, 0.35, 0.8}, []bool{false, false, true, true}
	fmt.Println(AUC(scores, anomalous), Quantile(scores, 0.5))
	// Output: 0.75 0.375
}
