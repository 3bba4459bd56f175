package sass

import (
	"math"
	"slices"
)

// Latencies in cycles. A sum of floats takes 4 when another waits for it, by Abdelkhalik et al., "Demystifying the Nvidia Ampere
// Architecture through Microbenchmarking and Instruction-level Analysis", 2022; a load that hits L1 takes 40 on a GH200 and an RTX 4090, by
// the measurements that Machines names (the model: 45, with the 5 until it is at the unit). The others are assumptions.
const (
	fixedLatency   = 4 // of what has no scoreboard: ptxas's stall counts hold it
	sharedLatency  = 29
	l1Latency      = 40
	constLatency   = 30
	registerRead   = 25 // special registers
	specialLatency = 23
	barrierLatency = 20
	branchLatency  = 5
	memoryQueue    = 24 // cycles of work that the load/store unit takes in advance
	// From when the tensor cores have taken a warpgroup's product to when its sums are in registers.
	warpgroupLatency = 24
)

// Stall says why a scheduler that has warps issues nothing.
type Stall uint8

// The reasons, of the warp that has most to wait for.
const (
	StallNone    Stall = iota
	StallBarrier       // for the other warps of the block
	StallFixed         // for a fixed latency
	StallPipe          // for a unit
	StallQueue         // for the queue of memory instructions
	StallBoard         // for a load or another latency that varies
	numStalls
)

// warpClock is when a warp may go on.
type warpClock struct {
	next  int64
	board [6]int64
	age   int64
	// Copies to shared memory and products of warpgroups, and when those that are waited for have landed.
	copies, products pending
	landed           int64
}

// pending is what a warp has begun and not waited for: when that which is in no group yet has landed, and that of each group.
type pending struct {
	open   int64
	groups []int64
	used   bool // there were groups
}

// close makes a group of what is in none.
func (p *pending) close() { p.groups, p.open, p.used = append(p.groups, p.open), 0, true }

// wait puts off landed until at most n groups have not landed.
func (p *pending) wait(n int, landed *int64) {
	done := max(len(p.groups)-n, 0)
	for _, at := range p.groups[:done] {
		*landed = max(*landed, at)
	}
	p.groups = p.groups[done:]
}

// scheduler is one of four in an SM.
type scheduler struct {
	warps   []*warp
	last    *warp
	half    [2]int64 // when the float units are free; the first one also does integer multiply-adds
	alu     int64
	uniform int64
	special int64
	tensor  int64 // in hundredths of a cycle
	// Of the last product of a warpgroup: when it was issued and is done, in hundredths of a cycle, the passes of shared memory until then,
	// how much products are late for those, how long the product takes and how much of that it leaves of shared memory.
	since, until, seen, late, took, spare int64
	queue                                 int64
	stalled                               [numStalls]int64
}

// share is what an SM gets of a launch.
type share struct {
	x        *executor
	each     needs // of a block
	resident int   // blocks at a time at the most
	live     int
	todo     []int // blocks that wait
}

// sm is a streaming multiprocessor that runs blocks of launches.
type sm struct {
	m         *Machine
	branches  [][]*share // in each, one begins when all blocks of the one before have ended
	sched     [schedulers]scheduler
	now       int64
	loadStore int64 // when the load/store unit is free
	passes    int64 // that it has made
	l2        int64 // when the way to L2 is free
	l1        map[uint64]int64
	l1Order   []uint64
	live      []*block
	used      needs // of the live blocks
	dealt     int
	age       int64

	events events
	tma    copier
	polls  int // how often warps have asked in vain since a phase was complete or a warp passed a barrier

	instructions, fmas, mmas, products, sectors int64
	tensor                                      int64 // hundredths of a cycle in which tensor cores are taken, added up
}

// maxCycles ends a launch that does not end.
const maxCycles = 1 << 33

// simulate runs branches on an SM and returns it with its counts.
func simulate(m *Machine, branches [][]*share) *sm {
	s := &sm{m: m, branches: branches, l1: map[uint64]int64{}}
	s.fill()
	for len(s.live) > 0 {
		s.happen()
		next := s.events.next()
		issued := false
		for i := range s.sched {
			w, at := s.choose(&s.sched[i])
			next = min(next, at)
			if w != nil {
				issued = true
				s.issue(&s.sched[i], w)
			}
		}
		switch {
		case issued:
			s.now++
		case len(s.live) > 0 && next == math.MaxInt64:
			fail("%s", s.live[0].stuck())
		case len(s.live) > 0:
			s.now = max(s.now+1, next)
		}
		if s.now > maxCycles {
			fail("no end in %d cycles", int64(maxCycles))
		}
	}
	s.now += m.L2Latency / 2 // the last stores arrive
	return s
}

// fill starts blocks as far as there is room, those of the first branch first.
func (s *sm) fill() {
	for i, b := range s.branches {
		for len(b) > 0 && b[0].live == 0 && len(b[0].todo) == 0 {
			b = b[1:]
		}
		for len(b) > 0 && len(b[0].todo) > 0 && s.room(b[0]) {
			s.start(b[0])
		}
		s.branches[i] = b
	}
}

// room says whether a block fits beside the live ones.
func (s *sm) room(l *share) bool {
	return l.live < l.resident && len(s.live) < s.m.Blocks && s.used.warps+l.each.warps <= s.m.Warps &&
		s.used.registers+l.each.registers <= registersPerSM && s.used.shared+l.each.shared <= s.m.Shared
}

// start starts the next block of a launch.
func (s *sm) start(l *share) {
	b := l.x.block(l.todo[0])
	b.share = l
	l.todo = l.todo[1:]
	for _, w := range b.warps {
		w.clock.next, w.clock.age = s.now, s.age
		s.age++
		q := &s.sched[s.dealt%schedulers]
		s.dealt++
		q.warps = append(q.warps, w)
	}
	s.live = append(s.live, b)
	l.live++
	s.used.add(&l.each, 1)
}

// end takes away a block that has ended.
func (s *sm) end(b *block) {
	for i := range s.sched {
		q := &s.sched[i]
		q.warps = slices.DeleteFunc(q.warps, func(w *warp) bool { return w.blk == b })
		if q.last != nil && q.last.blk == b {
			q.last = nil
		}
	}
	s.live = slices.DeleteFunc(s.live, func(o *block) bool { return o == b })
	b.share.live--
	s.used.add(&b.share.each, -1)
}

// ready says when a warp can issue, and what it waits for until then.
func (s *sm) ready(q *scheduler, w *warp) (int64, Stall) {
	in := &w.blk.share.x.k.Code[w.groups[w.cur].pc]
	at, why := w.clock.next, StallFixed
	for b := range w.clock.board {
		if in.Control.Wait>>b&1 != 0 && w.clock.board[b] > at {
			at, why = w.clock.board[b], StallBoard
		}
	}
	if w.clock.landed > at {
		at, why = w.clock.landed, StallBoard
	}
	free, stall := s.free(q, in.op.pipe)
	if free > at {
		at, why = free, stall
	}
	return at, why
}

// free says when a unit takes an instruction.
func (s *sm) free(q *scheduler, p pipe) (int64, Stall) {
	switch p {
	case pipeFloat:
		return min(q.half[0], q.half[1]), StallPipe
	case pipeHeavy:
		return q.half[0], StallPipe
	case pipeALU:
		return q.alu, StallPipe
	case pipeUniform:
		return q.uniform, StallPipe
	case pipeSpecial:
		return q.special, StallPipe
	case pipeTensor:
		return (q.tensor + 99) / 100, StallPipe
	case pipeShared, pipeGlobal:
		return max(q.queue, s.loadStore-memoryQueue), StallQueue
	case pipeLoad, pipeCopy:
		return q.queue, StallQueue
	}
	return 0, StallPipe
}

// choose takes the warp of the last instruction if it can go on, else the oldest that can. Without one it notes what is waited for,
// and says until when at least.
func (s *sm) choose(q *scheduler) (*warp, int64) {
	var best *warp
	next, why := int64(math.MaxInt64), StallNone
	for _, w := range q.warps {
		if w.done {
			continue
		}
		if w.atBar {
			why = max(why, StallBarrier)
			continue
		}
		if w.asleep {
			why = max(why, w.sleeps())
			continue
		}
		at, reason := s.ready(q, w)
		if at > s.now {
			next, why = min(next, at), max(why, reason)
		} else if best == nil || w == q.last || best != q.last && w.clock.age < best.clock.age {
			best = w
		}
	}
	if best == nil && len(q.warps) > 0 {
		q.stalled[why]++
	}
	return best, next
}

// issue executes a warp's next instruction and books its units.
func (s *sm) issue(q *scheduler, w *warp) {
	g, x := w.groups[w.cur], w.blk.share.x
	in := &x.k.Code[g.pc]
	q.last = w
	s.instructions++
	switch {
	case in.op.fma:
		s.fmas++
		s.products++
	case in.op.products > 0:
		s.mmas += int64(in.op.tiles)
		s.products += int64(in.op.products)
	}
	x.step(w)
	result, read := s.book(q, in, &x.access)
	if x.bulk != nil {
		s.begin(x.bulk)
	}
	if x.prefetched != 0 {
		s.tma.fetch(mapAt{x, x.prefetched}, s.now+s.m.L2Latency)
	}
	switch {
	case in.op.async:
		w.clock.copies.open = max(w.clock.copies.open, result)
	case in.op.pipe == pipeWarpgroup:
		w.clock.products.open = max(w.clock.products.open, result)
		if in.o[len(in.o)-1].kind == kindSpecial { // the last of a group
			w.clock.products.close()
		}
	}
	if c := in.Control.Write; c < 6 {
		w.clock.board[c] = max(w.clock.board[c], result)
	}
	if c := in.Control.Read; c < 6 {
		w.clock.board[c] = max(w.clock.board[c], read)
	}
	w.clock.next = s.now + int64(max(1, in.Control.Stall))
	if w.runs() && (in.op.flow != nil && !in.op.straight || w.groups[w.cur].mask != g.mask) {
		w.clock.next = max(w.clock.next, s.now+branchLatency)
	}
	if w.polled {
		if s.polls++; s.polls > maxPolls {
			fail("warps ask for ever for the end of a phase, or for registers; %s", w.blk.stuck())
		}
	}
	if x.completes {
		s.wake(w.blk, result)
	}
	if w.atBar || w.done || x.arrives {
		s.met(w.blk)
	}
}

// met looks whether a block has ended, or warps can pass a barrier at which they are.
func (s *sm) met(b *block) {
	if b.ended() {
		b.checkEnd()
		s.end(b)
		s.fill()
		return
	}
	list, err := b.open()
	for _, w := range list {
		s.polls = 0
		if err == nil {
			err = w.pass()
		}
		w.clock.next = max(w.clock.next, s.now+barrierLatency)
	}
	if err != nil {
		fail("%w", err)
	}
}

// wake lets the lanes of a block go on that sleep for a phase that is complete at a time.
func (s *sm) wake(b *block, at int64) {
	s.polls = 0
	err := b.wake(func(w *warp, in *Inst) {
		w.clock.next = max(w.clock.next, at)
		if c := in.Control.Write; c < 6 {
			w.clock.board[c] = max(w.clock.board[c], at+wakeLatency)
		}
	})
	if err != nil {
		fail("%w", err)
	}
}

// sleeps says what a warp waits for that sleeps: for other warps, or for copies.
func (w *warp) sleeps() Stall {
	for i := range w.groups {
		if g := &w.groups[i]; g.state == sleeping && w.blk.lacksBytes(&g.wait, g.mask) {
			return StallBoard
		}
	}
	return StallBarrier
}

// book takes the units of an instruction, which has accessed that memory, and returns when its result is there and its operands
// are read.
func (s *sm) book(q *scheduler, in *Inst, a *access) (result, read int64) {
	result, read = s.now+fixedLatency, s.now+2*fixedLatency
	switch in.op.pipe {
	case pipeFloat:
		i := 0
		if s.m.HalfPipes == 2 && q.half[1] <= s.now {
			i = 1
		}
		q.half[i] = s.now + 2
		if s.m.HalfPipes == 1 {
			q.half[1] = q.half[0]
		}
	case pipeHeavy:
		q.half[0] = s.now + 2
		if in.op.wide {
			q.half[0] = s.now + 4
		}
		if s.m.HalfPipes == 1 {
			q.half[1] = q.half[0]
		}
	case pipeALU:
		q.alu = s.now + 2
	case pipeUniform:
		q.uniform = s.now + 2
	case pipeSpecial:
		q.special = s.now + 8
		result = s.now + specialLatency
	case pipeTensor: // the cycle in which the unit becomes free and the next product begins counts for both
		q.tensor = max(q.tensor, 100*s.now-99) + s.m.Tensor
		s.tensor += s.m.Tensor
	case pipeWarpgroup:
		result = s.warpgroup(q, in.op) + warpgroupLatency
	case pipeLoad:
		q.queue = s.now + 2
		result = s.now + registerRead
		if in.width > 0 {
			result = s.now + constLatency
		}
	case pipeCopy:
		q.queue = s.now + 2
		result, read = s.now+copyRead, s.now+copyRead
	case pipeFence:
		result = s.now + s.m.L2Latency
	case pipeShared:
		q.queue = s.now + 2
		n := int64(1)
		if a.mask != 0 && in.width > 0 {
			n = int64(wavefronts(a))
		}
		start := max(s.now+4, s.loadStore)
		s.loadStore, s.passes = start+n, s.passes+n
		result, read = start+n-1+sharedLatency-4, start+n+4
	case pipeGlobal:
		q.queue = s.now + 2
		result, read = s.global(in, a)
	}
	return result, read
}

// warpgroup books a product of a warpgroup, and returns when the tensor core has done it. It takes as long as at the peak, or as shared memory
// takes to give the factors. What loads, stores and copies have taken of shared memory meanwhile comes on top, where it does not fit in beside
// them, in what the products that were under way have left: later ones are late for it, but by no more than one product.
func (s *sm) warpgroup(q *scheduler, op *opcode) int64 {
	peak, fetch := int64(op.tiles)*s.m.TensorPeak, 100*op.fetch()
	took, now := max(peak, fetch), 100*s.now
	if since := now - q.since; since > 0 { // of the passes since the last one, those while there were products under way
		busy := max(min(now, q.until)-q.since, 0)
		q.late += 100*(s.passes-q.seen)*busy/since - busy*q.spare/max(q.took, 1)
	}
	q.late = max(q.late-max(now-q.until, 0), 0)
	extra := max(q.late-took, 0)
	q.late -= extra
	q.tensor = max(q.tensor, now-99) + took + extra
	q.seen, q.since, q.until, q.took, q.spare = s.passes, now, q.tensor, took, took-fetch
	s.tensor += peak
	return (q.tensor + 99) / 100
}

// global books a load or store of global memory: its lines in L1, and the sectors that L1 lacks.
func (s *sm) global(in *Inst, a *access) (result, read int64) {
	sectors, lines := touched(a)
	n := max(1, int64(lines), int64(in.width/4))
	if a.mask == 0 {
		n = 1
	} else if a.store {
		n = max(1, int64(sectors.n+3)/4)
	}
	start := max(s.now+4, s.loadStore)
	s.loadStore, s.passes = start+n, s.passes+n
	result, read = start+n+l1Latency, start+n+10
	if a.store {
		s.l2 = max(start+8, s.l2) + int64(sectors.n)*l2SectorsCycle
		s.sectors += int64(sectors.n)
		return result, read
	}
	for _, sector := range sectors.v[:sectors.n] {
		at, ok := s.l1[sector]
		if !ok {
			s.sectors++
			begin := max(start+8, s.l2)
			s.l2 = begin + l2SectorsCycle
			at = s.l2 + s.m.L2Latency
			s.l1[sector] = at
			if s.l1Order = append(s.l1Order, sector); len(s.l1Order) > 4*s.m.L1Lines {
				delete(s.l1, s.l1Order[0])
				s.l1Order = s.l1Order[1:]
			}
		}
		result = max(result, at)
	}
	return result, read
}

// sectorList is the sectors that an access touches.
type sectorList struct {
	v [32]uint64
	n int
}

// touched returns the sectors of 32 bytes that an access touches, and the number of lines of 128.
func touched(a *access) (sectors sectorList, lines int) {
	var seen sectorList
	for l, addr := range a.addr {
		if a.mask>>l&1 == 0 {
			continue
		}
		if sectors.add(addr / sectorBytes) {
			seen.add(addr / sectorBytes / 4)
		}
	}
	return sectors, seen.n
}

// add adds a sector, and says whether it is new.
func (s *sectorList) add(sector uint64) bool {
	if slices.Contains(s.v[:s.n], sector) {
		return false
	}
	s.v[s.n] = sector
	s.n++
	return true
}

// wavefronts is the number of passes that an access to shared memory takes: 32 banks of 4 bytes, in each pass one word a bank. Wide
// accesses go by quarters or halves of a warp; two of them go together when neighbouring lanes read the same.
func wavefronts(a *access) int {
	lanes := 32
	switch a.width {
	case 8:
		lanes = 16
	case 16:
		lanes = 8
	}
	total := 0
	for from := 0; from < 32; {
		n := lanes
		if lanes < 32 && !a.store && (paired(a, from, 2*lanes, 1) || paired(a, from, 2*lanes, 2)) {
			n = 2 * lanes
		}
		total += passes(a, from, n)
		from += n
	}
	return max(total, 1)
}

// paired says whether lanes whose numbers differ in a bit read the same address. Only an even part of a warp can go together.
func paired(a *access, from, n, bit int) bool {
	if from%n != 0 {
		return false
	}
	for l := from; l < from+n; l++ {
		o := l ^ bit
		if a.mask>>l&1 != 0 && a.mask>>o&1 != 0 && a.addr[l] != a.addr[o] {
			return false
		}
	}
	return true
}

// passes counts the different words in the fullest bank. No bank gets more than a word of each lane.
func passes(a *access, from, n int) int {
	var words [32][32]uint32
	var count [32]int
	most := 0
	for l := from; l < from+n; l++ {
		if a.mask>>l&1 == 0 {
			continue
		}
		for i := range max(1, a.width/4) {
			word := uint32(a.addr[l]/4) + uint32(i)
			b := word % 32
			if slices.Contains(words[b][:count[b]], word) {
				continue
			}
			words[b][count[b]] = word
			count[b]++
			most = max(most, count[b])
		}
	}
	return most
}
