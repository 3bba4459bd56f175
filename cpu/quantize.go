package cpu

import (
	"math/bits"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Quantize finds the nearest row of the codebook.
func (l *lane) Quantize(out, index, x, codebook backend.Tensor) {
	backend.CheckQuantize(&out, &index, &x, &codebook)
	o, number, v, book, c := l.floats(out), l.floats(index), l.floats(x), l.floats(codebook), x.Shape.C
	for p := range len(v) / c {
		pixel := v[p*c:][:c]
		nearest, least := 0, distance(pixel, book)
		for k := 1; k < codebook.Shape.N; k++ {
			if d := distance(pixel, book[k*c:]); d < least {
				nearest, least = k, d
			}
		}
		to := o[p*c:][:c]
		copy(to, book[nearest*c:])
		if least != least {
			for i := range to {
				to[i] = least
			}
		}
		if number != nil {
			number[p] = float32(nearest)
		}
	}
}

// distance is the sum of squared differences.
func distance(a, b []float32) (sum float32) {
	for i, v := range a {
		d := v - b[i]
		sum += d * d
	}
	return sum
}

// QuantizeSums leaves counts, sums of pixels, and candidates.
func (l *lane) QuantizeSums(src rng.Source, row, index, x, stepParams backend.Tensor, first, count int) {
	backend.CheckQuantizeSums(&row, &index, &x, &stepParams, first, count)
	r, number, v, s := l.floats(row), l.floats(index), l.floats(x), x.Shape
	codes := len(r) / (2*s.C + 1)
	counts, sums, candidates := r[:codes], r[codes:codes*(s.C+1)], r[codes*(s.C+1):]
	clear(r)
	for p, k := range number {
		counts[int(k)]++
		to := sums[int(k)*s.C:][:s.C]
		for i, a := range v[p*s.C:][:s.C] {
			to[i] += a
		}
	}
	pixels, draw := s.H*s.W, l.stepParams(stepParams).Step
	var words [4]uint32
	for k := range codes {
		if k%4 == 0 {
			words = src.Words(uint32(k/4), 0, draw)
		}
		hi, _ := bits.Mul32(words[k%4], uint32(count*pixels))
		if p := int(hi) - first*pixels; p >= 0 && p < s.N*pixels {
			copy(candidates[k*s.C:][:s.C], v[p*s.C:])
		}
	}
}

// QuantizeMove moves a codebook to the moving averages.
func (l *lane) QuantizeMove(o backend.Moves, codebook, count, sum, rows backend.Tensor) {
	backend.CheckQuantizeMove(&codebook, &count, &sum, &rows)
	book, counts, sums, all := l.floats(codebook), l.floats(count), l.floats(sum), l.floats(rows)
	c, codes, size := codebook.Shape.C, codebook.Shape.N, len(all)/rows.Shape.N
	total := func(at int) (t float64) {
		for ; at < len(all); at += size {
			t += float64(all[at])
		}
		return t
	}
	keep, epsilon := float64(o.Decay), float64(o.Epsilon)
	m := 0.0
	for k := range counts {
		counts[k] = float32(keep*float64(counts[k]) + (1-keep)*total(k))
		m += float64(counts[k])
	}
	for i := range book {
		k := i / c
		if counts[k] < o.Revive {
			book[i] = float32(total(codes*(c+1) + i))
			sums[i] = o.Revive * book[i]
			continue
		}
		sums[i] = float32(keep*float64(sums[i]) + (1-keep)*total(codes+i))
		book[i] = float32(float64(sums[i]) * (m + float64(codes)*epsilon) / (m * (float64(counts[k]) + epsilon)))
	}
	for k, n := range counts {
		counts[k] = max(n, o.Revive)
	}
}
