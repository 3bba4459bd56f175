package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Only returns a copy of the samples that have one of the labels. It is an
// error if there are none, or if the set has no labels.
func (s *Set) Only(labels []int) (*Set, error) {
	at, err := having(s.Labels, labels, s.Class)
	if err != nil {
		return nil, fmt.Errorf("dataset %s: %w", s.Name, err)
	}
	return s.Pick(at), nil
}

// Pick returns a copy of the samples at the places given, in their order.
func (s *Set) Pick(at []int) *Set {
	picked := &Set{Name: s.Name, H: s.H, W: s.W, C: s.C, Pixels: rows(s.Pixels, at, s.Size()), Values: rows(s.Values, at, s.Size()), Labels: rows(s.Labels, at, 1), Classes: s.Classes, files: rows(s.files, at, 1)}
	if s.pictures != nil {
		picked.pictures = s.pictures.with(rows(s.pictures.files, at, 1))
	}
	return picked
}

// Only returns the rows that have one of the labels, with the errors of
// [Set.Only].
func (t Table) Only(labels []int) (Table, error) {
	at, err := having(t.Labels, labels, (&Set{Classes: t.Classes}).Class)
	if err != nil {
		return Table{}, err
	}
	return Table{t.Columns, rows(t.Values, at, len(t.Columns)), rows(t.Labels, at, 1), t.Classes}, nil
}

// having lists the samples that have one of the labels.
func having(all []uint8, labels []int, class func(uint8) string) (at []int, err error) {
	if all == nil {
		return nil, errors.New("there are no labels to choose samples by")
	}
	for i, l := range all {
		if slices.Contains(labels, int(l)) {
			at = append(at, i)
		}
	}
	if at != nil {
		return at, nil
	}
	var there []string
	for _, l := range slices.Compact(slices.Sorted(slices.Values(all))) {
		there = append(there, class(l))
	}
	wanted := make([]string, len(labels))
	for i, l := range labels {
		if wanted[i] = strconv.Itoa(l); l >= 0 && l < maxClasses {
			wanted[i] = class(uint8(l))
		}
	}
	return nil, fmt.Errorf("no sample has one of the labels %v, want some of %s", wanted, shorten(strings.Join(there, ", "), 200))
}

// rows picks rows of the given size; of nil it is nil.
func rows[T any](values []T, at []int, size int) []T {
	if values == nil {
		return nil
	}
	picked := make([]T, 0, len(at)*size)
	for _, i := range at {
		picked = append(picked, values[i*size:][:size]...)
	}
	return picked
}
