package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Plus sets out to a + b.
func (l *lane) Plus(out, a, b backend.Tensor) {
	s := out.Shape
	o, p, q, n := l.activation(out, s), l.activation(a, s), l.activation(b, s), s.Len()
	l.launch1("Plus", kernels.MergePlus, ceilDiv(n, 4), ptr(o), ptr(p), ptr(q), i32(n))
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
	// A thread takes four channels where all five numbers are multiples of 4, and so is what their bits make together.
	e, v := wide(count|d.C|to|s.C|from, kernels.MergeChannels, kernels.MergeChannels4)
	n := d.N * d.H * d.W * count / v
	l.launch1("CopyChannels", e, n, ptr(o), ptr(in), i32(n), i32(count), i32(d.C), i32(to), i32(s.C), i32(from))
}
