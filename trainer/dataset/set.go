// Package dataset holds labelled sets of samples, images or vectors, and the
// ways to get one: drawing the built-in digits, the circle and the spiral,
// reading IDX files, tables and folders of pictures, and downloading the
// public data sets that come as IDX files.
package dataset

import (
	"fmt"
	"math"
)

// A Set is a list of N equally sized samples, with a class each if the set is
// labelled. They are 8-bit images in Pixels, float32 values of any range in
// Values or, if both are nil, pictures that are read from their files whenever
// they are asked for; see [ImageOptions].
type Set struct {
	Name    string    // what the set is called, such as "mnist"
	H, W, C int       // height, width and channels of one sample; a vector is 1×1×C
	Pixels  []uint8   // the images in order, each H×W×C (NHWC); 0 is black
	Values  []float32 // the values in the same order
	Labels  []uint8   // the class of each sample; nil if there are none
	Classes []string  // names of the classes, by label; nil if they are but numbers
	Notes   []string  // what a person should know of how it was read, a line each

	pictures *pictures // that are read when they are asked for
	files    []string  // the pictures that Pixels were read from, by their paths from the folder on; nil if there are none
	held     *held     // nil if there is nothing to give back
}

// held is what a set and its views hold together.
type held struct{ close func() error }

// Close gives back what a set larger than memory holds, for it and all views of
// it: none of them may be used any more. For all other sets, and the second
// time, it does nothing.
func (s *Set) Close() error {
	if s.held == nil || s.held.close == nil {
		return nil
	}
	close := s.held.close
	s.held.close = nil
	return close()
}

// Len returns N, the number of samples.
func (s *Set) Len() int {
	if s.pictures != nil {
		return len(s.pictures.files)
	}
	if size := s.Size(); size > 0 {
		return (len(s.Pixels) + len(s.Values)) / size
	}
	return 0
}

// Size returns the number of values of one sample.
func (s *Set) Size() int { return s.H * s.W * s.C }

// Images reports whether the samples can be looked at: they have rows and
// columns, and are grey or coloured.
func (s *Set) Images() bool { return s.H*s.W > 1 && (s.C == 1 || s.C == 3) }

// Image returns the pixels of image i, H×W×C of them. It is a view: writing
// to it changes the set. As with indexing a slice, i must be in [0, Len()).
func (s *Set) Image(i int) []uint8 {
	size := s.Size()
	return s.Pixels[i*size : (i+1)*size : (i+1)*size]
}

// HasPixels reports whether the samples are 8-bit images.
func (s *Set) HasPixels() bool { return s.Values == nil }

// Files returns the picture that each sample was read from, by its path from the
// set's folder on, with slashes; nil if samples are from no pictures. Of one in
// an archive the path goes on with its name there.
func (s *Set) Files() []string {
	if s.pictures != nil {
		return s.pictures.names()
	}
	return s.files
}

// Streamed reports whether samples are read from their files whenever they are
// asked for.
func (s *Set) Streamed() bool { return s.pictures != nil }

// Read copies samples lo to hi-1 to dst: their values, or their pixels scaled
// to [0, 1]. The error is that of a file that cannot be read.
func (s *Set) Read(dst []float32, lo, hi int) error {
	size := s.Size()
	dst = dst[:(hi-lo)*size]
	switch {
	case s.pictures != nil:
		return s.pictures.readFloats(dst, lo, hi)
	case s.Values != nil:
		copy(dst, s.Values[lo*size:])
	default:
		for j, v := range s.Pixels[lo*size:][:len(dst)] {
			dst[j] = float32(v) / 255
		}
	}
	return nil
}

// Slice returns the samples lo to hi-1 with their labels, as a view of s. As
// with slicing a slice, 0 <= lo <= hi <= Len() must hold.
func (s *Set) Slice(lo, hi int) *Set {
	size := s.Size()
	view := *s
	if s.pictures != nil {
		view.pictures = s.pictures.with(s.pictures.files[lo:hi:hi])
	} else if s.Pixels != nil {
		view.Pixels = s.Pixels[lo*size : hi*size : hi*size]
	} else {
		view.Values = s.Values[lo*size : hi*size : hi*size]
	}
	if s.Labels != nil {
		view.Labels = s.Labels[lo:hi:hi]
	}
	if s.files != nil {
		view.files = s.files[lo:hi:hi]
	}
	return &view
}

// Split cuts off the last fraction of s for validation, as validation_split
// does in Keras: nothing is shuffled, and the first floor(N·(1-fraction))
// samples are left for training. Both parts are views of s. It is an error if
// either would be empty.
func (s *Set) Split(fraction float64) (train, validation *Set, err error) {
	if !(fraction > 0 && fraction < 1) { // also refuses NaN
		return nil, nil, fmt.Errorf("dataset %s: validation fraction is %v, want more than 0 and less than 1", s.Name, fraction)
	}
	n := s.Len()
	at := SplitAt(n, fraction)
	if at == 0 || at == n {
		return nil, nil, fmt.Errorf("dataset %s: validation fraction %v splits %d samples into %d and %d, want both parts non-empty", s.Name, fraction, n, at, n-at)
	}
	return s.Slice(0, at), s.Slice(at, n), nil
}

// SplitAt returns how many of n samples [Set.Split] leaves for training.
func SplitAt(n int, fraction float64) int { return int(math.Floor(float64(n) * (1 - fraction))) }
