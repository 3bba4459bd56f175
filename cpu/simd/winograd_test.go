package simd

import (
	"fmt"
	"math"
	"testing"
)

// randomTiles are tiles at odd strides, with gaps that must be left alone.
func randomTiles(s source, f Transform, tiles, n int) *Tiles {
	m := &transforms[f]
	t := &Tiles{Tiles: tiles, N: n, Bias: s.floats(n), ReLU: s.IntN(2) == 0}
	t.SrcCol = n + s.between(0, 5)
	t.SrcRow = s.between(0, 6*t.SrcCol)
	t.SrcTile = s.between(0, 9*t.SrcRow)
	t.DstCol = n + s.between(0, 5)
	t.DstRow = m.out*t.DstCol + s.between(0, 9)
	t.DstTile = m.out*t.DstRow + s.between(0, 9)
	t.Src = s.floats((m.in-1)*(t.SrcRow+t.SrcCol) + (tiles-1)*t.SrcTile + n)
	t.Dst = s.floats((m.out-1)*(t.DstRow+t.DstCol) + (tiles-1)*t.DstTile + n)
	return t
}

// check applies a Transform and compares with sums in float64: the bound is a rounding for each of the terms of both products, of the magnitudes.
func (t *Tiles) check(f Transform) error {
	in, out, m := transforms[f].in, transforms[f].out, transforms[f].m
	want, bound := make([]float64, len(t.Dst)), make([]float64, len(t.Dst))
	for i, d := range t.Dst {
		want[i] = float64(d)
	}
	for tile := range t.Tiles {
		for n := range t.N {
			for i := range out {
				for j := range out {
					at := tile*t.DstTile + i*t.DstRow + j*t.DstCol + n
					sum, size := 0.0, 0.0
					for k := range in {
						for l := range in {
							d := float64(m[i*in+k]) * float64(m[j*in+l]) * float64(t.Src[tile*t.SrcTile+k*t.SrcRow+l*t.SrcCol+n])
							sum += d
							size += math.Abs(d)
						}
					}
					switch f {
					case WinogradOutput:
						sum += float64(t.Bias[n])
						size += math.Abs(float64(t.Bias[n]))
						if t.ReLU {
							sum = max(sum, 0)
						}
					case WinogradTaps:
						sum += want[at]
						size += math.Abs(want[at])
					}
					want[at], bound[at] = sum, 0x1p-24*float64(2*in+4)*size
				}
			}
		}
	}
	dst, intact := watched(t.Dst)
	q := *t
	q.Dst = dst
	q.Apply(f)
	for i, v := range dst {
		if d := math.Abs(float64(v) - want[i]); !(d <= bound[i]) {
			return fmt.Errorf("Dst[%d] is %v, want %v within %v", i, v, want[i], bound[i])
		}
	}
	return intact()
}

func TestWinograd(t *testing.T) {
	levels(t, func(t *testing.T) {
		s := seeded(5)
		for f := range Transform(len(transforms)) {
			for n := 1; n <= 40; n++ {
				for _, tiles := range []int{1, 2, 5} {
					if err := randomTiles(s, f, tiles, n).check(f); err != nil {
						t.Errorf("transform %d of %d tiles of %d: %v", f, tiles, n, err)
					}
				}
			}
		}
	})
}

// The transforms must make a convolution and its gradient together: of random images, for single channels, in float64.
func TestWinogradIdentity(t *testing.T) {
	s := seeded(6)
	apply := func(f Transform, x [][]float64) [][]float64 {
		in, out, m := transforms[f].in, transforms[f].out, transforms[f].m
		y := make([][]float64, out)
		for i := range y {
			y[i] = make([]float64, out)
			for j := range y[i] {
				for k := range in {
					for l := range in {
						y[i][j] += float64(m[i*in+k]) * float64(m[j*in+l]) * x[k][l]
					}
				}
			}
		}
		return y
	}
	random := func(n int) [][]float64 {
		x := make([][]float64, n)
		for i := range x {
			for _, v := range s.floats(n) {
				x[i] = append(x[i], float64(v))
			}
		}
		return x
	}
	for _, c := range []struct {
		kernel, back Transform
		taps, sums   int
	}{{WinogradKernel, WinogradOutput, 3, 4}, {WinogradGradient, WinogradTaps, 4, 3}} {
		x, w := random(6), random(c.taps)
		a, b := apply(WinogradInput, x), apply(c.kernel, w)
		for i := range a {
			for j := range a[i] {
				a[i][j] *= b[i][j]
			}
		}
		got := apply(c.back, a)
		for i := range c.sums {
			for j := range c.sums {
				want := 0.0
				for k := range c.taps {
					for l := range c.taps {
						want += x[i+k][j+l] * w[k][l]
					}
				}
				if math.Abs(got[i][j]-want) > 2e-6 { // the matrices have rounded elements
					t.Errorf("%d taps: result (%d, %d) is %v, want %v", c.taps, i, j, got[i][j], want)
				}
			}
		}
	}
}

// NaN stays in what it reaches, also below ReLU.
func TestWinogradNaN(t *testing.T) {
	levels(t, func(t *testing.T) {
		for _, relu := range []bool{false, true} {
			k := randomTiles(seeded(7), WinogradOutput, 1, 20)
			k.ReLU = relu
			k.Src[3] = float32(math.NaN()) // position (0, 0), channel 3
			k.Apply(WinogradOutput)
			for n := range k.N {
				if got := k.Dst[n]; (got != got) != (n == 3) {
					t.Errorf("ReLU %v: channel %d is %v", relu, n, got)
				}
			}
		}
	})
}

func TestWinogradMisfits(t *testing.T) {
	for f := range Transform(len(transforms)) {
		for name, spoil := range map[string]func(k *Tiles){
			"Dst": func(k *Tiles) { k.Dst = k.Dst[:len(k.Dst)-1] },
			"Src": func(k *Tiles) { k.Src = k.Src[1:] },
			"row": func(k *Tiles) { k.SrcRow = -1 },
		} {
			k := randomTiles(seeded(8), f, 2, 9)
			spoil(k)
			t.Run(fmt.Sprint(f, name), func(t *testing.T) { panics(t, "Apply", errTiles, func() { k.Apply(f) }) })
		}
	}
	k := randomTiles(seeded(8), WinogradOutput, 2, 9)
	k.Bias = k.Bias[:8]
	panics(t, "Apply", errTiles, func() { k.Apply(WinogradOutput) })
}

// BenchmarkWinograd measures each transform of a row of 16 tiles of 64 channels.
func BenchmarkWinograd(b *testing.B) {
	const tiles, n = 16, 64
	plane := tiles*n + 16
	for f := range Transform(len(transforms)) {
		m := transforms[f]
		b.Run(fmt.Sprint(f), func(b *testing.B) {
			benchSimple(b, tiles*n, func() func() {
				s := seeded(9)
				k := Tiles{Tiles: tiles, N: n, Bias: s.floats(n), SrcTile: n, SrcCol: plane, SrcRow: 6 * plane, DstTile: n, DstCol: plane, DstRow: 6 * plane}
				if m.in == 6 && f == WinogradInput || f == WinogradGradient {
					k.SrcTile, k.SrcCol, k.SrcRow = 4*n, n, (4*tiles+2)*n
				}
				if f == WinogradOutput {
					k.DstTile, k.DstCol, k.DstRow = 4*n, n, 4*tiles*n
				}
				k.Src, k.Dst = s.floats(36*plane+6*k.SrcRow), make([]float32, 36*plane+6*k.DstRow)
				return func() { k.Apply(f) }
			})
		})
	}
}
