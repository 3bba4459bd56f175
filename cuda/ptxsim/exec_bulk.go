package ptxsim

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
)

// bulkCopy is a copy of the tensor memory accelerator, which tells an mbarrier of the bytes that have landed. They land only when one waits for it
// in vain, so that a missing wait shows.
type bulkCopy struct {
	in    *inst
	bar   *mbarrier
	id    int // number of the mbarrier
	off   uint32
	data  []byte
	state []uint8    // of each word, which of its bytes have ever been written
	clock [32]uint32 // of the warp that began it
	seen  phases
}

// cpBulk begins a copy of so many bytes.
func cpBulk(w *warp, in *inst, m uint32) {
	var from [32]uint64
	w.addresses(in, &from)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		n := w.u32(in.b)[i]
		if n%16 != 0 || from[i]&15 != 0 || n == 0 {
			w.fault(in, i, Misaligned, from[i], fmt.Sprintf("a copy of %d bytes from %#x, want multiples of 16", n, from[i]))
		}
		c := w.newBulk(in, i, n, 16)
		w.bulkRow(c, i, 0, from[i], n)
		w.block.loads(1, uint64(n))
		w.begin(c, i)
	}
}

// cpTensor begins a copy of a box of a tensor.
func cpTensor(w *warp, in *inst, m uint32) {
	var maps [32]uint64
	w.addresses(in, &maps)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		t := w.tensorMap(in, i, maps[i])
		bytes := t.Type.Bytes()
		n := bytes
		for _, v := range t.Box {
			n *= v
		}
		c := w.newBulk(in, i, uint32(n), 128)
		// rows goes over the dimensions from the outermost on, down to rows of elements that are neighbours.
		at, moved := 0, uint64(0)
		var rows func(dim int, addr uint64, inside bool)
		rows = func(dim int, addr uint64, inside bool) {
			first, size := int(int32(w.u32(in.x[dim])[i])), t.Sizes[dim]
			if dim == 0 {
				low, high := min(max(-first, 0), t.Box[0]), max(min(size-first, t.Box[0]), 0)
				for j := at / 4; j < (at+t.Box[0]*bytes)/4; j++ {
					c.state[j] = 15 // zeros where nothing else is
				}
				if inside && low < high {
					w.bulkRow(c, i, at+low*bytes, addr+uint64(int64((first+low)*bytes)), uint32((high-low)*bytes))
					moved += uint64((high - low) * bytes)
				}
				at += t.Box[0] * bytes
				return
			}
			for j := range t.Box[dim] {
				v := first + j
				rows(dim-1, addr+uint64(int64(v)*int64(t.Strides[dim-1])), inside && v >= 0 && v < size)
			}
		}
		rows(len(t.Sizes)-1, uint64(t.Base), true)
		w.block.loads(1, moved)
		w.begin(c, i)
	}
}

// tensorMap returns the tensor of the map at an address: of a parameter, for others are not simulated.
func (w *warp) tensorMap(in *inst, lane int, addr uint64) *driver.Tiled {
	off := addr - paramWindow
	if off >= uint64(len(w.block.params)) {
		w.fault(in, lane, OutOfBounds, addr, "the tensor map is no parameter, and others are not simulated")
	}
	if off%64 != 0 {
		w.fault(in, lane, Misaligned, addr, "a tensor map begins at a multiple of 64 bytes")
	}
	t, err := DecodeMap(w.block.params[off:])
	if err != nil {
		w.fault(in, lane, OutOfBounds, addr, err.Error())
	}
	if len(t.Sizes) != len(in.x) {
		w.fault(in, lane, OutOfBounds, addr, fmt.Sprintf("the tensor has %d dimensions, the copy %d", len(t.Sizes), len(in.x)))
	}
	return t
}

// newBulk checks the destination and the mbarrier of a copy of n bytes, and notes the bytes there as written by the thread.
func (w *warp) newBulk(in *inst, lane int, n, align uint32) *bulkCopy {
	var to, bars [32]uint64
	dst := in.sub
	w.addresses(dst, &to)
	w.addresses(dst.sub, &bars)
	b := w.block
	s := &b.shared
	at := to[lane]
	switch {
	case at%uint64(align) != 0:
		w.fault(in, lane, Misaligned, at, fmt.Sprintf("a copy to offset %d of shared memory, want a multiple of %d", at, align))
	case at >= uint64(s.size) || uint64(n) > uint64(s.size)-at:
		w.fault(in, lane, OutOfBounds, at, fmt.Sprintf("%d bytes at offset %d of %d bytes of shared memory", n, at, s.size))
	}
	bar, id := w.barrierAt(dst.sub, lane, bars[lane])
	if by := b.warps[bar.by]; by.fences+by.initFences == bar.fences && b.checks.Race {
		w.fault(in, lane, Unfenced, uint64(bar.off), fmt.Sprintf("warp %d has initialised the mbarrier and executed no fence.mbarrier_init or fence.proxy.async since", bar.by))
	}
	c := &bulkCopy{in: in, bar: bar, id: id, off: uint32(at), data: make([]byte, n), state: make([]uint8, n/4), clock: w.clock}
	c.clock[w.id]++
	c.seen.join(w.seen)
	for _, m := range b.mbars {
		if !m.gone && m.off < c.off+n && c.off < m.off+8 {
			w.fault(in, lane, SharedRace, at, fmt.Sprintf("there is an mbarrier at offset %d", m.off))
		}
	}
	for _, o := range b.bulks {
		if o.off < c.off+n && c.off < o.off+uint32(len(o.data)) {
			w.fault(in, lane, SharedRace, at, fmt.Sprintf("the copy of line %d to there is under way", o.in.line))
		}
	}
	if b.checks.Race {
		w.checkProxy(in, c.off, n)
		w.checkProxyReads(in, c.off, n)
		for k := c.off >> s.shift; k < (c.off+n)>>s.shift; k++ {
			w.checkLanded(in, lane, k)
			w.sharedWrite(dst, lane, k)
			s.proxy[k], s.readers[k], s.bulk[k] = 0, 0, 0
		}
	}
	if b.checks.Init {
		for i := c.off / 4; i < (c.off+n)/4; i++ {
			s.inited[i] = inFlight
		}
	}
	return c
}

func (w *warp) begin(c *bulkCopy, lane int) {
	w.block.bulks = append(w.block.bulks, c)
	w.block.changes++
}

// bulkRow takes n bytes of global memory for place at of a copy.
func (w *warp) bulkRow(c *bulkCopy, lane, at int, addr uint64, n uint32) {
	in, b := c.in, w.block
	a := b.cache[in.id]
	off := addr - a.base
	if off >= a.size || off+uint64(n) > a.size {
		if a = w.lookup(in, lane, addr, 1); uint64(n) > a.size-(addr-a.base) {
			w.fault(in, lane, OutOfBounds, addr, fmt.Sprintf("%d bytes at offset %d of %v", n, addr-a.base, a))
		}
		off = addr - a.base
	}
	copy(c.data[at:], unsafe.Slice((*byte)(unsafe.Add(a.ptr, off)), n))
	for i := range uint64(n) { // elements may begin in the middle of a word
		if bit := uint8(1) << ((uint64(at) + i) & 3); a.init[(off+i)>>2]>>((off+i)&3)&1 == 0 {
			c.state[(uint64(at)+i)>>2] &^= bit
		} else {
			c.state[(uint64(at)+i)>>2] |= bit
		}
	}
	if b.checks.GlobalRace && !a.readOnly {
		first, end := off&^3, (off+uint64(n)+3)&^3
		w.touch(in, lane, a, first, end-first, 0)
	}
	if b.checks.Count {
		b.traffic.loads.Sectors += (off&31 + uint64(n) + 31) / 32
	}
}

// loads counts a copy of so many bytes.
func (b *block) loads(requests, bytes uint64) {
	if b.checks.Count {
		b.traffic.loads.Requests += requests
		b.traffic.loads.Bytes += bytes
	}
}

// land lets all copies to an mbarrier land.
func (b *block) land(bar *mbarrier) {
	left := b.bulks[:0]
	for _, c := range b.bulks {
		if c.bar != bar {
			left = append(left, c)
			continue
		}
		c.land(b)
	}
	clear(b.bulks[len(left):])
	b.bulks = left
}

func (c *bulkCopy) land(b *block) {
	s, n := &b.shared, uint32(len(c.data))
	copy(unsafe.Slice((*byte)(unsafe.Add(s.ptr, c.off)), n), c.data)
	if b.checks.Init {
		copy(s.inited[c.off/4:], c.state)
	}
	if b.checks.Race {
		mark := uint32(c.id)<<24 | (c.bar.phase+1)&0xffffff
		for k := c.off >> s.shift; k < (c.off+n)>>s.shift; k++ {
			s.bulk[k] = mark
		}
	}
	for i, v := range c.clock {
		c.bar.next[i] = max(c.bar.next[i], v)
	}
	c.bar.nextSeen.join(c.seen)
	c.bar.bytes -= int64(n)
	b.changes++
	c.bar.complete(b)
}

// checkLanded reports an access to bytes that a copy brought in a phase that the warp does not know to be complete.
func (w *warp) checkLanded(in *inst, lane int, k uint32) {
	s := &w.block.shared
	if v := s.bulk[k]; v != 0 && w.seen.of(int(v>>24)) < v&0xffffff {
		w.fault(in, lane, SharedRace, uint64(k)<<s.shift, fmt.Sprintf("a bulk copy brought it in phase %d of the mbarrier at offset %d, which the warp has not waited for",
			v&0xffffff-1, w.block.mbars[v>>24].off))
	}
}

// checkProxyReads reports bytes that ordinary instructions have read and that are to be written by asynchronous ones, with no fence since.
func (w *warp) checkProxyReads(in *inst, off, n uint32) {
	s := &w.block.shared
	for k := off >> s.shift; k < (off+n)>>s.shift; k++ {
		if v := s.readers[k]; v != 0 && w.block.warps[v&31].fences < v>>5 {
			w.fault(in, 0, Unfenced, uint64(k)<<s.shift, fmt.Sprintf("warp %d has read it and executed no fence.proxy.async since", v&31))
		}
	}
}

// checkBulks reports copies that nobody has waited for when the block ends.
func (b *block) checkBulks() {
	for _, c := range b.bulks {
		b.warps[0].fault(c.in, 0, SharedRace, uint64(c.off), "the block ends while the copy is under way: nobody has waited for it")
	}
}
