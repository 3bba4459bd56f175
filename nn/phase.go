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

// programs are those of a pass over the batch, by numbers of samples, with their tensors in memory.
type programs struct {
	r       *replica
	compile func(src source, n int) (*program.Program, error)
	offsets map[kind][]int // of the tensors
	made    map[programKey]*bound
	// training says that they add up gradients.
	training bool
	apart    int // bytes from the arena of a micro-batch to the next's; 0 if the micro-batches of a lane share one
}

// batchPhase runs a stretch of a program for every micro-batch. A task is a chunk of the batch, which adds up in a slot of its own.
type batchPhase struct {
	*programs
	stretch int
	sum     int         // index of the sum that is set to 0 when a chunk begins
	begin   []op.Call   // the calls that set it to 0; none but in the first stretch
	frames  []*op.Frame // of begin, by lane
}

// programKey says for how many samples a program is, and of which kind.
type programKey struct {
	n int
	kind
}

// newPrograms returns the programs that compile makes.
func (r *replica) newPrograms(offsets map[kind][]int, compile func(src source, n int) (*program.Program, error)) *programs {
	return &programs{r: r, compile: compile, offsets: offsets, made: map[programKey]*bound{}}
}

// newBatchPhase makes a phase that runs the first stretch of programs. When a chunk begins, the sum of that index in its slot is set to 0.
func (r *replica) newBatchPhase(sum int, progs *programs) *batchPhase {
	p := &batchPhase{programs: progs, sum: sum}
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
func (p *programs) prepare(n int) bool {
	key := programKey{n, p.r.t.kind()}
	if n == 0 || p.made[key] != nil {
		return false
	}
	prog, err := p.compile(p.r.t.source(key.kind), n)
	if err != nil { // the plan has compiled it for as many samples or more
		panic("nn: a program was planned that does not compile")
	}
	bound := p.r.placer().bind(prog, p.offsets[key.kind], p.r.w.lanes, p.r.lanes.memory)
	bound.joined = p.r.t.joins() && p.r.t.summedLast(prog)
	if p.training && p.r.t.direct() {
		bound.starts = p.r.t.starts(prog)
	}
	p.made[key] = bound
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
	start := (lo + task) * t.plan.chunk
	end := min(start+t.plan.chunk, t.count)
	for first := start; first < end; first += t.plan.micro {
		n := min(t.plan.micro, end-first)
		prog, f := p.frame(lane, n, first, p.stretch)
		calls := prog.stretches[p.stretch].Calls
		for _, v := range prog.stretches[p.stretch].of.slot {
			if info := &prog.Values[v]; info.Space == op.Gradients {
				f.Tensors[v] = s.grads[info.Index]
			} else {
				f.Tensors[v] = s.sums[info.Index]
			}
		}
		last := prog.starts != nil && end == first+n && task == p.tasks()-1
		if p.stretch > 0 {
			if last {
				r.runLast(prog, p.stretch, prog.at(p.stretch), calls, f, hook)
			} else {
				runCalls(calls, f, prog.Values, hook)
			}
			continue
		}
		if t.feed {
			image := t.m.Input.Len()
			b.Upload(f.At(prog.Input), t.x[first*image:(first+n)*image])
			b.Upload(f.At(prog.Target), t.y[first*image:(first+n)*image])
		}
		var left *op.SumPartials
		if prog.joined && !t.apart {
			left, calls = calls[len(calls)-1].Op.(*op.SumPartials), calls[:len(calls)-1]
		}
		if r.led != p || task > 0 || first > start {
			runCalls(calls[:prog.Lead], f, prog.Values, hook)
		}
		if first == start {
			begin := p.frames[lane]
			begin.Tensors[1] = s.sums[p.sum]
			runCalls(p.begin, begin, nil, hook)
		}
		if last {
			r.runLast(prog, p.stretch, prog.Lead, calls[prog.Lead:], f, hook)
		} else {
			runCalls(calls[prog.Lead:], f, prog.Values, hook)
		}
		if left != nil { // there is but one task
			r.sums = left.Of(f)
		}
	}
}

// lead gathers the samples that the first task begins with, if there is one, on the first lane.
func (p *batchPhase) lead() {
	lo, hi := p.r.chunks()
	if lo == hi {
		return
	}
	t, first := p.r.t, lo*p.r.t.plan.chunk
	prog, f := p.frame(0, min(t.plan.micro, t.plan.chunk, t.count-first), first, 0)
	runCalls(prog.Calls[:prog.Lead], f, prog.Values, nil)
}

// frame returns the program for n samples, and a lane's frame of it for those from first on, with the tensors of a stretch but for those of a slot.
func (p *programs) frame(lane, n, first, stretch int) (*bound, *op.Frame) {
	r, t := p.r, p.r.t
	prog := p.made[programKey{n, t.kind()}]
	f := prog.frames[lane]
	if p.apart > 0 {
		lo, _ := r.chunks()
		micro := t.plan.microBatches(first)
		at := (micro - t.plan.microBatches(lo*t.plan.chunk)) * p.apart
		of := &prog.stretches[stretch].of
		for _, v := range of.arena {
			f.Tensors[v].Offset = at + prog.offsets[v]
		}
		for _, v := range of.rows {
			i := prog.Values[v].Index
			count := t.plan.rows[i].N
			f.Tensors[v] = rows(r.tables[i], micro*count, (micro+1)*count)
		}
	}
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
	pieces []piece           // of the ops of each list, if lanes do pieces of them
	frames []*op.Frame       // by lane; they share a table of tensors
	lanes  []laneMemory      // for the workspace
	set    func(f *op.Frame) // fills in what a frame must know of the step at hand, or nil
	calls  []op.Call         // of the task that is being made
	layer  string            // that they serve
}

// piece is the i-th of n pieces of an op.
type piece struct{ i, n int }

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
	if p.pieces == nil {
		runCalls(p.lists[task], f, nil, hook)
		return
	}
	piece := p.pieces[task]
	if hook != nil { // wants to see whole ops
		if piece.i == 0 {
			runCalls(p.lists[task], f, nil, hook)
		}
		return
	}
	b := f.B.(backend.Splitter)
	b.Piece(piece.i, piece.n)
	runCalls(p.lists[task], f, nil, nil)
	b.Piece(0, 1)
}

// newPackPhase makes the phase that packs the weights of a program, each a task, or several pieces of which each is one.
func (l placer) newPackPhase(p *program.Program, lanes []backend.Backend, mem []laneMemory) *listPhase {
	ph := newListPhase(lanes, mem, l.bind(p, nil, lanes[:1], mem).frames[0].Tensors)
	b, ok := lanes[0].(backend.Splitter)
	for i := range p.Packs {
		n := 1
		if ok {
			n = b.Pieces(p.Packs[i].Op.Name(), work(p, p.Packs[i].Op))
		}
		for j := range n {
			ph.lists = append(ph.lists, p.Packs[i:i+1])
			if ok {
				ph.pieces = append(ph.pieces, piece{j, n})
			}
		}
	}
	return ph
}

// newOncePhase makes the phase that does the calls of stretch i that are done once. What micro-batches add up elsewhere they leave to the
// first slot of the batch, which one device has.
func (r *replica) newOncePhase(p *program.Program, i int) *listPhase {
	bound := r.placer().bind(p, nil, r.w.lanes[:1], r.lanes.memory)
	once := bound.stretches[i].once
	ph := newListPhase(r.w.lanes, r.lanes.memory, bound.frames[0].Tensors)
	ph.lists = [][]op.Call{bound.stretches[i].Once}
	ph.set = func(f *op.Frame) {
		r.set(f)
		filled := r.t.plan.microBatches(r.t.count)
		for _, v := range once.rows {
			i := p.Values[v].Index
			f.Tensors[v] = rows(r.tables[i], 0, filled*r.t.plan.rows[i].N)
		}
		lo, hi := r.chunks()
		for _, v := range once.slot {
			if info := &p.Values[v]; info.Space == op.Gradients {
				f.Tensors[v] = backend.Tensor{}
				if lo == 0 && hi > 0 {
					f.Tensors[v] = r.slots[0].grads[info.Index]
				}
			}
		}
	}
	return ph
}
