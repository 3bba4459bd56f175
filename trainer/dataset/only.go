package dataset

import (
	"fmt"
	"slices"
	"strings"
)

// Only returns a copy of the samples that have one of the labels. It is an
// error if there are none, or if the set has no labels.
func (s *Set) Only(labels []int) (*Set, error) {
	at, err := having(s.Labels, labels)
	if err != nil {
		return nil, fmt.Errorf("dataset %s: %w", s.Name, err)
	}
	return &Set{Name: s.Name, H: s.H, W: s.W, C: s.C, Pixels: rows(s.Pixels, at, s.Size()), Values: rows(s.Values, at, s.Size()), Labels: rows(s.Labels, at, 1)}, nil
}

// Only returns the rows that have one of the labels, with the errors of
// [Set.Only].
func (t Table) Only(labels []int) (Table, error) {
	at, err := having(t.Labels, labels)
	if err != nil {
		return Table{}, err
	}
	return Table{t.Columns, rows(t.Values, at, len(t.Columns)), rows(t.Labels, at, 1)}, nil
}

// having lists the samples that have one of the labels.
func having(all []uint8, labels []int) (at []int, err error) {
	if all == nil {
		return nil, fmt.Errorf("there are no labels to choose samples by")
	}
	for i, l := range all {
		if slices.Contains(labels, int(l)) {
			at = append(at, i)
		}
	}
	if at == nil {
		there := strings.Trim(fmt.Sprint(slices.Compact(slices.Sorted(slices.Values(all)))), "[]")
		return nil, fmt.Errorf("no sample has one of the labels %v, want some of %s", labels, strings.ReplaceAll(there, " ", ", "))
	}
	return at, nil
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
