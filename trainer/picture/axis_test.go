package picture

import (
	"math"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

// labels returns the labels of the ticks that have one.
func labels(ticks []plot.Tick) string {
	var s []string
	for _, t := range ticks {
		if t.Label != "" {
			s = append(s, t.Label)
		}
	}
	return strings.Join(s, " ")
}

func TestEpochTicks(t *testing.T) {
	for _, test := range []struct {
		lo, hi float64
		want   string
	}{
		{1, 1, "1"},
		{1, 2, "1 2"},
		{1, 10, "1 2 3 4 5 6 7 8 9 10"},
		{1, 25, "5 10 15 20 25"},
		{1, 200, "0 20 40 60 80 100 120 140 160 180 200"},
		{1, 1000, "0 100 200 300 400 500 600 700 800 900 1000"},
		{1.5, 1.5, "1 2"},
	} {
		a := plot.Axis{Min: test.lo, Max: test.hi}
		setEpochs(&a)
		if a.Min >= test.lo || a.Max <= test.hi {
			t.Errorf("axis from %v to %v for %v to %v", a.Min, a.Max, test.lo, test.hi)
		}
		if got := labels(a.Tick.Marker.Ticks(a.Min, a.Max)); got != test.want {
			t.Errorf("epochs %v to %v: ticks %q, want %q", test.lo, test.hi, got, test.want)
		}
	}
}

func TestLossTicks(t *testing.T) {
	for _, test := range []struct {
		lo, hi float64
		want   string
	}{
		{0.1, 0.4, "0.10 0.15 0.20 0.25 0.30 0.35 0.40"},
		{-1, 1, "-1.0 -0.8 -0.6 -0.4 -0.2 0 0.2 0.4 0.6 0.8 1.0"},
		{2, 2, "1.80 1.85 1.90 1.95 2.00 2.05 2.10 2.15 2.20"},
		{1e-5, 4e-5, "1.0e-05 1.5e-05 2.0e-05 2.5e-05 3.0e-05 3.5e-05 4.0e-05"},
		{0, 0, "-1.0 -0.8 -0.6 -0.4 -0.2 0 0.2 0.4 0.6 0.8 1.0"},
	} {
		a := plot.Axis{Min: test.lo, Max: test.hi}
		setLosses(&a, false)
		if got := labels(a.Tick.Marker.Ticks(a.Min, a.Max)); got != test.want {
			t.Errorf("losses %v to %v: ticks %q, want %q", test.lo, test.hi, got, test.want)
		}
	}
}

func TestLogTicks(t *testing.T) {
	for _, test := range []struct {
		lo, hi float64
		want   string
	}{
		{0.0011, 0.11, "0.002 0.005 0.01 0.02 0.05 0.1"},
		{1e-5, 1, "1e-05 0.0001 0.001 0.01 0.1 1"},
		{0.09, 0.15, "0.09 0.10 0.11 0.12 0.13 0.14 0.15"},
		{1e-30, 1, "1e-30 1e-27 1e-24 1e-21 1e-18 1e-15 1e-12 1e-09 1e-06 0.001 1"},
	} {
		ticks := logTicks(math.Log10(test.lo)-1e-3, math.Log10(test.hi)+1e-3)
		if got := labels(ticks); got != test.want {
			t.Errorf("losses %v to %v: ticks %q, want %q", test.lo, test.hi, got, test.want)
		}
		for _, tick := range ticks {
			if v := math.Pow(10, tick.Value); v < test.lo*0.99 || v > test.hi*1.01 {
				t.Errorf("losses %v to %v: tick at %v", test.lo, test.hi, v)
			}
		}
	}
}
