package backend

import "fmt"

// MaxUp is the largest upsampling factor.
const MaxUp = 16

// UpsampleShape is a nearest-neighbour upsampling by a whole factor. Make it with NewUpsample.
type UpsampleShape struct {
	X, Out Shape
	Factor int
}

// NewUpsample validates an upsampling and derives its output.
func NewUpsample(x Shape, factor int) (UpsampleShape, error) {
	s := UpsampleShape{X: x, Factor: factor}
	if err := checkImages(x); err != nil {
		return s, err
	}
	if factor < 1 || factor > MaxUp {
		return s, fmt.Errorf("the upsampling factor is %d, want 1 to %d", factor, MaxUp)
	}
	s.Out = Shape{x.N, x.H * factor, x.W * factor, x.C}
	return s, checkSizes(x, s.Out)
}

// WithN returns the same upsampling for another number of images.
func (s UpsampleShape) WithN(n int) UpsampleShape { s.X.N, s.Out.N = n, n; return s }

// Check checks the arguments of Upsample, or the gradients that UpsampleBack has for them.
func (s *UpsampleShape) Check(out, x *Tensor) {
	if s.Factor < 1 {
		panic(MistakeGeometry)
	}
	out.either(s.Out)
	x.either(s.X)
}

// Between returns, for row or column o of a bilinear upsampling, the first of the two rows or columns of n that it lies between, and
// the second one's share in 2 Factor parts: with the centres of pixels at halves, (o + 1/2)/Factor - 1/2 is where it lies, which
// is held within the first and the last.
func (s *UpsampleShape) Between(o int) (first, share int) {
	at := 2*o + 1 - s.Factor
	if at < 0 {
		return 0, 0
	}
	return at / (2 * s.Factor), at % (2 * s.Factor)
}
