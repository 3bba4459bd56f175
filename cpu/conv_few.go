package cpu

import "github.com/convae/convae/cpu/simd"

// correlateFew computes units lo to hi. It multiplies each pixel of the source once by the weights of all taps of all phases. Each pixel of the result is
// then the sum of what its taps made of the pixels that it reads.
func (l *lane) correlateFew(c *correlation, src *source, ws *scratch, out []float32, w []float32, e epilogue, lo, hi int) {
	frame, pixels, bias := ws.take(c.frame), ws.take(c.full), e.bias
	c.clearBorder(frame, c.columns())
	c.pairChannels(src, ws)
	e.bias = nil
	size := c.y.out * c.x.out * c.n
	for n := lo / c.units(); n*c.units() < hi; n++ {
		first, last := c.gridRows(n, lo, hi)
		for q := first; q < last; q += c.band {
			q1 := min(q+c.band, last)
			from, to := c.y.reach(q, q1)
			z, v := view{frame, from, c.left, c.width, c.columns()}, src.image(n)
			if c.rounded {
				v = src.load(pixels, n, max(from, 0), min(to, c.y.in), 0, c.x.in)
			}
			l.multiplyTaps(c, &z, &v, from, to, w)
			for y := q * c.y.period; y < min(q1*c.y.period, c.y.out); y++ {
				at := n*size + y*c.x.out*c.n
				row := out[at:][:c.x.out*c.n]
				c.sumTaps(row, &z, y, bias)
				e.finish(row, c.n, at)
			}
		}
	}
}

// multiplyTaps fills rows from to to of z with the products of the source's pixels and all taps. Rows outside of the source
// are zeros.
func (l *lane) multiplyTaps(c *correlation, z, v *view, from, to int, w []float32) {
	first, last := max(from, 0), min(to, c.y.in)
	clear(z.data[:(max(first, from)-from)*z.width*z.c])
	if last < to {
		clear(z.data[(max(last, from)-from)*z.width*z.c:][:(to-max(last, from))*z.width*z.c])
	}
	p, cols := &l.product, simd.Columns()
	*p = simd.Product{CH: z.width * z.c, CW: z.c, AH: c.x.in * c.c, AW: c.c, Taps: l.taps[:1], K: c.c, H: last - first, W: c.x.in, Pairs: c.pairs}
	if p.H <= 0 {
		return
	}
	p.Taps[0], p.A = 0, v.at(first, 0)
	for n := 0; n < z.c; n += cols {
		p.N, p.C, p.B = min(cols, z.c-n), z.at(first, 0)[n:], w[n*c.c:]
		simd.Multiply(p)
	}
}

// sumTaps computes row y of the result: the bias and the products in z of its taps.
func (c *correlation) sumTaps(row []float32, z *view, y int, bias []float32) {
	clear(row)
	for i := copy(row, bias); 0 < i && i < len(row); i *= 2 {
		copy(row[i:], row[:i])
	}
	ry, column := y%c.y.period, 0
	for r := range ry {
		_, ty := c.y.phase(r)
		column += ty * c.x.allTaps() * c.n
	}
	first, ty := c.y.phase(ry)
	first += y / c.y.period * c.y.advance
	for rx := range c.x.period {
		x, tx := c.x.phase(rx)
		taps, count, ls := ty*tx, c.x.count(rx), c.x.advance*z.c
		// from returns the products of tap t for channel n, beginning with that for the first pixel of the row.
		from := func(t, n int) []float32 {
			return z.at(first+t/tx, x+t%tx)[column+t*c.n+n:]
		}
		for n := range c.n {
			if count <= 0 {
				break
			}
			to, ld, t := row[rx*c.n+n:], c.x.period*c.n, 0
			for ; t+4 <= taps; t += 4 {
				addFour(to, ld, from(t, n), from(t+1, n), from(t+2, n), from(t+3, n), ls, count)
			}
			for ; t < taps; t++ {
				addOne(to, ld, from(t, n), ls, count)
			}
		}
		column += taps * c.n
	}
}

// addOne adds n elements of a to n elements of dst. Those of a are ls floats apart, those of dst ld floats.
func addOne(dst []float32, ld int, a []float32, ls, n int) {
	d, s := 0, 0
	for range n {
		dst[d] += a[s]
		d, s = d+ld, s+ls
	}
}

// addFour is addOne for four slices at once: it adds the sums of their elements.
func addFour(dst []float32, ld int, a, b, c, e []float32, ls, n int) {
	size := (n-1)*ls + 1
	a, b, c, e = a[:size], b[:size], c[:size], e[:size]
	d := 0
	for s := 0; s < size; s += ls {
		dst[d] += (a[s] + b[s]) + (c[s] + e[s])
		d += ld
	}
}
