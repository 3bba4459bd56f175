package backend

import (
	"math"
	"testing"
)

func TestBoundWorst(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	nan32, inf32 := float32(nan), float32(inf)
	for _, c := range []struct {
		name  string
		bound Bound
		got   []float32
		want  []float64
		share float64
		at    int
	}{
		{"empty", Bound{}, nil, nil, 0, 0},
		{"equal", Bound{}, []float32{1, -2}, []float64{1, -2}, 0, 0},
		{"absolute", Bound{Abs: 0.5}, []float32{1, 2.25}, []float64{1, 2}, 0.5, 1},
		{"relative", Bound{Rel: 0.25}, []float32{-5, 2}, []float64{-4, 2}, 1, 0},
		{"both", Bound{Abs: 1, Rel: 0.25}, []float32{8}, []float64{4}, 2, 0},
		{"the worst, not the last", Bound{Abs: 1}, []float32{1, 3, 2}, []float64{0, 0, 0}, 3, 1},
		{"nothing allowed", Bound{}, []float32{1, 2}, []float64{1, 2.5}, inf, 1},
		{"zero wanted", Bound{Rel: 1}, []float32{1e-30}, []float64{0}, inf, 0},
		{"same classes", Bound{}, []float32{nan32, inf32, -inf32}, []float64{nan, inf, -inf}, 0, 0},
		{"NaN for a number", Bound{Abs: 1e9}, []float32{0, nan32}, []float64{0, 0}, inf, 1},
		{"a number for NaN", Bound{Abs: 1e9}, []float32{0, 0}, []float64{0, nan}, inf, 1},
		{"Inf for a number", Bound{Abs: 1e9}, []float32{inf32}, []float64{0}, inf, 0},
		{"a number for Inf", Bound{Rel: 1}, []float32{3e38}, []float64{inf}, inf, 0},
		{"the other Inf", Bound{Rel: 1}, []float32{-inf32}, []float64{inf}, inf, 0},
		{"NaN for Inf", Bound{Rel: 1}, []float32{nan32}, []float64{inf}, inf, 0},
		{"a bound that is NaN", Bound{Rel: nan}, []float32{1}, []float64{2}, inf, 0},
	} {
		if share, at := c.bound.Worst(c.got, c.want); share != c.share || at != c.at {
			t.Errorf("%s: %v at %d, want %v at %d", c.name, share, at, c.share, c.at)
		}
	}
}

func TestBoundWorstOf(t *testing.T) {
	share, at := Bound{Rel: 0.5}.WorstOf([]float32{1, 1}, []float64{0, 0}, []float64{8, -4})
	if share != 0.5 || at != 1 {
		t.Errorf("%v at %d, want 0.5 at 1", share, at)
	}
}
