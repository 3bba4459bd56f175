package metric

import (
	"cmp"
	"math"
	"slices"
)

// Quantile returns the value below which the share q of the values lies, interpolated between two of them as
// numpy.quantile does. It panics if there is no value or q is not in [0, 1].
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 || !(q >= 0 && q <= 1) {
		panic("metric: a quantile wants values and a share of 0 to 1")
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	j := min(i+1, len(sorted)-1)
	return sorted[i] + (at-float64(i))*(sorted[j]-sorted[i])
}

// AUC returns the area under the receiver operating characteristic: the chance that a positive sample scores higher
// than a negative one, where equal scores count a half. It is NaN if there are no positive samples or no negative ones.
// It panics if the slices differ in length.
func AUC(scores []float64, positive []bool) float64 {
	if len(scores) != len(positive) {
		panic("metric: as many scores as classes are wanted")
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	var below, won, positives float64 // negatives that score less; pairs that the positive wins
	for lo := 0; lo < len(order); {
		hi, p := lo, 0.0
		for ; hi < len(order) && cmp.Compare(scores[order[hi]], scores[order[lo]]) == 0; hi++ {
			if positive[order[hi]] {
				p++
			}
		}
		n := float64(hi-lo) - p
		won += p * (below + n/2)
		below += n
		positives += p
		lo = hi
	}
	if below*positives == 0 {
		return math.NaN()
	}
	return won / below / positives
}
