package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Plus sets out to a + b.
func (l *lane) Plus(out, a, b backend.Tensor) {
	backend.CheckPlus(&out, &a, &b)
	o, p, q := l.floats(out), l.floats(a), l.floats(b)
	l.pieceOf(1, &o, &p, &q)
	simd.Sum(o, p, q)
	round(out.Type, o)
}

// CopyChannels copies some of each pixel's channels.
func (l *lane) CopyChannels(dst backend.Tensor, to int, src backend.Tensor, from, count int) {
	backend.CheckCopyChannels(&dst, to, &src, from, count)
	d, s := dst.Shape, src.Shape
	o, in := l.floats(dst), l.floats(src)
	l.pieceOf(d.C, &o)
	l.pieceOf(s.C, &in)
	pixels := len(o) / d.C
	if count == 0 || pixels == 0 {
		return
	}
	simd.CopyChannels(o[to:], d.C, in[from:], s.C, pixels, count)
	if dst.Type != backend.Float32 {
		for p := range pixels {
			round(dst.Type, o[p*d.C+to:][:count])
		}
	}
}
