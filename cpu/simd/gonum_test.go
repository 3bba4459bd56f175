package simd

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// denseProduct is a Product as of a dense layer of one panel, and the same matrices for gonum.
func denseProduct(rows, in, out int) (p *Product, a, b, c blas32.General) {
	s := seeded(3)
	p = &Product{H: 1, W: rows, N: out, K: in, Taps: []int{0}, AW: in, CW: out, A: s.floats(rows * in), C: make([]float32, rows*out)}
	a = blas32.General{Rows: rows, Cols: in, Stride: in, Data: p.A}
	b = blas32.General{Rows: in, Cols: out, Stride: Columns(), Data: s.floats(in * Columns())}
	p.B = b.Data
	c = blas32.General{Rows: rows, Cols: out, Stride: out, Data: make([]float32, rows*out)}
	return p, a, b, c
}

// Another's matrix product is a reference that shares none of our mistakes.
func TestMultiplyAsGonum(t *testing.T) {
	for _, l := range Supported() {
		restore := Use(l)
		for _, s := range []struct{ rows, in, out int }{{1, 1, 1}, {33, 127, 13}, {64, 784, 16}} {
			p, a, b, c := denseProduct(s.rows, s.in, s.out)
			Multiply(p)
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, b, 0, c)
			for i, want := range c.Data {
				sum := 0.0 // of magnitudes
				for k := range s.in {
					sum += math.Abs(float64(a.Data[i/s.out*s.in+k]) * float64(b.Data[k*b.Stride+i%s.out]))
				}
				if d := math.Abs(float64(p.C[i] - want)); d > 1e-6*sum+1e-30 {
					t.Fatalf("%v, %+v: element %d is %v, gonum has %v", l, s, i, p.C[i], want)
				}
			}
		}
		restore()
	}
}

// BenchmarkGemm compares a dense product with gonum's on one core.
func BenchmarkGemm(b *testing.B) {
	const rows, in = 128, 784
	benchLevels(b, "simd", rows*in*16, func() func() {
		p, _, _, _ := denseProduct(rows, in, 16)
		return func() { Multiply(p) }
	})
	b.Run("gonum", func(b *testing.B) {
		_, x, w, c := denseProduct(rows, in, 16)
		for b.Loop() {
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, x, w, 0, c)
		}
		b.ReportMetric(2*rows*in*16*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		b.ReportMetric(0, "ns/op")
	})
}
