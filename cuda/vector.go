package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Zero clears dst.
func (l *lane) Zero(dst backend.Tensor) {
	backend.CheckZero(&dst)
	p, n := l.at(dst), dst.Shape.Len()
	if n > 0 {
		l.do("Zero", func() error { return l.stream.Fill(p, 0, n) })
	}
}

// Copy copies src to dst.
func (l *lane) Copy(dst, src backend.Tensor) {
	backend.CheckCopy(&dst, &src)
	l.copy("Copy", l.values(dst), l.values(src), dst.Shape.Len())
}

// Reshape copies activations to another shape of as many elements an image.
func (l *lane) Reshape(dst, src backend.Tensor) {
	backend.CheckReshape(&dst, &src)
	l.copy("Reshape", l.values(dst), l.values(src), dst.Shape.Len())
}

// copy copies n values.
func (l *lane) copy(op string, dst, src values, n int) {
	switch {
	case n == 0:
	case dst.narrow == src.narrow:
		l.do(op, func() error { return l.stream.Copy(dst.p, src.p, dst.bytes(n)) })
	default:
		l.launch1(op, kernels.ActForward, ceilDiv(n, 4), ptr(dst.p), ptr(src.p), i32(n), act(backend.Linear), f32(0), narrow(dst, src))
	}
}

// Axpy adds alpha*src to dst.
func (l *lane) Axpy(dst backend.Tensor, alpha float32, src backend.Tensor) {
	backend.CheckAxpy(&dst, &src)
	d, s, n := l.at(dst), l.at(src), dst.Shape.Len()
	l.launch1("Axpy", kernels.VectorAxpy, ceilDiv(n, 4), ptr(d), ptr(s), i32(n), f32(alpha), 0)
}

// sumWidth is the number of vectors that a launch of vector_sum adds.
const sumWidth = 8

// Sum sets dst to src[0] + src[1] + ... in this order. A sum of many vectors goes on from what is in dst.
func (l *lane) Sum(dst backend.Tensor, src []backend.Tensor) {
	backend.CheckSum(&dst, src)
	d, n := l.at(dst), dst.Shape.Len()
	var p [sumWidth]uint64
	k := 0
	for i, t := range src {
		p[k] = ptr(l.at(t))
		k++
		if k < sumWidth && i < len(src)-1 {
			continue
		}
		l.launch1("Sum", kernels.VectorSum, n, ptr(d), i32(n), i32(k), p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7])
		p, k = [sumWidth]uint64{ptr(d)}, 1
	}
}
