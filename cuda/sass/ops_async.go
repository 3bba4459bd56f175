package sass

import "math/bits"

// addAsyncOps adds copies from global to shared memory in the background. They are done at once here; the clock of the warp knows when
// they would have landed, and that the warp waits for them. The PTX simulator finds waits that are missing.
func addAsyncOps() {
	for name, width := range map[string]int{"LDGSTS.E.BYPASS.128": 16, "LDGSTS.E.64": 8, "LDGSTS.E": 4} {
		for _, o := range add(pipeGlobal, "mm mmp", execCopy, name) {
			o.width, o.async = width, true
		}
	}
	add(pipeBranch, "", func(_ *executor, w *warp, _ *Inst, _ uint32) { w.clock.copies.close() }, "LDGDEPBAR")
	add(pipeBranch, "xi", execWaitBoard, "DEPBAR.LE")
}

// execWaitBoard waits until at most so many of a scoreboard's results are missing: of the first, groups of copies, of the others any results.
func execWaitBoard(_ *executor, w *warp, in *Inst, _ uint32) {
	board, n := int(in.o[0].name[2]-'0'), int(in.o[1].imm)
	switch {
	case board == 0 && w.clock.copies.used:
		w.clock.copies.wait(n, &w.clock.landed)
	case n != 0:
		fail("%q is not known", in.Text)
	default:
		w.clock.landed = max(w.clock.landed, w.clock.board[board])
	}
}

// execCopy copies, or clears where a predicate is false.
func execCopy(x *executor, w *warp, in *Inst, ex uint32) {
	from := ex
	if len(in.o) > 2 {
		from &= w.pred(&in.o[2])
	}
	x.access = access{mask: from, width: in.width}
	for q := ex; q != 0; q &= q - 1 {
		l := bits.TrailingZeros32(q)
		if from>>l&1 == 0 {
			clear(x.sharedAt(w, in, &in.o[0], l)[:in.width])
			continue
		}
		copy(x.sharedAt(w, in, &in.o[0], l), x.globalAt(w, in, &in.o[1], l, false))
	}
}
