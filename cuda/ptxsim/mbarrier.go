package ptxsim

import (
	"fmt"
	"math/bits"
	"strings"
)

// mbarrier is a barrier in shared memory. A phase of it is complete when so many have arrived, and when as many bytes have landed as
// were expected. What happened before a phase was complete is ordered before what follows a wait for it: the clocks and the phases of those who
// arrived are joined, as those of a barrier of the block are.
type mbarrier struct {
	off            uint32
	count, pending uint32 // arrivals of a phase, and those that are missing
	bytes          int64  // expected that have not landed
	phase          uint32 // number of the one that is not complete
	gone           bool   // invalidated
	by             int32  // the warp that initialised it, at its clock and with so many fences executed
	at, fences     uint32
	clock, next    [32]uint32 // of complete phases, and of the one that is not
	seen, nextSeen phases
}

// phases are the numbers of complete phases that one knows of, by the number of the mbarrier.
type phases []uint32

// join adds what another knows.
func (p *phases) join(o phases) {
	for len(*p) < len(o) {
		*p = append(*p, 0)
	}
	for i, v := range o {
		(*p)[i] = max((*p)[i], v)
	}
}

func (p *phases) set(i int, v uint32) {
	for len(*p) <= i {
		*p = append(*p, 0)
	}
	(*p)[i] = max((*p)[i], v)
}

// of returns the number of phases of mbarrier i that are known to be complete.
func (p phases) of(i int) uint32 {
	if i < len(p) {
		return p[i]
	}
	return 0
}

// waiting is a wait of a warp that failed, for a deadlock to be told.
type waiting struct {
	in   *inst
	bar  *mbarrier
	lane int
}

// maxBytes is the range of the bytes that a phase expects.
const maxBytes = 1<<20 - 1

// barrierAt returns the mbarrier that an instruction names and its number.
func (w *warp) barrierAt(in *inst, lane int, addr uint64) (*mbarrier, int) {
	size := uint64(w.block.shared.size)
	if addr-sharedWindow < windowSize && in.space == spaceGeneric {
		addr -= sharedWindow
	}
	if addr >= size || addr+8 > size || addr&7 != 0 {
		w.badShared(in, lane, addr, 8)
	}
	for i, m := range w.block.mbars {
		if m.off != uint32(addr) || m.gone {
			continue
		}
		if s := w.block.shared.inited[m.off>>2:]; s[0]|s[1] != 0 {
			w.fault(in, lane, Uninitialised, addr, "the mbarrier was written over by ordinary instructions")
		}
		if m.by != w.id && w.block.checks.Race && w.clock[m.by] < m.at {
			w.fault(in, lane, SharedRace, addr, fmt.Sprintf("warp %d has initialised the mbarrier, with no barrier in between", m.by))
		}
		return m, i
	}
	w.fault(in, lane, Uninitialised, addr, "there is no mbarrier: none was initialised there, or it was invalidated")
	return nil, 0
}

// mbarrierInit initialises.
func mbarrierInit(w *warp, in *inst, m uint32) {
	var at [32]uint64
	w.addresses(in, &at)
	b := w.block
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		w.at(in, i, at[i], 8)
		off, n := uint32(at[i]), w.u32(in.b)[i]
		if n < 1 || n > maxBytes {
			w.fault(in, i, Miscount, at[i], fmt.Sprintf("an mbarrier of %d arrivals, want 1 to %d", n, maxBytes))
		}
		for _, o := range b.mbars {
			if o.off == off && !o.gone {
				w.fault(in, i, SharedRace, at[i], "there is an mbarrier already, which was not invalidated")
			}
		}
		b.mbars = append(b.mbars, &mbarrier{off: off, count: n, pending: n, by: w.id, at: w.clock[w.id] + 1, fences: w.fences + w.initFences})
		if len(b.mbars) > maxMbarriers {
			w.fault(in, i, Internal, at[i], fmt.Sprintf("more than %d mbarriers of a block are not simulated", maxMbarriers))
		}
		clear(b.shared.inited[off>>2 : off>>2+2]) // nobody reads it by ordinary instructions
	}
	b.changes++
}

// maxMbarriers is how many sharedMemory.bulk can number.
const maxMbarriers = 255

func mbarrierInval(w *warp, in *inst, m uint32) {
	var at [32]uint64
	w.addresses(in, &at)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		bar, _ := w.barrierAt(in, i, at[i])
		for _, c := range w.block.bulks {
			if c.bar == bar {
				w.fault(in, i, SharedRace, at[i], fmt.Sprintf("the copy of line %d to it is under way", c.in.line))
			}
		}
		bar.gone = true
	}
	w.block.changes++
}

// mbarrierArrive arrives, with bytes that are expected before. A register, if there is one, gets the number of the phase.
func mbarrierArrive(w *warp, in *inst, m uint32) {
	var at [32]uint64
	w.addresses(in, &at)
	b := w.block
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		bar, _ := w.barrierAt(in, i, at[i])
		if in.mode&mbarrierExpects != 0 {
			w.expect(in, i, bar)
		}
		if in.mode&mbarrierArrives == 0 {
			continue
		}
		n := uint32(1)
		if in.c != 0 {
			n = w.u32(in.c)[i]
		}
		if n == 0 || n > bar.pending {
			w.fault(in, i, Miscount, at[i], fmt.Sprintf("%d arrivals at phase %d of the mbarrier, which waits for %d of %d", n, bar.phase, bar.pending, bar.count))
		}
		if in.d != 0 {
			w.u64(in.d)[i] = uint64(bar.phase)
		}
		bar.pending -= n
		w.release(bar)
		bar.complete(b)
	}
	if in.mode&mbarrierArrives != 0 {
		w.clock[w.id]++
	}
	b.changes++
}

func (w *warp) expect(in *inst, lane int, bar *mbarrier) {
	bar.bytes += int64(w.u32(in.b)[lane])
	if bar.bytes > maxBytes || bar.bytes < -maxBytes {
		w.fault(in, lane, Miscount, uint64(bar.off), fmt.Sprintf("the mbarrier waits for %d bytes, at most %d", bar.bytes, maxBytes))
	}
}

// release lets those who wait for the phase know what the warp knows.
func (w *warp) release(bar *mbarrier) {
	for i, c := range w.clock {
		bar.next[i] = max(bar.next[i], c)
	}
	bar.next[w.id] = max(bar.next[w.id], w.clock[w.id]+1)
	bar.nextSeen.join(w.seen)
}

// complete begins the next phase if the present one has all.
func (m *mbarrier) complete(b *block) {
	if m.pending > 0 || m.bytes != 0 {
		return
	}
	m.phase++
	m.pending = m.count
	m.clock = m.next
	m.seen.join(m.nextSeen)
	b.changes++
}

// mbarrierWait tests whether a phase is complete: that of a parity, or of a number that arriving gave. A wait that is in vain lets others have a
// turn; what copies bring lands no earlier than then, so that a missing wait shows.
func mbarrierWait(w *warp, in *inst, m uint32) {
	var at [32]uint64
	w.addresses(in, &at)
	b := w.block
	var done uint32
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		bar, id := w.barrierAt(in, i, at[i])
		complete := func() bool {
			if in.mode&mbarrierParity != 0 {
				p := w.u32(in.b)[i]
				if p > 1 {
					w.fault(in, i, Miscount, at[i], fmt.Sprintf("parity %d, want 0 or 1", p))
				}
				return bar.phase&1 != p
			}
			return uint64(bar.phase) > w.u64(in.b)[i]
		}
		if !complete() {
			b.land(bar)
		}
		if !complete() {
			w.spins, w.wait = true, waiting{in, bar, i}
			continue
		}
		done |= 1 << i
		for j, c := range bar.clock {
			w.clock[j] = max(w.clock[j], c)
		}
		w.seen.join(bar.seen)
		w.seen.set(id, bar.phase)
	}
	if done != m {
		w.slice = 0
	}
	p := w.p(in.d)
	*p = *p&^m | done
}

// Bits of the mode of an instruction of an mbarrier, whose b is a number of bytes or what it waits for, c the arrivals.
const (
	mbarrierArrives uint8 = 1 << iota
	mbarrierExpects
	mbarrierParity
)

// fenceInit makes mbarriers that the warp has initialised visible to what completes them asynchronously.
func fenceInit(w *warp, in *inst, m uint32) { w.initFences++ }

// stalled reports that no warp of the block can go on, because those that do not stand at a barrier wait for mbarriers.
func (b *block) stalled() {
	var first *warp
	var all []string
	for _, w := range b.warps {
		if w.state == warpWaits {
			all = append(all, fmt.Sprintf("warp %d waits at barrier %d in line %d", w.id, w.barID, b.prog.code[w.pc-1].line))
		}
		if w.state != warpRuns {
			continue
		}
		if first == nil {
			first = w
		}
		m := w.wait.bar
		all = append(all, fmt.Sprintf("warp %d waits in line %d for phase %d of the mbarrier at offset %d, where %d of %d arrivals and %d bytes are missing",
			w.id, w.wait.in.line, m.phase, m.off, m.pending, m.count, m.bytes))
	}
	first.fault(first.wait.in, first.wait.lane, Deadlock, uint64(first.wait.bar.off), strings.Join(all, "; "))
}
