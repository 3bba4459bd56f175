package nn

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
)

// floatBytes is the size of a parameter, a gradient or a loss.
var floatBytes = backend.Float32.Size()

// bytesOf returns what a tensor with the role's usual type of elements occupies.
func bytesOf(b backend.Backend, r backend.Role, s backend.Shape) int { return b.Bytes(r, r.DType(), s) }

// paramLayout says where a model's parameters lie in an arena. Weights, gradients and optimiser state share it, so
// that an optimiser runs over few flat ranges. Weights, which can decay, come first, then what else is trained, then what is not; within these what has
// the same learning rate is together.
type paramLayout struct {
	offsets        []int        // bytes
	trained, bytes int          // bytes of the trained parameters, and of all
	ranges         []paramRange // of the trained parameters, in their order
}

// paramRange is where a trained parameter lies, in floats, with the gap behind it.
type paramRange struct {
	lo, hi int
	weighs bool
	rate   float32 // what it has of the learning rate
}

func newParamLayout(m *Model, b backend.Backend) paramLayout {
	l := paramLayout{offsets: make([]int, len(m.Params))}
	place := func(wanted func(p *graph.Param) bool) {
		for i := range m.Params {
			if p := &m.Params[i]; wanted(&p.Param) {
				first := l.bytes
				l.offsets[i] = first
				l.bytes += backend.AlignUp(b.Bytes(backend.Param, backend.Float32, p.Shape))
				if p.Trained() {
					l.ranges = append(l.ranges, paramRange{first / floatBytes, l.bytes / floatBytes, p.Weighs(), p.Rate})
				}
			}
		}
	}
	var rates []float32
	for _, p := range m.Params {
		if p.Trained() && !slices.Contains(rates, p.Rate) {
			rates = append(rates, p.Rate)
		}
	}
	for _, weighs := range []bool{true, false} {
		for _, rate := range rates {
			place(func(p *graph.Param) bool { return p.Trained() && p.Weighs() == weighs && p.Rate == rate })
		}
	}
	l.trained = l.bytes
	place(func(p *graph.Param) bool { return !p.Trained() })
	return l
}

// floats is the length of the trained parameters as a flat tensor. Gaps between parameters are zero and stay so.
func (l paramLayout) floats() int { return l.trained / floatBytes }

// weights returns the ranges of floats lo to hi of the parameters that are weights, not biases or scales.
func (l paramLayout) weights(m *Model, b backend.Backend, lo, hi int) (ranges [][2]int) {
	for i, p := range m.Params {
		if !p.Weighs() {
			continue
		}
		first := l.offsets[i] / floatBytes
		end := first + b.Bytes(backend.Param, backend.Float32, p.Shape)/floatBytes
		if first, end = max(first, lo), min(end, hi); first < end {
			ranges = append(ranges, [2]int{first, end})
		}
	}
	return ranges
}

// tensors places the parameters in a buffer. Where the buffer has room for the trained parameters only, the others are left zero.
func (l paramLayout) tensors(m *Model, buf backend.Buffer) []backend.Tensor {
	t := make([]backend.Tensor, len(m.Params))
	for i, p := range m.Params {
		if p.Trained() || buf != nil && buf.Size() >= l.bytes {
			t[i] = backend.Tensor{Shape: p.Shape, Role: backend.Param, Buffer: buf, Offset: l.offsets[i]}
		}
	}
	return t
}

func flat(buf backend.Buffer, floats int) backend.Tensor {
	return backend.Tensor{Shape: backend.Vec(floats), Role: backend.Flat, Buffer: buf}
}

// rows returns rows lo to hi of a Flat tensor.
func rows(t backend.Tensor, lo, hi int) backend.Tensor {
	t.Offset += floatBytes * lo * t.Shape.Image()
	t.Shape.N = hi - lo
	return t
}

// arena allocates buffers and remembers them, so that a failure or Close gives all of them back.
type arena struct {
	b       backend.Backend
	buffers []backend.Buffer
	bytes   int
}

func (a *arena) alloc(bytes int, what string) (backend.Buffer, error) {
	if bytes == 0 {
		return nil, nil
	}
	buf, err := a.b.Alloc(bytes)
	if err != nil {
		return nil, fmt.Errorf("nn: %s: %w", what, err)
	}
	a.buffers = append(a.buffers, buf)
	a.bytes += bytes
	return buf, nil
}

func (a *arena) free() {
	for _, b := range a.buffers {
		a.b.Free(b)
	}
	a.buffers, a.bytes = nil, 0
}

// placer says where the tensors of programs lie in memory.
type placer struct {
	weights, packed []backend.Tensor // by parameter
	shared          map[int]backend.Tensor
	batch           []backend.Tensor // by their index
}

// newPacked allocates the packed forms of the weights of a program. They are listed by parameter.
func newPacked(p *program.Program, a *arena) ([]backend.Tensor, error) {
	_, total := p.PackedBytes()
	buf, err := a.alloc(total, "packed weights")
	if err != nil {
		return nil, err
	}
	var packed []backend.Tensor
	offset := 0
	for _, v := range p.PackedValues() {
		info := p.Values[v]
		for len(packed) <= info.Index {
			packed = append(packed, backend.Tensor{})
		}
		packed[info.Index] = backend.Tensor{Shape: info.Shape, Role: info.Role, Type: info.Type, Buffer: buf, Offset: offset}
		offset += backend.AlignUp(info.Shape.Len())
	}
	return packed, nil
}

// bound is a program with a frame for every lane.
type bound struct {
	*program.Program
	stretches []boundStretch
	offsets   []int // in an arena
	frames    []*op.Frame
	samples   op.Value // the data set, or None
	joined    bool     // the last call, SumPartials, is left to the optimiser's op
	starts    []int    // of a training on connected devices: after which calls buckets of gradients are started
}

// boundStretch is a stretch of a program with what its calls touch whose place in memory changes, for a micro-batch and for what is done once.
type boundStretch struct {
	program.Stretch
	of, once moving
}

// moving are tensors that lie elsewhere for every micro-batch.
type moving struct {
	arena []op.Value
	slot  []op.Value // those that each slot has its own of
	rows  []op.Value
}

// movingOf lists the tensors of calls, each once, and others besides.
func movingOf(p *program.Program, calls []op.Call, more ...op.Value) (m moving) {
	seen := make([]bool, len(p.Values))
	see := func(v op.Value) {
		if v == op.None || seen[v] {
			return
		}
		seen[v] = true
		switch p.Values[v].Space {
		case op.Arena:
			m.arena = append(m.arena, v)
		case op.Gradients, op.Sums:
			m.slot = append(m.slot, v)
		case op.Rows:
			m.rows = append(m.rows, v)
		}
	}
	for _, c := range calls {
		c.Op.Args(func(v *op.Value, _ op.Use) { see(*v) })
	}
	for _, v := range more {
		see(v)
	}
	return m
}

// at returns the number of a stretch's first call.
func (b *bound) at(stretch int) (call int) {
	for _, s := range b.stretches[:stretch] {
		call += len(s.Calls) + len(s.Once)
	}
	return call
}

// bind places a program's tensors for each lane. The offsets may be those of the same program for more samples; without
// them the tensors of the arena are left zero.
func (l placer) bind(p *program.Program, offsets []int, lanes []backend.Backend, mem []laneMemory) *bound {
	bp := &bound{Program: p, offsets: offsets}
	for i, s := range p.Stretches() {
		b := boundStretch{Stretch: s, of: movingOf(p, s.Calls), once: movingOf(p, s.Once)}
		if i == 0 { // samples may be fed, and targets are read later
			b.of = movingOf(p, s.Calls, p.Input, p.Target)
		}
		bp.stretches = append(bp.stretches, b)
	}
	for i, b := range lanes {
		if offsets != nil && i == len(mem) {
			break // no memory was given to this lane and those after it
		}
		f := &op.Frame{B: b, Tensors: make([]backend.Tensor, len(p.Values))}
		for v, info := range p.Values {
			if op.Value(v) == op.None {
				continue
			}
			t := &f.Tensors[v]
			switch info.Space {
			case op.Arena:
				if offsets == nil {
					continue
				}
				*t = backend.Tensor{Shape: info.Shape, Role: info.Role, Type: info.Type, Buffer: mem[i].arena, Offset: mem[i].at + offsets[v]}
			case op.Weights:
				*t = l.weights[info.Index]
			case op.Packed:
				*t = l.packed[info.Index]
			case op.Shared:
				*t = l.shared[info.Index]
				if info.Index == op.Samples {
					bp.samples = op.Value(v)
				}
			case op.Batch:
				*t = l.batch[info.Index]
			}
		}
		bp.frames = append(bp.frames, f)
	}
	return bp
}

// BytesText prints a number of bytes for people, as 34.1 MiB.
func BytesText(n int) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 10<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
