package nn

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
)

// phase is a part of a training step on one device. What one phase leaves behind, all of the next may read: statistics of a
// batch are a phase over its micro-batches, an op or two done once, and a phase that uses them.
type phase interface {
	// tasks returns how many tasks the phase has in the step at hand; lanes take them as they come.
	tasks() int
	// run does a task on a lane. hook, if there is one, runs each op.
	run(lane, task int, hook hook)
}

// hook runs an op of a step that is profiled, traced or checked. values tell of its tensors, if they are a program's.
type hook func(s *op.Call, f *op.Frame, values []op.Info)

// runCalls runs ops on a frame.
func runCalls(calls []op.Call, f *op.Frame, values []op.Info, hook hook) {
	for i := range calls {
		if hook == nil {
			f.Do(&calls[i])
		} else {
			hook(&calls[i], f, values)
		}
	}
}

// batchPhase runs a program for every micro-batch. A task is a chunk of the batch, which adds up in a slot of its own.
type batchPhase struct {
	r        *replica
	compile  func(src source, n int) (*program.Program, error)
	offsets  map[kind][]int // of the tensors
	programs map[programKey]*bound
	sum      int         // index of the sum that is set to 0 when a chunk begins
	begin    []op.Call   // the calls that set it to 0
	frames   []*op.Frame // of begin, by lane
}

// programKey says for how many samples a program is, and of which kind.
type programKey struct {
	n int
	kind
}

// newBatchPhase makes a phase that runs the programs that compile makes. When a chunk begins, the sum of that index in its
// slot is set to 0.
func (r *replica) newBatchPhase(sum int, offsets map[kind][]int, compile func(src source, n int) (*program.Program, error)) *batchPhase {
	p := &batchPhase{r: r, sum: sum, compile: compile, offsets: offsets, programs: map[programKey]*bound{}}
	begin := op.NewTape()
	begin.Layer = "gradients"
	begin.Emit(&op.Zero{Dst: begin.Outside(op.Info{Space: op.Sums, Index: sum})})
	p.begin = begin.Calls
	for _, b := range r.w.lanes {
		p.frames = append(p.frames, &op.Frame{B: b, Tensors: make([]backend.Tensor, len(begin.Values))})
	}
	return p
}

// prepare compiles the program for n samples, and returns true, unless it is there.
func (p *batchPhase) prepare(n int) bool {
	key := programKey{n, p.r.t.kind()}
	if n == 0 || p.programs[key] != nil {
		return false
	}
	prog, err := p.compile(p.r.t.source(key.kind), n)
	if err != nil { // the plan has compiled it for as many samples or more
		panic("nn: a program was planned that does not compile")
	}
	p.programs[key] = p.r.placer().bind(prog, p.offsets[key.kind], p.r.w.lanes, p.r.lanes.memory)
	return true
}

func (p *batchPhase) tasks() int {
	lo, hi := p.r.chunks()
	return hi - lo
}

// run does the chunk of a task. The samples of its first micro-batch are gathered before anything else, unless lead has done so.
func (p *batchPhase) run(lane, task int, hook hook) {
	r, t := p.r, p.r.t
	lo, _ := r.chunks()
	s := &r.slots[task]
	b := r.w.lanes[lane]
	begin := p.frames[lane]
	begin.Tensors[1] = s.sums[p.sum]
	start := (lo + task) * t.plan.chunk
	end := min(start+t.plan.chunk, t.count)
	for first := start; first < end; first += t.plan.micro {
		n := min(t.plan.micro, end-first)
		prog, f := p.frame(lane, n, first)
		for _, v := range prog.slot {
			if info := &prog.Values[v]; info.Space == op.Gradients {
				f.Tensors[v] = s.grads[info.Index]
			} else {
				f.Tensors[v] = s.sums[info.Index]
			}
		}
		if t.feed {
			image := t.m.Input.Len()
			b.Upload(f.At(prog.Input), t.x[first*image:(first+n)*image])
			b.Upload(f.At(prog.Target), t.y[first*image:(first+n)*image])
		}
		if r.led != p || task > 0 || first > start {
			runCalls(prog.Calls[:prog.Lead], f, prog.Values, hook)
		}
		if first == start {
			runCalls(p.begin, begin, nil, hook)
		}
		runCalls(prog.Calls[prog.Lead:], f, prog.Values, hook)
	}
}

// lead gathers the samples that the first task begins with, if there is one, on the first lane.
func (p *batchPhase) lead() {
	lo, hi := p.r.chunks()
	if lo == hi {
		return
	}
	t, first := p.r.t, lo*p.r.t.plan.chunk
	prog, f := p.frame(0, min(t.plan.micro, t.plan.chunk, t.count-first), first)
	runCalls(prog.Calls[:prog.Lead], f, prog.Values, nil)
}

// frame returns the program for n samples, and a lane's frame of it for those from first on, without the tensors of a slot.
func (p *batchPhase) frame(lane, n, first int) (*bound, *op.Frame) {
	r, t := p.r, p.r.t
	prog := p.programs[programKey{n, t.kind()}]
	f := prog.frames[lane]
	f.B.SetWorkspace(r.lanes.memory[lane].workspace)
	if prog.samples != op.None {
		f.Tensors[prog.samples] = r.samples[t.turn]
	}
	f.First = first
	t.setScales(f)
	return prog, f
}

// listPhase is lists of ops on tensors whose memory is known. Each list is a task.
type listPhase struct {
	lists  [][]op.Call
	frames []*op.Frame       // by lane; they share a table of tensors
	lanes  []laneMemory      // for the workspace
	set    func(f *op.Frame) // fills in what a frame must know of the step at hand, or nil
	calls  []op.Call         // of the task that is being made
	layer  string            // that they serve
}

func newListPhase(lanes []backend.Backend, mem []laneMemory, table []backend.Tensor) *listPhase {
	p := &listPhase{lanes: mem}
	for _, b := range lanes {
		p.frames = append(p.frames, &op.Frame{B: b, Tensors: table})
	}
	return p
}

// value names a tensor, None the zero Tensor.
func (p *listPhase) value(t backend.Tensor) op.Value {
	if t.IsZero() {
		return op.None
	}
	table := append(p.frames[0].Tensors, t)
	for _, f := range p.frames {
		f.Tensors = table
	}
	return op.Value(len(table) - 1)
}

// values names tensors.
func (p *listPhase) values(t []backend.Tensor) []op.Value {
	v := make([]op.Value, len(t))
	for i := range t {
		v[i] = p.value(t[i])
	}
	return v
}

// emit appends an op to the task that is being made.
func (p *listPhase) emit(o op.Op) { p.calls = append(p.calls, op.Call{Op: o, Layer: p.layer}) }

// end ends the task, if it has ops.
func (p *listPhase) end() {
	if len(p.calls) > 0 {
		p.lists = append(p.lists, p.calls)
	}
	p.calls = nil
}

func (p *listPhase) tasks() int { return len(p.lists) }

func (p *listPhase) run(lane, task int, hook hook) {
	f := p.frames[lane]
	if lane < len(p.lanes) {
		f.B.SetWorkspace(p.lanes[lane].workspace)
	}
	if p.set != nil {
		p.set(f)
	}
	runCalls(p.lists[task], f, nil, hook)
}

// newPackPhase makes the phase that packs the weights of a program, each a task.
func (l placer) newPackPhase(p *program.Program, lanes []backend.Backend, mem []laneMemory) *listPhase {
	ph := newListPhase(lanes, mem, l.bind(p, nil, lanes[:1], mem).frames[0].Tensors)
	for i := range p.Packs {
		ph.lists = append(ph.lists, p.Packs[i:i+1])
	}
	return ph
}
