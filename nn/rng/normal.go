package rng

import "math"

// BoxMuller turns two random words into two independent standard normal numbers, sqrt(-2 ln u) (cos t, sin t), with
// u = (w0>>8 + 1) 2^-24 and t a full turn times w1 2^-32. Every product is converted to float32 before it is
// added, which forbids the compiler a fused multiply-add: the bits are the same on every machine.
func BoxMuller(w0, w1 uint32) (float32, float32) {
	r := float32(math.Sqrt(float64(-2 * logUnit(w0>>8+1))))
	c, s := turn(w1)
	return r * c, r * s
}

// logUnit returns ln(k 2^-24) for k in 1..2^24: with m 2^e = k and m in [sqrt(1/2), sqrt(2)),
// ln m = 2 atanh(z), z = (m-1)/(m+1), by its series to z^9.
func logUnit(k uint32) float32 {
	b := math.Float32bits(float32(k)) // exact: k has at most 25 bits and 2^24 is a power of two
	e := int32(b>>23) - 127
	m := math.Float32frombits(b&0x7fffff | 127<<23)
	if m >= 1.41421354 {
		m *= 0.5
		e++
	}
	z := (m - 1) / (m + 1)
	q := z * z
	p := float32(q*float32(1.0/9)) + float32(1.0/7)
	p = float32(q*p) + float32(1.0/5)
	p = float32(q*p) + float32(1.0/3)
	p = float32(q*p) + 1
	return float32(float32(e-24)*0.693147180) + float32(float32(2*z)*p)
}

// turn returns cosine and sine of an angle of w/2^32 turns plus an eighth: the top two bits choose the quadrant, the
// next 24 an angle in [-pi/4, pi/4), whose Taylor polynomials have an error below 2^-25.
func turn(w uint32) (cos, sin float32) {
	a := float32(int32(w<<2>>8)-1<<23) * (1.57079633 / (1 << 24))
	q := a * a
	s := float32(q*float32(1.0/362880)) - float32(1.0/5040)
	s = float32(q*s) + float32(1.0/120)
	s = float32(q*s) - float32(1.0/6)
	s = float32(q*s) + 1
	s = a * s
	c := float32(q*float32(-1.0/3628800)) + float32(1.0/40320)
	c = float32(q*c) - float32(1.0/720)
	c = float32(q*c) + float32(1.0/24)
	c = float32(q*c) - 0.5
	c = float32(q*c) + 1
	switch w >> 30 {
	case 0:
		return c, s
	case 1:
		return -s, c
	case 2:
		return -c, -s
	}
	return s, -c
}
