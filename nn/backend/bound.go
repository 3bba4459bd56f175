package backend

import "math"

// Bound is the error allowed to a result: Abs + Rel*|want|.
type Bound struct{ Abs, Rel float64 }

// Worst returns the worst error as a share of the bound (above 1 is a failure) and the index where it is. NaN and
// infinities are compared apart from numbers: the same one on both sides is right, anything else has an infinite
// share.
func (b Bound) Worst(got []float32, want []float64) (share float64, at int) {
	return b.WorstOf(got, want, want)
}

// WorstOf is Worst with Rel taken of |scale[i]| instead of |want[i]|: the error of a sum grows with the sum of the
// magnitudes of its terms, which says more than a sum that may have cancelled.
func (b Bound) WorstOf(got []float32, want, scale []float64) (share float64, at int) {
	if len(got) != len(want) || len(scale) != len(want) {
		panic("backend: Bound compares slices of different lengths")
	}
	for i, w := range want {
		if s := b.share(float64(got[i]), w, scale[i]); s > share {
			share, at = s, i
		}
	}
	return share, at
}

func (b Bound) share(got, want, scale float64) float64 {
	if got == want || math.IsNaN(got) && math.IsNaN(want) {
		return 0
	}
	s := math.Abs(got-want) / (b.Abs + b.Rel*math.Abs(scale))
	if math.IsNaN(s) || math.IsInf(got, 0) || math.IsInf(want, 0) {
		return math.Inf(1)
	}
	return s
}
