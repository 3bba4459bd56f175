package nn

import (
	"fmt"
	"slices"
	"time"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// OpProfile is what one op of a training step took.
type OpProfile struct {
	Op, Layer string
	Calls     int // in the step
	Time      time.Duration
	MACs      int    // multiply-adds, 0 where they do not say much
	Executed  int    // those that the device has done for them, 0 if it does not say
	Path      string // how the device does it, "" if it does not say
}

// Observe is called before and after each op of a profiled step, with its index in Profile's result. Before it, clear sets what the op is going
// to write to 0, for a device that does only a part of its work: what was there before belongs to other tensors, perhaps of another type.
type Observe func(index int, before bool, clear func())

// Profile trains on the samples offset to offset+n of the order, as Step does, but on one lane of one device, and waits for
// each op. It returns a row for each op of a layer, in the order in which they are done first. With observe, ops are observed and not
// timed: then none is waited for, and those that may be done at the same time are.
func (t *Trainer) Profile(offset, n int, draw uint32, observe Observe) ([]OpProfile, error) {
	p := &profiler{observe: observe, index: map[[2]string]int{}}
	if err := t.stepWith(offset, n, draw, false, p.step); err != nil {
		return nil, err
	}
	if observe != nil {
		p.err = t.first().mem.b.Sync()
	}
	if p.err != nil {
		return nil, fmt.Errorf("nn: %w", p.err)
	}
	return p.rows, nil
}

// stepWith does a step on one lane, and has every op run by a hook. The samples are given as values if feed is set.
func (t *Trainer) stepWith(offset, n int, draw uint32, feed bool, h hook) error {
	if t.o.World.Devices > 1 {
		return fmt.Errorf("nn: %s is a group of devices: want one of them", t.dev.Name())
	}
	if !feed {
		t.checkSamples(offset, n)
	}
	if !t.begin(offset, n, draw, feed) {
		return fmt.Errorf("nn: %w", t.err)
	}
	for _, p := range t.first().phases {
		for task := range p.tasks() {
			p.run(0, task, h)
		}
	}
	t.end()
	return nil
}

// profiler adds up steps by op and layer.
type profiler struct {
	observe Observe
	rows    []OpProfile
	index   map[[2]string]int
	err     error
}

func (p *profiler) step(s *op.Call, f *op.Frame, values []op.Info) {
	key := [2]string{s.Op.Name(), s.Layer}
	sized, _ := s.Op.(op.Sized)
	i, ok := p.index[key]
	if !ok {
		i = len(p.rows)
		p.index[key] = i
		r := OpProfile{Op: key[0], Layer: s.Layer}
		if lane, ok := f.B.(backend.Paths); ok && sized != nil {
			r.Path = lane.Path(r.Op, sized.Geometry())
		}
		p.rows = append(p.rows, r)
	}
	r := &p.rows[i]
	r.Calls++
	if sized != nil {
		r.MACs += sized.MACs()
		if lane, ok := f.B.(backend.Paths); ok {
			r.Executed += lane.Executed(r.Op, sized.Geometry())
		}
	}
	if p.observe != nil {
		p.observe(i, true, func() { clearWritten(s.Op, f, values) })
		f.Do(s)
		p.observe(i, false, nil)
		return
	}
	took, err := timed(f.B, func() { s.Op.Run(f) })
	r.Time += took
	if p.err == nil {
		p.err = err
	}
}

// clearWritten sets to 0 what an op of a program writes in an arena and does not read, and the workspace, on a backend that can.
func clearWritten(o op.Op, f *op.Frame, values []op.Info) {
	b, ok := f.B.(backend.Clearer)
	if !ok || len(values) == 0 {
		return
	}
	b.ClearWorkspace()
	reads := op.Reads(o)
	for _, v := range op.Writes(o) {
		if values[v].Space == op.Arena && !slices.Contains(reads, v) {
			b.Clear(f.At(v))
		}
	}
}

// timed times ops, on the device's clock if it has one.
func timed(b backend.Backend, run func()) (time.Duration, error) {
	if timer, ok := b.(backend.Timer); ok {
		took := timer.Time(run)
		return took, b.Sync()
	}
	start := time.Now()
	run()
	err := b.Sync()
	return time.Since(start), err
}
