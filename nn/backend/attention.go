package backend

import "fmt"

// AttentionSpec is what defines the attention of the pixels of each image to one another (Vaswani and others, "Attention Is All You Need",
// 2017): X is the shape of queries, keys and values, whose channels are those of so many heads, one behind the other.
type AttentionSpec struct {
	X     Shape
	Heads int
}

// AttentionShape is a validated AttentionSpec. Make it with NewAttention.
type AttentionShape struct{ AttentionSpec }

// MaxHead is the largest number of channels of a head.
const MaxHead = 512

// NewAttention validates an attention.
func NewAttention(c AttentionSpec) (AttentionShape, error) {
	s := AttentionShape{c}
	if min(c.X.N, c.X.H, c.X.W, c.X.C) < 1 {
		return s, fmt.Errorf("an input %v, want at least 1 of each", c.X)
	}
	if c.Heads < 1 || c.X.C%c.Heads != 0 {
		return s, fmt.Errorf("%d heads of %d channels, want a number that divides them", c.Heads, c.X.C)
	}
	if n := s.Head(); n > MaxHead {
		return s, fmt.Errorf("heads of %d channels, want at most %d", n, MaxHead)
	}
	return s, checkSizes(c.X, s.Stats())
}

// Positions is the number of pixels of an image, and Head the number of channels of a head.
func (s *AttentionShape) Positions() int { return s.X.H * s.X.W }
func (s *AttentionShape) Head() int      { return s.X.C / s.Heads }

// Stats is the shape of what the backward pass needs of the softmax: for each head of an image, the logarithm of the sum of the exponentials
// of each position's scores.
func (s *AttentionShape) Stats() Shape { return Vec(s.X.N * s.Heads * s.Positions()) }

// Check panics unless the shape is one that NewAttention makes.
func (s *AttentionShape) Check() {
	if min(s.X.N, s.X.H, s.X.W, s.X.C, s.Heads) < 1 || s.X.C%s.Heads != 0 || s.Head() > MaxHead {
		panic(MistakeGeometry)
	}
}

// CheckForward checks the arguments of Attention.
func (s *AttentionShape) CheckForward(out, stats, q, k, v *Tensor) {
	s.Check()
	for _, t := range [...]*Tensor{out, q, k, v} {
		t.either(s.X)
	}
	if !stats.IsZero() {
		stats.flat(s.Stats())
	}
}

// CheckBack checks the arguments of AttentionBack.
func (s *AttentionShape) CheckBack(gradQ, gradK, gradV, gradOut, out, stats, q, k, v *Tensor) {
	s.Check()
	for _, t := range [...]*Tensor{gradQ, gradK, gradV, gradOut, out, q, k, v} {
		t.either(s.X)
	}
	stats.flat(s.Stats())
}
