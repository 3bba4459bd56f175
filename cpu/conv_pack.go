package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// pack writes the weights w of s in the order in which a correlation reads them: phase after phase, and in each of them panels
// of simd.Columns() channels of the result, with a row for each tap and channel of the source. For correlateFew the columns of
// the panels are instead all taps of all phases for each channel of the result, with a row for each channel of the source. The lane makes its piece,
// some of the panels.
func (l *lane) pack(c *correlation, s *backend.ConvShape, dst, w []float32) {
	lo, hi := l.piecePanels(c, s)
	if lo == hi {
		return
	}
	if c.path == pathWinograd {
		c.packTransformed(s, dst, w)
		return
	}
	cols, column := simd.Columns(), 0
	for ry := range c.y.period {
		_, ty := c.y.phase(ry)
		for rx := range c.x.period {
			_, tx := c.x.phase(rx)
			for t := range ty * tx {
				f := c.under(s, ry, t/tx, rx, t%tx)
				if c.path == pathFewOut {
					for n := range c.n {
						c.packTap(&f, dst[column/cols*cols*c.c+column%cols:], w, n, 1)
						column++
					}
					continue
				}
				for n := lo * cols; n < min(hi*cols, c.n); n += cols {
					c.packTap(&f, dst[n*ty*tx*c.c+t*c.c*cols:], w, n, min(cols, c.n-n))
				}
			}
			if c.path != pathFewOut {
				dst = dst[ty*tx*c.c*panels(c.n):]
			}
		}
	}
}

// packTap writes the c.c rows of a tap, for channels n0 to n0+n of the result. Those of pairs are made of the rows of two channels, the last of which may
// be no channels: they are zeros then.
func (c *correlation) packTap(f *tapWeights, dst, w []float32, n0, n int) {
	if !c.pairs {
		f.pack(dst, w, n0, n, c.c)
		return
	}
	const most = 8 // words at a time
	var rows [2 * most * 32]float32
	cols := simd.Columns()
	for i := 0; i < c.c; i += most {
		clear(rows[:])
		if k := min(2*most, c.channels-2*i); k > 0 {
			f.pack(rows[:], w[2*i*f.k:], n0, n, k)
		}
		for j := range min(most, c.c-i) {
			simd.PairRows(dst[(i+j)*cols:][:n], rows[2*j*cols:][:n], rows[(2*j+1)*cols:][:n])
		}
	}
}

// piecePanels returns which panels the lane is to pack: all or none of those that are rounded or transformed when they are there, or that have several taps.
func (l *lane) piecePanels(c *correlation, s *backend.ConvShape) (lo, hi int) {
	n := divUp(c.n, simd.Columns())
	if c.path == pathFewOut || c.path == pathWinograd || s.Multiply != backend.Float32 {
		lo, hi = l.piece(1)
		return lo * n, hi * n
	}
	return l.piece(n)
}

// tapWeights is the weights that fall on a tap: those of rows y0 to y1 and columns x0 to x1 of a kernel, to be summed.
// Neighbouring channels of the result and of the source are n and k apart.
type tapWeights struct {
	y0, y1, x0, x1 int
	row, pixel     int
	n, k           int
}

// under returns the weights on tap (i, j) of phase (ry, rx).
func (c *correlation) under(s *backend.ConvShape, ry, i, rx, j int) tapWeights {
	f := tapWeights{row: s.KernelW * s.X.C, pixel: s.X.C, n: s.KernelH * s.KernelW * s.X.C, k: 1}
	if c.y.back {
		f.n, f.k = f.k, f.n
	}
	f.y0, f.y1 = c.y.under(ry, i)
	f.x0, f.x1 = c.x.under(rx, j)
	return f
}

// pack writes the sums for channels n0 to n0+n of the result and the k channels of the source to k rows of dst.
func (f *tapWeights) pack(dst, w []float32, n0, n, k int) {
	cols, first := simd.Columns(), true
	for y := f.y0; y < f.y1; y++ {
		for x := f.x0; x < f.x1; x++ {
			from := w[y*f.row+x*f.pixel+n0*f.n:]
			switch {
			case first && f.n == 1:
				for i := range k {
					copy(dst[i*cols:][:n], from[i*f.k:])
				}
			case first:
				transpose(dst, cols, from, f.n, n, k)
			default:
				for i := range k {
					to := dst[i*cols:][:n]
					for j := range to {
						to[j] += from[i*f.k+j*f.n]
					}
				}
			}
			first = false
		}
	}
}

// transpose writes rows of n elements, ld apart, as columns: dst[j*ldd+i] = src[i*ld+j].
func transpose(dst []float32, ldd int, src []float32, ld, rows, n int) {
	i := 0
	for ; i+4 <= rows; i += 4 {
		r0, r1, r2, r3 := src[i*ld:][:n], src[(i+1)*ld:][:n], src[(i+2)*ld:][:n], src[(i+3)*ld:][:n]
		for j := range r0 {
			d := dst[j*ldd+i:][:4]
			d[0], d[1], d[2], d[3] = r0[j], r1[j], r2[j], r3[j]
		}
	}
	for ; i < rows; i++ {
		for j, v := range src[i*ld:][:n] {
			dst[j*ldd+i] = v
		}
	}
}
