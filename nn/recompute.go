package nn

import (
	"errors"
	"fmt"

	"github.com/convae/convae/nn/program"
)

// Recompute says when activations are not kept for the backward pass, but made again there, which takes less memory and more time. It
// changes no bit of the result.
type Recompute uint8

const (
	// RecomputeAuto is where training does not fit in the device's free memory else, and no more than it takes to fit.
	RecomputeAuto Recompute = iota
	// RecomputeNever keeps all activations.
	RecomputeNever
	// RecomputeAlways takes as little memory as recomputing can make it.
	RecomputeAlways
)

func (r Recompute) String() string { return [...]string{"auto", "never", "always"}[r] }

// ParseRecompute returns the choice of that name.
func ParseRecompute(name string) (Recompute, error) {
	for r := RecomputeAuto; r <= RecomputeAlways; r++ {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("recompute is %q, want auto, never or always", name)
}

// segments are in how many the forward pass is cut: more than the root of the number of layers gains nothing, if all are as large.
var segments = []int{2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32}

// recomputes lists what may be recomputed, each taking less memory than the one before; the first is what keeps all.
func (t *Trainer) recomputes() ([]program.Recompute, error) {
	list := []program.Recompute{nil}
	one, least, err := t.planOne(nil)
	if err != nil {
		return nil, err
	}
	// add appends what takes the least memory, if that is less than what the last of the list takes.
	add := func(among ...program.Recompute) {
		var best program.Recompute
		for _, r := range among {
			_, bytes, e := t.planOne(r)
			if err = errors.Join(err, e); e == nil && bytes < least {
				best, least = r, bytes
			}
		}
		if best != nil {
			list = append(list, best)
		}
	}
	add(one.Cheap())
	var cut []program.Recompute
	for _, n := range segments {
		cut = append(cut, one.Segments(n))
	}
	add(cut...)
	return list, err
}
