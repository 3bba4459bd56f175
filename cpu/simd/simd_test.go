package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// levels runs a test at every level of this machine.
func levels(t *testing.T, f func(t *testing.T)) {
	for _, l := range Supported() {
		t.Run(l.String(), func(t *testing.T) {
			defer Use(l)()
			f(t)
		})
	}
}

// source makes slices of random numbers.
type source struct{ *rand.Rand }

func seeded(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 1))} }

// floats returns n numbers between -1 and 1.
func (s source) floats(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 2*s.Float32() - 1
	}
	return v
}

// special returns numbers of which many are not ordinary.
func (s source) special(n int) []float32 {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	odd := []float32{nan, inf, -inf, 0, float32(math.Copysign(0, -1)), 1, -1, math.MaxFloat32, 1e-40}
	v := s.floats(n)
	for i := range v {
		if s.IntN(3) == 0 {
			v[i] = odd[s.IntN(len(odd))]
		}
	}
	return v
}

// between returns a number from lo to hi.
func (s source) between(lo, hi int) int { return lo + s.IntN(hi-lo+1) }

// guard is how many words before and behind a slice are watched. It leaves the slice unaligned.
const guard = 61

// watched returns a copy of v, before and behind which there are words that no function may touch, and a check of them.
func watched[T float32 | byte](v []T) (copied []T, check func() error) {
	const mark = 77
	all := make([]T, len(v)+2*guard)
	for i := range all {
		all[i] = mark
	}
	copy(all[guard:], v)
	return all[guard : guard+len(v) : guard+len(v)], func() error {
		for i, x := range all {
			if x != mark && (i < guard || i >= guard+len(v)) {
				return fmt.Errorf("word %d was written, of %d", i-guard, len(v))
			}
		}
		return nil
	}
}

// alike reports whether two numbers are the same, all NaN being one.
func alike(a, b float32) bool { return a == b || a != a && b != b }

// exact compares with what the loop at level None has made.
func exact(t testing.TB, name string, got, want []float32) {
	t.Helper()
	for i, w := range want {
		if !alike(got[i], w) {
			t.Fatalf("%s[%d] of %d is %v, want %v", name, i, len(want), got[i], w)
		}
	}
}
