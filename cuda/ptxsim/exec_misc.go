package ptxsim

import "math/bits"

func trap(w *warp, in *inst, m uint32) {
	w.fault(in, bits.TrailingZeros32(m), Trap, 0, "the kernel ended itself")
}

func nop(*warp, *inst, uint32) {}

//go:norace
func predLogic(w *warp, in *inst, m uint32) {
	a := *w.p(in.a)
	var r uint32
	switch in.mode {
	case logicAnd:
		r = a & *w.p(in.b)
	case logicOr:
		r = a | *w.p(in.b)
	case logicXor:
		r = a ^ *w.p(in.b)
	case logicNot:
		r = ^a
	case logicMov:
		r = a
	}
	d := w.p(in.d)
	*d = *d&^m | r&m
}

// setFromPred runs a setp and spreads its predicate.
//
//go:norace
func setFromPred(w *warp, in *inst, m uint32) {
	in.sub.fn(w, in.sub, m)
	p, d := *w.p(in.a), w.u32(in.d)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		d[i] = -(p >> i & 1) & uint32(in.imm)
	}
}

//go:norace
func isSpace(w *warp, in *inst, m uint32) {
	a := w.u64(in.a)
	var r uint32
	for i, v := range a {
		s := spaceGlobal
		switch {
		case v-sharedWindow < windowSize:
			s = spaceShared
		case v-localWindow < windowSize:
			s = spaceLocal
		}
		if s == in.space {
			r |= 1 << i
		}
	}
	d := w.p(in.d)
	*d = *d&^m | r&m
}

// pack and unpack are mov between a register and a vector of its parts.
//
//go:norace
func pack(w *warp, in *inst, m uint32) {
	bitsOf := 8 * uint(in.size)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		var v uint64
		for j, r := range in.x {
			v |= uint64(w.u32(r)[i]) << (64 - bitsOf) >> (64 - bitsOf) << (bitsOf * uint(j))
		}
		if in.long {
			w.u64(in.d)[i] = v
		} else {
			w.u32(in.d)[i] = uint32(v)
		}
	}
}

//go:norace
func unpack(w *warp, in *inst, m uint32) {
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		var v uint64
		if in.long {
			v = w.u64(in.a)[i]
		} else {
			v = uint64(w.u32(in.a)[i])
		}
		for j, r := range in.x {
			w.u32(r)[i] = uint32(v >> (8 * uint(in.size) * uint(j)))
		}
	}
}

// movVec is a load of a vector of parameters: the second half of x are their slots.
//
//go:norace
func movVec(w *warp, in *inst, m uint32) {
	n := len(in.x) / 2
	for j := range n {
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			if in.long {
				w.u64(in.x[j])[i] = w.u64(in.x[n+j])[i]
			} else {
				w.u32(in.x[j])[i] = w.u32(in.x[n+j])[i]
			}
		}
	}
}

// carry is add, sub and mad with a carry in or out. Subtraction keeps a borrow in the flag.
//
//go:norace
func carry(w *warp, in *inst, m uint32) {
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k) & 31
		var c uint64
		if in.carryIn {
			c = uint64(w.carry >> i & 1)
		}
		get := func(o int32) uint64 {
			if in.long {
				return w.u64(o)[i]
			}
			return uint64(w.u32(o)[i])
		}
		a, b := get(in.a), get(in.b)
		switch in.mode {
		case carryMadLo:
			a, b = a*b, get(in.c)
		case carryMadHi:
			switch {
			case !in.signed && in.long:
				a = mulHiU64(a, b)
			case in.long:
				a = uint64(mulHiS64(int64(a), int64(b)))
			case !in.signed:
				a = a * b >> 32
			default:
				a = uint64(int64(int32(a)) * int64(int32(b)) >> 32)
			}
			b = get(in.c)
		}
		if !in.long {
			a, b = uint64(uint32(a)), uint64(uint32(b))
		}
		var r, out uint64
		if in.mode == carrySub {
			r, out = bits.Sub64(a, b, c)
		} else {
			r, out = bits.Add64(a, b, c)
		}
		if in.long {
			w.u64(in.d)[i] = r
		} else {
			out = r >> 32 & 1
			w.u32(in.d)[i] = uint32(r)
		}
		if in.carryOut {
			w.carry = w.carry&^(1<<i) | uint32(out)<<i
		}
	}
}
