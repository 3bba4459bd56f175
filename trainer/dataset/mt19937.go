package dataset

import "math"

// legacyRandom is the generator behind numpy.random.seed, with which the
// published runs of tutorials can be had again: MT19937 of M. Matsumoto and
// T. Nishimura, "Mersenne Twister", ACM Transactions on Modeling and Computer
// Simulation 8(1), 1998, and normal numbers by Marsaglia's polar method.
type legacyRandom struct {
	state [624]uint32
	at    int
	spare float64 // the second normal number of a pair
	saved bool    // spare is still to be returned
}

// newLegacyRandom seeds as numpy.random.seed does.
func newLegacyRandom(seed uint32) *legacyRandom {
	r := &legacyRandom{at: 624}
	for i := range r.state {
		r.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return r
}

func (r *legacyRandom) uint32() uint32 {
	if r.at == len(r.state) {
		r.twist()
	}
	y := r.state[r.at]
	r.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// twist makes the next 624 words.
func (r *legacyRandom) twist() {
	n := len(r.state)
	for i := range n {
		y := r.state[i]&0x80000000 | r.state[(i+1)%n]&0x7fffffff
		r.state[i] = r.state[(i+397)%n] ^ y>>1
		if y&1 != 0 {
			r.state[i] ^= 0x9908b0df
		}
	}
	r.at = 0
}

// uniform is numpy.random.rand: 53 random bits in [0, 1).
func (r *legacyRandom) uniform() float64 {
	a, b := r.uint32()>>5, r.uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}

// normal is numpy.random.randn.
func (r *legacyRandom) normal() float64 {
	if r.saved {
		r.saved = false
		return r.spare
	}
	for {
		x, y := 2*r.uniform()-1, 2*r.uniform()-1
		if q := mul(x, x) + mul(y, y); q < 1 && q != 0 {
			f := math.Sqrt(-2 * math.Log(q) / q)
			r.spare, r.saved = f*x, true
			return f * y
		}
	}
}
