package simd

import (
	"math"
	"slices"
	"testing"
)

// What is beyond the largest is infinite, what is below the smallest normal number zero, and half of a last bit goes to even.
func TestBF16(t *testing.T) {
	for _, c := range []struct{ x, want float32 }{
		{0, 0}, {1, 1}, {-3.5, -3.5}, {0x1.01p0, 1}, {0x1.03p0, 0x1.04p0}, {0x1.010002p0, 0x1.02p0}, {-0x1.0fffp3, -0x1.1p3},
		{math.MaxFloat32, float32(math.Inf(1))}, {0x1.fep127, 0x1.fep127}, {0x1p-126, 0x1p-126}, {-0x1.fcp-127, 0}, {1e-40, 0},
		{float32(math.Inf(-1)), float32(math.Inf(-1))}, {float32(math.NaN()), float32(math.NaN())},
	} {
		first, second := unpair(pair(c.x, -1))
		if !alike(first, c.want) || second != -1 {
			t.Errorf("%v and -1 become %v and %v, want %v", c.x, first, second, c.want)
		}
		if first, second = unpair(pair(2, c.x)); first != 2 || !alike(second, c.want) {
			t.Errorf("2 and %v become %v and %v, want %v", c.x, first, second, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for c, want := range map[int]int{1: 1, 2: 1, 3: 2, 31: 16, 32: 16, 33: 18, 36: 18, 50: 26, 64: 32, 65: 33, 98: 52} {
		if got := Words(c); got != want {
			t.Errorf("Words(%d) is %d, want %d", c, got, want)
		}
	}
	for c := 1; c < 600; c++ {
		if w := Words(c); 2*w < c || w/amxSteps(w) < 9 && w > 16 || w%amxSteps(w) != 0 {
			t.Errorf("%d channels are %d words, in %d steps", c, w, amxSteps(w))
		}
	}
}

// The assembly must round exactly as the loop.
func TestPairs(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(8)
		same := func(name string, f func(dst []float32), n int) {
			want := make([]float32, n)
			restore := Use(None)
			f(want)
			restore()
			got, intact := watched(slices.Repeat([]float32{1}, n))
			f(got)
			for i := range want {
				g0, g1 := unpair(got[i])
				w0, w1 := unpair(want[i])
				if !alike(g0, w0) || !alike(g1, w1) {
					t.Fatalf("%s: word %d of %d is %v %v, want %v %v", name, i, n, g0, g1, w0, w1)
				}
			}
			if err := intact(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for c := 1; c < 140; c++ {
			w := s.between(1, 3)
			a, b := s.special(w*c), s.special(w*c)
			same("PairChannels", func(dst []float32) { PairChannels(dst, a, w, c) }, w*Words(c))
			same("PairRows", func(dst []float32) { PairRows(dst, a, b) }, w*c)
		}
		PairChannels(nil, nil, 0, 3)
		PairRows(nil, nil, nil)
		panics(t, "PairChannels", errPairs, func() { PairChannels(make([]float32, 3), make([]float32, 6), 2, 3) })
		panics(t, "PairRows", errPairs, func() { PairRows(make([]float32, 3), make([]float32, 3), make([]float32, 2)) })
	})
}

// Sums that the instructions make of small numbers are zero, and the loop's are not: that much they may differ.
func TestFlush(t *testing.T) {
	levels(t, func(t *testing.T) {
		p := &Product{H: 1, W: 1, N: 1, K: 1, Taps: []int{0}, A: []float32{pair(0x1p-100, 0x1p-60)}, B: make([]float32, Columns()), C: []float32{1}, Pairs: true}
		p.B[0] = pair(0x1p-30, 0x1p-70)
		Multiply(p)
		want := float32(0x1p-129)
		if Pairs() {
			want = 0
		}
		if p.C[0] != want {
			t.Errorf("the sum is %v, want %v", p.C[0], want)
		}
	})
}
