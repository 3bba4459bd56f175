package sass

import (
	"fmt"
	"math/bits"
	"slices"
)

// lanes is a register of a warp.
type lanes = [32]uint32

// block is a running thread block.
type block struct {
	x, y, z int
	shared  []byte
	warps   []*warp
	share   *share // that it is of, while it is timed

	arrivals  [barriers]int // threads that have arrived at a barrier of the block and do not wait there
	registers int           // of lanes, that warps have given back and others may take
	copies    int           // bulk copies to its shared memory that have not landed
}

// barriers is how many a block has.
const barriers = 16

// state is what a group of lanes waits for.
type state uint8

const (
	running    state = iota
	converging       // for the other lanes of a convergence barrier
	arrived          // at a barrier of the block
	sleeping         // for a phase of an mbarrier
)

// group is lanes of a warp at the same instruction.
type group struct {
	pc    int
	mask  uint32
	state state
	conv  int // while converging: the convergence barrier, or allLanes

	barrier, threads int // while arrived: the block's barrier, and how many threads it is for, or 0 for all
	wait             wait
}

const allLanes = -1

// need returns the lanes that a converging group waits for.
func (w *warp) need(g *group) uint32 {
	if g.conv == allLanes {
		return w.alive
	}
	return w.conv[g.conv][bits.TrailingZeros32(g.mask)] & w.alive
}

// warp is 32 threads.
type warp struct {
	blk    *block
	id     int
	regs   []lanes
	ur     [urz]uint32
	p      [8]uint32 // predicates, a bit a lane
	up     [7]bool
	conv   [16]lanes // convergence barriers: the lanes that each lane waits for
	alive  uint32
	groups []group
	cur    int // the group that runs next
	atBar  bool
	asleep bool // no lanes can run before a phase of an mbarrier completes
	polled bool // it has just asked for a phase that is not complete, without waiting
	done   bool
	limit  int // registers a lane
	clock  warpClock
}

// runs says whether a warp has lanes that can go on.
func (w *warp) runs() bool { return !w.done && !w.atBar && !w.asleep }

// newWarp makes a warp that has so many registers a lane, and may come to have most.
func newWarp(b *block, id, threads, registers, most int) *warp {
	w := &warp{blk: b, id: id, regs: make([]lanes, max(registers, most)+2), limit: (registers + 7) / 8 * 8, alive: ^uint32(0)}
	if n := threads - 32*id; n < 32 {
		w.alive = 1<<n - 1
	}
	w.p[pt] = ^uint32(0)
	for r := range w.regs {
		for l := range w.regs[r] {
			w.regs[r][l] = 0x7fc0dead // a NaN: what was never written shows
		}
	}
	w.groups = append(w.groups, group{mask: w.alive})
	return w
}

// pick chooses the running group of the lowest address, and joins the groups that have met. It returns false when none can run.
func (w *warp) pick() bool {
	if len(w.groups) == 1 && w.groups[0].state == running {
		w.cur = 0
		return true
	}
	w.release()
	w.cur = -1
	for i := 0; i < len(w.groups); i++ {
		g := &w.groups[i]
		if g.state != running {
			continue
		}
		for j := i + 1; j < len(w.groups); j++ {
			if o := w.groups[j]; o.state == running && o.pc == g.pc {
				g.mask |= o.mask
				w.groups = append(w.groups[:j], w.groups[j+1:]...)
				j--
			}
		}
		if w.cur < 0 || g.pc < w.groups[w.cur].pc {
			w.cur = i
		}
	}
	return w.cur >= 0
}

// release lets the lanes go on that have all come to a convergence barrier.
func (w *warp) release() {
	for i := range w.groups {
		g := &w.groups[i]
		if g.state != converging {
			continue
		}
		var here uint32
		for _, o := range w.groups {
			if o.state == converging && o.pc == g.pc {
				here |= o.mask
			}
		}
		need, pc := w.need(g), g.pc
		if need&^here != 0 {
			continue
		}
		for j := range w.groups {
			if o := &w.groups[j]; o.state == converging && o.pc == pc && o.mask&need != 0 {
				o.state = running
				o.pc++
			}
		}
	}
}

// split sends the lanes of the current group on: those of taken to target, the others to the next instruction.
func (w *warp) split(taken uint32, target int) {
	g := &w.groups[w.cur]
	rest := g.mask &^ taken
	switch {
	case taken == 0:
		g.pc++
	case rest == 0:
		g.pc = target
	default:
		g.mask = rest
		g.pc++
		w.groups = append(w.groups, group{pc: target, mask: taken})
	}
}

// exit ends lanes of the current group.
func (w *warp) exit(ex uint32) {
	w.alive &^= ex
	g := &w.groups[w.cur]
	g.mask &^= ex
	g.pc++
	if g.mask == 0 {
		w.groups = append(w.groups[:w.cur], w.groups[w.cur+1:]...)
	}
}

// converge makes the current group wait for the others of a convergence barrier.
func (w *warp) converge(barrier int) {
	g := &w.groups[w.cur]
	g.conv = barrier
	if w.need(g)&^g.mask == 0 {
		g.pc++
		return
	}
	g.state = converging
}

// settle is called after each instruction: it finds the next group, or that the warp is at the barrier or at its end.
func (w *warp) settle() error {
	w.asleep = false
	if len(w.groups) == 0 {
		w.done = true
		return nil
	}
	if w.pick() {
		return nil
	}
	for _, g := range w.groups {
		if g.state == sleeping {
			w.asleep = true
			return nil
		}
	}
	for _, g := range w.groups {
		if g.state != arrived {
			return fmt.Errorf("lanes %#x wait at instruction %d for lanes that never come", g.mask, g.pc)
		}
		if o := &w.groups[0]; g.barrier != o.barrier || g.threads != o.threads {
			return fmt.Errorf("lanes %#x wait at barrier %d for %d threads, lanes %#x at barrier %d for %d", o.mask, o.barrier, o.threads, g.mask, g.barrier, g.threads)
		}
	}
	w.atBar = true
	return nil
}

// pass lets the warp pass the block's barrier.
func (w *warp) pass() error {
	w.atBar = false
	for i := range w.groups {
		w.groups[i].state = running
		w.groups[i].pc++
	}
	return w.settle()
}

// guardMask returns the lanes of the current group for which the instruction runs.
func (w *warp) guardMask(in *Inst) uint32 {
	m := w.groups[w.cur].mask
	if in.guarded {
		m &= w.pred(&in.guard)
	}
	if in.op.uniform && m != 0 {
		m &= -m // one lane does it for all
	}
	return m
}

// pred is a predicate of all lanes.
func (w *warp) pred(o *operand) uint32 {
	v := ^uint32(0)
	if o.kind == kindPred {
		v = w.p[o.r]
	} else if o.r != pt && !w.up[o.r] {
		v = 0
	}
	if o.inv {
		v = ^v
	}
	return v
}

// setPred sets a predicate for the lanes of ex.
func (w *warp) setPred(o *operand, v, ex uint32) {
	switch {
	case o.r == pt:
	case o.kind == kindUniformPred:
		w.up[o.r] = v>>bits.TrailingZeros32(ex)&1 != 0
	default:
		w.p[o.r] = w.p[o.r]&^ex | v&ex
	}
}

// runs says whether a block has a warp that can go on.
func (b *block) runs() bool { return slices.ContainsFunc(b.warps, (*warp).runs) }

// ended says whether all warps have.
func (b *block) ended() bool {
	return !slices.ContainsFunc(b.warps, func(w *warp) bool { return !w.done })
}

// checkEnd sees to it that nothing is on its way to a block's shared memory when it ends.
func (b *block) checkEnd() {
	if b.copies > 0 {
		fail("block %d,%d,%d ends while %d copies to its shared memory are on their way", b.x, b.y, b.z, b.copies)
	}
}

// open returns the warps that wait at barriers of the block at which as many threads have arrived as those are for: all threads that have not
// ended, or the number that the instruction says.
func (b *block) open() (list []*warp, err error) {
	for id := range b.arrivals {
		var here []*warp
		threads := 0
		for _, w := range b.warps {
			if !w.atBar || w.groups[0].barrier != id {
				continue
			}
			if n := w.groups[0].threads; len(here) > 0 && n != threads {
				return nil, fmt.Errorf("block %d,%d,%d: barrier %d is for %d threads in one warp and for %d in another", b.x, b.y, b.z, id, threads, n)
			}
			threads = w.groups[0].threads
			here = append(here, w)
		}
		switch n := 32*len(here) + b.arrivals[id]; {
		case len(here) == 0:
		case threads == 0:
			if !slices.ContainsFunc(b.warps, func(w *warp) bool { return !w.done && !slices.Contains(here, w) }) {
				list = append(list, here...)
			}
		case n > threads:
			return nil, fmt.Errorf("block %d,%d,%d: %d threads are at barrier %d, which is for %d", b.x, b.y, b.z, n, id, threads)
		case n == threads:
			list = append(list, here...)
			b.arrivals[id] = 0
		}
	}
	return list, nil
}
