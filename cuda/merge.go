package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Plus sets out to a + b.
func (l *lane) Plus(out, a, b backend.Tensor) {
	backend.CheckPlus(&out, &a, &b)
	s := out.Shape
	o, p, q, n := l.values(out), l.values(a), l.values(b), s.Len()
	l.launch1("Plus", kernels.MergePlus, ceilDiv(n, 4), ptr(o.p), ptr(p.p), ptr(q.p), i32(n), narrow(o, p, q))
}

// CopyChannels copies some of each pixel's channels.
func (l *lane) CopyChannels(dst backend.Tensor, to int, src backend.Tensor, from, count int) {
	backend.CheckCopyChannels(&dst, to, &src, from, count)
	d, s := dst.Shape, src.Shape
	o, in := l.values(dst), l.values(src)
	// A thread takes four channels where all five numbers are multiples of 4, and so is what their bits make together.
	e, v := wide(count|d.C|to|s.C|from, kernels.MergeChannels, kernels.MergeChannels4)
	n := d.N * d.H * d.W * count / v
	l.launch1("CopyChannels", e, n, ptr(o.p), ptr(in.p), i32(n), i32(count), i32(d.C), i32(to), i32(s.C), i32(from), narrow(o, in))
}
