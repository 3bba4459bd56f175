package ptxsim

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// sharedMemory is the shared memory of a block. init is as in allocation; bit 4 marks a word that a cp.async under way will
// write. wr and rd are described in race.go; they are kept by word or, for kernels that touch less, by byte.
type sharedMemory struct {
	size   uint32
	data   []uint64
	ptr    unsafe.Pointer
	inited []uint8
	shift  uint32
	wr     []uint32
	rd     []uint64
	proxy  []uint32 // who wrote last by ordinary instructions: fences<<5 | warp, with the fences to come counted; see checkProxy
	// Of kernels with bulk copies: who read last by ordinary instructions, in the same form, and the copy that brought what is there: the number
	// of its mbarrier<<24 | that of the phase behind its own.
	readers []uint32
	bulk    []uint32
}

const inFlight = 16

func (s *sharedMemory) make(p *program, dynamic int) {
	n := p.shared
	if dynamic > 0 {
		n = int(p.dynamic) + dynamic
	}
	s.size = uint32(n)
	s.ptr, s.data = aligned(n + 16)
	s.inited = make([]uint8, n/4+8)
	s.shift = 2
	if p.narrow {
		s.shift = 0
	}
	s.wr = make([]uint32, n>>s.shift+8)
	s.rd = make([]uint64, n>>s.shift+8)
	if p.groups || p.bulk {
		s.proxy = make([]uint32, n>>s.shift+8)
	}
	if p.bulk {
		s.readers, s.bulk = make([]uint32, n>>s.shift+8), make([]uint32, n>>s.shift+8)
	}
}

// reset readies the memory for the next block.
func (s *sharedMemory) reset(c Checks) {
	if c.Init {
		clear(s.inited)
	}
	if c.Race {
		clear(s.wr)
		clear(s.rd)
		clear(s.proxy)
		clear(s.readers)
		clear(s.bulk)
	}
}

// trim keeps clocks small. It forgets what happened, which at worst misses a race.
func (s *sharedMemory) trim(b *block) {
	for _, w := range b.warps {
		if w.clock[w.id] < maxClock {
			continue
		}
		clear(s.wr)
		clear(s.rd)
		for _, o := range b.warps {
			clear(o.clock[:])
		}
		for i := range b.bars {
			clear(b.bars[i].clock[:])
		}
		for _, m := range b.mbars {
			clear(m.clock[:])
			clear(m.next[:])
			m.at = 0
		}
		for _, c := range b.bulks {
			clear(c.clock[:])
		}
		b.past = 0
		return
	}
}

// check looks at one lane's access to n bytes of shared memory, within bounds.
//
//go:norace
func (w *warp) checkShared(in *inst, lane int, off, n uint32) {
	b := w.block
	s := &b.shared
	if b.checks.Init {
		if in.access&accessRead != 0 {
			for i := off; i < off+n; i += 4 {
				m := uint8(15)
				if n < 4 {
					m = (1<<n - 1) << (off & 3)
				}
				if v := s.inited[i>>2]; v&(m|inFlight) != m {
					w.unwritten(in, lane, i, v)
				}
			}
		}
		if in.access&accessWrite != 0 {
			for i := off >> 2; s.bulk != nil && i <= (off+n-1)>>2; i++ {
				if s.inited[i]&inFlight != 0 {
					w.fault(in, lane, SharedRace, uint64(i)<<2, "a copy to there is under way and has not been waited for")
				}
			}
			if n < 4 {
				s.inited[off>>2] = s.inited[off>>2]&15 | (1<<n-1)<<(off&3)
			} else {
				for i := off >> 2; i < (off+n)>>2; i++ {
					s.inited[i] = 15
				}
			}
		}
	}
	if b.checks.Race {
		for k := off >> s.shift; k <= (off+n-1)>>s.shift; k++ {
			if s.bulk != nil {
				w.checkLanded(in, lane, k)
			}
			if in.access&accessWrite != 0 {
				w.sharedWrite(in, lane, k)
				if s.proxy != nil {
					s.proxy[k] = (w.fences+1)<<5 | uint32(w.id)
				}
				if s.bulk != nil {
					s.bulk[k] = 0
				}
			} else {
				w.sharedRead(in, lane, k)
				if s.readers != nil && in.access&accessAsync == 0 {
					s.readers[k] = (w.fences+1)<<5 | uint32(w.id)
				}
			}
		}
	}
}

func (w *warp) unwritten(in *inst, lane int, off uint32, state uint8) {
	what := "nothing was written there"
	if state&inFlight != 0 {
		what = "a cp.async to there has not been waited for"
	}
	w.fault(in, lane, Uninitialised, uint64(off), fmt.Sprintf("shared memory at offset %d: %s", off, what))
}

func (w *warp) badShared(in *inst, lane int, off, n uint64) {
	if off&(n-1) != 0 {
		w.fault(in, lane, Misaligned, off, fmt.Sprintf("%d bytes at offset %d of shared memory", n, off))
	}
	w.fault(in, lane, OutOfBounds, off, fmt.Sprintf("%d bytes at offset %d of %d bytes of shared memory", n, off, w.block.shared.size))
}

// offsets computes the lanes' offsets into shared memory and checks that n bytes there are in bounds and aligned. Lanes that
// are not in m have that of the first one.
//
//go:norace
func (w *warp) offsets(in *inst, m, n uint32, out *[32]uint32) {
	size := w.block.shared.size
	a, imm := w.u32(in.a), uint32(in.imm)
	if m == full && size >= n && !in.wide {
		lim, align := size-n, n-1
		var bad uint32
		for i := range a {
			o := a[i] + imm
			out[i] = o
			if o > lim {
				bad = 1
			}
			bad |= o & align
		}
		if bad == 0 {
			return
		}
	}
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		o := uint64(a[i] + imm)
		if in.wide {
			o = w.u64(in.a)[i] + in.imm
		}
		if o >= uint64(size) || n > size-uint32(o) || uint32(o)&(n-1) != 0 {
			w.badShared(in, i, o, uint64(n))
		}
		out[i] = uint32(o)
	}
	for k := ^m; k != 0; k &= k - 1 {
		out[bits.TrailingZeros32(k)&31] = out[bits.TrailingZeros32(m)&31]
	}
}

// reach computes the lanes' offsets for an access of n bytes each, whole words, to shared memory, checks it and counts it.
//
//go:norace
func (w *warp) reach(in *inst, m, n uint32, o *[32]uint32) {
	w.offsets(in, m, n, o)
	b := w.block
	if b.checks == (Checks{}) {
		return
	}
	s, first := b.shape(in, m, n, o), o[bits.TrailingZeros32(m)&31]>>2
	b.sharedTraffic(s)
	if b.checks.Init && b.checks.Race {
		if in.access&accessRead != 0 && w.noteReads(s.spots, first, n/4) || in.access&accessWrite != 0 && w.noteWrites(s.spots, first, n/4) {
			return
		}
	}
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		w.checkShared(in, i, o[i], n)
	}
}

// noteReads and noteWrites are checkShared for lanes that access n words each at the spots, the first one from word k. They
// return false if that takes a look at each lane: a word is not initialised, or may have been touched since the last barrier.
// That some words were looked at before then makes no difference.
//
//go:norace
func (w *warp) noteReads(spots []spot, k, n uint32) bool {
	s := &w.block.shared
	if s.bulk != nil {
		return false
	}
	g := 2 - s.shift
	ordered := (w.block.past + 1) << 11 // what is below happened before the last barrier
	now := (w.clock[w.id]+1)<<11 | uint32(w.id)<<5
	own := uint64(1) << (32 + uint(w.id))
	for _, p := range spots {
		at, mark := k+p.word, now|p.mark
		for j := at; j < at+n; j++ {
			if s.inited[j] != 15 {
				return false
			}
		}
		for j := at << g; j < (at+n)<<g; j++ {
			if s.wr[j] >= ordered {
				return false
			}
			r := s.rd[j]
			switch v := uint32(r); {
			case v>>11 != mark>>11:
				r = uint64(mark)
			case v&1023 != mark&1023:
				r |= 1024
			default:
				r |= uint64(mark)
			}
			s.rd[j] = r | own
		}
	}
	return true
}

//go:norace
func (w *warp) noteWrites(spots []spot, k, n uint32) bool {
	s := &w.block.shared
	g := 2 - s.shift
	if s.proxy != nil {
		return false
	}
	ordered := (w.block.past + 1) << 11
	now := (w.clock[w.id]+1)<<11 | uint32(w.id)<<5
	for _, p := range spots {
		if p.mark >= 1024 {
			return false
		}
		at := k + p.word
		for j := at << g; j < (at+n)<<g; j++ {
			if s.wr[j] >= ordered || uint32(s.rd[j]) >= ordered {
				return false
			}
			s.wr[j] = now | p.mark
		}
		for j := at; j < at+n; j++ {
			s.inited[j] = 15
		}
	}
	return true
}

// ldShared is ld.shared of one, two or four words.
//
//go:norace
func ldShared(w *warp, in *inst, m uint32) {
	var o [32]uint32
	w.reach(in, m, uint32(4*len(in.x)), &o)
	for j, r := range in.x {
		d, p := w.u32(r), unsafe.Add(w.block.shared.ptr, 4*j)
		if m == full {
			for i := range d {
				d[i] = *(*uint32)(unsafe.Add(p, uintptr(o[i])))
			}
			continue
		}
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			d[i] = *(*uint32)(unsafe.Add(p, uintptr(o[i])))
		}
	}
}

// stShared is st.shared of one, two or four words.
//
//go:norace
func stShared(w *warp, in *inst, m uint32) {
	var o [32]uint32
	w.reach(in, m, uint32(4*len(in.x)), &o)
	for j, r := range in.x {
		d, p := w.u32(r), unsafe.Add(w.block.shared.ptr, 4*j)
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			*(*uint32)(unsafe.Add(p, uintptr(o[i]))) = d[i]
		}
	}
}
