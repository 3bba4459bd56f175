package sass

import (
	"container/heap"
	"math"
)

// The tensor memory accelerator (TMA) of an SM, as far as it can be told from outside. Measured on an H100 SXM5 by github.com/revollllt/flash-vla
// (.claude/skills/hardware-unit-test, sm90/constants.yaml and unit-tma.md, 2026): a warp one lane of which waits for an mbarrier, expects bytes and copies a box
// starts one every 248 ns whatever its size, several warps as many each, and 208 GB/s come to an SM from L2 when four SMs copy, 138 when all do; one box of rows of
// 128 bytes after the other takes 217 ns and 4.8 ns/KB from L2, and 595 ns and 5.2 ns/KB from DRAM. The clock is not told: that it is the highest of that card,
// 1.98 GHz, is an assumption, and makes them 491 and 430 cycles, and about a line of 128 bytes a cycle. Most of the 491 are those of the loop, which was
// executed here (testdata/copies.cu).
//
// The other figures are assumptions: that a row of a box, or a line of it, is a request, that there is one a cycle, whatever is in it, each for whole sectors; and that
// the bytes come to the SM no faster than others, l2SectorsCycle, which is less than was measured. DRAM is not modelled.
const (
	copyRead    = 149 // from when a copy is issued until the registers that describe it may be written: what is left of the 491 cycles
	copySetup   = 1   // from when it is issued until the first request is made, if its tensor map is at hand: what is left of the 430 cycles
	copyLand    = 20  // from when the last bytes are there until the mbarrier knows
	copyAhead   = 32  // sectors that it asks for in advance of what the way from L2 takes
	wakeLatency = 29  // from when a phase is complete until a warp that sleeps for it has the predicate, as for a load of shared memory
)

// copier is the accelerator of an SM.
type copier struct {
	queue   []*bulk
	maps    map[mapAt]int64 // when tensor maps are at hand
	working bool
}

// mapAt is where a tensor map is: in the memory of a launch, whose parameters have an address of their own.
type mapAt struct {
	of   *executor
	addr uint64
}

// fetch has a tensor map at hand from a time on, if it is not before, and returns when it is.
func (c *copier) fetch(m mapAt, at int64) int64 {
	if c.maps == nil {
		c.maps = map[mapAt]int64{}
	}
	if _, ok := c.maps[m]; !ok {
		c.maps[m] = at
	}
	return c.maps[m]
}

// begin takes a copy. A tensor map that is not at hand comes from L2, by assumption.
func (s *sm) begin(b *bulk) {
	at := s.now + copySetup
	if b.mapped != 0 {
		at = max(at, s.tma.fetch(mapAt{b.blk.share.x, b.mapped}, s.now+s.m.L2Latency)+copySetup)
	}
	b.landed = at
	s.tma.queue = append(s.tma.queue, b)
	if !s.tma.working {
		s.tma.working = true
		s.events.add(at, s.request)
	}
}

// request makes the next request of the first copy: a row of the box, or what of it is in one line. Copies are made one after the other.
func (s *sm) request() {
	b := s.tma.queue[0]
	if s.now < b.landed && b.made == 0 {
		s.events.add(b.landed, s.request)
		return
	}
	p := b.pieces[b.made]
	b.made++
	b.landed = max(b.landed, s.now)
	if !p.zero {
		first, last := p.from/sectorBytes, (p.from+uint64(p.n)-1)/sectorBytes
		n := int64(last - first + 1)
		s.sectors += n
		s.l2 = max(s.now, s.l2) + n*l2SectorsCycle
		b.landed = max(b.landed, s.l2+s.m.L2Latency)
	}
	if b.filled += p.n; b.filled >= lineBytes || b.made == len(b.pieces) { // a pass of shared memory for as much as that takes at a time
		b.filled -= lineBytes
		s.passes++
		s.loadStore = max(s.now, s.loadStore) + 1
	}
	if b.made == len(b.pieces) {
		s.events.add(b.landed+copyLand, func() { s.land(b) })
		s.tma.queue = s.tma.queue[1:]
		if s.tma.working = len(s.tma.queue) > 0; !s.tma.working {
			return
		}
	}
	s.events.add(max(s.now+1, s.l2-copyAhead), s.request)
}

// land brings a copy's bytes, which are there, to shared memory.
func (s *sm) land(b *bulk) {
	completes, err := b.land(b.blk.share.x.mem)
	if err != nil {
		fail("%w", err)
	}
	if completes {
		s.wake(b.blk, s.now)
	}
}

// event is what happens at a time; of those of a time the first that was added is first.
type event struct {
	at, number int64
	do         func()
}

// events are those to come.
type events struct {
	list  eventHeap
	added int64
}

// add adds one.
func (e *events) add(at int64, do func()) {
	heap.Push(&e.list, event{at, e.added, do})
	e.added++
}

// next is when the next one happens.
func (e *events) next() int64 {
	if len(e.list) == 0 {
		return math.MaxInt64
	}
	return e.list[0].at
}

// happen makes happen what does until now.
func (s *sm) happen() {
	for s.events.next() <= s.now {
		heap.Pop(&s.events.list).(event).do()
	}
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].number < h[j].number
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
