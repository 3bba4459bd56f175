package simd

import (
	"fmt"
	"testing"
)

// benchLevels runs a benchmark of so many multiply-adds at every level of this machine.
func benchLevels(b *testing.B, name string, macs int, prepare func() func()) {
	for _, l := range Supported() {
		b.Run(fmt.Sprintf("%s/%v", name, l), func(b *testing.B) {
			defer Use(l)()
			f := prepare()
			for b.Loop() {
				f()
			}
			b.ReportMetric(2*float64(macs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkLimit measures what the machine can do.
func BenchmarkLimit(b *testing.B) {
	const n = 1000
	for _, l := range Supported()[1:] {
		b.Run(l.String(), func(b *testing.B) {
			f, macs := peakAVX2, 12*8
			switch l {
			case AVX512:
				f, macs = peakAVX512, 28*16
			case NEON:
				f, macs = peakNEON, 28*4
			}
			for b.Loop() {
				f(n)
			}
			b.ReportMetric(2*n*float64(macs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// convolution is a Product as of an image with a border: kernel k, c channels, n filters of one panel.
func convolution(h, w, k, c, n int) *Product {
	s := seeded(1)
	row := (w + k - 1) * c
	p := &Product{H: h, W: w, N: n, K: k * c, AH: row, AW: c, CH: w * n, CW: n, Mode: Relu}
	for i := range k {
		p.Taps = append(p.Taps, i*row)
	}
	p.A, p.B, p.C, p.Bias = s.floats((h+k-1)*row), s.floats(k*k*c*Columns()), make([]float32, h*w*n), s.floats(n)
	return p
}

func BenchmarkMultiply(b *testing.B) {
	for _, c := range []struct{ h, w, k, c, n int }{
		{28, 28, 1, 9, 32}, {28, 28, 1, 16, 32}, {14, 14, 3, 32, 32}, {7, 7, 3, 32, 32}, {7, 7, 2, 32, 32}, {14, 14, 1, 32, 16},
		{8, 128, 3, 64, 32}, {8, 64, 3, 128, 32}, {8, 32, 3, 256, 32},
	} {
		n := c.n
		benchLevels(b, fmt.Sprintf("%dx%dx%d-%d,k=%d", c.h, c.w, c.c, c.n, c.k), c.h*c.w*c.k*c.k*c.c*c.n, func() func() {
			p := convolution(c.h, c.w, c.k, c.c, min(n, Columns()))
			return func() {
				for range n / p.N {
					Multiply(p)
				}
			}
		})
	}
	for _, c := range []struct{ rows, in, out int }{{8, 784, 512}, {32, 784, 512}, {128, 784, 512}, {128, 512, 256}, {128, 256, 64}, {128, 64, 256}} {
		benchLevels(b, fmt.Sprintf("dense/%dx%d-%d", c.rows, c.in, c.out), c.rows*c.in*c.out, func() func() {
			s := seeded(1)
			a, w, out := s.floats(c.rows*c.in), s.floats(c.in*c.out), make([]float32, c.rows*c.out)
			return func() {
				for n := 0; n < c.out; n += Columns() {
					Multiply(&Product{C: out[n:], CH: c.out, CW: c.out, A: a, AH: c.in, AW: c.in, Taps: []int{0}, K: c.in,
						B: w[n*c.in:], H: 1, W: c.rows, N: Columns()})
				}
			}
		})
	}
}

func BenchmarkAddOuter(b *testing.B) {
	for _, c := range []struct{ h, w, m, n, taps int }{{14, 14, 32, 96, 3}, {7, 7, 32, 96, 3}, {28, 28, 9, 32, 1}, {28, 28, 32, 9, 1}, {8, 128, 64, 192, 3}, {32, 32, 256, 384, 3}} {
		benchLevels(b, fmt.Sprintf("%dx%d-%dx%d", c.h, c.w, c.m, c.n), c.h*c.w*c.m*c.n*c.taps, func() func() {
			s := seeded(1)
			bh := c.w*c.n/3 + 2*c.n/3
			o := Outer{H: c.h, W: c.w, M: c.m, N: c.n, CM: c.n * c.taps, AH: c.w * c.m, AW: c.m, BH: bh, BW: c.n / 3}
			o.A, o.B, o.C = s.floats(c.h*c.w*c.m), s.floats((c.h+c.taps)*bh), make([]float32, c.m*o.CM)
			return func() {
				for t := range c.taps {
					q := o
					q.B, q.C = o.B[t*bh:], o.C[t*c.n:]
					AddOuter(&q)
				}
			}
		})
	}
	for _, c := range []struct{ rows, in, out int }{{8, 784, 512}, {128, 784, 512}, {128, 256, 64}} {
		benchLevels(b, fmt.Sprintf("dense/%dx%d-%d", c.rows, c.in, c.out), c.rows*c.in*c.out, func() func() {
			s := seeded(1)
			o := &Outer{H: 1, W: c.rows, M: c.out, N: c.in, CM: c.in, AW: c.out, BW: c.in}
			o.A, o.B, o.C = s.floats(c.rows*c.out), s.floats(c.rows*c.in), make([]float32, c.out*c.in)
			return func() { AddOuter(o) }
		})
	}
}

// BenchmarkElements measures the elementwise functions on the sizes of the MNIST denoiser.
func BenchmarkElements(b *testing.B) {
	for _, e := range elements {
		b.Run(e.name, func(b *testing.B) {
			benchSimple(b, 784, func() func() {
				v, was := make([][]float32, e.slices), make([][]float32, e.slices)
				for i := range v {
					v[i], was[i] = make([]float32, 784), seeded(uint64(i)).floats(784)
					ReLU(was[i])
				}
				return func() {
					for i := range v { // or steps would end in denormal numbers
						copy(v[i], was[i])
					}
					e.run(v)
				}
			})
		})
	}
	for _, c := range []struct{ w, c int }{{14, 32}, {7, 32}, {14, 3}} {
		s := seeded(1)
		row := 2 * c.w * c.c
		src, dst, at := s.floats(2*row), make([]float32, row), make([]byte, row)
		b.Run(fmt.Sprintf("MaxPool/%dx%d", c.w, c.c), func(b *testing.B) {
			benchSimple(b, row/2, func() func() { return func() { MaxPool(dst, at, src, row, 2, c.w, c.c) } })
		})
		b.Run(fmt.Sprintf("Unpool/%dx%d", c.w, c.c), func(b *testing.B) {
			benchSimple(b, row/2, func() func() { return func() { Unpool(src, row, dst, at, 2, c.w, c.c) } })
		})
	}
	for _, c := range []struct{ pixels, n int }{{784, 1}, {196, 32}, {49, 32}, {128, 256}} {
		src, dst := seeded(1).floats(c.pixels*c.n), make([]float32, c.n)
		b.Run(fmt.Sprintf("AddColumns/%dx%d", c.pixels, c.n), func(b *testing.B) {
			benchSimple(b, c.pixels*c.n, func() func() { return func() { AddColumns(dst, src, 1, 0, c.pixels, c.n) } })
		})
	}
}

// benchSimple runs a function of n elements at every level.
func benchSimple(b *testing.B, n int, prepare func() func()) {
	for _, l := range Supported() {
		b.Run(l.String(), func(b *testing.B) {
			defer Use(l)()
			f := prepare()
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/element")
		})
	}
}
