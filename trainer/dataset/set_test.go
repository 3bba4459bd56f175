package dataset

import (
	"math"
	"testing"
)

// numbered returns n images of 1×2, the values of which tell them apart.
func numbered(n int) *Set {
	s := &Set{Name: "numbered", H: 1, W: 2, C: 1}
	for i := range n {
		s.Pixels = append(s.Pixels, uint8(2*i), uint8(2*i+1))
		s.Labels = append(s.Labels, uint8(i))
	}
	return s
}

func TestSlice(t *testing.T) {
	s := numbered(5)
	v := s.Slice(1, 3)
	if v.Len() != 2 || v.Labels[0] != 1 || v.Image(1)[0] != 4 || v.Name != s.Name {
		t.Errorf("Slice(1, 3) = %+v", v)
	}
	v.Image(0)[1] = 99
	if s.Image(1)[1] != 99 {
		t.Error("a slice is not a view of the set")
	}
	if s.Labels = nil; s.Slice(0, 2).Labels != nil {
		t.Error("a slice of an unlabelled set has labels")
	}
	if n := (&Set{}).Len(); n != 0 {
		t.Errorf("the zero Set has %d images, want 0", n)
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		n        int
		fraction float64
		train    int
	}{{10, 0.2, 8}, {10, 0.25, 7}, {3, 0.5, 1}, {2, 0.01, 1}} {
		train, validation, err := numbered(c.n).Split(c.fraction)
		if err != nil {
			t.Errorf("%d, %v: %v", c.n, c.fraction, err)
			continue
		}
		if train.Len() != c.train || validation.Len() != c.n-c.train {
			t.Errorf("%d, %v: parts of %d and %d, want %d and %d", c.n, c.fraction, train.Len(), validation.Len(), c.train, c.n-c.train)
		}
		if train.Labels[0] != 0 || int(validation.Labels[0]) != c.train {
			t.Errorf("%d, %v: validation starts with image %d, want %d", c.n, c.fraction, validation.Labels[0], c.train)
		}
	}
}

func TestSplitErrors(t *testing.T) {
	for _, fraction := range []float64{-1, 0, 1, 2, math.NaN(), math.Inf(1), 0.9} {
		if _, _, err := numbered(5).Split(fraction); err == nil {
			t.Errorf("Split(%v) of 5 images gave no error", fraction)
		}
	}
	if _, _, err := numbered(0).Split(0.5); err == nil {
		t.Error("Split of no images gave no error")
	}
}
