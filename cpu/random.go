package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Normal fills dst with standard normal numbers.
func (l *lane) Normal(src rng.Source, dst, stepParams backend.Tensor, first int) {
	backend.CheckNormal(&dst, &stepParams)
	d, draw := l.floats(dst), l.stepParams(stepParams).Step
	size := dst.Shape.Image()
	for n := range dst.Shape.N {
		simd.Normals(d[n*size:][:size], src, uint32(first+n), draw)
	}
}

// Dropout sets elements to zero with probability rate, and scales the others up.
func (l *lane) Dropout(rate float32, src rng.Source, out, x, stepParams backend.Tensor, first int) {
	backend.CheckDropout(rate, &out, &x, &stepParams)
	o, in, draw := l.floats(out), l.floats(x), l.stepParams(stepParams).Step
	size := x.Shape.Image()
	for n := range x.Shape.N {
		simd.Dropout(o[n*size:][:size], in[n*size:][:size], rate, src, uint32(first+n), draw)
	}
	round(out.Type, o)
}

// GatherPixels collects a batch of the data set in the order's order, and adds noise.
func (l *lane) GatherPixels(std float32, src rng.Source, clean, noisy, pixels, order, stepParams backend.Tensor, first int) {
	backend.CheckGatherPixels(&clean, &noisy, &pixels, &order, &stepParams, first)
	c, data, index, now := l.floats(clean), l.bytes(pixels), l.index(order), l.stepParams(stepParams)
	noise := l.floats(noisy)
	size := clean.Shape.Image()
	at := int(now.Offset) + first
	if first < 0 || at+clean.Shape.N > len(index) {
		panic(backend.MistakeIndex)
	}
	for n := range clean.Shape.N {
		sample := int(index[at+n])
		stored := sample
		if pixels.Role == backend.Staged {
			stored = first + n
		}
		if stored < 0 || stored >= pixels.Shape.N {
			panic(backend.MistakeIndex)
		}
		row := c[n*size:][:size]
		simd.Pixels(row, data[stored*size:][:size])
		if noise != nil {
			simd.Noise(noise[n*size:][:size], row, std, src, uint32(sample), now.Draw)
		}
	}
}

// GatherValues collects a batch of float32 values in the order's order, and adds noise. The product is rounded before it is
// added, so that the bits are the same on every machine.
func (l *lane) GatherValues(std float32, src rng.Source, clean, noisy, values, order, stepParams backend.Tensor, first int) {
	backend.CheckGatherValues(&clean, &noisy, &values, &order, &stepParams, first)
	c, data, index, now := l.floats(clean), l.floats(values), l.index(order), l.stepParams(stepParams)
	size := clean.Shape.Image()
	noise := l.floats(noisy)
	at := int(now.Offset) + first
	if first < 0 || at+clean.Shape.N > len(index) {
		panic(backend.MistakeIndex)
	}
	for n := range clean.Shape.N {
		sample := int(index[at+n])
		if sample < 0 || sample >= len(data)/size {
			panic(backend.MistakeIndex)
		}
		row := c[n*size:][:size]
		copy(row, data[sample*size:])
		if noise == nil {
			continue
		}
		to := noise[n*size:][:size]
		for i := 0; i < size; i += 4 {
			z := src.Normals(uint32(i/4), uint32(sample), now.Draw)
			for j := i; j < min(i+4, size); j++ {
				to[j] = row[j] + float32(std*z[j-i])
			}
		}
	}
}
