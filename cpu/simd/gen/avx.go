package main

import (
	"fmt"
	"maps"
	"slices"
)

// avx is an instruction set of amd64. The mask of the lanes of vector v of a row of n elements is in K(v+1), or in
// Y(13-v).
type avx struct {
	*source
	isa
	reg   string // what the names of vector registers begin with
	count int    // of them
}

func avx512(s *source) *avx { return &avx{s, isa{"AVX512", 16, 64, true, true, true}, "Z", 32} }
func avx2(s *source) *avx   { return &avx{s, isa{"AVX2", 8, 32, true, false, true}, "Y", 16} }

func (g *avx) traits() isa { return g.isa }

// function begins one of the instruction set at hand.
func (g *avx) function(doc, name, params string) { g.begin(doc, name+g.name, params) }

func (g *avx) end() { g.line("VZEROUPPER\nRET") }

// v is a vector register.
func (g *avx) v(i int) string { return fmt.Sprintf("%s%d", g.reg, i) }

// mask is the register of the mask of vector v.
func (g *avx) mask(v int) string {
	if g.reg == "Z" {
		return fmt.Sprintf("K%d", v+1)
	}
	return g.v(13 - v)
}

// masks makes the masks of a row of {n} elements; AX is lost.
func (g *avx) masks(vectors int) {
	if g.reg == "Z" {
		g.line("MOVQ $-1, AX\nMOVQ {n}, CX\nSHLQ CX, AX\nNOTQ AX\nKMOVW AX, K1")
		if vectors > 1 {
			g.line("SHRQ $16, AX\nKMOVW AX, K2")
		}
		return
	}
	g.line("MOVQ {n}, CX\nNEGQ CX\nLEAQ ·lanes+64(SB), AX")
	for v := range vectors {
		g.line("VMOVUPS %d(AX)(CX*4), %s", 32*v, g.mask(v))
	}
}

// maskedLoad and maskedStore move the lanes of vector v of a row; maskedLoad sets the others to zero.
func (g *avx) maskedLoad(v int, from, to string) {
	if g.reg == "Z" {
		g.line("VMOVUPS.Z %s, %s, %s", from, g.mask(v), to)
		return
	}
	g.line("VMASKMOVPS %s, %s, %s", from, g.mask(v), to)
}

func (g *avx) maskedStore(v int, from, to string) {
	if g.reg == "Z" {
		g.line("VMOVUPS %s, %s, %s", from, g.mask(v), to)
		return
	}
	g.line("VMASKMOVPS %s, %s, %s", from, g.mask(v), to)
}

func (g *avx) zero(r string) { g.line("VXORPS %s, %s, %s", r, r, r) }

// peak does nothing but multiply-adds.
func (g *avx) peak() {
	n := g.count - 4
	g.function("does n times "+fmt.Sprint(n)+" independent multiply-adds of vectors: the machine's limit, for benchmarks.", "peak", "n int")
	g.line("MOVQ {n}, CX")
	for i := range n + 2 {
		g.zero(g.v(i))
	}
	g.line("loop:")
	for i := range n {
		g.line("VFMADD231PS %s, %s, %s", g.v(n), g.v(n+1), g.v(i))
	}
	g.line("DECQ CX\nJNZ loop\nVZEROUPPER\nRET")
}

// data writes the constants, as wide as the widest vector, and lanes: 16 ones and 16 zeros, of which masks are cut.
func (g *avx) data() {
	g.args = nil
	g.line("")
	words := func(name string, n int, word func(i int) uint32) {
		for i := range n {
			g.line("DATA ·%s+%d(SB)/4, $%#x", name, 4*i, word(i))
		}
		g.line("GLOBL ·%s(SB), RODATA|NOPTR, $%d", name, 4*n)
	}
	words("lanes", 32, func(i int) uint32 { return -uint32(1 - i/16) })
	for _, name := range slices.Sorted(maps.Keys(g.consts)) {
		c := g.consts[name]
		words(name, 16, func(i int) uint32 { return c[i%len(c)] })
	}
}

// What follows spells the operations of loops.

func (r general) amd64() string {
	return [...]string{"AX", "BX", "CX", "DX", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}[r]
}

func (p place) amd64() string {
	if p.scale == 0 {
		return fmt.Sprintf("%d(%s)", p.offset, p.base.amd64())
	}
	text := fmt.Sprintf("(%s)(%s*%d)", p.base.amd64(), p.index.amd64(), p.scale)
	if p.offset != 0 {
		text = fmt.Sprint(p.offset) + text
	}
	return text
}

func (g *avx) operand(x operand) string {
	switch x := x.(type) {
	case vec:
		return g.v(int(x))
	case constant:
		return "·" + g.constant(x) + "(SB)"
	case place:
		return x.amd64()
	}
	panic(fmt.Sprintf("%T is no operand", x))
}

func (g *avx) param(name string, to general) { g.line("MOVQ {%s}, %s", name, to.amd64()) }

func (g *avx) param32(name string, to general) { g.line("MOVL {%s}, %s", name, to.amd64()) }

func (g *avx) immediate(x int, to general) {
	if x == 0 {
		g.line("XORQ %s, %s", to.amd64(), to.amd64())
		return
	}
	g.line("MOVQ $%d, %s", x, to.amd64())
}

func (g *avx) move(from, to general)            { g.line("MOVQ %s, %s", from.amd64(), to.amd64()) }
func (g *avx) add(a, to general)                { g.line("ADDQ %s, %s", a.amd64(), to.amd64()) }
func (g *avx) addParam(name string, to general) { g.line("ADDQ {%s}, %s", name, to.amd64()) }
func (g *avx) shiftLeft(bits int, r general)    { g.line("SHLQ $%d, %s", bits, r.amd64()) }

func (g *avx) addScaled(a, b general, scale int, to general) {
	g.line("LEAQ %s, %s", place{base: a, index: b, scale: scale}.amd64(), to.amd64())
}

// branch jumps where the flags that the last instruction has set say so.
func (g *avx) branch(if0 condition, to string) {
	if if0 != never {
		g.line("%s %s", map[condition]string{zero: "JZ", nonzero: "JNZ", negative: "JLT", notNegative: "JGE"}[if0], to)
	}
}

func (g *avx) countTo(by int, r general, if0 condition, to string) {
	switch {
	case by == -1:
		g.line("DECQ %s", r.amd64())
	case by < 0:
		g.line("SUBQ $%d, %s", -by, r.amd64())
	default:
		g.line("ADDQ $%d, %s", by, r.amd64())
	}
	g.branch(if0, to)
}

func (g *avx) andTo(mask int, r general, if0 condition, to string) {
	g.line("ANDQ $%d, %s", mask, r.amd64())
	g.branch(if0, to)
}

func (g *avx) test(r general, if0 condition, to string) {
	g.line("TESTQ %s, %s", r.amd64(), r.amd64())
	g.branch(if0, to)
}

func (g *avx) equal(r general, with int, to string) {
	g.line("CMPQ %s, $%d\nJEQ %s", r.amd64(), with, to)
}

func (g *avx) load(from place, to vec) {
	if g.part {
		g.maskedLoad(0, from.amd64(), g.operand(to))
	} else {
		g.line("VMOVUPS %s, %s", from.amd64(), g.operand(to))
	}
}

func (g *avx) store(from vec, to place) {
	if g.part {
		g.maskedStore(0, g.operand(from), to.amd64())
	} else {
		g.line("VMOVUPS %s, %s", g.operand(from), to.amd64())
	}
}

func (g *avx) prefetch(at place) {
	if !g.part {
		g.line("PREFETCHT0 %s", at.amd64())
	}
}

func (g *avx) broadcast(name string, to vec) { g.line("VBROADCASTSS {%s}, %s", name, g.operand(to)) }

func (g *avx) spread(from general, to vec) {
	g.line("VMOVD %s, X%d\nVPBROADCASTD X%d, %s", from.amd64(), to, to, g.operand(to))
}

func (g *avx) toFloat(a, to vec) { g.line("VCVTDQ2PS %s, %s", g.operand(a), g.operand(to)) }

func (g *avx) mulWords(a vec, b operand, low, high vec) {
	g.line("VPMULUDQ %s, %s, %s\nVPSRLQ $32, %s, %s", g.operand(b), g.operand(a), g.operand(low), g.operand(low), g.operand(high))
}

func (g *avx) loadBytes(from place, to vec) {
	if g.part {
		g.line("VPMOVZXBD.Z %s, K1, %s", from.amd64(), g.operand(to))
	} else {
		g.line("VPMOVZXBD %s, %s", from.amd64(), g.operand(to))
	}
}

func (g *avx) storeBytes(from vec, to place, spare vec) {
	switch {
	case g.part:
		g.line("VPMOVDB %s, K1, %s", g.operand(from), to.amd64())
	case g.reg == "Z":
		g.line("VPMOVDB %s, %s", g.operand(from), to.amd64())
	default:
		x, high := g.half(from), g.half(spare)
		g.line("VEXTRACTI128 $1, %s, %s\nVPACKSSDW %s, %s, %s\nVPACKUSWB %s, %s, %s", g.operand(from), high, high, x, x, x, x, x)
		g.line("VMOVQ %s, %s", x, to.amd64())
	}
}

func (g *avx) op(o op, a vec, b operand, to vec) {
	name := map[op]string{fadd: "VADDPS", fsub: "VSUBPS", fmul: "VMULPS", fdiv: "VDIVPS", fmax: "VMAXPS", fmin: "VMINPS", and: "VANDPS", or: "VORPS",
		xor: "VXORPS", iadd: "VPADDD", fadd64: "VADDPD", fsub64: "VSUBPD",
		zipLow: "VUNPCKLPS", zipHigh: "VUNPCKHPS", zipLow64: "VUNPCKLPD", zipHigh64: "VUNPCKHPD"}[o]
	g.line("%s %s, %s, %s", name, g.operand(b), g.operand(a), g.operand(to))
}

func (g *avx) clear(v vec) { g.zero(g.operand(v)) }

func (g *avx) copy(from operand, to vec) {
	g.line("%s %s, %s", mover(from), g.operand(from), g.operand(to))
}

// mover is the instruction that moves an operand: what is in memory is not aligned.
func mover(from operand) string {
	if _, ok := from.(vec); ok {
		return "VMOVAPS"
	}
	return "VMOVUPS"
}

func (g *avx) sqrt(a, to vec) { g.line("VSQRTPS %s, %s", g.operand(a), g.operand(to)) }

func (g *avx) shift(s shift, bits int, a, to vec) {
	name := map[shift]string{left: "VPSLLD", right: "VPSRLD", rightSigned: "VPSRAD", left64: "VPSLLQ"}[s]
	g.line("%s $%d, %s, %s", name, bits, g.operand(a), g.operand(to))
}

func (g *avx) fused(name string, a vec, b operand, to vec) {
	g.line("%s %s, %s, %s", name, g.operand(b), g.operand(a), g.operand(to))
}

func (g *avx) addProduct(a vec, b operand, to vec)   { g.fused("VFMADD231PS", a, b, to) }
func (g *avx) subProduct(a vec, b operand, to vec)   { g.fused("VFNMADD231PS", a, b, to) }
func (g *avx) productMinus(a vec, b operand, to vec) { g.fused("VFMSUB231PS", a, b, to) }
func (g *avx) scaleAdd(by vec, c operand, to vec)    { g.fused("VFMADD213PS", by, c, to) }
func (g *avx) addSquares64(a, to vec)                { g.fused("VFMADD231PD", a, a, to) }

func (g *avx) polynomial(x, to vec, coefficients ...constant) {
	g.copy(coefficients[0], to)
	for _, c := range coefficients[1:] {
		g.scaleAdd(x, c, to)
	}
}

// maskOf is where compare has a mask.
func (g *avx) maskOf(m vec) string {
	if g.reg == "Z" {
		return "K3"
	}
	return g.operand(m)
}

// comparison is the instruction, with its predicate.
func comparison(r relation) string {
	if r == sameBits {
		return "VPCMPEQD"
	}
	return fmt.Sprintf("VCMPPS $%#x,", map[relation]int{greater: 0x1e, less: 0x11, atLeast: 0x1d, notAtMost: 0x16, ordered: 0x07}[r])
}

func (g *avx) compare(r relation, a vec, b operand, m vec) {
	g.line("%s %s, %s, %s", comparison(r), g.operand(b), g.operand(a), g.maskOf(m))
}

func (g *avx) alsoCompare(r relation, a vec, b operand, m, spare vec) {
	if g.reg == "Z" {
		g.line("%s %s, %s, K3, K3", comparison(r), g.operand(b), g.operand(a))
		return
	}
	g.compare(r, a, b, spare)
	g.op(and, m, spare, m)
}

func (g *avx) choose(m vec, from operand, to vec) {
	if g.reg == "Z" {
		g.line("%s %s, K3, %s", mover(from), g.operand(from), g.operand(to))
		return
	}
	g.line("VBLENDVPS %s, %s, %s, %s", g.operand(m), g.operand(from), g.operand(to), g.operand(to))
}

func (g *avx) chooseElse0(m, from, to vec) {
	if g.reg == "Z" {
		g.line("VMOVAPS.Z %s, K3, %s", g.operand(from), g.operand(to))
		return
	}
	g.op(and, from, m, to)
}

// half is the lower half of a register.
func (g *avx) half(v vec) string {
	if g.reg == "Z" {
		return fmt.Sprintf("Y%d", v)
	}
	return fmt.Sprintf("X%d", v)
}

func (g *avx) widen(x, low, high vec) {
	if g.reg == "Z" {
		g.line("VEXTRACTF64X4 $1, %s, %s", g.operand(x), g.half(high))
	} else {
		g.line("VEXTRACTF128 $1, %s, %s", g.operand(x), g.half(high))
	}
	g.line("VCVTPS2PD %s, %s\nVCVTPS2PD %s, %s", g.half(x), g.operand(low), g.half(high), g.operand(high))
}

func (g *avx) total(a, b vec) {
	g.op(fadd64, a, b, 0)
	if g.reg == "Z" {
		g.line("VEXTRACTF64X4 $1, Z0, Y1\nVADDPD Y1, Y0, Y0")
	}
	g.line("VEXTRACTF128 $1, Y0, X1\nVADDPD X1, X0, X0\nVHADDPD X0, X0, X0")
	g.line("MOVQ {total}, AX\nVADDSD (AX), X0, X0\nVMOVSD X0, (AX)")
	g.end()
}

func (g *avx) only(v vec) {
	x := g.operand(v)
	switch {
	case !g.part:
	case g.reg == "Z":
		g.line("VMOVAPS.Z %s, K1, %s", x, x)
	default:
		g.line("VANDPS %s, %s, %s", g.mask(0), x, x)
	}
}

func (g *avx) lanesLeft() {
	if g.reg == "Z" {
		g.line("MOVQ $-1, BX\nSHLQ CX, BX\nNOTQ BX\nKMOVW BX, K1")
		return
	}
	g.line("NEGQ CX\nLEAQ ·lanes+64(SB), BX\nVMOVUPS (BX)(CX*4), %s", g.mask(0))
}

func (g *avx) masked(f func()) {
	g.part = true
	f()
	g.part = false
}

func (g *avx) rest(known bool, done string, _ general, _ int, body func()) {
	if known {
		g.test(ax, zero, done)
	} else {
		g.countTo(g.lanes, cx, zero, done)
		g.lanesLeft()
	}
	g.masked(body)
	g.label(done)
}

// keep does nothing: an operand may be a constant in memory.
func (g *avx) keep(func()) {}
