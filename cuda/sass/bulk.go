package sass

import (
	"fmt"
	"math/bits"
)

// bulk is a copy from global to shared memory that a lane starts for the tensor memory accelerator (TMA), and an mbarrier waits for.
type bulk struct {
	blk     *block
	in      *Inst
	to      uint32 // in the window of shared memory
	barrier uint32
	bytes   int
	mapped  uint64 // where its tensor map is, or 0
	pieces  []piece

	// While it is timed: pieces whose requests have been made, bytes of them, and when all of those will be there.
	made, filled int
	landed       int64
}

// piece is bytes of a copy that are neighbours in global memory and in one line there, or are zeros.
type piece struct {
	at   int // in the copy
	n    int
	from uint64
	zero bool
}

const lineBytes = 128

// cut adds a run of neighbouring bytes, a piece for each line.
func (b *bulk) cut(at int, from uint64, n int) {
	for n > 0 {
		k := min(n, lineBytes-int(from%lineBytes))
		b.pieces = append(b.pieces, piece{at: at, n: k, from: from})
		at, from, n = at+k, from+uint64(k), n-k
	}
}

// land brings the bytes to shared memory and tells the mbarrier. It says whether that completes a phase.
func (b *bulk) land(mem *memory) (completes bool, err error) {
	for _, p := range b.pieces {
		for i := 0; i < p.n; {
			addr := b.to + uint32(p.at+i)
			n := min(p.n-i, 16-int(addr%16))
			at := int64(addr) - sharedBase
			if at < 0 || at+int64(n) > int64(len(b.blk.shared)) {
				return false, fmt.Errorf("%q: a copy of %d bytes to %#x, of %d bytes of shared memory", b.in.Text, b.bytes, b.to, len(b.blk.shared))
			}
			to := b.blk.shared[at:][:n]
			if p.zero {
				clear(to)
			} else if err := mem.read(to, p.from+uint64(i)); err != nil {
				return false, fmt.Errorf("%q: block %d,%d,%d: %w", b.in.Text, b.blk.x, b.blk.y, b.blk.z, err)
			}
			i += n
		}
	}
	b.blk.copies--
	_, completes, err = b.blk.change(b.barrier, -b.bytes, 0)
	if err != nil {
		return false, fmt.Errorf("%q has landed: %w", b.in.Text, err)
	}
	return completes, nil
}

func addBulkOps() {
	for _, o := range add(pipeCopy, "mms", execBulkCopy, "UBLKCP.S.G") {
		o.pipe = pipeCopy
	}
}

// wideUniform is the address in a pair of uniform registers.
func (w *warp) wideUniform(m *operand) uint64 {
	if m.r != rz || m.ur == urz {
		fail("address %s is not known", m.name)
	}
	return uint64(w.ur[m.ur]) | uint64(w.ur[m.ur+1])<<32 + uint64(m.off)
}

// start hands a copy over.
func (x *executor) start(w *warp, b *bulk) {
	b.blk = w.blk
	w.blk.copies++
	x.bulk = b
}

// execBulkCopy copies neighbouring bytes: to an address of shared memory that is followed by that of an mbarrier, from a global one, of
// so many units of 16 bytes.
func execBulkCopy(x *executor, w *warp, in *Inst, ex uint32) {
	to := in.o[0].ur
	n := int(x.raw(w, &in.o[2], 0)[bits.TrailingZeros32(ex)]) * 16
	from := w.wideUniform(&in.o[1])
	b := &bulk{in: in, to: w.ur[to], barrier: w.ur[to+1], bytes: n}
	if b.to%16 != 0 || from%16 != 0 || n == 0 {
		fail("%q: a copy of %d bytes from %#x to %#x, want some, and addresses that 16 divides", in.Text, n, from, b.to)
	}
	b.cut(0, from, n)
	x.start(w, b)
}
