package sass

import "math"

// rounding is a rounding of floats.
type rounding uint8

const (
	nearest rounding = iota
	down
	up
	zero
)

// bf16 is the bits of the nearest bfloat16, of two as near the one whose last bit is 0.
func bf16(v float32) uint32 {
	if v != v {
		return 0x7fff
	}
	bits := bitsOf(v)
	return (bits + bits>>16&1 + 0x7fff) >> 16
}

// fma32 is a*b+c, rounded once to the nearest.
func fma32(a, b, c float32) float32 {
	p, z := float64(a)*float64(b), float64(c) // the product is exact
	s := p + z
	if math.Float64bits(s)&(1<<28-1) != 0 {
		return float32(s) // no tie, whatever the sum lost
	}
	e := sumError(p, z, s)
	switch { // a sum that looks like a tie of two floats goes to where its exact value lies
	case e > 0:
		s = math.Nextafter(s, math.Inf(1))
	case e < 0:
		s = math.Nextafter(s, math.Inf(-1))
	}
	return float32(s)
}

// sumError is what s = a+b lost, exactly (Knuth's two-sum).
func sumError(a, b, s float64) float64 {
	t := s - a
	return (a - (s - t)) + (b - t)
}

// fmaRound is a*b+c with a rounding.
func fmaRound(a, b, c float32, m rounding) float32 {
	if m == nearest {
		return fma32(a, b, c)
	}
	p, z := float64(a)*float64(b), float64(c)
	s := p + z
	r := float32(s)
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return r
	}
	off := s - float64(r) // the exact value minus the result, by sign
	if off == 0 {
		off = sumError(p, z, s)
	}
	inf := float32(math.Inf(1))
	switch {
	case off < 0 && (m == down || m == zero && r > 0):
		r = math.Nextafter32(r, -inf)
	case off > 0 && (m == up || m == zero && r < 0):
		r = math.Nextafter32(r, inf)
	}
	return r
}

// flush makes denormals zero.
func flush(f float32) float32 {
	if f < 0x1p-126 && f > -0x1p-126 {
		return math.Float32frombits(math.Float32bits(f) & (1 << 31))
	}
	return f
}

// saturate clamps to 0..1; NaN gives 0.
func saturate(f float32) float32 {
	switch {
	case f > 0 && f < 1:
		return f
	case f >= 1:
		return 1
	}
	return 0
}

// minMax is the smaller or the larger of two, or the one that is not NaN.
func minMax(a, b float32, smaller bool) float32 {
	switch {
	case a != a:
		return b
	case b != b:
		return a
	case smaller:
		return min(a, b)
	}
	return max(a, b)
}

// roundUp is an integer as a float that is not below it.
func roundUp(v int64) float32 {
	f := float32(v)
	if float64(f) < float64(v) {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// needsSlowDivide says whether a/b may leave the range in which the short division is exact.
func needsSlowDivide(a, b uint32) bool {
	x, y := int(a>>23&255), int(b>>23&255)
	return x == 255 || y == 255 || y <= 3 || y >= 252 || x <= 24 || x-y >= 124 || x-y <= -124
}
