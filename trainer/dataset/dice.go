package dataset

import "math/rand/v2"

// dice are the random numbers one drawing is made of. They are converted
// from PCG's bits here, since only those are promised to stay the same.
type dice struct{ pcg *rand.PCG }

func newDice(seed, stream uint64) dice { return dice{rand.NewPCG(seed, stream)} }

// uniform returns a number in [0, 1).
func (d dice) uniform() float64 { return float64(d.pcg.Uint64()>>11) / (1 << 53) }

// between returns a number in [lo, hi).
func (d dice) between(lo, hi float64) float64 { return lo + mul(hi-lo, d.uniform()) }

// normal returns a number of mean 0 and the given standard deviation, the
// sum of four uniform ones: nearly Gaussian, never beyond 3.5 deviations,
// and free of logarithms, which differ in the last bit between machines.
func (d dice) normal(deviation float64) float64 {
	const root3 = 1.7320508075688772 // the sum itself has a variance of 4/12
	sum := d.uniform() + d.uniform() + d.uniform() + d.uniform() - 2
	return mul(sum, mul(root3, deviation))
}

// intn returns an integer in [0, n) for a small n.
func (d dice) intn(n int) int { return int(d.pcg.Uint64() >> 32 * uint64(n) >> 32) }

// mul returns a*b, rounded: the conversion forbids the compiler to fuse the
// product with an addition around it, which some machines would and others
// would not. All products that decide a pixel go through it.
func mul(a, b float64) float64 { return float64(a * b) }
