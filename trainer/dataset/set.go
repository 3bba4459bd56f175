// Package dataset holds labelled sets of small images and the ways to get
// one: drawing the built-in digits, reading IDX files, and downloading the
// public data sets that come as such files.
package dataset

import (
	"fmt"
	"math"
)

// A Set is a list of N equally sized 8-bit images, with a class each if the
// set is labelled.
type Set struct {
	Name    string  // what the set is called, such as "mnist"
	H, W, C int     // height, width and channels of one image
	Pixels  []uint8 // the images in order, each H×W×C (NHWC); 0 is black
	Labels  []uint8 // the class of each image; nil if there are none
}

// Len returns N, the number of images.
func (s *Set) Len() int {
	if size := s.imageSize(); size > 0 {
		return len(s.Pixels) / size
	}
	return 0
}

// Image returns the pixels of image i, H×W×C of them. It is a view: writing
// to it changes the set. As with indexing a slice, i must be in [0, Len()).
func (s *Set) Image(i int) []uint8 {
	size := s.imageSize()
	return s.Pixels[i*size : (i+1)*size : (i+1)*size]
}

// Slice returns the images lo to hi-1 with their labels, as a view of s. As
// with slicing a slice, 0 <= lo <= hi <= Len() must hold.
func (s *Set) Slice(lo, hi int) *Set {
	size := s.imageSize()
	view := *s
	view.Pixels = s.Pixels[lo*size : hi*size : hi*size]
	if s.Labels != nil {
		view.Labels = s.Labels[lo:hi:hi]
	}
	return &view
}

// Split cuts off the last fraction of s for validation, as validation_split
// does in Keras: nothing is shuffled, and the first floor(N·(1-fraction))
// images are left for training. Both parts are views of s. It is an error if
// either would be empty.
func (s *Set) Split(fraction float64) (train, validation *Set, err error) {
	if !(fraction > 0 && fraction < 1) { // also refuses NaN
		return nil, nil, fmt.Errorf("dataset %s: validation fraction is %v, want more than 0 and less than 1", s.Name, fraction)
	}
	n := s.Len()
	at := int(math.Floor(float64(n) * (1 - fraction)))
	if at == 0 || at == n {
		return nil, nil, fmt.Errorf("dataset %s: validation fraction %v splits %d images into %d and %d, want both parts non-empty", s.Name, fraction, n, at, n-at)
	}
	return s.Slice(0, at), s.Slice(at, n), nil
}

func (s *Set) imageSize() int { return s.H * s.W * s.C }
