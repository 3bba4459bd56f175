package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
)

// ClipValue bounds every element.
func (l *lane) ClipValue(limit float32, v backend.Tensor) {
	backend.CheckClipValue(&v)
	p := l.floats(v)
	for i, x := range p {
		p[i] = min(max(x, -limit), limit)
	}
}

// SumSquares adds up squares.
func (l *lane) SumSquares(dst, src backend.Tensor) {
	backend.CheckSumSquares(&dst, &src)
	sum := 0.0
	for _, x := range l.floats(src) {
		sum += float64(x) * float64(x)
	}
	*l.one(dst) = float32(sum)
}

// one returns the element of a Flat tensor that has one.
func (l *lane) one(t backend.Tensor) *float32 { return &l.floats(t)[0] }

// ClipNorm scales to a norm of at most limit.
func (l *lane) ClipNorm(limit float32, v, squares backend.Tensor) {
	backend.CheckClipNorm(&v, &squares)
	sum := 0.0
	for _, s := range l.floats(squares) {
		sum += float64(s)
	}
	norm := math.Sqrt(sum)
	if norm <= float64(limit) {
		return
	}
	factor := float32(float64(limit) / norm)
	p := l.floats(v)
	for i := range p {
		p[i] *= factor
	}
}
