package cpu

import (
	"math"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// norm is a normalisation of one unit, an image or a pixel, that is taken in rows of pixels side by side, so that few channels too make
// rows which are long enough. Each element of a row has its own coefficients: from is what is subtracted, and a scale and a shift follow.
type norm struct {
	*backend.GroupNormShape
	row               int // elements
	from, scale, beta []float32
	sum, band         [2][]float32 // two sums of columns, each of what bands add up
	gamma             []float32    // on the way back, as are the others
	mean, slope, rstd []float32
	y, g              []float32 // a band's values before the activation, and their gradients
}

const (
	normRow  = 64      // elements of a row, at least
	normBand = 4 << 10 // elements of a band of rows, which stays in the L1 cache; or a row
)

// rowOf is the elements of a row.
func rowOf(s *backend.GroupNormShape) int {
	return s.X.C * min(max(divUp(normRow, s.X.C), 1), s.Pixels())
}

// bandOf is the elements of a band: whole rows.
func bandOf(row int) int { return max(normBand/row, 1) * row }

const normRows = 3 + 4 + 4 // that a norm has

func planNorm(s *backend.GroupNormShape, ws scratch) norm {
	n := norm{GroupNormShape: s, row: rowOf(s)}
	for _, p := range [normRows]*[]float32{&n.from, &n.scale, &n.beta, &n.sum[0], &n.sum[1], &n.band[0], &n.band[1], &n.gamma, &n.mean, &n.slope, &n.rstd} {
		*p = ws.take(n.row)
	}
	n.y, n.g = ws.take(bandOf(n.row)), ws.take(bandOf(n.row))
	return n
}

// GroupNormNeeds returns the memory of the rows and bands.
func (l *lane) GroupNormNeeds(s backend.GroupNormShape) backend.Needs {
	s.Check()
	row := rowOf(&s)
	n := 4 * (normRows*lineUp(row) + 2*lineUp(bandOf(row)))
	return backend.Needs{Workspace: n, Forward: n}
}

// channels sets the coefficients of a row, one for each channel, from a vector, or to what stands for one that is not there.
func (n *norm) channels(row, v []float32, without float32) {
	for c := range n.X.C {
		row[c] = without
	}
	copy(row, v)
	n.repeat(row)
}

// repeat sets the coefficients of all pixels of a row to those of the first.
func (n *norm) repeat(row []float32) {
	for i := n.X.C; i < n.row; i += n.X.C {
		copy(row[i:], row[:n.X.C])
	}
}

// of returns a group's channels among the coefficients of a row's first pixel.
func (n *norm) of(row []float32, g int) []float32 { return row[g*n.Channels():][:n.Channels()] }

// set sets the coefficients of a group's channels.
func (n *norm) set(row []float32, g int, v float64) {
	for i := range n.of(row, g) {
		row[g*n.Channels()+i] = float32(v)
	}
}

// column is the sum of a channel's columns.
func (n *norm) column(sum []float32, c int) (s float64) {
	for i := c; i < n.row; i += n.X.C {
		s += float64(sum[i])
	}
	return s
}

// total is the sum of a group's columns, each times the channel's coefficient unless there are none.
func (n *norm) total(sum, scale []float32, g int) (s float64) {
	for c := g * n.Channels(); c < (g+1)*n.Channels(); c++ {
		if v := n.column(sum, c); scale == nil {
			s += v
		} else {
			s += float64(scale[c]) * v
		}
	}
	return s
}

// differences sums columns of what x differs from n.from by, or its squares.
func (n *norm) differences(x []float32, squares bool) {
	clear(n.sum[0])
	for lo := 0; lo < len(x); lo += len(n.y) {
		clear(n.band[0])
		for at, hi := lo, min(lo+len(n.y), len(x)); at < hi; at += n.row {
			k := min(n.row, hi-at)
			if squares {
				simd.Squares(n.band[0][:k], x[at:][:k], n.from[:k])
			} else {
				simd.Deviations(n.band[0][:k], x[at:][:k], n.from[:k])
			}
		}
		simd.Sum(n.sum[0], n.sum[0], n.band[0])
	}
}

// moments leaves the mean of each group in from, and one over its deviation in rstd. The mean is made of differences from a value of the
// group, so that the mean of values which are all the same is their value.
func (n *norm) moments(x []float32) {
	for g := range n.Groups {
		n.set(n.from, g, float64(x[g*n.Channels()]))
	}
	n.repeat(n.from)
	n.differences(x, false)
	count := float64(n.Pixels() * n.Channels())
	for g := range n.Groups {
		n.set(n.from, g, float64(x[g*n.Channels()])+n.total(n.sum[0], nil, g)/count)
	}
	n.repeat(n.from)
	n.differences(x, true)
	for g := range n.Groups {
		n.set(n.rstd, g, 1/math.Sqrt(n.total(n.sum[0], nil, g)/count+float64(n.Epsilon)))
	}
	n.repeat(n.rstd)
}

// scaled sets the scale to gamma times rstd.
func (n *norm) scaled() {
	for i, r := range n.rstd {
		n.scale[i] = r * n.gamma[i]
	}
}

// normalize writes the normalised values of x, whose first is the first of a row.
func (n *norm) normalize(out, x []float32) {
	for at := 0; at < len(x); at += n.row {
		k := min(n.row, len(x)-at)
		simd.Normalize(out[at:][:k], x[at:][:k], n.from[:k], n.scale[:k], n.beta[:k])
	}
}

// before returns the gradients of a band before the activation, in dst unless they are those of g themselves.
func (n *norm) before(dst, g, x []float32) []float32 {
	if n.Act.Act == backend.Linear {
		return g
	}
	y := n.y[:len(x)]
	n.normalize(y, x)
	copy(dst, g)
	if n.Act.Act.FromOutput() {
		apply(n.Act, y)
	}
	slope(n.Act, dst, y)
	return dst
}

// GroupNorm: out = act(gamma (x - mean) / sqrt(variance + epsilon) + beta).
func (l *lane) GroupNorm(s backend.GroupNormShape, out, stats, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &stats, &x, &p)
	n := planNorm(&s, l.ws)
	all, result, st := l.floats(x), l.floats(out), l.floats(stats)
	n.channels(n.gamma, l.floats(p.W), 1)
	n.channels(n.beta, l.floats(p.Bias), 0)
	size := s.Pixels() * s.X.C
	for u := range s.Units() {
		x, o := all[u*size:][:size], result[u*size:][:size]
		n.moments(x)
		n.scaled()
		for lo := 0; lo < size; lo += len(n.y) {
			k := min(len(n.y), size-lo)
			n.normalize(o[lo:][:k], x[lo:][:k])
			apply(s.Act, o[lo:][:k])
			round(out.Type, o[lo:][:k])
		}
		if st == nil {
			continue
		}
		for g := range s.Groups {
			st[2*(u*s.Groups+g)], st[2*(u*s.Groups+g)+1] = n.of(n.from, g)[0], n.of(n.rstd, g)[0]
		}
	}
}

// GroupNormBack makes the gradients, from what is behind the activation.
func (l *lane) GroupNormBack(s backend.GroupNormShape, gradX backend.Tensor, grad backend.Params, gradOut, stats, x backend.Tensor, p backend.Params) {
	s.CheckBack(&gradX, &grad, 0, &gradOut, &stats, &x, &p)
	n := planNorm(&s, l.ws)
	inputs, grads, result, st := l.floats(x), l.floats(gradOut), l.floats(gradX), l.floats(stats)
	gradGamma, gradBeta := l.floats(grad.W), l.floats(grad.Bias)
	n.channels(n.gamma, l.floats(p.W), 1)
	n.channels(n.beta, l.floats(p.Bias), 0)
	size, count := s.Pixels()*s.X.C, float64(s.Pixels()*s.Channels())
	for u := range s.Units() {
		x, g := inputs[u*size:][:size], grads[u*size:][:size]
		for g := range s.Groups {
			n.set(n.from, g, float64(st[2*(u*s.Groups+g)]))
			n.set(n.rstd, g, float64(st[2*(u*s.Groups+g)+1]))
		}
		n.repeat(n.from)
		n.repeat(n.rstd)
		n.scaled()
		n.products(g, x)
		if gradBeta != nil {
			for c := range s.X.C {
				gradBeta[c] += float32(n.column(n.sum[0], c))
			}
		}
		if gradGamma != nil {
			for c := range s.X.C {
				gradGamma[c] += float32(float64(n.rstd[c]) * n.column(n.sum[1], c))
			}
		}
		if result == nil {
			continue
		}
		// gradX = scale gradient - (mean + slope (x - from)).
		for g := range s.Groups {
			r := float64(n.of(n.rstd, g)[0])
			n.set(n.mean, g, r*n.total(n.sum[0], n.gamma, g)/count)
			n.set(n.slope, g, r*r*r*n.total(n.sum[1], n.gamma, g)/count)
		}
		n.repeat(n.mean)
		n.repeat(n.slope)
		gx := result[u*size:][:size]
		for lo := 0; lo < size; lo += len(n.y) {
			k := min(len(n.y), size-lo)
			gx, x := gx[lo:][:k], x[lo:][:k]
			before := n.before(gx, g[lo:][:k], x)
			for at := 0; at < k; at += n.row {
				m := min(n.row, k-at)
				simd.NormalizeBack(gx[at:][:m], before[at:][:m], x[at:][:m], n.from[:m], n.scale[:m], n.mean[:m], n.slope[:m])
			}
			round(gradX.Type, gx)
		}
	}
}

// products sums columns of the gradients before the activation, and of them times what x differs from the mean by.
func (n *norm) products(g, x []float32) {
	clear(n.sum[0])
	clear(n.sum[1])
	for lo := 0; lo < len(x); lo += len(n.y) {
		hi := min(lo+len(n.y), len(x))
		before := n.before(n.g[:hi-lo], g[lo:hi], x[lo:hi])
		clear(n.band[0])
		clear(n.band[1])
		for at := lo; at < hi; at += n.row {
			k := min(n.row, hi-at)
			simd.Correlate(n.band[0][:k], n.band[1][:k], before[at-lo:][:k], x[at:][:k], n.from[:k])
		}
		simd.Sum(n.sum[0], n.sum[0], n.band[0])
		simd.Sum(n.sum[1], n.sum[1], n.band[1])
	}
}
