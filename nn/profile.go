package nn

import (
	"fmt"
	"time"

	"github.com/convae/convae/nn/backend"
)

// OpProfile is what one op of a training step took.
type OpProfile struct {
	Op, Layer string
	Calls     int // in the step
	Time      time.Duration
	MACs      int    // multiply-adds, 0 where they do not say much
	Path      string // how the device does it, "" if it does not say
}

// Observe is called before and after each op of a profiled step, with its index in Profile's result.
type Observe func(index int, before bool)

// Profile trains on the samples offset to offset+n of the order, as Step does, but on one lane, and waits for each op.
// It returns a row for each op of a micro-batch, the clearing of gradients, the update and the packing of weights, in
// order. observe may be nil.
func (t *Trainer) Profile(offset, n int, draw uint32, observe Observe) ([]OpProfile, error) {
	if observe == nil {
		observe = func(int, bool) {}
	}
	t.checkSamples(offset, n)
	p := &profiler{t: t, observe: observe, index: map[[2]string]int{}}
	t.visit(offset, n, draw, p.step)
	if p.err != nil {
		return nil, fmt.Errorf("nn: %w", p.err)
	}
	return p.rows, nil
}

// visit does a step on one lane, in order, and calls each with all that the device does.
func (t *Trainer) visit(offset, n int, draw uint32, each visitor) {
	t.begin(offset, n, draw, false)
	if t.sparse() {
		for chunk := range t.used() {
			t.chunk(0, chunk, t.means, t.slots[chunk].sums, each)
		}
		each(&step{op: "SparseKL", layer: "code"}, nil, func() { t.sparseTask(0, 0) })
	}
	for chunk := range t.used() {
		t.chunk(0, chunk, t.programs, t.slots[chunk].flat, each)
	}
	for i := range t.ranges {
		if t.collects() {
			each(&step{op: "Collect", layer: "update"}, nil, func() { t.collectTask(0, i) })
		}
	}
	for i := range t.ranges {
		each(&step{op: t.o.Optimizer.Name, layer: "update"}, nil, func() { t.updateTask(0, i) })
	}
	for i, task := range t.packs.tasks {
		each(&step{op: "Pack", layer: t.m.Layers[t.nodes[task.at].layer].Name}, nil, func() { t.packTask(0, i) })
	}
	t.end()
}

// profiler adds up steps by op and layer.
type profiler struct {
	t       *Trainer
	observe Observe
	rows    []OpProfile
	index   map[[2]string]int
	err     error
}

func (p *profiler) step(s *step, _ *context, run func()) {
	key := [2]string{s.op, s.layer}
	i, ok := p.index[key]
	if !ok {
		i = len(p.rows)
		p.index[key] = i
		r := OpProfile{Op: s.op, Layer: s.layer}
		if lane, ok := p.t.mem.b.(backend.Paths); ok && s.shape != nil {
			r.Path = lane.Path(s.op, s.shape)
		}
		p.rows = append(p.rows, r)
	}
	p.observe(i, true)
	took, err := p.time(run)
	r := &p.rows[i]
	r.Time += took
	r.Calls++
	if s.shape != nil {
		r.MACs += s.shape.MACs()
	}
	p.observe(i, false)
	if p.err == nil {
		p.err = err
	}
}

// time runs ops, on the device's clock if it has one.
func (p *profiler) time(run func()) (time.Duration, error) {
	b := p.t.mem.b
	if timer, ok := b.(backend.Timer); ok {
		took := timer.Time(run)
		return took, b.Sync()
	}
	start := time.Now()
	run()
	err := b.Sync()
	return time.Since(start), err
}
