package cpu

import (
	"convae/nn/backend"
	"convae/nn/rng"
)

// Every product here is converted to float32 before it is added, so that the compiler does not fuse the two: the bits
// are the same on every machine.

// Normal fills dst with standard normal numbers.
func (l *lane) Normal(src rng.Source, dst, clock backend.Tensor, first int) {
	d, draw := l.activation(dst, dst.Shape), l.clock(clock).Step
	size := dst.Shape.Image()
	for n := range dst.Shape.N {
		row := d[n*size:][:size]
		for i := 0; i < size; i += 4 {
			z := src.Normals(uint32(i/4), uint32(first+n), draw)
			copy(row[i:], z[:])
		}
	}
}

// Dropout sets elements to zero with probability rate, and scales the others up.
func (l *lane) Dropout(rate float32, src rng.Source, out, x, clock backend.Tensor, first int) {
	if !(rate >= 0 && rate < 1) {
		panic(errRate)
	}
	o, in, draw := l.activation(out, x.Shape), l.activation(x, x.Shape), l.clock(clock).Step
	size := x.Shape.Image()
	for n := range x.Shape.N {
		to, from := o[n*size:][:size], in[n*size:][:size]
		for i := 0; i < size; i += 4 {
			u := src.Uniforms(uint32(i/4), uint32(first+n), draw)
			for j := i; j < min(i+4, size); j++ {
				if u[j-i] >= rate {
					to[j] = from[j] / (1 - rate)
				} else {
					to[j] = 0
				}
			}
		}
	}
}

// unit maps a pixel to [0, 1].
var unit = func() (t [256]float32) {
	for i := range t {
		t[i] = float32(i) / 255
	}
	return t
}()

// Gather collects a batch of the data set in the order's order, and adds noise.
func (l *lane) Gather(std float32, src rng.Source, clean, noisy, pixels, order, clock backend.Tensor, first int) {
	c, data, index, now := l.activation(clean, clean.Shape), l.bytes(pixels, pixels.Shape), l.index(order), l.clock(clock)
	if pixels.Shape != clean.Shape.WithN(pixels.Shape.N) {
		panic(errShape)
	}
	var noise []float32
	if !noisy.IsZero() {
		noise = l.activation(noisy, clean.Shape)
	}
	size := clean.Shape.Image()
	at := int(now.Offset) + first
	if first < 0 || at+clean.Shape.N > len(index) {
		panic(errIndex)
	}
	for n := range clean.Shape.N {
		sample := int(index[at+n])
		stored := sample
		if pixels.Kind == backend.Staged {
			stored = first + n
		}
		if stored < 0 || stored >= pixels.Shape.N {
			panic(errIndex)
		}
		row := c[n*size:][:size]
		for i, p := range data[stored*size:][:size] {
			row[i] = unit[p]
		}
		if noise == nil {
			continue
		}
		to := noise[n*size:][:size]
		for i := 0; i < size; i += 4 {
			z := src.Normals(uint32(i/4), uint32(sample), now.Draw)
			for j := i; j < min(i+4, size); j++ {
				to[j] = min(max(row[j]+float32(std*z[j-i]), 0), 1)
			}
		}
	}
}
