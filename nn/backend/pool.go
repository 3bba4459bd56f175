package backend

import "fmt"

// PoolSpec is what defines a pool. Zero Stride means Size.
type PoolSpec struct {
	X            Shape
	Size, Stride int
	Padding      Padding // which is in no window: it never wins, and does not count in a mean
}

// PoolShape is a validated PoolSpec. Make it with NewPool.
type PoolShape struct {
	PoolSpec
	Out             Shape
	PadTop, PadLeft int
}

// NewPool validates a pool and derives its geometry.
func NewPool(c PoolSpec) (PoolShape, error) {
	if c.Stride == 0 {
		c.Stride = c.Size
	}
	s := PoolShape{PoolSpec: c}
	if err := checkImages(c.X); err != nil {
		return s, err
	}
	if c.Size < 1 || c.Size > MaxPool || c.Stride < 1 || c.Stride > MaxPool {
		return s, fmt.Errorf("pool size %d and stride %d, want 1 to %d", c.Size, c.Stride, MaxPool)
	}
	s.Out = Shape{N: c.X.N, C: c.X.C}
	s.Out.H, s.PadTop = convExtent(c.X.H, c.Size, c.Stride, c.Padding)
	s.Out.W, s.PadLeft = convExtent(c.X.W, c.Size, c.Stride, c.Padding)
	if s.Out.H < 1 || s.Out.W < 1 {
		return s, fmt.Errorf("a pool of %dx%d with padding valid does not fit the input %v", c.Size, c.Size, c.X)
	}
	return s, checkSizes(c.X, s.Out)
}

// WithN returns the same pool for another number of images.
func (s PoolShape) WithN(n int) PoolShape { s.X.N, s.Out.N = n, n; return s }

// CheckForward checks the arguments of MaxPool. The arg-max can be zero.
func (s *PoolShape) CheckForward(out, argmax, x *Tensor) {
	s.made()
	out.either(s.Out)
	x.either(s.X)
	if !argmax.IsZero() {
		argmax.check(Argmax, Uint8, s.Out)
	}
}

// CheckBack checks the arguments of MaxPoolBack.
func (s *PoolShape) CheckBack(gradX, gradOut, argmax *Tensor) {
	s.made()
	gradX.either(s.X)
	gradOut.either(s.Out)
	argmax.check(Argmax, Uint8, s.Out)
}

// CheckAverage checks the arguments of AveragePool, or the gradients that AveragePoolBack has for them.
func (s *PoolShape) CheckAverage(out, x *Tensor) {
	s.made()
	out.either(s.Out)
	x.either(s.X)
}

func (s *PoolShape) made() {
	if s.Stride < 1 {
		panic(MistakeGeometry)
	}
}
