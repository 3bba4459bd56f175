package cpu

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/rng"
)

// Corrupt makes samples worse, by the plain loops that specify it.
func (l *lane) Corrupt(c corrupt.Corruption, src rng.Source, out, x, order, stepParams backend.Tensor, first int) {
	backend.CheckCorrupt(c, &out, &x, &order, &stepParams, first)
	o, in, index, now := l.floats(out), l.floats(x), l.index(order), l.stepParams(stepParams)
	s := x.Shape
	at := int(now.Offset) + first
	if at+s.N > len(index) {
		panic(backend.MistakeIndex)
	}
	size := s.Image()
	for n := range s.N {
		c.Sample(o[n*size:][:size], in[n*size:][:size], s.H, s.W, s.C, src, uint32(index[at+n]), now.Draw)
	}
}
