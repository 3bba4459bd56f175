package dataset

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxClasses is how many classes a label of 8 bits tells apart.
const maxClasses = 1 << 8

// Class returns what the samples of a label are called: the name of their
// class or, where classes have none, the label.
func (s *Set) Class(label uint8) string {
	if int(label) < len(s.Classes) {
		return s.Classes[label]
	}
	return strconv.Itoa(int(label))
}

// ClassNames returns the class of each sample, nil if there are none.
func (s *Set) ClassNames() []string {
	if s.Labels == nil {
		return nil
	}
	names := make([]string, len(s.Labels))
	for i, l := range s.Labels {
		names[i] = s.Class(l)
	}
	return names
}

// FindLabels returns the labels of the classes that are given by name or, where
// no class is called so, by number.
func (s *Set) FindLabels(classes []string) ([]int, error) { return findLabels(s.Classes, classes) }

func findLabels(known, wanted []string) ([]int, error) {
	var labels []int
	for _, name := range wanted {
		if at := slices.Index(known, name); at >= 0 {
			labels = append(labels, at)
			continue
		}
		at, ok := wholeLabel(name)
		switch {
		case !ok && known == nil:
			return nil, fmt.Errorf("there is no class %.40q, want a number of 0 to %d", name, maxClasses-1)
		case !ok || known != nil && int(at) >= len(known):
			return nil, fmt.Errorf("there is no class %.40q, want some of %s", name, shorten(strings.Join(known, ", "), 200))
		}
		labels = append(labels, int(at))
	}
	return labels, nil
}

// numberClasses returns the labels of samples of the named classes, and the
// names by label. Known names, those of another part of the data, keep their
// labels, and others follow in order, numbers by their size. Without known
// ones, names that are all whole numbers of 0 to 255 are labels themselves, and
// there are no names.
func numberClasses(names, known []string) (labels []uint8, classes []string, err error) {
	labels = make([]uint8, len(names))
	if whole := known == nil; whole {
		for i, name := range names {
			if labels[i], whole = wholeLabel(name); !whole {
				break
			}
		}
		if whole {
			return labels, nil, nil
		}
	}
	at := map[string]int{}
	for i, name := range known {
		at[name] = i
	}
	classes = slices.Clone(known)
	var added []string
	for _, name := range names {
		if _, ok := at[name]; !ok {
			at[name] = -1
			added = append(added, name)
		}
	}
	slices.SortFunc(added, compareClasses)
	for _, name := range added {
		at[name] = len(classes)
		classes = append(classes, name)
	}
	if len(classes) > maxClasses {
		return nil, nil, fmt.Errorf("has %d different labels, want at most %d", len(classes), maxClasses)
	}
	for i, name := range names {
		labels[i] = uint8(at[name])
	}
	return labels, classes, nil
}

// wholeLabel reads a label that is a whole number, perhaps with a fraction of 0
// as programs write whole numbers of a column that has missing ones.
func wholeLabel(name string) (label uint8, ok bool) {
	v, err := strconv.ParseFloat(name, 64)
	if err != nil || !(v >= 0 && v < maxClasses) || v != math.Trunc(v) {
		return 0, false
	}
	return uint8(v), true
}

// compareClasses orders numbers by size, and before all else.
func compareClasses(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX == nil && errY == nil && x != y:
		return cmp.Compare(x, y)
	case (errX == nil) != (errY == nil):
		if errX == nil {
			return -1
		}
		return 1
	}
	return cmp.Compare(a, b)
}

// shorten cuts a text that is longer than that many bytes.
func shorten(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}
