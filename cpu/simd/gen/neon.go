package main

import (
	"fmt"
	"math/bits"
	"slices"
)

// neon is the instruction set of arm64. An instruction that Go's assembler lacks is a word of machine code, which a comment spells.
//
// The general registers of loops are R0 to R5 and R8 to R15; R21 and R22 are lost between. The vectors of loops are V0 to V15. V16 to V29 hold constants, and
// V30 and V31 are lost.
type neon struct {
	*source
	kept   []string // constants in registers, from V16 on
	listed bool     // whether constants are being listed
}

const (
	firstKept = 16
	mostKept  = 14
	spare     = vec(30)
	spare2    = vec(31)
)

func (g *neon) traits() isa { return isa{"NEON", 4, 16, false} }

func (g *neon) function(doc, name, params string) {
	g.kept = nil
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

func (g *neon) param(name string, to general) { g.line("MOVD {%s}, %s", name, to.arm64()) }
func (g *neon) immediate(x int, to general)   { g.line("MOVD $%d, %s", x, to.arm64()) }
func (g *neon) move(from, to general)         { g.line("MOVD %s, %s", from.arm64(), to.arm64()) }
func (g *neon) add(a, to general)             { g.line("ADD %s, %s", a.arm64(), to.arm64()) }
func (g *neon) jump(to string)                { g.line("B %s", to) }

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

// address is a place of which the assembler takes the text.
func (g *neon) address(p place) string {
	switch p.scale {
	case 0:
	case 1:
		g.line("ADD %s, %s, R21", p.index.arm64(), p.base.arm64())
	default:
		g.line("ADD %s<<%d, %s, R21", p.index.arm64(), bits.TrailingZeros(uint(p.scale)), p.base.arm64())
	}
	if p.scale == 0 {
		return fmt.Sprintf("%d(%s)", p.offset, p.base.arm64())
	}
	return fmt.Sprintf("%d(R21)", p.offset)
}

func (g *neon) load(from place, to vec) {
	switch {
	case g.part:
		g.line("FMOVS %s, F%d", g.address(from), to)
	case from.scale == 1 && from.offset == 0:
		r, x := from.base.number(), from.index.number()
		g.word(0x3ce06800|uint32(x)<<16|uint32(r)<<5|uint32(to), "ldr q%d, [x%d, x%d]", to, r, x)
	default:
		g.line("FMOVQ %s, F%d", g.address(from), to)
	}
}

func (g *neon) store(from vec, to place) {
	switch {
	case g.part:
		g.line("FMOVS F%d, %s", from, g.address(to))
	case to.scale == 1 && to.offset == 0:
		r, x := to.base.number(), to.index.number()
		g.word(0x3ca06800|uint32(x)<<16|uint32(r)<<5|uint32(from), "str q%d, [x%d, x%d]", from, r, x)
	default:
		g.line("FMOVQ F%d, %s", from, g.address(to))
	}
}

// prefetch does nothing: processors foresee these loops.
func (g *neon) prefetch(place) {}

func (g *neon) broadcast(name string, to vec) {
	g.line("FMOVS {%s}, F%d\nVDUP V%d.S[0], V%d.S4", name, to, to, to)
}

// register returns the register of an operand. If it is in memory it is loaded into that to spare.
func (g *neon) register(x operand, spare vec) vec {
	switch x := x.(type) {
	case vec:
		return x
	case constant:
		name := g.constant(x)
		if i := slices.Index(g.kept, name); i >= 0 {
			return vec(firstKept + i)
		}
		if g.listed && len(g.kept) < mostKept {
			g.kept = append(g.kept, name)
		}
		g.line("MOVD $·%s(SB), R21\nFMOVQ (R21), F%d", name, spare)
	case place:
		g.load(x, spare)
	}
	return spare
}

func (g *neon) op(o op, a vec, b operand, to vec) { g.three(neonOps[o], to, a, g.register(b, spare)) }

// instruction is one of vectors: its name, with the arrangement of lanes, and the code with all registers 0.
type instruction struct {
	name, lanes string
	code        uint32
}

var neonOps = map[op]instruction{
	fadd: {"fadd", "4s", 0x4e20d400},
	fsub: {"fsub", "4s", 0x4ea0d400},
	fmul: {"fmul", "4s", 0x6e20dc00},
	fdiv: {"fdiv", "4s", 0x6e20fc00},
	fmax: {"fmax", "4s", 0x4e20f400},
	fmin: {"fmin", "4s", 0x4ea0f400},
}

// three writes an instruction d = i(n, m).
func (g *neon) three(i instruction, d, n, m vec) {
	g.word(i.code|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s v%d.%s, v%d.%s, v%d.%s", i.name, d, i.lanes, n, i.lanes, m, i.lanes)
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
	for i, name := range g.kept {
		g.line("MOVD $·%s(SB), R21\nFMOVQ (R21), F%d", name, firstKept+i)
	}
}
