package backend

import "fmt"

// GroupNormSpec is what defines a normalisation of groups of neighbouring channels (Wu and He, "Group Normalization", 2018): a group of an
// image's channels has its own mean and variance, over all pixels. With EachPixel they are those of all channels of each pixel by
// itself, and Groups is 1: the layer normalisation of Ba, Kiros and Hinton (2016).
type GroupNormSpec struct {
	X         Shape
	Groups    int
	EachPixel bool
	Epsilon   float32  // added to the variance
	Act       Function // applied to the output
}

// GroupNormShape is a validated GroupNormSpec. Make it with NewGroupNorm.
type GroupNormShape struct{ GroupNormSpec }

// NewGroupNorm validates a normalisation.
func NewGroupNorm(c GroupNormSpec) (GroupNormShape, error) {
	s := GroupNormShape{c}
	if min(c.X.N, c.X.H, c.X.W, c.X.C) < 1 {
		return s, fmt.Errorf("an input %v, want at least 1 of each", c.X)
	}
	if c.Groups < 1 || c.X.C%c.Groups != 0 {
		return s, fmt.Errorf("%d groups of %d channels, want a number that divides them", c.Groups, c.X.C)
	}
	if c.EachPixel && c.Groups != 1 {
		return s, fmt.Errorf("%d groups of each pixel, want 1", c.Groups)
	}
	if !(c.Epsilon > 0 && c.Epsilon <= 1) {
		return s, fmt.Errorf("epsilon is %v, want more than 0 and at most 1", c.Epsilon)
	}
	return s, checkSizes(c.X, s.Stats())
}

// Units is how many images there are, or pixels if each has statistics of its own; Pixels is how many pixels a unit has, and Channels
// how many channels a group has.
func (s *GroupNormShape) Units() int {
	if s.EachPixel {
		return s.X.N * s.X.H * s.X.W
	}
	return s.X.N
}
func (s *GroupNormShape) Pixels() int {
	if s.EachPixel {
		return 1
	}
	return s.X.H * s.X.W
}
func (s *GroupNormShape) Channels() int { return s.X.C / s.Groups }

// Stats is the shape of the statistics: for each group of each unit its mean, and one over the square root of its variance and epsilon.
func (s *GroupNormShape) Stats() Shape { return Vec(2 * s.Units() * s.Groups) }

// Check panics unless the shape is one that NewGroupNorm makes.
func (s *GroupNormShape) Check() {
	if min(s.X.N, s.X.H, s.X.W, s.X.C, s.Groups) < 1 || s.X.C%s.Groups != 0 || s.EachPixel && s.Groups != 1 || !(s.Epsilon > 0) {
		panic(MistakeGeometry)
	}
	s.Act.Check()
}

// scales checks gamma and beta, or their gradients; either may be zero.
func (s *GroupNormShape) scales(p *Params) {
	for _, t := range [...]*Tensor{&p.W, &p.Bias} {
		if !t.IsZero() {
			t.param(Vec(s.X.C))
		}
	}
}

// CheckForward checks the arguments of GroupNorm.
func (s *GroupNormShape) CheckForward(out, stats, x *Tensor, p *Params) {
	s.Check()
	out.either(s.X)
	x.either(s.X)
	if !stats.IsZero() {
		stats.flat(s.Stats())
	}
	s.scales(p)
}

// CheckBack checks the arguments of GroupNormBack, on a backend that makes so many partial sums.
func (s *GroupNormShape) CheckBack(gradX *Tensor, grad *Params, partials int, gradOut, stats, x *Tensor, p *Params) {
	s.Check()
	if !gradX.IsZero() {
		gradX.either(s.X)
	}
	s.scales(grad)
	grad.partials(partials)
	gradOut.either(s.X)
	stats.flat(s.Stats())
	x.either(s.X)
	s.scales(p)
}
