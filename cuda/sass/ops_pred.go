package sass

import "strings"

// intCompare are comparisons by name.
var intCompare = map[string]func(a, b int64) bool{
	"EQ": func(a, b int64) bool { return a == b }, "NE": func(a, b int64) bool { return a != b },
	"LT": func(a, b int64) bool { return a < b }, "LE": func(a, b int64) bool { return a <= b },
	"GT": func(a, b int64) bool { return a > b }, "GE": func(a, b int64) bool { return a >= b },
}

// floatCompare are comparisons by name; those that end in U are true for NaN.
var floatCompare = map[string]func(a, b float32) bool{
	"EQ": func(a, b float32) bool { return a == b }, "NE": func(a, b float32) bool { return a < b || a > b },
	"LT": func(a, b float32) bool { return a < b }, "LE": func(a, b float32) bool { return a <= b },
	"GT": func(a, b float32) bool { return a > b }, "GE": func(a, b float32) bool { return a >= b },
	"EQU": func(a, b float32) bool { return !(a < b || a > b) }, "NEU": func(a, b float32) bool { return a != b },
	"LTU": func(a, b float32) bool { return !(a >= b) }, "LEU": func(a, b float32) bool { return !(a > b) },
	"GTU": func(a, b float32) bool { return !(a <= b) }, "GEU": func(a, b float32) bool { return !(a < b) },
	"NAN": func(a, b float32) bool { return a != a || b != b }, "NUM": func(a, b float32) bool { return a == a && b == b },
}

func addPredicateOps() {
	for name, f := range intCompare {
		for _, join := range []string{"AND", "OR"} {
			for _, kind := range []string{"", ".U32"} {
				base := "SETP." + name + kind + "." + join
				add(pipeALU, "ppssp", execSetp(f, kind == ""), "I"+base, "UI"+base)
				add(pipeALU, "ppsspp", execSetpHigh(name, f, kind == ""), "I"+base+".EX", "UI"+base+".EX")
			}
		}
	}
	for name, f := range floatCompare {
		for _, join := range []string{"AND", "OR"} {
			addFloat(pipeALU, "ppssp", execFloatSetp(f, false), "FSETP."+name+"."+join)
			addFloat(pipeALU, "ppssp", execFloatSetp(f, true), "FSETP."+name+".FTZ."+join)
			addFloat(pipeALU, "dssp", execSet(f), "FSET.BF."+name+"."+join)
		}
	}
	addFloat(pipeALU, "pss", func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b := x.floats(w, &in.o[1], 0), x.floats(w, &in.o[2], 1)
		var v uint32
		for l := range a {
			if needsSlowDivide(a[l], b[l]) {
				v |= 1 << l
			}
		}
		w.setPred(&in.o[0], v, ex)
	}, "FCHK")
	add(pipeALU, "pppppii", func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b, c := w.pred(&in.o[2]), w.pred(&in.o[3]), w.pred(&in.o[4])
		v1, v2 := logic(a, b, c, in.o[5].imm), logic(a, b, c, in.o[6].imm)
		w.setPred(&in.o[0], v1, ex)
		w.setPred(&in.o[1], v2, ex)
	}, "PLOP3.LUT", "UPLOP3.LUT")
	add(pipeALU, "dxsi", func(x *executor, w *warp, in *Inst, ex uint32) {
		v, mask := x.ints(w, &in.o[2], 0), in.o[3].imm
		for l := range x.out {
			var p uint32
			for n := range pt {
				p |= w.p[n] >> l & 1 << n
			}
			x.out[l] = v[l]&^mask | p&mask
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}, "P2R")
	add(pipeUniform, "pp", func(x *executor, w *warp, in *Inst, ex uint32) {
		all := w.groups[w.cur].mask
		var v uint32
		if w.pred(&in.o[1])&all == all {
			v = ^uint32(0)
		}
		w.setPred(&in.o[0], v, ex)
	}, "VOTEU.ALL")
	add(pipeUniform, "pp", func(x *executor, w *warp, in *Inst, ex uint32) {
		var v uint32
		if w.pred(&in.o[1])&w.groups[w.cur].mask != 0 {
			v = ^uint32(0)
		}
		w.setPred(&in.o[0], v, ex)
	}, "VOTEU.ANY")
	add(pipeALU, "dpp", func(x *executor, w *warp, in *Inst, ex uint32) {
		if in.o[1].r != pt {
			fail("%q is not known", in.Text)
		}
		for l := range x.out {
			x.out[l] = w.pred(&in.o[2]) & ex
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}, "VOTE.ANY")
}

// join sets a comparison's two predicates: it and its complement, each joined with another.
func (w *warp) join(in *Inst, v, ex uint32) {
	q := w.pred(&in.o[4])
	if strings.Contains(in.op.name, ".OR") {
		w.setPred(&in.o[0], v|q, ex)
		w.setPred(&in.o[1], ^v|q, ex)
		return
	}
	w.setPred(&in.o[0], v&q, ex)
	w.setPred(&in.o[1], ^v&q, ex)
}

// extended is an integer of 32 bits as one of 64.
func extended(u uint32, signed bool) int64 {
	if signed {
		return int64(int32(u))
	}
	return int64(u)
}

func execSetp(f func(a, b int64) bool, signed bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b := x.ints(w, &in.o[2], 0), x.ints(w, &in.o[3], 1)
		var v uint32
		for l := range a {
			if f(extended(a[l], signed), extended(b[l], signed)) {
				v |= 1 << l
			}
		}
		w.join(in, v, ex)
	}
}

// execSetpHigh compares the upper words of two numbers whose lower words a predicate has compared.
func execSetpHigh(name string, f func(a, b int64) bool, signed bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b, low := x.ints(w, &in.o[2], 0), x.ints(w, &in.o[3], 1), w.pred(&in.o[5])
		var v uint32
		for l := range a {
			lo := low>>l&1 != 0
			var c bool
			switch {
			case a[l] == b[l]:
				c = lo
			case name == "NE":
				c = true
			default:
				c = f(extended(a[l], signed), extended(b[l], signed))
			}
			if c {
				v |= 1 << l
			}
		}
		w.join(in, v, ex)
	}
}

// compareFloats returns a bit for each lane.
func (x *executor) compareFloats(w *warp, a, b *operand, f func(a, b float32) bool, ftz bool) (v uint32) {
	p, q := x.floats(w, a, 0), x.floats(w, b, 1)
	for l := range p {
		s, t := float(p[l]), float(q[l])
		if ftz {
			s, t = flush(s), flush(t)
		}
		if f(s, t) {
			v |= 1 << l
		}
	}
	return v
}

func execFloatSetp(f func(a, b float32) bool, ftz bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		w.join(in, x.compareFloats(w, &in.o[2], &in.o[3], f, ftz), ex)
	}
}

// execSet is a comparison whose result is 1 or 0.
func execSet(f func(a, b float32) bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		v, q := x.compareFloats(w, &in.o[1], &in.o[2], f, false), w.pred(&in.o[3])
		if strings.HasSuffix(in.op.name, ".OR") {
			v |= q
		} else {
			v &= q
		}
		for l := range x.out {
			x.out[l] = 0
			if v>>l&1 != 0 {
				x.out[l] = bitsOf(1)
			}
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}
}
