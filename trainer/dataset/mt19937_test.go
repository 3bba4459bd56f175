package dataset

import (
	"math"
	"testing"
)

// The first numbers of numpy.random.seed(42), as NumPy prints them, and the
// 10000th word of the seed 5489, which the C++ standard gives for mt19937.
func TestLegacyRandom(t *testing.T) {
	r := newLegacyRandom(42)
	for i, want := range []float64{0.3745401188473625, 0.9507143064099162, 0.7319939418114051} {
		if got := r.uniform(); got != want {
			t.Errorf("uniform number %d is %v, want %v", i, got, want)
		}
	}
	r = newLegacyRandom(42)
	for i, want := range []float64{0.4967141530112327, -0.13826430117118466, 0.6476885381006925, 1.5230298564080254} {
		if got := r.normal(); math.Abs(got-want) > 1e-15 {
			t.Errorf("normal number %d is %v, want %v", i, got, want)
		}
	}
	r = newLegacyRandom(5489)
	for range 9999 {
		r.uint32()
	}
	if got := r.uint32(); got != 4123659995 {
		t.Errorf("word 10000 is %d, want 4123659995", got)
	}
}
