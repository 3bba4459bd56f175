package program

import (
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Recompute says which calls of the forward pass of a training program are done again in the backward pass, so that what they make is not
// kept in between; nil keeps all. It serves the programs for any number of samples.
type Recompute []bool

// Recompute has the calls done again. It comes when all ops are there, and before they are given workspaces.
func (p *Program) Recompute(r Recompute) {
	if r == nil {
		return
	}
	copies := p.Tape.Recompute(p.Lead, p.Lead+p.Forward, func(i int) bool { return r[i-p.Lead] })
	p.Repeated = macs(copies)
}

// Cheap returns what makes its result in about the time in which that is read, such as normalisations and activations.
func (p *Program) Cheap() Recompute {
	r := make(Recompute, p.Forward)
	for i, c := range p.forward() {
		r[i] = cheap(c.Op) && !p.outputs(c.Op)
	}
	return r
}

// forward returns the calls of the forward pass.
func (p *Program) forward() []op.Call { return p.Calls[p.Lead : p.Lead+p.Forward] }

// outputs reports whether an op makes the output, which is there until the end.
func (p *Program) outputs(o op.Op) bool { return slices.Contains(op.Writes(o), p.Output) }

// cheap reports whether an op makes its result in about the time in which that is read.
func cheap(o op.Op) bool {
	switch o.(type) {
	case op.Sized, *op.Attention:
		return false
	}
	return true
}

// macs adds up the multiply-adds of calls.
func macs(calls []op.Call) (n int) {
	for _, c := range calls {
		if s, ok := c.Op.(op.Sized); ok {
			n += s.MACs()
		}
	}
	return n
}

// RepeatedShare returns the multiply-adds that are done a second time, as a share of those that there would be without.
func (p *Program) RepeatedShare() float64 {
	if p.Repeated == 0 {
		return 0
	}
	return float64(p.Repeated) / float64(macs(p.Calls)-p.Repeated)
}

// Segments cuts the forward pass in n segments, about as large in memory, and returns all but what leads from one segment to a later one, and
// but for the last segment, whose gradients come first (Chen and others, "Training deep nets with sublinear memory cost", 2016).
func (p *Program) Segments(n int) Recompute {
	calls := p.forward()
	maker := map[op.Value]int{}
	last := make([]int, len(calls))     // the last call that reads what a call makes
	before := make([]int, len(calls)+1) // how much is made before a call
	for i, c := range calls {
		for _, v := range op.Reads(c.Op) {
			if m, ok := maker[v]; ok {
				last[m] = i
			}
		}
		before[i+1] = before[i]
		for _, v := range op.Writes(c.Op) {
			if info := p.Values[v]; info.Space == op.Arena && info.Role != backend.Flat {
				maker[v] = i
				before[i+1] += info.Shape.Len()
			}
		}
	}
	crossing := func(at int) (much int) { // how much leads from before a call to it or behind it
		for i := range at {
			if last[i] >= at {
				much += before[i+1] - before[i]
			}
		}
		return much
	}
	// A cut is where the least leads across, at most a quarter of a segment from where equal segments would meet.
	var cuts []int
	for share := 1; share < n; share++ {
		total := before[len(calls)]
		at := 0
		for at+1 < len(calls) && 4*n*before[at] < (4*share-1)*total {
			at++
		}
		best := at
		for at++; at < len(calls) && 4*n*before[at] <= (4*share+1)*total; at++ {
			if crossing(at) < crossing(best) {
				best = at
			}
		}
		cuts = append(cuts, best)
	}
	segment := func(i int) (number int) {
		for _, at := range cuts {
			if at <= i {
				number++
			}
		}
		return number
	}
	r := make(Recompute, len(calls))
	for i, c := range calls {
		r[i] = segment(i) < len(cuts) && segment(last[i]) == segment(i) && !p.outputs(c.Op)
	}
	return r
}
