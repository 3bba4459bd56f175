package main

import (
	"fmt"
	"math/bits"
	"slices"
)

// neon is the instruction set of arm64. An instruction that Go's assembler lacks is a word of machine code, which a comment spells.
//
// The general registers of loops are R0 to R5 and R8 to R15. R20 is the table of constants, R21 and R22 are lost. V16 to V29 hold constants, V30 and
// V31 are lost.
type neon struct {
	*source
	kept   []constant // those in registers, from V16 on
	listed bool       // whether constants are being listed
	table  []string   // the constants in their order in memory
	based  bool       // whether R20 is the place of the table
}

const (
	firstKept = 16
	mostKept  = 14
	spare     = vec(30)
	spare2    = vec(31)
)

func (g *neon) traits() isa { return isa{"NEON", 4, 16, false, true, false} }

func (g *neon) function(doc, name, params string) {
	g.kept, g.based = nil, false
	g.begin(doc, name+"NEON", params)
}

func (g *neon) end() { g.line("RET") }

// word writes an instruction by its code.
func (g *neon) word(code uint32, f string, a ...any) {
	g.line("WORD $%#08x // "+f, append([]any{code}, a...)...)
}

func (r general) arm64() string { return fmt.Sprintf("R%d", r.number()) }

func (r general) number() int {
	if r < r8 {
		return int(r)
	}
	return int(r-r8) + 8
}

func (g *neon) param(name string, to general)   { g.line("MOVD {%s}, %s", name, to.arm64()) }
func (g *neon) param32(name string, to general) { g.line("MOVWU {%s}, %s", name, to.arm64()) }
func (g *neon) immediate(x int, to general)     { g.line("MOVD $%d, %s", x, to.arm64()) }
func (g *neon) move(from, to general)           { g.line("MOVD %s, %s", from.arm64(), to.arm64()) }
func (g *neon) add(a, to general)               { g.line("ADD %s, %s", a.arm64(), to.arm64()) }
func (g *neon) addParam(name string, to general) {
	g.line("MOVD {%s}, R21\nADD R21, %s", name, to.arm64())
}
func (g *neon) shiftLeft(by int, r general) { g.line("LSL $%d, %s", by, r.arm64()) }

func (g *neon) addScaled(a, b general, scale int, to general) {
	g.line("ADD %s<<%d, %s, %s", b.arm64(), bits.TrailingZeros(uint(scale)), a.arm64(), to.arm64())
}

// flags writes an instruction, with S behind its name to set flags if there is a jump where they say so.
func (g *neon) flags(name, operands string, if0 condition, to string) {
	if if0 == never {
		g.line("%s %s", name, operands)
		return
	}
	g.line("%sS %s\n%s %s", name, operands, map[condition]string{zero: "BEQ", nonzero: "BNE", negative: "BLT", notNegative: "BGE"}[if0], to)
}

func (g *neon) countTo(by int, r general, if0 condition, to string) {
	if by < 0 {
		g.flags("SUB", fmt.Sprintf("$%d, %s", -by, r.arm64()), if0, to)
	} else {
		g.flags("ADD", fmt.Sprintf("$%d, %s", by, r.arm64()), if0, to)
	}
}

func (g *neon) andTo(mask int, r general, if0 condition, to string) {
	g.flags("AND", fmt.Sprintf("$%d, %s", mask, r.arm64()), if0, to)
}

func (g *neon) test(r general, if0 condition, to string) {
	g.line("%s %s, %s", map[condition]string{zero: "CBZ", nonzero: "CBNZ"}[if0], r.arm64(), to)
}

func (g *neon) equal(r general, with int, to string) {
	g.line("CMP $%d, %s\nBEQ %s", with, r.arm64(), to)
}

// address is the text of a place. What an instruction cannot add is added in R21.
func (g *neon) address(p place) string {
	switch {
	case p.scale == 0:
		return fmt.Sprintf("%d(%s)", p.offset, p.base.arm64())
	case p.scale == 1 && p.offset == 0:
		return fmt.Sprintf("(%s)(%s)", p.base.arm64(), p.index.arm64())
	}
	g.line("ADD %s<<%d, %s, R21", p.index.arm64(), bits.TrailingZeros(uint(p.scale)), p.base.arm64())
	return fmt.Sprintf("%d(R21)", p.offset)
}

func (g *neon) load(from place, to vec) {
	switch at := g.address(from); {
	case g.part:
		g.line("FMOVS %s, F%d", at, to)
	case from.scale == 1 && from.offset == 0:
		r, x := from.base.number(), from.index.number()
		g.word(0x3ce06800|uint32(x)<<16|uint32(r)<<5|uint32(to), "ldr q%d, [x%d, x%d]", to, r, x)
	default:
		g.line("FMOVQ %s, F%d", at, to)
	}
}

func (g *neon) store(from vec, to place) {
	switch at := g.address(to); {
	case g.part:
		g.line("FMOVS F%d, %s", from, at)
	case to.scale == 1 && to.offset == 0:
		r, x := to.base.number(), to.index.number()
		g.word(0x3ca06800|uint32(x)<<16|uint32(r)<<5|uint32(from), "str q%d, [x%d, x%d]", from, r, x)
	default:
		g.line("FMOVQ F%d, %s", from, at)
	}
}

// prefetch does nothing: processors foresee these loops.
func (g *neon) prefetch(place) {}

func (g *neon) broadcast(name string, to vec) {
	g.line("FMOVS {%s}, F%d\nVDUP V%d.S[0], V%d.S4", name, to, to, to)
}

// constantTo loads a constant.
func (g *neon) constantTo(c constant, to vec) {
	name := g.constant(c)
	i := slices.Index(g.table, name)
	if i < 0 {
		i = len(g.table)
		g.table = append(g.table, name)
	}
	g.constants()
	g.line("FMOVQ %d(R20), F%d", 16*i, to)
}

// constants makes R20 the place of the table of constants, once in a function: where the first is used, or before the loop of elements.
func (g *neon) constants() {
	if !g.based {
		g.line("MOVD $·constants(SB), R20")
		g.based = true
	}
}

// register returns the register of an operand. If it is in memory it is loaded into spare.
func (g *neon) register(x operand, spare vec) vec {
	switch x := x.(type) {
	case vec:
		return x
	case constant:
		isKept := func(c constant) bool { return slices.Equal(c, x) }
		if i := slices.IndexFunc(g.kept, isKept); i >= 0 {
			return vec(firstKept + i)
		}
		if g.listed && len(g.kept) < mostKept {
			g.kept = append(g.kept, x)
		}
		g.constantTo(x, spare)
	case place:
		g.load(x, spare)
	}
	return spare
}

// instruction is one of vectors: its name, with the arrangement of lanes, and the code with all registers 0, unless Go's assembler has it.
type instruction struct {
	name, lanes string
	code        uint32
}

var neonOps = map[op]instruction{
	fadd:      {"fadd", "4s", 0x4e20d400},
	fsub:      {"fsub", "4s", 0x4ea0d400},
	fmul:      {"fmul", "4s", 0x6e20dc00},
	fdiv:      {"fdiv", "4s", 0x6e20fc00},
	fmax:      {"fmax", "4s", 0x4e20f400},
	fmin:      {"fmin", "4s", 0x4ea0f400},
	and:       {"VAND", "B16", 0},
	or:        {"VORR", "B16", 0},
	xor:       {"VEOR", "B16", 0},
	iadd:      {"VADD", "S4", 0},
	fadd64:    {"fadd", "2d", 0x4e60d400},
	fsub64:    {"fsub", "2d", 0x4ee0d400},
	zipLow:    {"VZIP1", "S4", 0},
	zipHigh:   {"VZIP2", "S4", 0},
	zipLow64:  {"VZIP1", "D2", 0},
	zipHigh64: {"VZIP2", "D2", 0},
}

// The others that have three registers, or two.
var (
	fmla   = instruction{"VFMLA", "S4", 0}
	fmls   = instruction{"VFMLS", "S4", 0}
	fmla64 = instruction{"VFMLA", "D2", 0}
	fcmgt  = instruction{"fcmgt", "4s", 0x6ea0e400}
	fcmge  = instruction{"fcmge", "4s", 0x6e20e400}
	fcmeq  = instruction{"fcmeq", "4s", 0x4e20e400}
	cmeq   = instruction{"VCMEQ", "S4", 0}
	bit    = instruction{"VBIT", "B16", 0}
	fneg   = instruction{"fneg", "4s", 0x6ea0f800}
	uzp1   = instruction{"VUZP1", "S4", 0}
	uzp2   = instruction{"VUZP2", "S4", 0}
	mvn    = instruction{"mvn", "16b", 0x6e205800}
	scvtf  = instruction{"scvtf", "4s", 0x4e21d800}
	fsqrt  = instruction{"fsqrt", "4s", 0x6ea1f800}
)

// three writes an instruction d = i(n, m).
func (g *neon) three(i instruction, d, n, m vec) {
	if i.code == 0 {
		g.line("%s V%d.%s, V%d.%s, V%d.%s", i.name, m, i.lanes, n, i.lanes, d, i.lanes)
		return
	}
	g.word(i.code|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s v%d.%s, v%d.%s, v%d.%s", i.name, d, i.lanes, n, i.lanes, m, i.lanes)
}

// two writes an instruction d = i(n).
func (g *neon) two(i instruction, d, n vec) {
	g.word(i.code|uint32(n)<<5|uint32(d), "%s v%d.%s, v%d.%s", i.name, d, i.lanes, n, i.lanes)
}

func (g *neon) op(o op, a vec, b operand, to vec) { g.three(neonOps[o], to, a, g.register(b, spare)) }

func (g *neon) clear(v vec) { g.zero(int(v)) }

func (g *neon) copy(from operand, to vec) {
	switch from := from.(type) {
	case vec:
		g.line("VMOV V%d.B16, V%d.B16", from, to)
	case constant:
		g.constantTo(from, to)
	case place:
		g.load(from, to)
	}
}

func (g *neon) sqrt(a, to vec) { g.two(fsqrt, to, a) }

func (g *neon) shift(s shift, bits int, a, to vec) {
	switch s {
	case left:
		g.line("VSHL $%d, V%d.S4, V%d.S4", bits, a, to)
	case right:
		g.line("VUSHR $%d, V%d.S4, V%d.S4", bits, a, to)
	case left64:
		g.line("VSHL $%d, V%d.D2, V%d.D2", bits, a, to)
	case rightSigned:
		g.word(0x4f000400|uint32(64-bits)<<16|uint32(a)<<5|uint32(to), "sshr v%d.4s, v%d.4s, #%d", to, a, bits)
	}
}

func (g *neon) addProduct(a vec, b operand, to vec) { g.three(fmla, to, a, g.register(b, spare)) }
func (g *neon) subProduct(a vec, b operand, to vec) { g.three(fmls, to, a, g.register(b, spare)) }
func (g *neon) addSquares64(a, to vec)              { g.three(fmla64, to, a, a) }

func (g *neon) productMinus(a vec, b operand, to vec) {
	g.two(fneg, to, to)
	g.addProduct(a, b, to)
}

func (g *neon) scaleAdd(by vec, c operand, to vec) {
	g.copy(c, spare)
	g.three(fmla, spare, to, by)
	g.copy(spare, to)
}

// polynomial has what it has made so far by turns in to and in the register to spare, the last in to.
func (g *neon) polynomial(x, to vec, coefficients ...constant) {
	now, next := to, spare
	if len(coefficients)%2 == 0 {
		now, next = next, now
	}
	g.copy(coefficients[0], now)
	for _, c := range coefficients[1:] {
		g.copy(c, next)
		g.three(fmla, next, now, x)
		now, next = next, now
	}
}

// compare has the mask in the other register to spare: from may be in the first.
func (g *neon) compare(r relation, a vec, b operand, _ vec) { g.relate(r, a, b, spare2) }

func (g *neon) alsoCompare(r relation, a vec, b operand, _, _ vec) {
	g.relate(r, a, b, spare)
	g.op(and, spare2, spare, spare2)
}

// relate makes a mask in a register.
func (g *neon) relate(r relation, a vec, b operand, m vec) {
	y := g.register(b, spare)
	switch r {
	case greater:
		g.three(fcmgt, m, a, y)
	case less:
		g.three(fcmgt, m, y, a)
	case atLeast:
		g.three(fcmge, m, a, y)
	case notAtMost:
		g.three(fcmge, m, y, a)
		g.two(mvn, m, m)
	case ordered: // each with itself
		g.three(fcmeq, m, a, a)
		if y != a {
			panic("gen: two numbers are not asked for")
		}
	case sameBits:
		g.three(cmeq, m, a, y)
	}
}

func (g *neon) choose(_ vec, from operand, to vec) {
	g.three(bit, to, g.register(from, spare), spare2)
}

func (g *neon) chooseElse0(_, from, to vec) { g.op(and, from, spare2, to) }

// loadBytes and storeBytes move four bytes, or one by R22.
func (g *neon) loadBytes(from place, to vec) {
	if g.part {
		g.line("MOVBU %s, R22\nFMOVS R22, F%d", g.address(from), to)
		return
	}
	g.line("FMOVS %s, F%d\nVUXTL V%d.B8, V%d.H8\nVUXTL V%d.H4, V%d.S4", g.address(from), to, to, to, to, to)
}

func (g *neon) storeBytes(from vec, to place, _ vec) {
	if g.part {
		g.line("VMOV V%d.S[0], R22\nMOVB R22, %s", from, g.address(to))
		return
	}
	g.word(0x0e612800|uint32(from)<<5|uint32(spare), "xtn v%d.4h, v%d.4s", spare, from)
	g.word(0x0e212800|uint32(spare)<<5|uint32(spare), "xtn v%d.8b, v%d.8h", spare, spare)
	g.line("FMOVS F%d, %s", spare, g.address(to))
}

func (g *neon) toFloat(a, to vec) { g.two(scvtf, to, a) }

func (g *neon) spread(from general, to vec) { g.line("VDUP %s, V%d.S4", from.arm64(), to) }

func (g *neon) mulWords(a vec, b operand, low, high vec) {
	y := g.register(b, spare)
	code := uint32(y)<<16 | uint32(a)<<5
	g.word(0x6ea0c000|code|uint32(spare2), "umull2 v%d.2d, v%d.4s, v%d.4s", spare2, a, y)
	g.word(0x2ea0c000|code|uint32(spare), "umull v%d.2d, v%d.2s, v%d.2s", spare, a, y)
	g.three(uzp1, low, spare, spare2)
	g.three(uzp2, high, spare, spare2)
}

func (g *neon) widen(x, low, high vec) {
	g.word(0x0e617800|uint32(x)<<5|uint32(low), "fcvtl v%d.2d, v%d.2s", low, x)
	g.word(0x4e617800|uint32(x)<<5|uint32(high), "fcvtl2 v%d.2d, v%d.4s", high, x)
}

func (g *neon) total(a, b vec) {
	g.op(fadd64, a, b, 0)
	g.word(0x7e70d800, "faddp d0, v0.2d")
	g.line("MOVD {total}, R0\nFMOVD (R0), F1\nFADDD F1, F0\nFMOVD F0, (R0)")
	g.end()
}

// only moves the first lane to itself, by which the others become zero.
func (g *neon) only(v vec) {
	if g.part {
		g.line("FMOVS F%d, F%d", v, v)
	}
}

// lanesLeft does nothing: there are no masks.
func (g *neon) lanesLeft() {}

func (g *neon) masked(f func()) {
	g.part = true
	f()
	g.part = false
}

func (g *neon) rest(_ bool, done string, at general, step int, body func()) {
	g.countTo(g.traits().lanes, cx, zero, done)
	g.label("one")
	g.masked(body)
	g.countTo(step, at, never, "")
	g.countTo(-1, cx, nonzero, "one")
	g.label(done)
}

// keep writes body to see what constants it has, and then loads them in its place.
func (g *neon) keep(body func()) {
	was := g.text.Len()
	g.listed = true
	body()
	g.listed = false
	g.text.Truncate(was)
	if g.based {
		g.based = false
		g.constants()
	}
	for i, c := range g.kept {
		g.constantTo(c, vec(firstKept+i))
	}
}

// data writes the constants.
func (g *neon) data() {
	g.args = nil
	g.line("")
	for i, name := range g.table {
		for j := range 4 {
			c := g.consts[name]
			g.line("DATA ·constants+%d(SB)/4, $%#x", 16*i+4*j, c[j%len(c)])
		}
	}
	g.line("GLOBL ·constants(SB), RODATA|NOPTR, $%d", 16*len(g.table))
}
