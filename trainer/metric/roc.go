package metric

import "math"

// A ROC is the receiver operating characteristic of scores of which there may be more than memory holds, such as one for each pixel: it counts
// them in bins. Scores are 0 or more; those that differ by less than one part in 2048 may count as equal. The zero ROC has none.
type ROC struct{ negative, positive []uint64 }

// rocShift leaves of a float32 that is not negative its exponent and 11 bits of its mantissa.
const rocShift = 12

// Add counts a score.
func (r *ROC) Add(score float32, positive bool) {
	if r.negative == nil {
		n := math.Float32bits(float32(math.Inf(1)))>>rocShift + 1
		r.negative, r.positive = make([]uint64, n), make([]uint64, n)
	}
	bin := math.Float32bits(max(score, 0)) >> rocShift
	if positive {
		r.positive[bin]++
	} else {
		r.negative[bin]++
	}
}

// AUC returns the area under it, as [AUC] does.
func (r *ROC) AUC() float64 {
	var below, won, positives float64
	for i := range r.negative {
		n, p := float64(r.negative[i]), float64(r.positive[i])
		won += p * (below + n/2)
		below += n
		positives += p
	}
	if below*positives == 0 {
		return math.NaN()
	}
	return won / below / positives
}
