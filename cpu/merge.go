package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Plus sets out to a + b.
func (l *lane) Plus(out, a, b backend.Tensor) {
	s := out.Shape
	simd.Sum(l.activation(out, s), l.activation(a, s), l.activation(b, s))
}

// CopyChannels copies some of each pixel's channels.
func (l *lane) CopyChannels(dst backend.Tensor, to int, src backend.Tensor, from, count int) {
	d, s := dst.Shape, src.Shape
	if d.N != s.N || d.H != s.H || d.W != s.W {
		panic(errShape)
	}
	if count < 0 || to < 0 || to > d.C-count || from < 0 || from > s.C-count {
		panic(errChannels)
	}
	o, in := l.activation(dst, d), l.activation(src, s)
	for p := range d.N * d.H * d.W {
		copy(o[p*d.C+to:][:count], in[p*s.C+from:])
	}
}
