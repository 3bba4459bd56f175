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
}

// reset readies the memory for the next block.
func (s *sharedMemory) reset(c Checks) {
	if c.Init {
		clear(s.inited)
	}
	if c.Race {
		clear(s.wr)
		clear(s.rd)
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
			if in.access&accessWrite != 0 {
				w.sharedWrite(in, lane, k)
			} else {
				w.sharedRead(in, lane, k)
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

// offsets computes the lanes' offsets into shared memory and checks that n bytes there are in bounds and aligned.
//
//go:norace
func (w *warp) offsets(in *inst, m, n uint32, out *[32]uint32) {
	size := w.block.shared.size
	if in.wide {
		a := w.u64(in.a)
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			o := a[i] + in.imm
			if o >= uint64(size) || uint32(o)+n > size || uint32(o)&(n-1) != 0 {
				w.badShared(in, i, o, uint64(n))
			}
			out[i] = uint32(o)
		}
		return
	}
	a, imm := w.u32(in.a), uint32(in.imm)
	if m == full && size >= n {
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
		o := a[i] + imm
		if o >= size || n > size-o || o&(n-1) != 0 {
			w.badShared(in, i, uint64(o), uint64(n))
		}
		out[i] = o
	}
}

// ldShared is ld.shared of one word.
//
//go:norace
func ldShared(w *warp, in *inst, m uint32) {
	var o [32]uint32
	w.offsets(in, m, 4, &o)
	b := w.block
	b.sharedTraffic(in, m, &o, 4)
	d, p := w.u32(in.d), b.shared.ptr
	check := b.checks.Init || b.checks.Race
	last, run := full, 0
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		if check {
			if o[i] != last {
				last, run = o[i], 0
			}
			if run++; run <= 2 { // of lanes that read one word two are enough to know that there are several
				w.checkShared(in, i, o[i], 4)
			}
		}
		d[i] = *(*uint32)(unsafe.Add(p, uintptr(o[i])))
	}
}

// ldSharedVec is ld.shared of two or four words.
//
//go:norace
func ldSharedVec(w *warp, in *inst, m uint32) {
	var o [32]uint32
	n := uint32(4 * len(in.x))
	w.offsets(in, m, n, &o)
	b := w.block
	b.sharedTraffic(in, m, &o, n)
	w.checkVec(in, m, n, &o)
	p := b.shared.ptr
	if len(in.x) == 4 {
		d0, d1, d2, d3 := w.u32(in.x[0]), w.u32(in.x[1]), w.u32(in.x[2]), w.u32(in.x[3])
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			q := (*[4]uint32)(unsafe.Add(p, uintptr(o[i])))
			d0[i], d1[i], d2[i], d3[i] = q[0], q[1], q[2], q[3]
		}
		return
	}
	d0, d1 := w.u32(in.x[0]), w.u32(in.x[1])
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		q := (*[2]uint32)(unsafe.Add(p, uintptr(o[i])))
		d0[i], d1[i] = q[0], q[1]
	}
}

// checkVec is checkShared for lanes that read vectors. Words that this warp has already read in the interval need no second
// look: a write in between would have been reported there.
//
//go:norace
func (w *warp) checkVec(in *inst, m, n uint32, o *[32]uint32) {
	b := w.block
	s := &b.shared
	if !b.checks.Init && !b.checks.Race {
		return
	}
	quick := n == 16 && s.shift == 2 && b.checks.Init && b.checks.Race
	seen := uint64(w.clock[w.id]+1)<<11 | 1024 | 1<<(32+uint(w.id))
	const clockBits = 0xfffff800
	last, run := full, 0
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		if o[i] != last {
			last, run = o[i], 0
		}
		if run++; run > 2 {
			continue
		}
		if quick && *(*uint32)(unsafe.Pointer(&s.inited[o[i]>>2])) == 0x0f0f0f0f {
			r := (*[4]uint64)(unsafe.Pointer(&s.rd[o[i]>>2]))
			if r[0]&r[1]&r[2]&r[3]&seen == seen && (r[0]|r[1]|r[2]|r[3])&clockBits == seen&clockBits {
				continue
			}
		}
		w.checkShared(in, i, o[i], n)
	}
}

// stShared is st.shared of one, two or four words.
//
//go:norace
func stShared(w *warp, in *inst, m uint32) {
	var o [32]uint32
	n := uint32(4 * len(in.x))
	w.offsets(in, m, n, &o)
	b := w.block
	b.sharedTraffic(in, m, &o, n)
	p := b.shared.ptr
	check := b.checks.Init || b.checks.Race
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		if check {
			w.checkShared(in, i, o[i], n)
		}
		q := unsafe.Add(p, uintptr(o[i]))
		for j, r := range in.x {
			*(*uint32)(unsafe.Add(q, 4*j)) = w.u32(r)[i]
		}
	}
}
