package ptxsim

import "strings"

// recycle is what is known of registers that live within one basic block. PTX names hundreds of registers; placing the
// short-lived ones into the same slots keeps the register file in the L1 cache. It is sound lane by lane: in a block every
// lane passes the definition before the uses.
type recycle struct {
	last   []int // statement that mentions the register last, -1 if it lives longer than a block
	byLast map[int][]int
	free   map[int][]int32 // slots by size
}

// noResult are the instructions whose first operand is no destination.
var noResult = map[string]bool{"st": true, "red": true, "bra": true, "bar": true, "barrier": true, "cp": true, "nanosleep": true, "wgmma": true}

func baseOp(op string) string {
	s, _, _ := strings.Cut(op, ".")
	return s
}

func (d *decoder) lifetimes(targets map[string]bool) {
	n := len(d.f.regs)
	d.last = make([]int, n)
	d.byLast, d.free = map[int][]int{}, map[int][]int32{}
	in := make([]int, n) // block of the register; -1 none yet, -2 several
	for i := range in {
		d.last[i], in[i] = -1, -1
	}
	block := 0
	touch := func(r, at int, def bool) {
		switch {
		case r < 0:
			return
		case in[r] == -1 && def:
			in[r] = block
		case in[r] != block:
			in[r] = -2
		}
		d.last[r] = at
	}
	for at := range d.f.body {
		s := &d.f.body[at]
		if s.label != "" {
			if targets[s.label] {
				block++
			}
			continue
		}
		op := baseOp(s.op)
		touch(s.guard, at, false)
		for k := len(s.args) - 1; k >= 0; k-- { // sources first
			o := &s.args[k]
			def := k == 0 && s.guard < 0 && !noResult[op]
			touch(o.reg, at, def && o.kind == opReg)
			for _, e := range o.elems {
				touch(e.reg, at, def)
				if op == "wgmma" && e.reg >= 0 { // written when it has been waited for, wherever that is
					in[e.reg] = -2
				}
			}
		}
		if op == "bra" || op == "ret" || op == "exit" {
			block++
		}
	}
	for r := range d.last {
		if in[r] < 0 || d.f.regs[r].ty == tyPred {
			d.last[r] = -1
		} else {
			d.byLast[d.last[r]] = append(d.byLast[d.last[r]], r)
		}
	}
}
