package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// span returns the memory of a tensor of any role.
func (l *lane) span(t backend.Tensor) []byte {
	n := l.Bytes(t.Role, t.Shape)
	b, at := l.raw(t, n)
	return b.bytes[at : at+n : at+n]
}

// same panics unless a and b have one role and shape.
func same(a, b backend.Tensor) {
	if a.Role != b.Role {
		panic(errRole)
	}
	if a.Shape != b.Shape {
		panic(errShape)
	}
}

// Zero clears dst.
func (l *lane) Zero(dst backend.Tensor) { clear(l.span(dst)) }

// Copy copies src to dst.
func (l *lane) Copy(dst, src backend.Tensor) {
	same(dst, src)
	copy(l.span(dst), l.span(src))
}

// Axpy adds alpha*src to dst.
func (l *lane) Axpy(dst backend.Tensor, alpha float32, src backend.Tensor) {
	same(dst, src)
	if dst.Role == backend.Activation {
		panic(errRole)
	}
	simd.Axpy(l.values(dst), alpha, l.values(src))
}

// Sum sets dst to src[0] + src[1] + ... in this order.
func (l *lane) Sum(dst backend.Tensor, src []backend.Tensor) {
	if len(src) == 0 {
		panic(errSum)
	}
	d, sum := l.flat(dst), l.flat(src[0])
	same(dst, src[0])
	for _, t := range src[1:] {
		same(dst, t)
		simd.Sum(d, sum, l.flat(t))
		sum = d
	}
	copy(d, sum)
}

// Reshape copies activations to another shape of as many elements an image.
func (l *lane) Reshape(dst, src backend.Tensor) {
	if dst.Shape.N != src.Shape.N || dst.Shape.Image() != src.Shape.Image() {
		panic(errShape)
	}
	copy(l.activation(dst, dst.Shape), l.activation(src, src.Shape))
}
