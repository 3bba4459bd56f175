package sass

import (
	"math"
	"math/bits"
	"strings"
)

// pipe is the unit that takes an instruction.
type pipe uint8

const (
	pipeFloat     pipe = iota // FFMA, FADD, FMUL: two half units, one instruction a cycle
	pipeHeavy                 // integer multiply-adds: one half unit
	pipeALU                   // integers, comparisons, selections
	pipeShared                // shared memory and shuffles
	pipeGlobal                // global memory
	pipeUniform               // the unit for a whole warp
	pipeSpecial               // approximations and conversions
	pipeLoad                  // constants and special registers, through the queue of memory instructions
	pipeBranch                // control
	pipeTensor                // products of matrices
	pipeWarpgroup             // products of a warpgroup's matrices, which the warp does not wait for
	pipeCopy                  // copies by the tensor memory accelerator, through the queue of memory instructions
	pipeFence                 // what waits until others see what was written
)

// opcode is what an instruction of a name does.
type opcode struct {
	name    string
	pipe    pipe
	form    string // the operands that it may have, see Inst.matches
	exec    func(x *executor, w *warp, in *Inst, ex uint32)
	flow    func(x *executor, w *warp, in *Inst, ex uint32) // instead of exec, when it sets where lanes go
	float   bool                                            // immediates are floats
	uniform bool
	branch  bool // goes to a register
	// Asks for registers, so that the warp may have more than it begins with.
	takesRegisters bool
	straight       bool // of a flow: the next instruction is not fetched anew
	fma            bool
	products       int  // multiply-adds of a lane in a product of matrices
	tiles          int  // products of 16 x 8 that it is made of
	wide           bool // keeps its unit twice as long
	async          bool // a copy from global to shared memory
	width          int  // bytes a lane
}

// specials are the special registers that are known.
var specials = map[string]bool{"SR_TID.X": true, "SR_TID.Y": true, "SR_TID.Z": true, "SR_CTAID.X": true, "SR_CTAID.Y": true,
	"SR_CTAID.Z": true, "SR_CgaCtaId": true, "SR_LANEID": true, "SRZ": true, "SB0": true, "gsb0": true, "PR": true, "SB1": true, "SB2": true, "SB3": true, "SB4": true, "SB5": true}

// opcodes holds the instructions that are known, by name and modifiers. No other runs.
var opcodes = map[string]*opcode{}

func add(p pipe, form string, exec func(x *executor, w *warp, in *Inst, ex uint32), names ...string) []*opcode {
	var list []*opcode
	for _, n := range names {
		o := &opcode{name: n, pipe: p, form: form, exec: exec, uniform: strings.HasPrefix(n, "U") || n == "S2UR" || strings.HasPrefix(n, "VOTEU.")}
		if o.uniform && n != "S2UR" {
			o.pipe = pipeUniform
		}
		opcodes[n] = o
		list = append(list, o)
	}
	return list
}

// addFloat adds instructions whose immediates are floats.
func addFloat(p pipe, form string, exec func(x *executor, w *warp, in *Inst, ex uint32), names ...string) []*opcode {
	list := add(p, form, exec, names...)
	for _, o := range list {
		o.float = true
	}
	return list
}

func init() {
	addFloatOps()
	addIntOps()
	addPredicateOps()
	addMemoryOps()
	addFlowOps()
	addMatrixOps()
	addWarpgroupOps()
	addMbarrierOps()
	addBulkOps()
	addTensorOps()
}

// arith makes an instruction of three floats.
func arith(f func(a, b, c float32) float32) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b, c := x.floats(w, &in.o[1], 0), x.floats(w, &in.o[2], 1), &x.buf[2]
		if len(in.o) > 3 {
			c = x.floats(w, &in.o[3], 2)
		}
		for l := range x.out {
			x.out[l] = bitsOf(f(float(a[l]), float(b[l]), float(c[l])))
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}
}

// unary makes an instruction of one value; the bits of a float.
func unary(f func(a uint32) uint32) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		var a *lanes
		if in.op.float {
			a = x.floats(w, &in.o[1], 0)
		} else {
			a = x.ints(w, &in.o[1], 0)
		}
		for m := ex; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			x.out[l] = f(a[l])
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}
}

func execFFMA(x *executor, w *warp, in *Inst, ex uint32) {
	a, b, c := x.floats(w, &in.o[1], 0), x.floats(w, &in.o[2], 1), x.floats(w, &in.o[3], 2)
	for l := range x.out {
		x.out[l] = bitsOf(fma32(float(a[l]), float(b[l]), float(c[l])))
	}
	w.put(&in.o[0], &x.out, ex, 0)
}

func addFloatOps() {
	fma := addFloat(pipeFloat, "dsss", execFFMA, "FFMA")
	fma = append(fma, addFloat(pipeFloat, "dsss", arith(func(a, b, c float32) float32 { return saturate(fma32(a, b, c)) }), "FFMA.SAT")...)
	for n, m := range map[string]rounding{"FFMA.RM": down, "FFMA.RP": up, "FFMA.RZ": zero} {
		fma = append(fma, addFloat(pipeFloat, "dsss", arith(func(a, b, c float32) float32 { return fmaRound(a, b, c, m) }), n)...)
	}
	for _, o := range fma {
		o.fma = true
	}
	addFloat(pipeFloat, "dss", arith(func(a, b, _ float32) float32 { return a + b }), "FADD")
	addFloat(pipeFloat, "dss", arith(func(a, b, _ float32) float32 { return flush(flush(a) + flush(b)) }), "FADD.FTZ")
	addFloat(pipeFloat, "dss", arith(func(a, b, _ float32) float32 { return fmaRound(a, 1, b, zero) }), "FADD.RZ")
	addFloat(pipeFloat, "dss", arith(func(a, b, _ float32) float32 { return saturate(a + b) }), "FADD.SAT")
	addFloat(pipeFloat, "dss", arith(func(a, b, _ float32) float32 { return a * b }), "FMUL")
	addFloat(pipeFloat, "dss", arith(func(a, b, _ float32) float32 { return flush(flush(a) * flush(b)) }), "FMUL.FTZ")
	addFloat(pipeFloat, "dss", arith(func(a, b, _ float32) float32 { return fmaRound(a, b, 0, zero) }), "FMUL.RZ")
	special := func(name string, f func(float64) float64) {
		addFloat(pipeSpecial, "ds", unary(func(a uint32) uint32 { return bitsOf(float32(f(float64(float(a))))) }), name)
	}
	addFloat(pipeSpecial, "ds", unary(func(a uint32) uint32 { return bitsOf(float32(math.RoundToEven(float64(float(a))))) }), "FRND")
	special("MUFU.RCP", func(v float64) float64 { return 1 / v })
	special("MUFU.EX2", math.Exp2)
	special("MUFU.RSQ", func(v float64) float64 { return 1 / math.Sqrt(v) })
	special("MUFU.LG2", math.Log2)
	addFloat(pipeALU, "dssp", func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b, p := x.floats(w, &in.o[1], 0), x.floats(w, &in.o[2], 1), w.pred(&in.o[3])
		for l := range x.out {
			x.out[l] = bitsOf(minMax(float(a[l]), float(b[l]), p>>l&1 != 0))
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}, "FMNMX")
	addFloat(pipeALU, "dssp", execSelect, "FSEL")
	add(pipeSpecial, "ds", unary(func(a uint32) uint32 {
		switch v := float64(flush(float(a))); {
		case v >= 1<<32:
			return ^uint32(0)
		case v > 0:
			return uint32(v)
		}
		return 0 // also NaN
	}), "F2I.FTZ.U32.TRUNC.NTZ", "F2I.U32.TRUNC.NTZ") // what is flushed to 0 is truncated to it
	add(pipeSpecial, "ds", unary(func(a uint32) uint32 { return bitsOf(roundUp(int64(a))) }), "I2F.U32.RP")
	add(pipeSpecial, "ds", unary(func(a uint32) uint32 { return bitsOf(float32(a & 0xffff)) }), "I2F.U16.RP")
	add(pipeSpecial, "ds", unary(func(a uint32) uint32 { return bitsOf(roundUp(int64(int32(a)))) }), "I2F.RP")
	add(pipeSpecial, "ds", unary(func(a uint32) uint32 { return bitsOf(float32(a & 0xffff)) }), "I2F.U16", "I2F.U16.RZ")
	addFloat(pipeALU, "dss", func(x *executor, w *warp, in *Inst, ex uint32) {
		high, low := x.floats(w, &in.o[1], 0), x.floats(w, &in.o[2], 1)
		for l := range x.out {
			x.out[l] = bf16(float(high[l]))<<16 | bf16(float(low[l]))
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}, "F2FP.BF16.F32.PACK_AB")
	add(pipeALU, "ds", unary(func(a uint32) uint32 { return bitsOf(float32(int32(a))) }), "I2FP.F32.S32")
	add(pipeALU, "ds", unary(func(a uint32) uint32 { return bitsOf(float32(a)) }), "I2FP.F32.U32")
	// -0*0 + two halves: how ptxas loads a constant by the multiply-add unit.
	addFloat(pipeHeavy, "dzzii", func(x *executor, w *warp, in *Inst, ex uint32) {
		if !in.o[1].neg || in.o[2].neg {
			fail("%q is no load of a constant", in.Text)
		}
		for l := range x.out {
			x.out[l] = in.imm
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}, "HFMA2.MMA")
}

func execSelect(x *executor, w *warp, in *Inst, ex uint32) {
	read := x.ints
	if in.op.float {
		read = x.floats
	}
	a, b, p := read(w, &in.o[1], 0), read(w, &in.o[2], 1), w.pred(&in.o[3])
	for l := range x.out {
		x.out[l] = b[l]
		if p>>l&1 != 0 {
			x.out[l] = a[l]
		}
	}
	w.put(&in.o[0], &x.out, ex, 0)
}

// binary2 makes an instruction of two integers.
func binary2(f func(a, b uint32) uint32) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b := x.ints(w, &in.o[1], 0), x.ints(w, &in.o[2], 1)
		for l := range x.out {
			x.out[l] = f(a[l], b[l])
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}
}

// ternary makes an instruction of three integers.
func ternary(f func(a, b, c uint32) uint32) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b, c := x.ints(w, &in.o[1], 0), x.ints(w, &in.o[2], 1), x.ints(w, &in.o[3], 2)
		for l := range x.out {
			x.out[l] = f(a[l], b[l], c[l])
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}
}

func addIntOps() {
	add(pipeALU, "ds", unary(func(a uint32) uint32 { return a }), "MOV", "UMOV")
	add(pipeALU, "ds", unary(func(a uint32) uint32 {
		if int32(a) < 0 {
			return -a
		}
		return a
	}), "IABS")
	add(pipeALU, "dss", binary2(func(a, b uint32) uint32 { return a + b }), "VIADD")
	add(pipeALU, "dsss dpsss dppsss", execAdd3, "IADD3", "UIADD3")
	add(pipeALU, "dssspp dpssspp dppssspp", execAdd3, "IADD3.X", "UIADD3.X")
	add(pipeHeavy, "dsss", ternary(func(a, b, c uint32) uint32 { return a*b + c }),
		"IMAD", "IMAD.IADD", "IMAD.IADD.U32", "IMAD.MOV", "IMAD.MOV.U32", "IMAD.SHL.U32", "IMAD.U32", "UIMAD")
	add(pipeHeavy, "dsssp", func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b, c, p := x.ints(w, &in.o[1], 0), x.ints(w, &in.o[2], 1), x.ints(w, &in.o[3], 2), w.pred(&in.o[4])
		for l := range x.out {
			x.out[l] = a[l]*b[l] + c[l] + p>>l&1
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}, "IMAD.X")
	wide := add(pipeHeavy, "dsss", execWide(true, false), "IMAD.WIDE", "UIMAD.WIDE")
	wide = append(wide, add(pipeHeavy, "dsss", execWide(false, false), "IMAD.WIDE.U32", "UIMAD.WIDE.U32")...)
	wide = append(wide, add(pipeHeavy, "dsss", execWide(false, true), "IMAD.HI.U32")...)
	for _, o := range wide {
		o.wide = true
	}
	add(pipeALU, "dsss", execAdd64, "UIADD3.64")
	add(pipeALU, "dssi dpssi", execLEA, "LEA", "ULEA")
	add(pipeALU, "dsssi", execLEAHigh(false), "LEA.HI", "ULEA.HI")
	add(pipeALU, "dsssip", execLEAHigh(false), "LEA.HI.X", "ULEA.HI.X")
	add(pipeALU, "dssip", execLEAHigh(true), "LEA.HI.X.SX32", "ULEA.HI.X.SX32")
	add(pipeALU, "dsssip pdsssip", execLOP3, "LOP3.LUT", "ULOP3.LUT")
	add(pipeALU, "dsss", ternary(permute), "PRMT", "UPRMT")
	add(pipeALU, "dsss", ternary(func(lo, s, hi uint32) uint32 { return lo << s }), "SHF.L.U32", "USHF.L.U32") // Go shifts out at 32
	add(pipeALU, "dsss", ternary(func(lo, s, hi uint32) uint32 { return hi >> s }), "SHF.R.U32.HI", "USHF.R.U32.HI")
	add(pipeALU, "dsss", ternary(func(lo, s, hi uint32) uint32 { return uint32((uint64(hi)<<32 | uint64(lo)) >> (s & 63)) }), "SHF.R.U64", "USHF.R.U64")
	add(pipeALU, "dsss", ternary(func(lo, s, hi uint32) uint32 { return uint32(int32(hi) >> s) }), "SHF.R.S32.HI", "USHF.R.S32.HI")
	add(pipeALU, "dsss", ternary(func(lo, s, hi uint32) uint32 {
		return uint32((uint64(hi)<<32 | uint64(lo)) << min(s, 63) >> 32)
	}), "SHF.L.U64.HI")
	add(pipeALU, "dsss", ternary(func(lo, s, hi uint32) uint32 { return uint32((uint64(hi)<<32 | uint64(lo)) >> min(s, 63)) }), "SHF.R.U64")
	add(pipeALU, "dssp", execSelect, "SEL", "USEL")
	minMaxOps()
	add(pipeALU, "dx", func(x *executor, w *warp, in *Inst, ex uint32) {
		clear(x.out[:])
		w.put(&in.o[0], &x.out, ex, 0)
		w.put(&in.o[0], &x.out, ex, 1)
	}, "CS2R")
}

// minMaxOps adds the smaller or larger of two, the first of which may be a sum.
func minMaxOps() {
	pick := func(s, c uint32, signed, smaller bool) uint32 {
		less := s < c
		if signed {
			less = int32(s) < int32(c)
		}
		if less == smaller {
			return s
		}
		return c
	}
	for _, signed := range []bool{true, false} {
		suffix := map[bool]string{true: "", false: ".U32"}[signed]
		add(pipeALU, "dssp", func(x *executor, w *warp, in *Inst, ex uint32) {
			a, b, p := x.ints(w, &in.o[1], 0), x.ints(w, &in.o[2], 1), w.pred(&in.o[3])
			for l := range x.out {
				x.out[l] = pick(a[l], b[l], signed, p>>l&1 != 0)
			}
			w.put(&in.o[0], &x.out, ex, 0)
		}, "VIMNMX"+suffix)
		add(pipeALU, "dsssp", func(x *executor, w *warp, in *Inst, ex uint32) {
			a, b, c, p := x.ints(w, &in.o[1], 0), x.ints(w, &in.o[2], 1), x.ints(w, &in.o[3], 2), w.pred(&in.o[4])
			for l := range x.out {
				x.out[l] = pick(a[l]+b[l], c[l], signed, p>>l&1 != 0)
			}
			w.put(&in.o[0], &x.out, ex, 0)
		}, "VIADDMNMX"+suffix)
	}
}

// execAdd3 adds three integers, with carries out and, for .X, in. A negative operand is its complement plus one, but for .X only
// its complement.
func execAdd3(x *executor, w *warp, in *Inst, ex uint32) {
	i := 1
	for in.o[i].kind == kindPred || in.o[i].kind == kindUniformPred {
		i++
	}
	outs, carry := in.o[1:i], in.o[i+3:]
	var sum [32]uint64
	for n := range 3 {
		o := &in.o[i+n]
		v := x.raw(w, o, n)
		for l := range sum {
			u := v[l]
			if o.neg || o.inv {
				u = ^u
			}
			sum[l] += uint64(u)
			if o.neg && len(carry) == 0 {
				sum[l]++
			}
		}
	}
	for n := range carry {
		p := w.pred(&carry[n])
		for l := range sum {
			sum[l] += uint64(p >> l & 1)
		}
	}
	var c1, c2 uint32
	for l, s := range sum {
		x.out[l] = uint32(s)
		if s>>32 >= 1 {
			c1 |= 1 << l
		}
		if s>>32 >= 2 {
			c2 |= 1 << l
		}
	}
	w.put(&in.o[0], &x.out, ex, 0)
	for n, c := range []uint32{c1, c2}[:len(outs)] {
		w.setPred(&outs[n], c, ex)
	}
}

// execWide is a product of 64 bits plus 64 bits; high keeps the upper word.
func execWide(signed, high bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b := x.ints(w, &in.o[1], 0), x.ints(w, &in.o[2], 1)
		c, d := x.raw(w, &in.o[3], 2), x.high(w, &in.o[3], 3)
		var hi lanes
		for l := range x.out {
			p := uint64(a[l]) * uint64(b[l])
			if signed {
				p = uint64(int64(int32(a[l])) * int64(int32(b[l])))
			}
			add := uint64(d[l])<<32 | uint64(c[l])
			if in.o[3].neg {
				add = -add
			}
			p += add
			x.out[l], hi[l] = uint32(p), uint32(p>>32)
		}
		if high {
			w.put(&in.o[0], &hi, ex, 0)
			return
		}
		w.put(&in.o[0], &x.out, ex, 0)
		w.put(&in.o[0], &hi, ex, 1)
	}
}

// execLEA is (a << s) + b, with a carry out.
func execLEA(x *executor, w *warp, in *Inst, ex uint32) {
	o := in.o[1:]
	carry := o[0].kind == kindPred || o[0].kind == kindUniformPred
	if carry {
		o = o[1:]
	}
	a, b, s := x.ints(w, &o[0], 0), x.ints(w, &o[1], 1), o[2].imm
	var out uint32
	for l := range x.out {
		v := term(a[l]<<s, o[0].neg) + term(b[l], o[1].neg)
		x.out[l] = uint32(v)
		out |= uint32(v>>32&1) << l
	}
	w.put(&in.o[0], &x.out, ex, 0)
	if carry {
		w.setPred(&in.o[1], out, ex)
	}
}

// term is what v adds to a sum with a carry. What is subtracted is added as its complement plus one, which carries if v is 0.
func term(v uint32, subtracted bool) uint64 {
	if subtracted && v == 0 {
		return 1 << 32
	}
	return uint64(v)
}

// execLEAHigh is the upper word of (c:a << s) plus b and a carry; extend takes the sign of a for c.
func execLEAHigh(extend bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		a, b, c, n := x.ints(w, &in.o[1], 0), x.ints(w, &in.o[2], 1), &x.buf[2], 3
		if !extend {
			c, n = x.ints(w, &in.o[3], 2), 4
		}
		s, carry := in.o[n].imm, uint32(0)
		if len(in.o) > n+1 {
			carry = w.pred(&in.o[n+1])
		}
		for l := range x.out {
			v := uint64(c[l])<<32 | uint64(a[l])
			if extend {
				v = uint64(int64(int32(a[l])))
			}
			x.out[l] = uint32(v<<s>>32) + b[l] + carry>>l&1
		}
		w.put(&in.o[0], &x.out, ex, 0)
	}
}

// execLOP3 is any logic of three values, by its table; its predicate says where the result is not zero.
func execLOP3(x *executor, w *warp, in *Inst, ex uint32) {
	o := in.o
	pred := o[0].kind == kindPred || o[0].kind == kindUniformPred
	if pred {
		o = o[1:]
	}
	a, b, c, lut := x.ints(w, &o[1], 0), x.ints(w, &o[2], 1), x.ints(w, &o[3], 2), o[4].imm
	nonzero := w.pred(&o[5])
	for l := range x.out {
		v := logic(a[l], b[l], c[l], lut)
		x.out[l] = v
		if v != 0 {
			nonzero |= 1 << l
		}
	}
	w.put(&o[0], &x.out, ex, 0)
	if pred {
		w.setPred(&in.o[0], nonzero, ex)
	}
}

// logic applies a truth table to the bits of three values.
func logic(a, b, c, lut uint32) (v uint32) {
	for t := range uint32(8) {
		if lut>>t&1 != 0 {
			x, y, z := a, b, c
			if t&4 == 0 {
				x = ^x
			}
			if t&2 == 0 {
				y = ^y
			}
			if t&1 == 0 {
				z = ^z
			}
			v |= x & y & z
		}
	}
	return v
}

// permute picks four bytes of c:a by the nibbles of s; the upper bit of a nibble takes the byte's sign.
func permute(a, s, c uint32) (v uint32) {
	both := uint64(c)<<32 | uint64(a)
	for i := range 4 {
		n := s >> (4 * i) & 15
		b := uint32(both>>(8*(n&7))) & 255
		if n&8 != 0 {
			b = b >> 7 * 255
		}
		v |= b << (8 * i)
	}
	return v
}

// execAdd64 adds three numbers of 64 bits, each in two registers. An immediate is the upper half of one.
func execAdd64(x *executor, w *warp, in *Inst, ex uint32) {
	var sum uint64
	for i := 1; i <= 3; i++ {
		o := &in.o[i]
		if o.neg || o.inv {
			fail("%q is not known", in.Text)
		}
		l := bits.TrailingZeros32(ex)
		if o.kind == kindImm {
			sum += uint64(o.imm) << 32
			continue
		}
		sum += uint64(x.raw(w, o, 0)[l]) | uint64(x.high(w, o, 1)[l])<<32
	}
	for half := range 2 {
		for l := range x.out {
			x.out[l] = uint32(sum >> (32 * half))
		}
		w.put(&in.o[0], &x.out, ex, half)
	}
}
