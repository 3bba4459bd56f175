package sass

import "math/bits"

// addFlow adds instructions that say where lanes go.
func addFlow(form string, flow func(x *executor, w *warp, in *Inst, ex uint32), names ...string) {
	for _, o := range add(pipeBranch, form, nil, names...) {
		o.flow = flow
	}
}

func addFlowOps() {
	addFlow("t pt", func(x *executor, w *warp, in *Inst, ex uint32) {
		if len(in.o) == 2 {
			ex &= w.pred(&in.o[0])
		}
		w.split(ex, int(in.o[len(in.o)-1].imm))
	}, "BRA", "CALL.REL.NOINC")
	// BRA.DIV leads a warp whose lanes are not together to where it gathers them, which no kernel of ours needs.
	addFlow("st", func(x *executor, w *warp, in *Inst, ex uint32) {
		if ex != ^uint32(0) {
			fail("%q of lanes %#x is not known", in.Text, ex)
		}
		w.split(0, int(in.o[1].imm))
	}, "BRA.DIV")
	never := func(x *executor, w *warp, in *Inst, ex uint32) { fail("%q is not known", in.Text) }
	addFlow("st", never, "WARPSYNC.COLLECTIVE")
	addFlow("", never, "ENDCOLLECTIVE")
	addFlow("d", goRegister, "BRX", "RET.REL.NODEC")
	opcodes["BRX"].branch, opcodes["RET.REL.NODEC"].branch = true, true
	addFlow("", func(x *executor, w *warp, in *Inst, ex uint32) { w.exit(ex) }, "EXIT")
	// The last two are griddepcontrol.wait and .launch_dependents: one launch after another there is nothing to wait for.
	add(pipeBranch, "", func(*executor, *warp, *Inst, uint32) {}, "NOP", "YIELD", "ACQBULK", "PREEXIT")
	add(pipeBranch, "bt", func(x *executor, w *warp, in *Inst, ex uint32) {
		for m := ex; m != 0; m &= m - 1 {
			w.conv[in.o[0].r][bits.TrailingZeros32(m)] = ex
		}
	}, "BSSY")
	addFlow("b", func(x *executor, w *warp, in *Inst, ex uint32) {
		if in.guarded {
			fail("%q under a predicate is not known", in.Text)
		}
		w.converge(in.o[0].r)
	}, "BSYNC")
	opcodes["BSYNC"].straight = true
	// BREAK takes lanes out of a convergence barrier, which the others then do not wait for.
	add(pipeBranch, "b", func(x *executor, w *warp, in *Inst, ex uint32) {
		c := &w.conv[in.o[0].r]
		for m := ex; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			for all := c[l]; all != 0; all &= all - 1 {
				c[bits.TrailingZeros32(all)] &^= 1 << l
			}
		}
	}, "BREAK")
	addFlow("", func(x *executor, w *warp, in *Inst, ex uint32) { w.converge(allLanes) }, "WARPSYNC.ALL")
	addFlow("i ii", func(_ *executor, w *warp, in *Inst, ex uint32) {
		g := &w.groups[w.cur]
		if ex != 0 && ex != g.mask { // under a predicate that lanes differ in
			fail("%q of lanes %#x is not known", in.Text, ex)
		}
		if ex == 0 {
			g.pc++
			return
		}
		g.state = arrived
		g.barrier, g.threads = in.barrier()
	}, "BAR.SYNC.DEFER_BLOCKING")
	add(pipeBranch, "ii", func(x *executor, w *warp, in *Inst, ex uint32) {
		if ex != w.alive {
			fail("%q of lanes %#x is not known", in.Text, ex)
		}
		id, _ := in.barrier()
		w.blk.arrivals[id] += 32
		x.arrives = true
	}, "BAR.ARV")
}

// barrier is the block's barrier that an instruction is about, and how many threads it is for, or 0 for all.
func (in *Inst) barrier() (id, threads int) {
	id = int(in.o[0].imm)
	if len(in.o) > 1 {
		threads = int(in.o[1].imm)
		if threads == 0 || threads%32 != 0 {
			fail("%q is for %d threads, want a multiple of 32", in.Text, threads)
		}
	}
	if id >= barriers {
		fail("%q: a block has barriers 0 to %d", in.Text, barriers-1)
	}
	return id, threads
}

// goRegister sends each lane to the address in its register.
func goRegister(x *executor, w *warp, in *Inst, ex uint32) {
	if in.o[0].r == rz {
		fail("%q goes nowhere", in.Text)
	}
	to := w.regs[in.o[0].r]
	cur := w.cur
	for ex != 0 {
		pc := to[bits.TrailingZeros32(ex)]
		var same uint32
		for m := ex; m != 0; m &= m - 1 {
			if l := bits.TrailingZeros32(m); to[l] == pc {
				same |= 1 << l
			}
		}
		ex &^= same
		if same == w.groups[cur].mask {
			w.groups[cur].pc = int(pc / 16)
			return
		}
		w.groups[cur].mask &^= same
		w.groups = append(w.groups, group{pc: int(pc / 16), mask: same})
	}
	w.groups[cur].pc++
}
