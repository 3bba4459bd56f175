package ptxsim

import (
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
)

// block is the context in which a worker runs one block (CTA) of a grid after another.
type block struct {
	prog    *program
	dev     *Device
	dim     driver.Dim3
	grid    driver.Dim3
	id      driver.Dim3
	dynamic int
	warps   []*warp
	threads int
	checks  Checks
	limit   uint64
	shared  sharedMemory
	cache   []*allocation // by memory instruction: where it went last
	shapes  []shape
	tag     uint32 // of the block in the launch, see race.go
	epoch   uint32 // first tag of the launch
	safe    uint32 // tags below it are of launches that are ordered before this one
	beside  []past // launches that nothing orders before this one
	bars    [16]barrier
	groups  []warpgroup
	mbars   []*mbarrier
	bulks   []*bulkCopy // under way
	changes int         // of mbarriers and copies, counted
	params  []byte
	past    uint32 // no clock of a warp is less
	runs    []runCount
	traffic traffic
}

// barrier is one of a block's.
type barrier struct {
	arrived int // threads of bar.arrive
	clock   [32]uint32
	seen    phases
	reduce  []reduction
}

type reduction struct {
	w  *warp
	in *inst
}

// aligned returns n bytes that begin on a cache line; the slice keeps them.
func aligned(n int) (unsafe.Pointer, []uint64) {
	b := make([]uint64, n/8+9)
	p := unsafe.Pointer(&b[0])
	return unsafe.Add(p, (64-int(uintptr(p))&63)&63), b
}

// newBlock makes a context for blocks of the given size.
func newBlock(p *program, d *Device, l *driver.Launch) *block {
	dim := l.Block
	b := &block{prog: p, dev: d, dim: dim, dynamic: l.Shared, threads: dim.X * dim.Y * dim.Z, checks: d.checks, limit: d.opt.Limit}
	b.shared.make(p, l.Shared)
	b.cache = make([]*allocation, p.memOps)
	b.shapes = make([]shape, p.memOps)
	b.runs = make([]runCount, len(p.code)+1)
	for id := range (b.threads + 31) / 32 {
		w := &warp{block: b, id: int32(id), born: full}
		if n := b.threads - 32*id; n < 32 {
			w.born = 1<<n - 1
		}
		w.base, w.file = aligned(p.fileBytes)
		w.local = make([]byte, 32*p.local+16)
		w.written = make([]uint8, 32*p.local)
		for _, c := range p.consts {
			w.fill(c.off, c.ty, c.bits)
		}
		for _, s := range p.specials {
			w.special(s)
		}
		b.warps = append(b.warps, w)
	}
	if p.groups {
		b.groups = make([]warpgroup, len(b.warps)/4)
	}
	return b
}

func (w *warp) fill(off int32, t ptype, v uint64) {
	switch slotSize(t) {
	case 4:
		*w.p(off) = uint32(v)
	case 128:
		r := w.u32(off)
		for i := range r {
			r[i] = uint32(v)
		}
	default:
		r := w.u64(off)
		for i := range r {
			r[i] = v
		}
	}
}

// launch readies the context for a launch; params are the bytes of the parameters.
func (b *block) launch(l *driver.Launch, params []byte, epoch uint32, beside []past) {
	b.grid, b.epoch, b.safe, b.beside, b.params = l.Grid, epoch, epoch, beside, params
	for i := range beside {
		b.safe = min(b.safe, beside[i].first)
	}
	clear(b.runs)
	b.traffic = traffic{}
	for i := range b.cache {
		b.cache[i] = noAllocation
	}
	for _, w := range b.warps {
		for _, p := range b.prog.paramRefs {
			v := load(unsafe.Pointer(&params[p.at]), p.ty.size())
			if p.ty.signed() {
				v = extend(v, p.ty.size())
			}
			t := tyB32
			if p.long {
				t = tyB64
			}
			w.fill(p.off, t, v)
		}
		for _, s := range b.prog.specials {
			w.special(s)
		}
	}
}

var specialNames = map[string]func(w *warp, t int) int{
	"%tid.x":    func(w *warp, t int) int { return t % w.block.dim.X },
	"%tid.y":    func(w *warp, t int) int { return t / w.block.dim.X % w.block.dim.Y },
	"%tid.z":    func(w *warp, t int) int { return t / w.block.dim.X / w.block.dim.Y },
	"%ntid.x":   func(w *warp, t int) int { return w.block.dim.X },
	"%ntid.y":   func(w *warp, t int) int { return w.block.dim.Y },
	"%ntid.z":   func(w *warp, t int) int { return w.block.dim.Z },
	"%nctaid.x": func(w *warp, t int) int { return w.block.grid.X },
	"%nctaid.y": func(w *warp, t int) int { return w.block.grid.Y },
	"%nctaid.z": func(w *warp, t int) int { return w.block.grid.Z },
	"%ctaid.x":  func(w *warp, t int) int { return w.block.id.X },
	"%ctaid.y":  func(w *warp, t int) int { return w.block.id.Y },
	"%ctaid.z":  func(w *warp, t int) int { return w.block.id.Z },
	"%laneid":   func(w *warp, t int) int { return t & 31 },
	"%warpid":   func(w *warp, t int) int { return int(w.id) },
	"%nwarpid":  func(w *warp, t int) int { return len(w.block.warps) },

	"%lanemask_eq": func(w *warp, t int) int { return 1 << (t & 31) },
	"%lanemask_lt": func(w *warp, t int) int { return 1<<(t&31) - 1 },
	"%lanemask_le": func(w *warp, t int) int { return 2<<(t&31) - 1 },
	"%lanemask_gt": func(w *warp, t int) int { return ^(2<<(t&31) - 1) },
	"%lanemask_ge": func(w *warp, t int) int { return ^(1<<(t&31) - 1) },

	"%dynamic_smem_size": func(w *warp, t int) int { return w.block.dynamic },
	"%total_smem_size":   func(w *warp, t int) int { return int(w.block.shared.size) },
}

// special says whether a register of that name can be read. Clocks and the like are not simulated.
func special(name string) bool { return specialNames[name] != nil }

func (w *warp) special(s specialSlot) {
	f, r := specialNames[s.name], w.u32(s.off)
	for l := range r {
		r[l] = uint32(f(w, int(w.id)*32+l))
	}
}

// exec runs the i-th block of the grid.
//
//go:norace
func (b *block) exec(i int) {
	g := b.grid
	b.id = driver.Dim3{X: i % g.X, Y: i / g.X % g.Y, Z: i / g.X / g.Y}
	b.tag = b.epoch + 2*uint32(i+1)
	b.shared.reset(b.checks)
	clear(b.bars[:])
	b.mbars, b.bulks, b.past = b.mbars[:0], b.bulks[:0], 0
	for i := range b.groups {
		b.groups[i] = warpgroup{calls: b.groups[i].calls[:0]}
	}
	for _, w := range b.warps {
		w.live, w.mask, w.dead = w.born, w.born, ^w.born
		w.pc, w.state, w.steps, w.others, w.copies = 0, warpRuns, 0, w.others[:0], w.copies[:0]
		clear(w.clock[:])
		clear(w.groups[:])
		clear(w.written)
		w.products, w.accumulators, w.committed, w.fenced, w.fences = w.products[:0], w.accumulators[:0], 0, false, 0
		w.seen, w.initFences, w.spins = w.seen[:0], 0, false
		for _, s := range b.prog.specials {
			if s.name[1] == 'c' { // %ctaid
				v := [...]int{b.id.X, b.id.Y, b.id.Z}[s.name[len(s.name)-1]-'x']
				w.fill(s.off, tyB32, uint64(v))
			}
		}
	}
	idle := 0 // rounds in which all that ran waited for mbarriers in vain
	for {
		ran, done, moved, before, patience := false, true, false, b.changes, 8
		for _, w := range b.warps {
			if w.state == warpRuns {
				w.run()
				ran = true
				moved = moved || w.state != warpRuns || !w.spins
				if len(w.others) > 0 { // lanes that do not wait come as far as the next branch in a round
					patience = 1 << 16
				}
			}
			done = done && w.state == warpDone
		}
		if done {
			b.checkGroups()
			b.checkBulks()
			return
		}
		if idle++; moved || b.changes != before || !ran {
			idle = 0
		}
		if idle > patience {
			b.stalled()
		}
		if !ran {
			b.deadlock()
		}
	}
}

// arrive brings the warp to a barrier. It returns true if the warp has to wait or another warp may run first.
//
//go:norace
func (w *warp) arrive(in *inst, m uint32) bool {
	b := w.block
	lane := bits.TrailingZeros32(m)
	id := w.u32(in.a)[lane]
	n := uint32(0)
	if in.b != 0 {
		n = w.u32(in.b)[lane]
	}
	if id >= 16 || n%32 != 0 || int(n) > alignUp(b.threads, 32) {
		w.fault(in, lane, DivergentBarrier, 0, fmt.Sprintf("barrier %d of %d threads: there are 16, and counts are multiples of 32 up to the block", id, n))
	}
	bar := &b.bars[id]
	if in.mode == barArrive {
		bar.arrived += 32
		for i, c := range w.clock {
			bar.clock[i] = max(bar.clock[i], c)
		}
		bar.seen.join(w.seen)
		bar.clock[w.id] = max(bar.clock[w.id], w.clock[w.id]+1)
		w.clock[w.id]++
	} else {
		w.state, w.barID, w.barN = warpWaits, id, n
		if in.mode >= barPopc {
			bar.reduce = append(bar.reduce, reduction{w, in})
		}
	}
	b.release(in, w, id, n)
	return w.state == warpWaits
}

// release opens a barrier if all have come.
//
//go:norace
func (b *block) release(in *inst, w *warp, id, n uint32) {
	bar := &b.bars[id]
	waiting, threads := 0, 0
	for _, o := range b.warps {
		if o.state != warpWaits || o.barID != id {
			continue
		}
		if o.barN != n {
			w.fault(in, 0, DivergentBarrier, 0, fmt.Sprintf("barrier %d: one warp expects %d threads, another %d", id, n, o.barN))
		}
		waiting += 32
		threads += bits.OnesCount32(o.live)
	}
	if n == 0 && threads != b.threads || n != 0 && waiting+bar.arrived < int(n) {
		return
	}
	b.reduce(bar)
	join, seen := bar.clock, bar.seen
	for _, o := range b.warps {
		if o.state == warpWaits && o.barID == id {
			for i, c := range o.clock {
				join[i] = max(join[i], c)
			}
			join[o.id] = max(join[o.id], o.clock[o.id]+1)
			seen.join(o.seen)
		}
	}
	for _, o := range b.warps {
		if o.state == warpWaits && o.barID == id {
			o.clock = join
			o.seen.join(seen)
			o.state = warpRuns
		}
	}
	if n == 0 {
		b.past = slices.Min(join[:len(b.warps)])
	}
	b.traffic.barriers++
	*bar = barrier{reduce: bar.reduce[:0]}
	b.shared.trim(b)
}

// reduce computes the results of bar.red.
func (b *block) reduce(bar *barrier) {
	count, all := 0, 0
	for _, r := range bar.reduce {
		p := *r.w.p(r.in.e)
		if r.in.inv {
			p = ^p
		}
		count += bits.OnesCount32(p & r.w.live)
		all += bits.OnesCount32(r.w.live)
	}
	for _, r := range bar.reduce {
		switch w, d := r.w, r.in.d; r.in.mode {
		case barPopc:
			w.fill(d, tyB32, uint64(count))
		case barAnd:
			w.fill(d, tyPred, map[bool]uint64{true: uint64(full)}[count == all])
		case barOr:
			w.fill(d, tyPred, map[bool]uint64{true: uint64(full)}[count > 0])
		}
	}
}

// deadlock reports why no warp can go on.
func (b *block) deadlock() {
	var first *warp
	done, other := 0, -1
	for _, w := range b.warps {
		done += bits.OnesCount32(w.born &^ w.live)
		if w.state != warpWaits {
			continue
		}
		if first == nil {
			first = w
		} else if w.barID != first.barID {
			other = int(w.barID)
		}
	}
	in := &b.prog.code[first.pc-1]
	switch {
	case first.barN != 0:
		first.fault(in, 0, Deadlock, 0, fmt.Sprintf("barrier %d waits for %d threads, nobody else comes", first.barID, first.barN))
	case other >= 0:
		first.fault(in, 0, DivergentBarrier, 0, fmt.Sprintf("some threads wait at barrier %d, others at barrier %d", first.barID, other))
	}
	first.fault(in, 0, DivergentBarrier, 0, fmt.Sprintf("%d threads of the block have left and never come to barrier %d", done, first.barID))
}
