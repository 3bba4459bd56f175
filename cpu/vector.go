package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Zero clears dst.
func (l *lane) Zero(dst backend.Tensor) { clear(l.floats(dst)) }

// Copy copies src to dst.
func (l *lane) Copy(dst, src backend.Tensor) {
	backend.CheckCopy(&dst, &src)
	l.copy(&dst, &src)
}

// copy copies values, and rounds them where they come to a narrower tensor.
func (l *lane) copy(dst, src *backend.Tensor) {
	o := l.floats(*dst)
	copy(o, l.floats(*src))
	if src.Type != dst.Type {
		round(dst.Type, o)
	}
}

// Axpy adds alpha*src to dst.
func (l *lane) Axpy(dst backend.Tensor, alpha float32, src backend.Tensor) {
	backend.CheckAxpy(&dst, &src)
	simd.Axpy(l.floats(dst), alpha, l.floats(src))
}

// Sum sets dst to src[0] + src[1] + ... in this order.
func (l *lane) Sum(dst backend.Tensor, src []backend.Tensor) {
	backend.CheckSum(&dst, src)
	d, sum := l.floats(dst), l.floats(src[0])
	for _, t := range src[1:] {
		simd.Sum(d, sum, l.floats(t))
		sum = d
	}
	copy(d, sum)
}

// Reshape copies activations to another shape of as many elements an image.
func (l *lane) Reshape(dst, src backend.Tensor) {
	backend.CheckReshape(&dst, &src)
	l.copy(&dst, &src)
}
