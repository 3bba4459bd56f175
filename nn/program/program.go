// Package program compiles a graph for a number of samples, and says what memory its tensors want: a Program is ops in
// their order, each tensor placed in an arena for as long as it is needed.
package program

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// Program is a tape for a fixed number of samples and one kind of backend. It holds no memory: Bind places its tensors.
type Program struct {
	*op.Tape
	Samples       int
	Input, Output op.Value
	Target        op.Value  // of a training program, else None
	Lead          int       // calls that gather the samples, before all others
	Forward       int       // calls of the forward pass of a training program, behind those
	Workspace     int       // bytes that the ops want
	Packs         []op.Call // that make the packed forms of the weights
	Repeated      int       // multiply-adds that Recompute has done a second time
}

// Forward compiles the part of a graph that leads from one value to another. The graph is used up. With unfused every
// layer stays ops of its own. It is an error if the part needs more than from: a skip connection leads past it.
func Forward(g *graph.Graph, b backend.Backend, from, to op.Value, unfused bool) (*Program, error) {
	p := &Program{Tape: g.Tape, Samples: g.Shape(from).N, Input: from, Output: to}
	if err := p.cut(g, from, to); err != nil {
		return nil, err
	}
	if !unfused {
		p.Fuse(from, to, g.Code)
	}
	if from == to { // layers that do nothing, such as a flatten of a vector
		p.Output = p.Like(from)
		p.Emit(&op.Reshape{Out: p.Output, X: from})
	}
	p.Prepare(b)
	p.Finish(b, false)
	return p, nil
}

// cut leaves only the calls that to needs, from from on.
func (p *Program) cut(g *graph.Graph, from, to op.Value) error {
	needed := map[op.Value]bool{to: true}
	var calls []op.Call
	for i := len(p.Calls) - 1; i >= 0; i-- {
		s, wanted := p.Calls[i], false
		for _, v := range op.Writes(s.Op) {
			wanted = wanted || needed[v] && v != from
		}
		if !wanted {
			continue
		}
		calls = append(calls, s)
		for _, v := range op.Reads(s.Op) {
			needed[v] = true
		}
	}
	if from != g.Input && needed[g.Input] {
		return fmt.Errorf("it needs more than its input: a layer takes what was made before that")
	}
	slices.Reverse(calls)
	p.Calls = calls
	return nil
}

// Prepare gives each op with weights the packed form that the backend wants. It is due once ops are fused, and before
// gradients are made.
func (p *Program) Prepare(b backend.Backend) {
	made := map[op.Value]bool{}
	for _, s := range p.Calls {
		k, ok := s.Op.(op.Packer)
		if !ok {
			continue
		}
		n := k.Needs(b)
		if n.Packed == 0 {
			continue
		}
		w, packed := k.Packs()
		*packed = p.Outside(op.Info{Space: op.Packed, Role: backend.Packed, Type: backend.Uint8, Shape: backend.Vec(n.Packed), Index: p.Values[w].Index})
		if !made[*packed] {
			made[*packed] = true
			p.Packs = append(p.Packs, op.Call{Op: k.Pack(), Layer: s.Layer})
		}
	}
}

// Finish finds the calls that a Brancher may do at the same time, and works out the workspace and the numbers of rows, once all ops are
// there.
func (p *Program) Finish(b backend.Backend, training bool) {
	if _, ok := b.(backend.Brancher); ok {
		p.pair()
	}
	first := 0 // bytes of the call before, if it is beside the one at hand
	for _, s := range p.Calls {
		bytes := 0
		if n, ok := s.Op.(op.Needy); ok {
			needs := n.Needs(b)
			if o, ok := s.Op.(op.Rowed); ok {
				p.Values[o.Rows()].Shape.N = max(needs.Partials, 1)
			}
			bytes = needs.Forward
			if training {
				bytes = needs.Workspace - needs.PartialBytes // DeferSums has given partial sums tensors
			}
		}
		p.Workspace = max(p.Workspace, first+bytes)
		if first = 0; s.Beside {
			first = backend.AlignUp(bytes)
		}
	}
}

// pair puts calls beside the next one where the two do not depend on each other: above all the two gradients of a layer. Those that gather
// the samples stay alone, for they may be run apart from the others.
func (p *Program) pair() {
	for i := p.Lead; i+1 < len(p.Calls); i++ {
		if !p.Calls[i].Once && !p.Calls[i+1].Once && op.Independent(p.Calls[i].Op, p.Calls[i+1].Op) {
			p.Calls[i].Beside = true
			i++
		}
	}
}

// Stretch is calls of a program that each micro-batch does, and what is then done once for the batch.
type Stretch struct{ Calls, Once []op.Call }

// Stretches cuts the calls into stretches, at least one; the last has nothing that is done once. There are as many for any number of
// samples.
func (p *Program) Stretches() (list []Stretch) {
	calls := p.Calls
	for {
		n := slices.IndexFunc(calls, func(c op.Call) bool { return c.Once })
		if n < 0 {
			return append(list, Stretch{Calls: calls})
		}
		end := n
		for end < len(calls) && calls[end].Once {
			end++
		}
		list = append(list, Stretch{calls[:n], calls[n:end]})
		calls = calls[end:]
	}
}

// Batchwise reports whether there is something that is done once for the batch: then the activations of all its micro-batches are kept.
func (p *Program) Batchwise() bool {
	return slices.ContainsFunc(p.Calls, func(c op.Call) bool { return c.Once })
}

// Numbered returns the tensors of the Rows or the Batch, by their index.
func (p *Program) Numbered(space op.Space) (list []op.Info) {
	for _, i := range p.Values {
		if i.Space == space {
			list = append(list, i)
		}
	}
	return list
}

// PackedValues returns the packed forms of the weights.
func (p *Program) PackedValues() (packed []op.Value) {
	for _, s := range p.Packs {
		packed = append(packed, op.Writes(s.Op)...)
	}
	return packed
}

// PackedBytes returns the bytes of each packed form, and of all of them laid out one after another.
func (p *Program) PackedBytes() (each []int, total int) {
	for _, v := range p.PackedValues() {
		n := p.Shape(v).Len()
		each = append(each, n)
		total += backend.AlignUp(n)
	}
	return each, total
}

// MostSamples returns how many times the samples of the program can be taken at a time, so that all of a tensor can be
// indexed; at least 1. Partial sums, which are Flat, do not grow with the samples.
func (p *Program) MostSamples() int {
	most := 1
	for _, s := range p.Calls {
		s.Op.Args(func(v *op.Value, _ op.Use) {
			if info := p.Values[*v]; *v != op.None && info.Space == op.Arena && info.Role != backend.Flat {
				most = max(most, info.Shape.Len())
			}
		})
		if i, ok := s.Op.(op.Indexed); ok {
			most = max(most, i.Elements())
		}
	}
	return max(backend.MaxElements/most, 1)
}

// Run runs the program's ops on a frame.
func (p *Program) Run(f *op.Frame) {
	for i := range p.Calls {
		f.Do(&p.Calls[i])
	}
}
