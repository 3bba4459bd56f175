package simd

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// randomProduct is a Product of that size with odd strides, and gaps that are NaN in C, which must be left alone.
func randomProduct(s source, h, w, n, k, taps int, mode Mode) *Product {
	p := &Product{H: h, W: w, N: n, K: k, Mode: mode}
	p.CW = n + s.between(0, 9)
	p.CH = w*p.CW + s.between(0, 9)
	p.AW = s.between(0, 2*k)
	p.AH = w*p.AW*s.between(0, 1) + s.between(0, 20)
	if s.IntN(4) == 0 {
		p.AH, p.CH = w*p.AW, w*p.CW
	}
	far := 0
	for range taps {
		p.Taps = append(p.Taps, s.between(0, 3*k))
		far = max(far, p.Taps[len(p.Taps)-1])
	}
	p.A = s.floats(extent(h, p.AH, w, p.AW, far+k))
	p.B = s.floats(taps * k * Columns())
	p.C = s.floats(extent(h, p.CH, w, p.CW, n))
	if s.IntN(2) == 0 {
		p.Bias = s.floats(n)
	}
	if mode == Mask {
		p.Mask = s.special(len(p.C))
	}
	return p
}

// pairs makes words of the factors of a Product or of an Outer.
func (s source) pairs(factors ...[]float32) {
	for _, f := range factors {
		PairRows(f, f, s.floats(len(f)))
	}
}

// term returns what two elements of the factors, floats or pairs, add to a sum, and the sum of the magnitudes.
func term(pairs bool, a, b float32) (sum, size float64) {
	if !pairs {
		sum = float64(a) * float64(b)
		return sum, math.Abs(sum)
	}
	a0, a1 := unpair(a)
	b0, b1 := unpair(b)
	first, second := float64(a0)*float64(b0), float64(a1)*float64(b1)
	return first + second, math.Abs(first) + math.Abs(second)
}

// terms is how many products a number of elements stands for.
func terms(pairs bool, n int) float64 {
	if pairs {
		n *= 2
	}
	return float64(n)
}

// check runs a Product and compares with float64 sums: the bound is a rounding for each of the terms and one for the
// end, of the sum of the magnitudes. The rest of C must not change.
func (p *Product) check() error {
	want := make([]float64, len(p.C))
	bound := make([]float64, len(p.C))
	for i, c := range p.C {
		want[i] = float64(c)
	}
	for y := range p.H {
		for r := range p.W {
			for n := range p.N {
				at := y*p.CH + r*p.CW + n
				sum, size := 0.0, 0.0
				if p.Bias != nil {
					sum, size = float64(p.Bias[n]), math.Abs(float64(p.Bias[n]))
				}
				for t, tap := range p.Taps {
					for k := range p.K {
						d, m := term(p.Pairs, p.A[y*p.AH+r*p.AW+tap+k], p.B[(t*p.K+k)*Columns()+n])
						sum += d
						size += m
					}
				}
				switch p.Mode {
				case Relu:
					sum = max(sum, 0)
				case Add:
					sum += want[at]
					size += math.Abs(want[at])
				case Mask:
					if !(p.Mask[at] > 0) {
						sum, size = 0, 0
					}
				}
				want[at], bound[at] = sum, size*0x1p-24*(2*terms(p.Pairs, len(p.Taps)*p.K)+2)
			}
		}
	}
	c, intact := watched(p.C)
	q := *p
	q.C = c
	Multiply(&q)
	for i, v := range c {
		if d := math.Abs(float64(v) - want[i]); !(d <= bound[i]) {
			return fmt.Errorf("C[%d] is %v, want %v within %v", i, v, want[i], bound[i])
		}
	}
	return intact()
}

func (p *Product) String() string {
	return fmt.Sprintf("%dx%dx%d K=%d taps=%v mode=%d pairs=%v strides C %d %d A %d %d", p.H, p.W, p.N, p.K, p.Taps, p.Mode, p.Pairs, p.CH, p.CW, p.AH, p.AW)
}

func TestMultiply(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(1)
		pairs := false
		run := func(h, w, n, k, taps int, m Mode) {
			p := randomProduct(s, h, w, n, k, taps, m)
			if pairs = !pairs; pairs {
				p.Pairs = true
				s.pairs(p.A, p.B)
			}
			if err := p.check(); err != nil {
				t.Errorf("%v: %v", p, err)
			}
		}
		for n := range Columns() {
			for w := 1; w <= 30; w += 1 + s.IntN(3) {
				run(s.between(1, 3), w, n+1, s.between(1, 9), s.between(1, 4), Mode(s.IntN(4)))
			}
		}
		for w := 1; w <= 34; w++ { // every number of rows with every mode
			for m := range Mask + 1 {
				for range 2 { // of floats, and of pairs
					run(2, w, Columns(), 5, 2, m)
				}
				for range 2 {
					run(2, w, Columns()/2, 4, 2, m)
				}
			}
		}
		for k := 1; k <= 50; k += 7 {
			for range 2 {
				run(1, 33, 13, k, 2, Store)
			}
		}
		run(2, 3, 5, 0, 2, Store)
		run(2, 3, 5, 4, 0, Relu)
	})
}

// NaN and infinities must go through as in the loop.
func TestMultiplySpecial(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(2)
		for i := range 2 * (Mask + 1) {
			m := i / 2
			p := randomProduct(s, 3, 17, Columns()-3, 2, 2, m)
			p.A, p.C = s.special(len(p.A)), s.special(len(p.C))
			for i, v := range p.A { // a sum that overflows on its way depends on the fusion
				if v == math.MaxFloat32 {
					p.A[i] = 1
				}
			}
			if p.Pairs = i%2 == 1; p.Pairs {
				PairRows(p.A, p.A, s.special(len(p.A)))
				s.pairs(p.B)
			}
			q := *p
			q.C = slices.Clone(p.C)
			q.plain()
			Multiply(p)
			for i, v := range p.C {
				if w := q.C[i]; !alike(v, w) && !(math.Abs(float64(v-w)) < 1e-6*max(1, math.Abs(float64(w)))) {
					t.Errorf("mode %d: C[%d] is %v, want %v", m, i, v, w)
				}
			}
		}
	})
}

func randomOuter(s source, h, w, m, n int) *Outer {
	o := &Outer{H: h, W: w, M: m, N: n, Set: s.IntN(4) == 0}
	o.CM = n + s.between(0, 9)
	o.AW, o.BW = s.between(0, 2*m), s.between(0, 2*n)
	o.AH, o.BH = s.between(0, w*o.AW+9), s.between(0, w*o.BW+9)
	o.A = s.floats(extent(h, o.AH, w, o.AW, m))
	o.B = s.floats(extent(h, o.BH, w, o.BW, n))
	o.C = s.floats((m-1)*o.CM + n)
	return o
}

// check compares AddOuter with a sum in float64, as the check of a Product does.
func (o *Outer) check() error {
	want := make([]float64, len(o.C))
	bound := make([]float64, len(o.C))
	for i, c := range o.C {
		want[i] = float64(c)
	}
	for m := range o.M {
		for n := range o.N {
			at := m*o.CM + n
			if o.Set {
				want[at] = 0
			}
			size := math.Abs(want[at])
			for y := range o.H {
				for x := range o.W {
					d, s := term(o.Pairs, o.A[y*o.AH+x*o.AW+m], o.B[y*o.BH+x*o.BW+n])
					want[at] += d
					size += s
				}
			}
			bound[at] = size * 0x1p-24 * (2*terms(o.Pairs, o.H*o.W) + 1)
		}
	}
	c, intact := watched(o.C)
	q := *o
	q.C = c
	AddOuter(&q)
	for i, v := range c {
		if d := math.Abs(float64(v) - want[i]); !(d <= bound[i]) {
			return fmt.Errorf("C[%d] is %v, want %v within %v", i, v, want[i], bound[i])
		}
	}
	return intact()
}

func (o *Outer) String() string {
	return fmt.Sprintf("%dx%d pixels, %dx%d, set %v, pairs %v, strides C %d A %d %d B %d %d", o.H, o.W, o.M, o.N, o.Set, o.Pairs, o.CM, o.AH, o.AW, o.BH, o.BW)
}

func TestAddOuter(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(3)
		pairs := false
		run := func(h, w, m, n int) {
			o := randomOuter(s, h, w, m, n)
			if pairs = !pairs; pairs {
				o.Pairs = true
				s.pairs(o.A, o.B)
			}
			if err := o.check(); err != nil {
				t.Errorf("%v: %v", o, err)
			}
		}
		for m := 1; m <= 30; m++ {
			for n := 1; n <= 70; n += 1 + s.IntN(5) {
				run(s.between(1, 3), s.between(1, 9), m, n)
			}
		}
		run(3, 150, 600, 90)  // bands of rows
		run(1, 300, 500, 300) // of pixels
		run(2, 300, 500, 100)
		run(1, 2, 1, 600000) // a pixel is a band
	})
}

// A sum must not depend on how it is cut into bands.
func TestBandsSameBits(t *testing.T) {
	levels(t, func(t *testing.T) {
		o := randomOuter(seeded(4), 5, 100, 300, 200)
		q := *o
		q.C = slices.Clone(o.C)
		for y := range o.H {
			q.H, q.A, q.B, q.Set = 1, o.A[y*o.AH:], o.B[y*o.BH:], o.Set && y == 0
			AddOuter(&q)
		}
		AddOuter(o)
		exact(t, "C", o.C, q.C)
	})
}

func FuzzMultiply(f *testing.F) {
	f.Add(uint64(1), uint8(1), uint8(14), uint8(32), uint8(9), uint8(3), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, h, w, n, k, taps, mode uint8) {
		for _, l := range Supported() {
			restore := Use(l)
			s := seeded(seed)
			p := randomProduct(s, 1+int(h)%4, 1+int(w)%40, 1+int(n)%Columns(), int(k)%40, int(taps)%10, Mode(mode)%(Mask+1))
			if p.Pairs = mode > 127; p.Pairs {
				s.pairs(p.A, p.B)
			}
			if err := p.check(); err != nil {
				t.Errorf("%v: %v: %v", l, p, err)
			}
			restore()
		}
	})
}

func FuzzAddOuter(f *testing.F) {
	f.Add(uint64(1), uint8(7), uint8(7), uint8(32), uint8(96))
	f.Fuzz(func(t *testing.T, seed uint64, h, w, m, n uint8) {
		for _, l := range Supported() {
			restore := Use(l)
			s := seeded(seed)
			o := randomOuter(s, 1+int(h)%6, 1+int(w)%20, 1+int(m)%60, 1+int(n)%100)
			if o.Pairs = h > 127; o.Pairs {
				s.pairs(o.A, o.B)
			}
			if err := o.check(); err != nil {
				t.Errorf("%v: %v: %v", l, o, err)
			}
			restore()
		}
	})
}

// What does not fit must panic, whatever the level.
func TestMisfits(t *testing.T) {
	levels(t, func(t *testing.T) {
		for name, spoil := range map[string]func(*Product){
			"short A":      func(p *Product) { p.A = p.A[:len(p.A)-1] },
			"short B":      func(p *Product) { p.B = p.B[:len(p.B)-1] },
			"short C":      func(p *Product) { p.C = p.C[:len(p.C)-1] },
			"short bias":   func(p *Product) { p.Bias = p.Bias[:p.N-1] },
			"short mask":   func(p *Product) { p.Mask = p.Mask[:len(p.Mask)-1] },
			"no mask":      func(p *Product) { p.Mask = nil },
			"negative tap": func(p *Product) { p.Taps[0] = -1 },
			"far tap":      func(p *Product) { p.Taps[0] = len(p.A) },
			"stride":       func(p *Product) { p.AH = -1 },
			"mode":         func(p *Product) { p.Mode = Mask + 1 },
			"columns":      func(p *Product) { p.N = Columns() + 1 },
		} {
			p := randomProduct(seeded(5), 2, 3, 5, 4, 2, Mask)
			p.Bias = make([]float32, p.N)
			spoil(p)
			panics(t, name, errProduct, func() { Multiply(p) })
		}
		for name, spoil := range map[string]func(*Outer){
			"short A": func(o *Outer) { o.A = o.A[:len(o.A)-1] },
			"short B": func(o *Outer) { o.B = o.B[:len(o.B)-1] },
			"short C": func(o *Outer) { o.C = o.C[:len(o.C)-1] },
			"stride":  func(o *Outer) { o.CM = -1 },
		} {
			o := randomOuter(seeded(6), 2, 3, 5, 4)
			spoil(o)
			panics(t, name, errOuter, func() { AddOuter(o) })
		}
	})
}

func panics(t *testing.T, name, want string, f func()) {
	t.Helper()
	defer func() {
		if got := recover(); got != want {
			t.Errorf("%s: panic %v, want %q", name, got, want)
		}
	}()
	f()
}

func TestNoAllocation(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(7)
		p, o := randomProduct(s, 2, 20, 7, 5, 3, Relu), randomOuter(s, 3, 9, 30, 40)
		if n := testing.AllocsPerRun(10, func() {
			q, r := *p, *o // on the stack
			taps := [3]int{0, 1, 2}
			q.Taps = taps[:]
			Multiply(&q)
			AddOuter(&r)
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
