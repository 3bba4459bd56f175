package cpu

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

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
