package ptxsim

import (
	"fmt"
	"math/bits"
	"sync/atomic"
)

// Races between blocks. Every block of a launch has a tag of its own, an even number above those of earlier launches; the
// launch's epoch itself stands for several blocks. A tag notes the last block that wrote a word and the one that read it,
// with bit 0 of the latter set if it was by ld.global.nc. Words of earlier launches are older than the epoch, so that
// nothing has to be cleared. Workers write tags without a lock: two blocks that touch a word in the very same moment may go
// unseen.
type tag struct{ wr, rd uint32 }

// pageTag is the tag of what touched a page of 32 words as a whole. wrote and read are not below the epoch if single words
// of it have been touched.
type pageTag struct {
	tag
	wrote, read uint32
}

const (
	pageWords    = 32
	tagPageBytes = 4096
)

// tagPage holds the tags of single bytes, for accesses of less than a word.
type tagPage [tagPageBytes]tag

// mayRead says that no other block has written and, for .nc, that this one has not either.
//
//go:norace
func (t *tag) mayRead(b *block, nc uint32) bool {
	return t.wr < b.safe || t.wr == b.tag && nc == 0 || b.before(t.wr)
}

//go:norace
func (t *tag) mayWrite(b *block) bool {
	return (t.wr < b.safe || t.wr == b.tag || b.before(t.wr)) && (t.rd < b.safe || t.rd == b.tag || b.before(t.rd))
}

// before says whether a tag is of a launch that is ordered before this one. Those below safe all are.
func (b *block) before(tag uint32) bool { return tag < b.epoch && find(b.beside, tag) == nil }

// hasRead says whether the tag already tells that the block reads.
//
//go:norace
func (t *tag) hasRead(own, epoch, nc uint32) bool {
	v := t.rd | (1 ^ nc)
	return v == own|1 || v == epoch|1
}

//go:norace
func (t *tag) setRead(own, epoch, nc uint32) {
	switch v := t.rd; {
	case v&^1 == own, v&^1 == epoch:
		t.rd = v | nc
	case v < epoch:
		t.rd = own | nc
	default:
		t.rd = epoch | v&1 | nc
	}
}

// touch notes an access to n bytes at off by one lane or, with step, by successive lanes of step bytes each.
//
//go:norace
func (w *warp) touch(in *inst, lane int, a *allocation, off, n, step uint64) {
	if n < 4 {
		w.touchBytes(in, lane, a, off, n)
		return
	}
	for at, end := off>>2, (off+n)>>2; at < end; {
		next := min(at&^(pageWords-1)+pageWords, end)
		w.touchPage(in, lane, a, at, next, off, step)
		at = next
	}
}

// touchPage notes an access to words of one page.
//
//go:norace
func (w *warp) touchPage(in *inst, lane int, a *allocation, from, to, off, step uint64) {
	b := w.block
	own, epoch := b.tag, b.epoch
	p := &a.pages[from/pageWords]
	words := a.tags[from:to]
	whole := to-from == pageWords
	bad := func(i int, t *tag) { w.raced(in, lane, a, off, 4*(from+uint64(i))-off, step, t) }
	switch {
	case in.access&accessStrong != 0:
		if !p.mayRead(b, 0) {
			bad(0, &p.tag)
		}
		if p.wrote >= b.safe {
			for i := range words {
				if t := &words[i]; !t.mayRead(b, 0) {
					bad(i, t)
				}
			}
		}
	case in.access&accessWrite != 0:
		if !p.mayWrite(b) {
			bad(0, &p.tag)
		}
		if p.wrote >= b.safe || p.read >= b.safe {
			for i := range words {
				if t := &words[i]; !t.mayWrite(b) {
					bad(i, t)
				}
			}
		}
		if whole {
			p.wr = own
			return
		}
		for i := range words {
			words[i].wr = own
		}
		if p.wrote < epoch {
			p.wrote = own
		}
	default:
		nc := uint32(0)
		if in.access&accessReadOnly != 0 {
			nc = 1
		}
		if !p.mayRead(b, nc) {
			bad(0, &p.tag)
		}
		if p.wrote >= b.safe {
			for i := range words {
				if t := &words[i]; !t.mayRead(b, nc) {
					bad(i, t)
				}
			}
		}
		if p.hasRead(own, epoch, nc) {
			return
		}
		if whole {
			p.setRead(own, epoch, nc)
			return
		}
		for i := range words {
			if t := &words[i]; !t.hasRead(own, epoch, nc) {
				t.setRead(own, epoch, nc)
			}
		}
		if p.read < epoch {
			p.read = own
		}
	}
}

// touchBytes notes an access to less than a word. It knows of accesses to words, which do not know of it.
//
//go:norace
func (w *warp) touchBytes(in *inst, lane int, a *allocation, off, n uint64) {
	b := w.block
	own, epoch, nc := b.tag, b.epoch, uint32(0)
	if in.access&accessReadOnly != 0 {
		nc = 1
	}
	write := in.access&accessWrite != 0
	bad := func(i uint64, t *tag) { w.raced(in, lane, a, off, i, 0, t) }
	for _, t := range []*tag{&a.pages[off/4/pageWords].tag, &a.tags[off>>2]} {
		if write && !t.mayWrite(b) || !t.mayRead(b, nc) {
			bad(0, t)
		}
	}
	at := &a.bytes[off/tagPageBytes]
	bytes := at.Load()
	if bytes == nil {
		at.CompareAndSwap(nil, new(tagPage))
		bytes = at.Load()
	}
	for i := range n {
		t := &bytes[(off+i)%tagPageBytes]
		if write && !t.mayWrite(b) || !t.mayRead(b, nc) {
			bad(i, t)
		}
		switch {
		case in.access&accessStrong != 0:
		case write:
			t.wr = own
		case !t.hasRead(own, epoch, nc):
			t.setRead(own, epoch, nc)
		}
	}
}

// raced reports an access to byte i from off.
func (w *warp) raced(in *inst, lane int, a *allocation, off, i, step uint64, t *tag) {
	b := w.block
	addr := a.base + off + i
	if step > 0 {
		lane += int(i / step)
	}
	who := func(v uint32) string {
		n := int(v-b.epoch)/2 - 1
		if n < 0 {
			return "several blocks"
		}
		return fmt.Sprintf("block (%d,%d,%d)", n%b.grid.X, n/b.grid.X%b.grid.Y, n/b.grid.X/b.grid.Y)
	}
	if p := find(b.beside, t.wr); p != nil {
		w.fault(in, lane, StreamRace, addr, fmt.Sprintf("the word of %v was written by a launch of %s in another stream, which nothing orders before this one", a, p.kernel))
	}
	if p := find(b.beside, t.rd); p != nil && in.access&accessWrite != 0 {
		w.fault(in, lane, StreamRace, addr, fmt.Sprintf("write to a word of %v that a launch of %s in another stream reads, which nothing orders before this one", a, p.kernel))
	}
	switch {
	case in.access&accessReadOnly != 0:
		w.fault(in, lane, ReadOnly, addr, fmt.Sprintf("ld.global.nc of a word of %v that %s has written in this launch", a, who(t.wr)))
	case t.wr >= b.epoch && t.wr != b.tag:
		w.fault(in, lane, GlobalRace, addr, fmt.Sprintf("the word of %v was written by %s in this launch", a, who(t.wr)))
	case t.rd&1 != 0:
		w.fault(in, lane, ReadOnly, addr, fmt.Sprintf("write to a word of %v that %s has read by ld.global.nc in this launch", a, who(t.rd&^1)))
	}
	w.fault(in, lane, GlobalRace, addr, fmt.Sprintf("write to a word of %v that %s has read in this launch", a, who(t.rd&^1)))
}

// nextEpoch gives the tags of a launch of n blocks.
func (d *Device) nextEpoch(n int) uint32 {
	need := uint32(2*n + 2)
	if d.epoch > ^uint32(0)-need {
		for _, a := range d.heap.list {
			clear(a.tags)
			clear(a.pages)
			for i := range a.bytes {
				a.bytes[i] = atomic.Pointer[tagPage]{}
			}
		}
		d.epoch = 2
		d.history.forget()
	}
	e := d.epoch
	d.epoch += need
	return e
}

// Races within a block. The threads of a block are ordered by barriers only. Every warp has a clock for each warp: how many
// of its intervals between barriers lie behind us. A word remembers the last write as clock<<11 | atomic<<10 | thread and
// the reads of one interval as warps<<32 | clock<<11 | several<<10 | thread.

const maxClock = 1 << 20

// sharedRead notes a read of granule k.
//
//go:norace
func (w *warp) sharedRead(in *inst, lane int, k uint32) {
	s := &w.block.shared
	me := uint32(w.id)<<5 | uint32(lane)
	if v := s.wr[k]; v != 0 && v&2047 != me && v>>11 > w.clock[v>>5&31] {
		w.sharedRaced(in, lane, k, "read of what thread %d has written, with no barrier in between", v&1023)
	}
	now := w.clock[w.id] + 1
	r := s.rd[k]
	if uint32(r)>>11 == now {
		r |= 1 << (32 + uint(w.id))
		if uint32(r)&1023 != me {
			r |= 1024
		}
		s.rd[k] = r
		return
	}
	s.rd[k] = 1<<(32+uint(w.id)) | uint64(now)<<11 | uint64(me)
}

// sharedWrite notes a write of granule k.
//
//go:norace
func (w *warp) sharedWrite(in *inst, lane int, k uint32) {
	s := &w.block.shared
	me := uint32(w.id)<<5 | uint32(lane)
	atom := uint32(0)
	if in.access&accessStrong != 0 && in.access&accessRead != 0 {
		atom = 1024
	}
	if v := s.wr[k]; v != 0 && v&1023 != me && v&1024&atom == 0 && v>>11 > w.clock[v>>5&31] {
		w.sharedRaced(in, lane, k, "write to what thread %d has written, with no barrier in between", v&1023)
	}
	now := w.clock[w.id] + 1
	if s.wr[k] == now<<11|me {
		atom = 0 // still a plain write for the others
	}
	if r := s.rd[k]; r != 0 && uint32(r)&2047 != me {
		at := uint32(r) >> 11
		for q := uint32(r >> 32); q != 0; q &= q - 1 {
			if v := bits.TrailingZeros32(q) & 31; at > w.clock[v] {
				w.sharedRaced(in, lane, k, "write to what thread %d or others of its warp have read, with no barrier in between", uint32(v)<<5|uint32(r)&31)
			}
		}
	}
	s.wr[k] = now<<11 | atom | me
}

func (w *warp) sharedRaced(in *inst, lane int, k uint32, format string, thread uint32) {
	w.fault(in, lane, SharedRace, uint64(k)<<w.block.shared.shift, fmt.Sprintf(format, thread))
}
