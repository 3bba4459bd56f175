package sweep

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Settings returns those of all trials. The same file has the same ones, and a random search of more trials begins with them: each draw is by the seed, the
// path and the number of the trial.
func (f *File) Settings() ([][]Setting, error) {
	paths := slices.Sorted(maps.Keys(f.Parameters))
	if f.Search == "random" {
		trials := make([][]Setting, f.Trials)
		for i := range trials {
			for _, path := range paths {
				d := f.Parameters[path]
				value, err := d.draw(f.Seed, path, i)
				if err != nil {
					return nil, fmt.Errorf("parameters.%s: %w", path, err)
				}
				trials[i] = append(trials[i], Setting{path, value})
			}
		}
		return trials, nil
	}
	trials := [][]Setting{nil}
	for _, path := range paths {
		d := f.Parameters[path]
		values, err := d.grid()
		if err != nil {
			return nil, fmt.Errorf("parameters.%s: %w", path, err)
		}
		if len(trials)*len(values) > maxTrials {
			return nil, fmt.Errorf("parameters: the grid has more than %d trials: want fewer values", maxTrials)
		}
		var more [][]Setting
		for _, t := range trials {
			for _, v := range values {
				more = append(more, append(slices.Clone(t), Setting{path, v}))
			}
		}
		trials = more
	}
	return trials, nil
}

// numberText writes a number with the digits that matter of one that was drawn.
func numberText(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// draw draws the value of a trial.
func (d *Distribution) draw(seed uint64, path string, trial int) (string, error) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(path)) // which cannot fail
	r := rand.New(rand.NewPCG(seed^h.Sum64(), uint64(trial)))
	_, lo, hi, _ := d.bounds()
	switch {
	case d.Choice != nil:
		return valueText(d.Choice[r.IntN(len(d.Choice))])
	case d.Int != nil:
		return strconv.Itoa(d.Int[0] + r.IntN(d.Int[1]-d.Int[0]+1)), nil
	case d.LogUniform != nil:
		return numberText(math.Exp(math.Log(lo) + r.Float64()*(math.Log(hi)-math.Log(lo)))), nil
	}
	return numberText(lo + r.Float64()*(hi-lo)), nil
}

// grid lists the values of a grid.
func (d *Distribution) grid() (values []string, err error) {
	if d.Choice != nil {
		for _, v := range d.Choice {
			text, err := valueText(v)
			if err != nil {
				return nil, err
			}
			values = append(values, text)
		}
		return values, nil
	}
	_, lo, hi, _ := d.bounds()
	n := d.Points
	if n == 0 { // all whole numbers
		if n = int(hi-lo) + 1; n > maxTrials {
			return nil, fmt.Errorf("int has %d numbers, want at most %d, or points", n, maxTrials)
		}
	}
	for i := range n {
		share := 0.0
		if n > 1 {
			share = float64(i) / float64(n-1)
		}
		switch v := lo + share*(hi-lo); {
		case d.Int != nil:
			values = append(values, strconv.Itoa(int(math.Round(v))))
		case d.LogUniform != nil:
			values = append(values, numberText(lo*math.Pow(hi/lo, share)))
		default:
			values = append(values, numberText(v))
		}
	}
	return slices.Compact(values), nil
}

// ends lists all that a choice has, and else the least and the most.
func (d Distribution) ends() ([]string, error) {
	if d.Choice != nil {
		return d.grid()
	}
	d.Points = 2
	return d.grid()
}
