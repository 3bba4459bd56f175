package cpu

import (
	"math"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// batchNorm is what a normalisation takes pixels by: in runs of some side by side, so that few channels too make runs which are long enough.
// Each element of a run has coefficients of its own.
type batchNorm struct {
	channels           int
	from, scale, shift []float32    // of the normalisation
	mean, slope        []float32    // of its gradient
	rstd               []float32    // that these are made of, of a pixel
	sums               [2][]float32 // of columns
	g, y               []float32    // the gradients of a run before the activation, and its values
}

const (
	batchNormRun  = 256     // elements of a run, at least
	batchNormRuns = 8 + 2   // that a batchNorm has
	batchNormBand = 4 << 10 // elements whose sums are added apart from those of others, about; they stay in the L1 cache
)

// runOf is the elements of a run.
func runOf(channels int) int { return channels * divUp(batchNormRun, channels) }

// BatchNormNeeds returns the memory of the runs. There is one row for a micro-batch.
func (l *lane) BatchNormNeeds(s backend.BatchNormShape) backend.Needs {
	s.Check()
	n := 4 * batchNormRuns * lineUp(runOf(s.X.C))
	return backend.Needs{Workspace: n, Forward: n, Partials: 1}
}

func (l *lane) batchNorm(channels int) batchNorm {
	ws := scratch(l.ws)
	b := batchNorm{channels: channels}
	for _, p := range [batchNormRuns]*[]float32{&b.from, &b.scale, &b.shift, &b.mean, &b.slope, &b.rstd, &b.sums[0], &b.sums[1], &b.g, &b.y} {
		*p = ws.take(runOf(channels))
	}
	return b
}

// repeat gives all pixels of a run the coefficients of its first.
func (b *batchNorm) repeat(run []float32) {
	for n := b.channels; n < len(run); n *= 2 {
		copy(run[n:], run[:n])
	}
}

// normalizeBy sets the coefficients of the normalisation.
func (b *batchNorm) normalizeBy(l *lane, s *backend.BatchNormShape, p *backend.BatchNormParams) {
	copy(b.from, l.floats(p.Mean))
	gamma := l.floats(p.Gamma)
	for c, v := range l.floats(p.Variance) {
		b.rstd[c] = float32(1 / math.Sqrt(float64(v)+float64(s.Epsilon)))
		b.scale[c], b.shift[c] = b.rstd[c], 0
		if gamma != nil {
			b.scale[c] *= gamma[c]
		}
	}
	copy(b.shift, l.floats(p.Beta))
	b.repeat(b.from)
	b.repeat(b.scale)
	b.repeat(b.shift)
}

// before returns the gradients of a run before the activation.
func (b *batchNorm) before(f backend.Function, g, x []float32) []float32 {
	if f.Act == backend.Linear {
		return g
	}
	n := len(x)
	y := b.y[:n]
	simd.Normalize(y, x, b.from[:n], b.scale[:n], b.shift[:n])
	if f.Act.FromOutput() {
		apply(f, y)
	}
	copy(b.g, g)
	slope(f, b.g[:n], y)
	return b.g[:n]
}

// totals are the sums of the columns of channel c and of the three behind it, as far as there are so many: four at a time, because an addition
// waits for the one before it.
func (b *batchNorm) totals(sums []float32, c int) (t [4]float64) {
	if c+4 > b.channels {
		for i := range b.channels - c {
			for at := c + i; at < len(sums); at += b.channels {
				t[i] += float64(sums[at])
			}
		}
		return t
	}
	var t0, t1, t2, t3 float64
	for at := c; at+4 <= len(sums); at += b.channels {
		s := sums[at:][:4]
		t0, t1, t2, t3 = t0+float64(s[0]), t1+float64(s[1]), t2+float64(s[2]), t3+float64(s[3])
	}
	return [4]float64{t0, t1, t2, t3}
}

// stretches calls f for each row of rows, with its stretch of the values of the pixels.
func stretches(s *backend.BatchNormShape, rows []float32, n int, f func(row []float32, lo, hi int)) {
	values := s.Stretch(n) * s.X.C
	size := len(rows) / n
	for r := range n {
		f(rows[r*size:][:size], min(r*values, s.X.Len()), min((r+1)*values, s.X.Len()))
	}
}

// BatchNormStatistics leaves means, sums of squared differences and the number of pixels.
func (l *lane) BatchNormStatistics(s backend.BatchNormShape, rows, x backend.Tensor) {
	s.CheckStatistics(&rows, &x)
	b := l.batchNorm(s.X.C)
	v := l.floats(x)
	stretches(&s, l.floats(rows), rows.Shape.N, func(row []float32, lo, hi int) { b.statistics(row, v[lo:hi]) })
}

// statistics makes a row of those of x, band by band. The mean of a band is made of differences from its first pixel, so that the mean of values
// which are all the same is their value.
func (b *batchNorm) statistics(row, x []float32) {
	clear(row)
	var total [4]float64
	run := len(b.from)
	band := max(batchNormBand/run, 1) * run
	for lo := 0; lo < len(x); lo += band {
		v := x[lo:min(lo+band, len(x))]
		count := float64(len(v) / b.channels)
		copy(b.from, v[:b.channels])
		b.repeat(b.from)
		b.columns(v, simd.Deviations)
		for c := range b.channels {
			if c%4 == 0 {
				total = b.totals(b.sums[0], c)
			}
			b.from[c] = float32(float64(v[c]) + total[c%4]/count)
		}
		b.repeat(b.from)
		b.columns(v, simd.Squares)
		n := float64(row[2*b.channels])
		share := count / (n + count)
		for c, mean := range b.from[:b.channels] {
			if c%4 == 0 {
				total = b.totals(b.sums[0], c)
			}
			d := float64(mean) - float64(row[c])
			row[c] = float32(float64(row[c]) + d*share)
			row[b.channels+c] = float32(float64(row[b.channels+c]) + total[c%4] + d*d*n*share)
		}
		row[2*b.channels] = float32(n + count)
	}
}

// columns sums what f adds for each run.
func (b *batchNorm) columns(x []float32, f func(sum, x, from []float32)) {
	clear(b.sums[0])
	for len(x) > 0 {
		n := min(len(b.from), len(x))
		f(b.sums[0][:n], x[:n], b.from[:n])
		x = x[n:]
	}
}

// BatchNormMoments merges the rows (Chan, Golub and LeVeque, 1979) and moves the averages.
func (l *lane) BatchNormMoments(o backend.Moving, moments, movingMean, movingVariance, rows backend.Tensor) {
	o.Check(&moments, &movingMean, &movingVariance, &rows)
	m, all, mm, mv := l.floats(moments), l.floats(rows), l.floats(movingMean), l.floats(movingVariance)
	channels := len(mm)
	for c := range channels {
		var n, mean, m2 float64
		for row := all; len(row) > 0; row = row[2*channels+1:] {
			count := float64(row[2*channels])
			if count == 0 {
				continue
			}
			share := count / (n + count)
			d := float64(row[c]) - mean
			mean += d * share
			m2 += float64(row[channels+c]) + d*d*n*share
			n += count
		}
		variance := m2 / n
		m[c], m[channels+c] = float32(mean), float32(variance)
		if o.Unbiased && n > 1 {
			variance = m2 / (n - 1)
		}
		keep := float64(o.Momentum)
		mm[c] = float32(keep*float64(mm[c]) + (1-keep)*mean)
		mv[c] = float32(keep*float64(mv[c]) + (1-keep)*variance)
	}
}

// BatchNorm normalises.
func (l *lane) BatchNorm(s backend.BatchNormShape, out, x backend.Tensor, p backend.BatchNormParams) {
	s.CheckForward(&out, &x, &p)
	b := l.batchNorm(s.X.C)
	b.normalizeBy(l, &s, &p)
	o, v := l.floats(out), l.floats(x)
	for at := 0; at < len(v); at += len(b.from) {
		n := min(len(b.from), len(v)-at)
		y := o[at:][:n]
		if s.Act.Act == backend.ReLU {
			simd.NormalizeReLU(y, v[at:][:n], b.from[:n], b.scale[:n], b.shift[:n])
		} else {
			simd.Normalize(y, v[at:][:n], b.from[:n], b.scale[:n], b.shift[:n])
			apply(s.Act, y)
		}
		round(out.Type, y)
	}
}

// BatchNormSums leaves the sums of gradients, and of those times the normalised values.
func (l *lane) BatchNormSums(s backend.BatchNormShape, rows, gradOut, x backend.Tensor, p backend.BatchNormParams) {
	s.CheckSums(&rows, &gradOut, &x, &p)
	b := l.batchNorm(s.X.C)
	b.normalizeBy(l, &s, &p)
	v, grads := l.floats(x), l.floats(gradOut)
	stretches(&s, l.floats(rows), rows.Shape.N, func(row []float32, lo, hi int) {
		clear(row)
		run := len(b.from)
		band := max(batchNormBand/run, 1) * run
		for ; lo < hi; lo += band {
			clear(b.sums[0])
			clear(b.sums[1])
			for at, end := lo, min(lo+band, hi); at < end; at += run {
				n := min(run, end-at)
				x, g := v[at:][:n], grads[at:][:n]
				if s.Act.Act == backend.ReLU {
					simd.CorrelateReLU(b.sums[0][:n], b.sums[1][:n], g, x, b.from[:n], b.scale[:n], b.shift[:n])
				} else {
					simd.Correlate(b.sums[0][:n], b.sums[1][:n], b.before(s.Act, g, x), x, b.from[:n])
				}
			}
			for c := 0; c < b.channels; c += 4 {
				sum, product := b.totals(b.sums[0], c), b.totals(b.sums[1], c)
				for i := range min(4, b.channels-c) {
					row[c+i] += float32(sum[i])
					row[b.channels+c+i] += float32(product[i] * float64(b.rstd[c+i]))
				}
			}
		}
	})
}

// BatchNormTotals adds the rows up.
func (l *lane) BatchNormTotals(totals, gradGamma, gradBeta, rows backend.Tensor) {
	backend.CheckBatchNormTotals(&totals, &gradGamma, &gradBeta, &rows)
	t, all := l.floats(totals), l.floats(rows)
	for i := range t {
		sum := 0.0
		for at := i; at < len(all); at += len(t) {
			sum += float64(all[at])
		}
		t[i] = float32(sum)
	}
	if g := l.floats(gradBeta); g != nil {
		simd.Axpy(g, 1, t[:len(g)])
	}
	if g := l.floats(gradGamma); g != nil {
		simd.Axpy(g, 1, t[len(g):])
	}
}

// BatchNormBack makes the gradient with respect to the values that are normalised.
func (l *lane) BatchNormBack(s backend.BatchNormShape, pixels int, gradX, gradOut, x, totals backend.Tensor, p backend.BatchNormParams) {
	s.CheckBack(pixels, &gradX, &gradOut, &x, &totals, &p)
	b := l.batchNorm(s.X.C)
	b.normalizeBy(l, &s, &p)
	o, grads, v, t := l.floats(gradX), l.floats(gradOut), l.floats(x), l.floats(totals)
	for c, scale := range b.scale[:b.channels] {
		b.mean[c] = float32(float64(scale) * float64(t[c]) / float64(pixels))
		b.slope[c] = float32(float64(scale) * float64(b.rstd[c]) * float64(t[b.channels+c]) / float64(pixels))
	}
	b.repeat(b.mean)
	b.repeat(b.slope)
	for at := 0; at < len(v); at += len(b.from) {
		n := min(len(b.from), len(v)-at)
		x, y, g := v[at:][:n], o[at:][:n], grads[at:][:n]
		if s.Act.Act == backend.ReLU {
			simd.NormalizeBackReLU(y, g, x, b.from[:n], b.scale[:n], b.shift[:n], b.mean[:n], b.slope[:n])
		} else {
			simd.NormalizeBack(y, b.before(s.Act, g, x), x, b.from[:n], b.scale[:n], b.mean[:n], b.slope[:n])
		}
		round(gradX.Type, y)
	}
}
