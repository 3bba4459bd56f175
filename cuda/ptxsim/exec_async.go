package ptxsim

import (
	"math/bits"
	"unsafe"
)

// copyOp is a cp.async of one lane. It lands only when the thread waits for it, so that a missing wait shows.
type copyOp struct {
	lane, group int32 // group 0: not yet committed
	off, n      uint32
	in          *inst
	data        [16]byte
}

//go:norace
func cpAsync(w *warp, in *inst, m uint32) {
	var from, to [32]uint64
	w.addresses(in, &from)
	w.addresses(in.sub, &to)
	n := uint64(in.size)
	b := w.block
	b.anyTraffic(in, m, &from, n)
	b.anyTraffic(in.sub, m, &to, n)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		size := n
		if in.e != 0 {
			size = min(n, uint64(w.u32(in.e)[i])) // the rest is zero
		}
		op := copyOp{lane: int32(i), off: uint32(to[i]), n: uint32(n), in: in.sub}
		if from[i]&(n-1) != 0 {
			w.lookup(in, i, from[i], n)
		}
		for j := uint64(0); j < size; {
			step := uint64(1)
			if size-j >= 4 {
				step = 4
			}
			store(unsafe.Pointer(&op.data[j]), int(step), load(w.global(in, i, from[i]+j, step), int(step)))
			j += step
		}
		w.at(in.sub, i, to[i], n) // it may be written from now on
		if b.checks.Init {
			for j := op.off; j < op.off+op.n; j += 4 {
				b.shared.inited[j>>2] = inFlight
			}
		}
		w.copies = append(w.copies, op)
	}
}

//go:norace
func commitGroup(w *warp, in *inst, m uint32) {
	for k := m; k != 0; k &= k - 1 {
		w.groups[bits.TrailingZeros32(k)&31]++
	}
	for i := range w.copies {
		if c := &w.copies[i]; c.group == 0 && m>>uint(c.lane)&1 != 0 {
			c.group = w.groups[c.lane]
		}
	}
}

//go:norace
func waitGroup(w *warp, in *inst, m uint32) {
	left := w.copies[:0]
	for _, c := range w.copies {
		if m>>uint(c.lane)&1 == 0 || c.group == 0 || c.group > w.groups[c.lane]-int32(in.imm) {
			left = append(left, c)
			continue
		}
		p := w.at(c.in, int(c.lane), uint64(c.off), uint64(c.n))
		copy(unsafe.Slice((*byte)(p), c.n), c.data[:])
	}
	w.copies = left
}

func waitAll(w *warp, in *inst, m uint32) {
	commitGroup(w, in, m)
	waitGroup(w, in, m)
}
