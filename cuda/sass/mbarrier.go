package sass

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// mbarrier is what shared memory holds of one: from bit 1 on minus the arrivals that a phase is of, in 20 bits; from bit 21 on the bytes that
// copies are to bring, in 22 bits with a sign; from bit 43 on minus the arrivals that are missing; and in bit 63 the parity of its phase. That
// is how ptxas writes the first phase of one, and reads the missing arrivals (mbarrier.pending_count); where the bytes are is an assumption,
// which no code depends on.
type mbarrier uint64

const (
	countBits = 20
	maxCount  = 1<<countBits - 1 // arrivals and, with either sign, bytes
	txBits    = 22
)

// newMbarrier makes an mbarrier that so many arrivals and bytes are missing of.
func newMbarrier(count, pending, bytes int, phase bool) mbarrier {
	m := mbarrier(-count&maxCount)<<1 | mbarrier(bytes&(1<<txBits-1))<<21 | mbarrier(-pending&maxCount)<<43
	if phase {
		m |= 1 << 63
	}
	return m
}

func (m mbarrier) count() int   { return -int(m>>1) & maxCount }
func (m mbarrier) pending() int { return -int(m>>43) & maxCount }
func (m mbarrier) bytes() int   { return int(int64(m) << (64 - 21 - txBits) >> (64 - txBits)) }
func (m mbarrier) phase() bool  { return m>>63 != 0 }

// check says whether a word is an mbarrier.
func (m mbarrier) check() error {
	if m&1 != 0 || m.count() == 0 || m.pending() > m.count() {
		return fmt.Errorf("%#x is no mbarrier", uint64(m))
	}
	return nil
}

func (m mbarrier) String() string {
	parity := 0
	if m.phase() {
		parity = 1
	}
	return fmt.Sprintf("its phase of parity %d lacks %d of %d arrivals and %d bytes", parity, m.pending(), m.count(), m.bytes())
}

// change adds bytes that are to come, or have if they are negative, and then arrivals. With neither missing the phase is complete, and the next
// one begins.
func (m mbarrier) change(bytes, arrivals int) (mbarrier, error) {
	if err := m.check(); err != nil {
		return m, err
	}
	pending, tx := m.pending()-arrivals, m.bytes()+bytes
	switch {
	case pending < 0:
		return m, fmt.Errorf("%d arrivals are more than its phase waits for: %v", arrivals, m)
	case tx > maxCount || tx < -maxCount:
		return m, fmt.Errorf("%d bytes are more than a phase may wait for", tx)
	case pending == 0 && tx == 0:
		return newMbarrier(m.count(), m.count(), 0, !m.phase()), nil
	}
	return newMbarrier(m.count(), pending, tx, m.phase()), nil
}

// wait is what lanes sleep for: phases of mbarriers, each of the parity of its lane.
type wait struct {
	in     *Inst
	addr   lanes
	parity uint32 // a bit a lane
}

// mbarrierAt returns the bytes of an mbarrier.
func (b *block) mbarrierAt(addr uint32) ([]byte, error) {
	at := int64(addr) - sharedBase
	if at < 0 || at+8 > int64(len(b.shared)) || addr%8 != 0 {
		return nil, fmt.Errorf("an mbarrier at %#x of %d bytes of shared memory", addr, len(b.shared))
	}
	return b.shared[at:][:8], nil
}

// change changes an mbarrier, says what it was, and whether a phase completes.
func (b *block) change(addr uint32, bytes, arrivals int) (was mbarrier, completes bool, err error) {
	data, err := b.mbarrierAt(addr)
	if err != nil {
		return 0, false, err
	}
	was = mbarrier(binary.LittleEndian.Uint64(data))
	now, err := was.change(bytes, arrivals)
	if err != nil {
		return was, false, fmt.Errorf("the mbarrier at %#x: %w", addr, err)
	}
	binary.LittleEndian.PutUint64(data, uint64(now))
	return was, now.phase() != was.phase(), nil
}

// complete returns the lanes of a mask whose phases are complete.
func (b *block) complete(t *wait, mask uint32) (done uint32, err error) {
	for q := mask; q != 0; q &= q - 1 {
		l := bits.TrailingZeros32(q)
		data, err := b.mbarrierAt(t.addr[l])
		if err != nil {
			return 0, err
		}
		m := mbarrier(binary.LittleEndian.Uint64(data))
		if err := m.check(); err != nil {
			return 0, fmt.Errorf("waiting at %#x: %w", t.addr[l], err)
		}
		if m.phase() != (t.parity>>l&1 != 0) {
			done |= 1 << l
		}
	}
	return done, nil
}

// lacksBytes says whether a phase that the first of some lanes waits for lacks bytes of copies.
func (b *block) lacksBytes(t *wait, mask uint32) bool {
	data, err := b.mbarrierAt(t.addr[bits.TrailingZeros32(mask)])
	return err == nil && mbarrier(binary.LittleEndian.Uint64(data)).bytes() > 0
}

// wake lets lanes of a block go on that sleep for a phase that is complete, and returns their warps with the instruction that they waited at.
func (b *block) wake(woken func(w *warp, in *Inst)) error {
	for _, w := range b.warps {
		was := w.asleep
		some := false
		for i := range w.groups {
			g := &w.groups[i]
			if g.state != sleeping {
				continue
			}
			done, err := b.complete(&g.wait, g.mask)
			if err != nil {
				return err
			}
			if done == 0 {
				continue
			}
			w.setPred(&g.wait.in.o[0], done, g.mask)
			g.state = running
			g.pc++
			some = true
			woken(w, g.wait.in)
		}
		if some && was {
			if err := w.settle(); err != nil {
				return err
			}
		}
	}
	return nil
}

// stuck says what the warps of a block wait for.
func (b *block) stuck() string {
	s := ""
	for _, w := range b.warps {
		for i := range w.groups {
			g := &w.groups[i]
			switch g.state {
			case sleeping:
				l := bits.TrailingZeros32(g.mask)
				s += fmt.Sprintf("; warp %d waits at %q for the end of the phase of parity %d of the mbarrier at %#x", w.id, g.wait.in.Text, g.wait.parity>>l&1, g.wait.addr[l])
				if data, err := b.mbarrierAt(g.wait.addr[l]); err == nil {
					s += ", where " + mbarrier(binary.LittleEndian.Uint64(data)).String()
				}
			case arrived:
				s += fmt.Sprintf("; warp %d waits at barrier %d", w.id, g.barrier)
				if g.threads > 0 {
					s += fmt.Sprintf(" for %d threads", g.threads)
				}
			}
		}
	}
	return fmt.Sprintf("block %d,%d,%d waits for ever%s", b.x, b.y, b.z, s)
}
