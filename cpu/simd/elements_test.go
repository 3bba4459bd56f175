package simd

import (
	"math"
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// element is a function over slices of n elements, of which the first are written: run gets the slices and the other
// arguments are its own.
type element struct {
	name   string
	slices int
	writes int
	// bound is the error allowed, a share of the magnitude and an absolute one; 0 for the bits of the loop.
	relative, absolute float64
	run                func(v [][]float32)
}

// absolute makes values what they are without their signs, and bounded makes them between -1 and 1, NaN of NaN.
func absolute(v []float32) {
	for i, x := range v {
		v[i] = float32(math.Abs(float64(x)))
	}
}

func bounded(v []float32) {
	for i, x := range v {
		v[i] = float32(math.Sin(within(float64(x), 1e6)))
	}
}

var elements = []element{
	{"Sum", 3, 1, 0, 0, func(v [][]float32) { Sum(v[0], v[1], v[2]) }},
	{"Sum/in-place", 2, 1, 0, 0, func(v [][]float32) { Sum(v[0], v[0], v[1]) }},
	{"Times", 3, 1, 0, 0, func(v [][]float32) { Times(v[0], v[1], v[2]) }},
	{"AddTimes", 3, 1, 0, 0, func(v [][]float32) { AddTimes(v[0], v[1], v[2]) }},
	{"Axpy", 2, 1, 0, 0, func(v [][]float32) { Axpy(v[0], 0.3, v[1]) }},
	{"ReLU", 1, 1, 0, 0, func(v [][]float32) { ReLU(v[0]) }},
	{"ReLUBack", 2, 1, 0, 0, func(v [][]float32) { ReLUBack(v[0], v[1]) }},
	{"Sigmoid", 1, 1, 5e-7, 2e-38, func(v [][]float32) { Sigmoid(v[0]) }},
	{"Sigmoid/wide", 1, 1, 5e-7, 2e-38, func(v [][]float32) { Axpy(v[0], 99, v[0]); Sigmoid(v[0]) }},
	{"SigmoidBack", 2, 1, 0, 0, func(v [][]float32) { SigmoidBack(v[0], v[1]) }},
	{"Tanh", 1, 1, 5e-7, 0, func(v [][]float32) { Tanh(v[0]) }},
	{"Tanh/wide", 1, 1, 5e-7, 0, func(v [][]float32) { Axpy(v[0], 20, v[0]); Tanh(v[0]) }},
	{"TanhBack", 2, 1, 0, 0, func(v [][]float32) { TanhBack(v[0], v[1]) }},
	{"LeakyReLU", 1, 1, 0, 0, func(v [][]float32) { LeakyReLU(0.3, v[0]) }},
	{"LeakyReLUBack", 2, 1, 0, 0, func(v [][]float32) { LeakyReLUBack(0.3, v[0], v[1]) }},
	// What is below the smallest normal number is a multiple of 2^-149, 1.4e-45, and may be rounded to the next.
	{"ELU", 1, 1, 5e-7, 2e-45, func(v [][]float32) { ELU(0.7, v[0]) }},
	{"ELU/wide", 1, 1, 5e-7, 2e-45, func(v [][]float32) { Axpy(v[0], 99, v[0]); ELU(0.7, v[0]) }},
	{"ELUBack", 2, 1, 0, 0, func(v [][]float32) { ELUBack(0.7, v[0], v[1]) }},
	{"Softplus", 1, 1, 5e-7, 2e-38, func(v [][]float32) { Softplus(v[0]) }},
	{"Softplus/wide", 1, 1, 5e-7, 2e-38, func(v [][]float32) { Axpy(v[0], 99, v[0]); Softplus(v[0]) }},
	{"SoftplusBack", 2, 1, 5e-7, 2e-45, func(v [][]float32) { absolute(v[1]); SoftplusBack(v[0], v[1]) }},
	{"Softsign", 1, 1, 3e-7, 0, func(v [][]float32) { Softsign(v[0]) }},
	{"SoftsignBack", 2, 1, 0, 0, func(v [][]float32) { Softsign(v[1]); SoftsignBack(v[0], v[1]) }},
	// What is not held within 128 of 0 has an absolute error of 128 times what stands for an exponential that is 0. The argument of
	// GELUTanh's has rounding errors, which count as much as it is large. Derivatives are differences near their zeros.
	{"SiLU", 1, 1, 5e-7, 3e-36, func(v [][]float32) { SiLU(v[0]) }},
	{"SiLU/wide", 1, 1, 5e-7, 3e-36, func(v [][]float32) { Axpy(v[0], 99, v[0]); SiLU(v[0]) }},
	{"SiLUBack", 2, 1, 0, 5e-7, func(v [][]float32) { bounded(v[0]); SiLUBack(v[0], v[1]) }},
	{"GELU", 1, 1, 7e-7, 3e-36, func(v [][]float32) { GELU(v[0]) }},
	{"GELU/wide", 1, 1, 7e-7, 3e-36, func(v [][]float32) { Axpy(v[0], 9, v[0]); GELU(v[0]) }},
	{"GELUBack", 2, 1, 0, 5e-7, func(v [][]float32) { bounded(v[0]); GELUBack(v[0], v[1]) }},
	{"GELUTanh", 1, 1, 1e-6, 3e-36, func(v [][]float32) { GELUTanh(v[0]) }},
	{"GELUTanh/wide", 1, 1, 3e-5, 3e-36, func(v [][]float32) { Axpy(v[0], 9, v[0]); GELUTanh(v[0]) }},
	{"GELUTanhBack", 2, 1, 0, 7e-7, func(v [][]float32) { bounded(v[0]); GELUTanhBack(v[0], v[1]) }},
	{"Deviations", 3, 1, 0, 0, func(v [][]float32) { Deviations(v[0], v[1], v[2]) }},
	{"Squares", 3, 1, 0, 0, func(v [][]float32) { Squares(v[0], v[1], v[2]) }},
	{"Normalize", 5, 1, 0, 0, func(v [][]float32) { Normalize(v[0], v[1], v[2], v[3], v[4]) }},
	{"NormalizeReLU", 5, 1, 0, 0, func(v [][]float32) { NormalizeReLU(v[0], v[1], v[2], v[3], v[4]) }},
	{"Correlate", 5, 2, 0, 0, func(v [][]float32) { Correlate(v[0], v[1], v[2], v[3], v[4]) }},
	{"CorrelateReLU", 7, 2, 0, 0, func(v [][]float32) { CorrelateReLU(v[0], v[1], v[2], v[3], v[4], v[5], v[6]) }},
	{"NormalizeBack", 7, 1, 0, 0, func(v [][]float32) { NormalizeBack(v[0], v[1], v[2], v[3], v[4], v[5], v[6]) }},
	{"NormalizeBack/in-place", 6, 1, 0, 0, func(v [][]float32) { NormalizeBack(v[0], v[0], v[1], v[2], v[3], v[4], v[5]) }},
	{"NormalizeBackReLU", 8, 1, 0, 0, func(v [][]float32) { NormalizeBackReLU(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]) }},
	{"SigmoidBCE", 3, 1, 0, 2e-7, func(v [][]float32) { SigmoidBCE(0.5, v[0], v[1], v[2]) }},
	{"MSE", 3, 1, 2e-7, 0, func(v [][]float32) { MSE(0.5, v[0], v[1], v[2]) }},
	{"SGD", 2, 1, 0, 0, func(v [][]float32) { SGD(backend.SGD{}, 0.1, v[0], nil, v[1]) }},
	{"SGD/momentum", 3, 2, 0, 0, func(v [][]float32) { SGD(backend.SGD{Momentum: 0.9}, 0.1, v[0], v[1], v[2]) }},
	{"SGD/nesterov", 3, 2, 0, 0, func(v [][]float32) { SGD(backend.SGD{Momentum: 0.9, Nesterov: true}, 0.1, v[0], v[1], v[2]) }},
	{"Adam", 4, 3, 0, 0, func(v [][]float32) {
		c := backend.StepParams{LearningRate: 1e-3, BiasCorrection1: 0.1, BiasCorrection2: 0.001}
		Adam(backend.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1}, c, v[0], v[1], v[2], v[3])
	}},
	{"Adadelta", 4, 3, 0, 0, func(v [][]float32) {
		Adadelta(backend.Adadelta{Rho: 0.95, Eps: 1e-7}, 1, v[0], v[1], v[2], v[3])
	}},
	{"Normals", 1, 1, 0, 0, func(v [][]float32) { Normals(v[0], rng.Source{Seed: 1<<40 + 3, Stream: 7}, 9, 2) }},
	{"Noise", 2, 1, 0, 0, func(v [][]float32) { Noise(v[0], v[1], 0.5, rng.Source{Seed: 5, Stream: 7}, 1<<31, 2) }},
	{"Noise/in-place", 1, 1, 0, 0, func(v [][]float32) { Noise(v[0], v[0], 0.5, rng.Source{Seed: 5, Stream: 7}, 9, 2) }},
	{"Dropout", 2, 1, 0, 0, func(v [][]float32) { Dropout(v[0], v[1], 0.3, rng.Source{Seed: 5, Stream: 7}, 9, 1<<31+2) }},
	{"Dropout/in-place", 1, 1, 0, 0, func(v [][]float32) { Dropout(v[0], v[0], 0.3, rng.Source{Seed: 5, Stream: 7}, 9, 2) }},
}

// check compares the function at the current level with the loop, and watches what is round the slices.
func (e *element) check(t testing.TB, v [][]float32) {
	t.Helper()
	want := make([][]float32, len(v))
	got := make([][]float32, len(v))
	checks := make([]func() error, len(v))
	for i := range v {
		want[i] = slices.Clone(v[i])
		got[i], checks[i] = watched(v[i])
	}
	level := Current()
	e.run(got)
	restore := Use(None)
	e.run(want)
	restore()
	for i := range v {
		if err := checks[i](); err != nil {
			t.Fatalf("%s at %v, slice %d: %v", e.name, level, i, err)
		}
		for j, w := range want[i] {
			x := got[i][j]
			if alike(x, w) {
				continue
			}
			d := math.Abs(float64(x) - float64(w))
			if i >= e.writes || !(d <= e.relative*math.Abs(float64(w))+e.absolute) {
				t.Fatalf("%s at %v: element %d of %d of slice %d is %v, want %v", e.name, level, j, len(v[i]), i, x, w)
			}
		}
	}
}

// random runs check on n random elements, with special ones if odd.
func (e *element) random(t testing.TB, s source, n int, odd bool) {
	v := make([][]float32, e.slices)
	for i := range v {
		v[i] = s.floats(n)
		if odd {
			v[i] = s.special(n)
		}
	}
	e.check(t, v)
}

func TestElements(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(1)
		for _, e := range elements {
			for n := range 150 {
				e.random(t, s, n, n%3 == 2)
			}
		}
	})
}

func FuzzElements(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint16(784), false)
	f.Fuzz(func(t *testing.T, seed uint64, which uint8, n uint16, odd bool) {
		for _, l := range Supported() {
			restore := Use(l)
			elements[int(which)%len(elements)].random(t, seeded(seed), int(n)%2000, odd)
			restore()
		}
	})
}

// The sums of the losses are within 3e-7 of the magnitudes of their terms.
func TestLossSums(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(2)
		for _, n := range []int{0, 1, 7, 16, 31, 784, 10000} {
			for _, scale := range []float32{1, 30, 1e-3} {
				x, y := s.floats(n), s.floats(n)
				size := 0.0
				for i := range x {
					x[i] *= scale
					y[i] = (y[i] + 1) / 2
					size += math.Abs(float64(x[i])) + math.Log1p(math.Exp(-math.Abs(float64(x[i]))))
				}
				bce, mse := SigmoidBCE(1, nil, x, y), MSE(1, nil, x, y)
				restore := Use(None)
				wantBCE, wantMSE := SigmoidBCE(1, nil, x, y), MSE(1, nil, x, y)
				restore()
				if d := math.Abs(bce - wantBCE); !(d <= 3e-7*size) {
					t.Errorf("BCE of %d: %v, want %v", n, bce, wantBCE)
				}
				if d := math.Abs(mse - wantMSE); !(d <= 1e-13*wantMSE) {
					t.Errorf("MSE of %d: %v, want %v", n, mse, wantMSE)
				}
			}
		}
	})
}

func checkColumns(t testing.TB, s source, n, h, w, gapX, gapY int) {
	t.Helper()
	sw := n + gapX
	sh := w*sw + gapY
	src, was := s.floats(extent(h, sh, w, sw, n)), s.floats(n)
	dst, intact := watched(was)
	AddColumns(dst, src, h, sh, w, sw)
	for i, v := range dst {
		want, size := float64(was[i]), math.Abs(float64(was[i]))
		for y := range h {
			for x := range w {
				d := float64(src[y*sh+x*sw+i])
				want += d
				size += math.Abs(d)
			}
		}
		if d := math.Abs(float64(v) - want); !(d <= size*0x1p-24*float64(h*w+1)) {
			t.Errorf("%v: column %d of %d of %dx%d pixels %d and %d apart is %v, want %v", Current(), i, n, h, w, sh, sw, v, want)
		}
	}
	if err := intact(); err != nil {
		t.Error(err)
	}
}

func TestAddColumns(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(3)
		for n := 1; n < 140; n++ {
			checkColumns(t, s, n, s.between(1, 3), s.between(1, 9), s.between(0, 1)*s.between(0, 3), s.between(0, 1)*s.between(0, 3))
		}
		checkColumns(t, s, 1, 28, 28, 0, 0)
		checkColumns(t, s, 3, 5, 101, 0, 7)
	})
}

func checkPool(t testing.TB, s source, size, w, c, gap int, places bool) {
	t.Helper()
	row := w*size*c + gap
	src := s.special((size-1)*row + w*size*c)
	for i := range src { // many equal numbers
		if s.IntN(2) == 0 {
			src[i] = float32(s.IntN(3))
		}
	}
	pool := func() ([]float32, []byte, func() error) {
		dst, intact := watched(make([]float32, w*c))
		at, intactAt := watched(make([]byte, w*c))
		if !places {
			MaxPool(dst, nil, src, row, size, w, c)
		} else {
			MaxPool(dst, at, src, row, size, w, c)
		}
		return dst, at, func() error {
			if err := intactAt(); err != nil {
				return err
			}
			return intact()
		}
	}
	dst, at, intact := pool()
	if err := intact(); err != nil {
		t.Errorf("pool: %v", err)
	}
	level := Current()
	restore := Use(None)
	want, wantAt, _ := pool()
	restore()
	for i, v := range want {
		if !alike(dst[i], v) || at[i] != wantAt[i] {
			t.Fatalf("%v: pool of %d, %d pixels of %d: %d is %v at %d, want %v at %d", level, size, w, c, i, dst[i], at[i], v, wantAt[i])
		}
	}
	unpool := func() ([]float32, func() error) {
		full, intact := watched(make([]float32, len(src)))
		Unpool(full, row, dst, wantAt, size, w, c)
		return full, intact
	}
	full, intact := unpool()
	if err := intact(); err != nil {
		t.Errorf("unpool: %v", err)
	}
	restore = Use(None)
	wantFull, _ := unpool()
	restore()
	exact(t, "unpool", full, wantFull)
}

func TestPool(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(4)
		for c := 1; c < 70; c++ {
			checkPool(t, s, 2, s.between(1, 5), c, s.between(0, 9), c%2 == 0)
			checkPool(t, s, s.between(1, 4), s.between(1, 5), c, s.between(0, 9), true)
		}
	})
}

func TestPixels(t *testing.T) {
	levels(t, func(t *testing.T) {
		src := make([]byte, 300)
		for i := range src {
			src[i] = byte(i)
		}
		for n := range src {
			dst, intact := watched(make([]float32, n))
			Pixels(dst, src[:n])
			for i, v := range dst {
				if v != float32(src[i])/255 {
					t.Fatalf("pixel %d is %v", src[i], v)
				}
			}
			if err := intact(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzPoolAndColumns(f *testing.F) {
	f.Add(uint64(1), uint8(14), uint8(32), uint8(2))
	f.Fuzz(func(t *testing.T, seed uint64, w, c, gap uint8) {
		for _, l := range Supported() {
			restore := Use(l)
			s := seeded(seed)
			checkPool(t, s, 2, 1+int(w)%20, 1+int(c)%100, int(gap)%9, gap%2 == 0)
			checkColumns(t, s, 1+int(c), s.between(1, 4), 1+int(w), int(gap)%4, int(gap)%3)
			restore()
		}
	})
}

func TestElementMisfits(t *testing.T) {
	a, b, p := make([]float32, 8), make([]float32, 7), make([]byte, 7)
	levels(t, func(t *testing.T) {
		panics(t, "Sum", errLength, func() { Sum(a, a, b) })
		panics(t, "ReLUBack", errLength, func() { ReLUBack(a, b) })
		panics(t, "BCE", errLength, func() { SigmoidBCE(1, b, a, a) })
		panics(t, "Adam", errLength, func() { Adam(backend.Adam{}, backend.StepParams{}, a, a, b, a) })
		panics(t, "Pixels", errLength, func() { Pixels(a, p) })
		panics(t, "Noise", errLength, func() { Noise(a, b, 1, rng.Source{}, 0, 0) })
		panics(t, "AddColumns", errLength, func() { AddColumns(a, b, 1, 8, 1, 8) })
		panics(t, "CopyChannels", errLength, func() { CopyChannels(b, 4, a, 4, 2, 4) })
		panics(t, "MaxPool", errPool, func() { MaxPool(b, nil, a, 4, 2, 1, 2); MaxPool(a, p, a, 4, 2, 1, 3) })
		panics(t, "Unpool", errPool, func() { Unpool(a, 6, b, p, 2, 1, 2) })
	})
}

// CopyChannels copies those channels and touches no others, whatever their number and strides.
func TestCopyChannels(t *testing.T) {
	levels(t, func(t *testing.T) {
		for _, n := range []int{1, 3, 8, 15, 16, 17, 24, 31, 32, 48, 65} {
			for _, c := range []struct{ ds, ss, pixels int }{{n, n, 5}, {n + 1, n, 7}, {n + 40, n + 3, 3}, {n, n + 16, 1}} {
				src := seeded(1).floats(c.pixels*c.ss + 2)
				dst := seeded(2).floats(c.pixels*c.ds + 1)
				want := slices.Clone(dst)
				for p := range c.pixels {
					copy(want[1+p*c.ds:][:n], src[2+p*c.ss:])
				}
				CopyChannels(dst[1:], c.ds, src[2:], c.ss, c.pixels, n)
				if !slices.Equal(dst, want) {
					t.Errorf("%d channels of %d pixels, strides %d and %d: something else was copied", n, c.pixels, c.ds, c.ss)
				}
			}
		}
	})
}
