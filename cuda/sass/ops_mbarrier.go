package sass

import (
	"encoding/binary"
	"math/bits"
)

// addMbarrierOps adds what waits for and signals mbarriers, and what ptxas makes around the instructions that one lane executes for a warp.
func addMbarrierOps() {
	add(pipeShared, "dms", execExchange, "SYNCS.EXCH.64")
	const arrive = "SYNCS.ARRIVE.TRANS64"
	one := func(uint32) int { return 1 }
	none := func(uint32) int { return 0 }
	value := func(v uint32) int { return int(v) }
	negative := func(v uint32) int { return -int(v) }
	for _, red := range []string{"", ".RED"} { // without and with a result that is dropped
		add(pipeShared, "dms", execArrive(value, one), arrive+red)
		add(pipeShared, "dms", execArrive(none, one), arrive+red+".A1T0")
		add(pipeShared, "dms", execArrive(none, value), arrive+red+".ART0")
	}
	add(pipeShared, "dms", execArrive(value, none), arrive+".RED.A0TR")
	add(pipeShared, "dms", execArrive(negative, none), arrive+".RED.A0TX")
	for _, o := range add(pipeShared, "pms", nil, "SYNCS.PHASECHK.TRANS64", "SYNCS.PHASECHK.TRANS64.TRYWAIT") {
		o.flow, o.straight = execPhase(o.name == "SYNCS.PHASECHK.TRANS64.TRYWAIT"), true
	}
	add(pipeShared, "m", func(_ *executor, w *warp, in *Inst, ex uint32) {
		addr := w.sharedAddress(&in.o[0], bits.TrailingZeros32(ex))
		data, err := w.blk.mbarrierAt(addr)
		if err != nil {
			fail("%q: %w", in.Text, err)
		}
		binary.LittleEndian.PutUint64(data, ^uint64(0))
	}, "SYNCS.CCTL.IV")
	add(pipeBranch, "i", func(_ *executor, _ *warp, in *Inst, _ uint32) { fail("%q after a wait is not known", in.Text) }, "NANOSLEEP.SYNCS")
	add(pipeFence, "", func(*executor, *warp, *Inst, uint32) {}, "MEMBAR.ALL.GPU")
	add(pipeALU, "pdp pds", execElect, "ELECT")
	addFlow("t", func(_ *executor, w *warp, in *Inst, ex uint32) {
		if ex != 0 { // all go if one does
			ex = w.groups[w.cur].mask
		}
		w.split(ex, int(in.o[0].imm))
	}, "BRA.U.ANY")
	add(pipeUniform, "i", execGiveRegisters, "USETMAXREG.DEALLOC.CTAPOOL")
	for _, o := range add(pipeUniform, "pi", execTakeRegisters, "USETMAXREG.TRY_ALLOC.CTAPOOL") {
		o.takesRegisters = true
	}
}

// sharedAddress is the address in the window of shared memory that a lane wants.
func (w *warp) sharedAddress(m *operand, l int) uint32 {
	addr := uint32(m.off)
	if m.ur != urz {
		addr += w.ur[m.ur]
	}
	if m.r != rz {
		addr += w.regs[m.r][l]
	}
	return addr
}

// execExchange writes the 64 bits of an mbarrier, the same for all lanes.
func execExchange(x *executor, w *warp, in *Inst, ex uint32) {
	l := bits.TrailingZeros32(ex)
	data, err := w.blk.mbarrierAt(w.sharedAddress(&in.o[1], l))
	if err != nil {
		fail("%q: %w", in.Text, err)
	}
	was := binary.LittleEndian.Uint64(data)
	lo := x.raw(w, &in.o[2], 0)[l]
	binary.LittleEndian.PutUint64(data, uint64(lo)|uint64(x.high(w, &in.o[2], 1)[l])<<32)
	w.putWide(&in.o[0], was, l, ex)
}

// putWide writes the two registers of a lane.
func (w *warp) putWide(d *operand, v uint64, l int, ex uint32) {
	switch {
	case d.kind == kindUniform && d.ur != urz && l == bits.TrailingZeros32(ex):
		w.ur[d.ur], w.ur[d.ur+1] = uint32(v), uint32(v>>32)
	case d.kind == kindReg && d.r != rz:
		w.regs[d.r][l], w.regs[d.r+1][l] = uint32(v), uint32(v>>32)
	}
}

// execArrive makes each lane add to the bytes that an mbarrier waits for, and then arrive so many times.
func execArrive(bytes, arrivals func(uint32) int) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		v := *x.raw(w, &in.o[2], 0)
		for q := ex; q != 0; q &= q - 1 {
			l := bits.TrailingZeros32(q)
			was, completes, err := w.blk.change(w.sharedAddress(&in.o[1], l), bytes(v[l]), arrivals(v[l]))
			if err != nil {
				fail("%q: warp %d: %w", in.Text, w.id, err)
			}
			x.completes = x.completes || completes
			w.putWide(&in.o[0], uint64(was), l, ex)
		}
	}
}

// execPhase asks whether phases are complete. One that waits makes lanes sleep if none is.
func execPhase(waits bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		g := &w.groups[w.cur]
		if ex == 0 {
			g.pc++
			return
		}
		t := wait{in: in}
		v := x.raw(w, &in.o[2], 0)
		for q := ex; q != 0; q &= q - 1 {
			l := bits.TrailingZeros32(q)
			t.addr[l] = w.sharedAddress(&in.o[1], l)
			t.parity |= v[l] >> 31 << l
		}
		done, err := w.blk.complete(&t, ex)
		if err != nil {
			fail("%q: warp %d: %w", in.Text, w.id, err)
		}
		if done == 0 && waits {
			if ex != g.mask {
				fail("%q of lanes %#x under a predicate that lanes %#x differ in is not known", in.Text, ex, g.mask)
			}
			g.state, g.wait = sleeping, t
			return
		}
		w.polled = done == 0
		w.setPred(&in.o[0], done, ex)
		g.pc++
	}
}

// execElect chooses the first of some lanes: of those for which a predicate is true, or of a mask, who all have to be here.
func execElect(x *executor, w *warp, in *Inst, ex uint32) {
	among := ex
	if o := &in.o[2]; o.kind == kindPred || o.kind == kindUniformPred {
		among &= w.pred(o)
	} else {
		mask := x.ints(w, o, 0)[bits.TrailingZeros32(ex)]
		if missing := mask & w.alive &^ ex; missing != 0 {
			fail("%q: lanes %#x of warp %d are elsewhere", in.Text, missing, w.id)
		}
		among &= mask
	}
	first := among & -among
	for l := range x.out {
		x.out[l] = uint32(bits.TrailingZeros32(among))
	}
	w.put(&in.o[1], &x.out, ex, 0)
	w.setPred(&in.o[0], first, ex)
}

// execGiveRegisters gives registers of the warp's lanes to the block.
func execGiveRegisters(_ *executor, w *warp, in *Inst, _ uint32) {
	n := int(in.o[0].imm)
	if n > w.limit {
		fail("%q: warp %d has %d registers a lane", in.Text, w.id, w.limit)
	}
	w.blk.registers += w.limit - n
	w.limit = n
}

// execTakeRegisters takes registers that other warps of the block have given back, if there are enough.
func execTakeRegisters(_ *executor, w *warp, in *Inst, ex uint32) {
	more := int(in.o[1].imm) - w.limit
	if more < 0 {
		fail("%q: warp %d has %d registers a lane", in.Text, w.id, w.limit)
	}
	if more > w.blk.registers {
		w.polled = true
		w.setPred(&in.o[0], 0, ex)
		return
	}
	w.blk.registers -= more
	w.limit += more
	w.setPred(&in.o[0], ^uint32(0), ex)
}
