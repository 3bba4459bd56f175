package main

// mnemonics writes the loops that are written in the mnemonics of amd64.
type mnemonics struct{ *avx }

func (g mnemonics) load(v int, from, to string)  { g.maskedLoad(v, from, to) }
func (g mnemonics) store(v int, from, to string) { g.maskedStore(v, from, to) }

// f and u are the places of constants.
func (g mnemonics) f(x float64) string      { return g.operand(f(x)) }
func (g mnemonics) u(bits ...uint32) string { return g.operand(constant(bits)) }

// lanesLeft makes mask(0) of CX lanes; BX is lost.
func (g mnemonics) lanesLeft() {
	if g.reg == "Z" {
		g.line("MOVQ $-1, BX\nSHLQ CX, BX\nNOTQ BX\nKMOVW BX, K1")
		return
	}
	g.line("NEGQ CX\nLEAQ ·lanes+64(SB), BX\nVMOVUPS (BX)(CX*4), %s", g.mask(0))
}

// op is an instruction that sets a vector: to = op(a, b). b may be in memory.
func (g mnemonics) op(name, a, b, to string) { g.line("%s %s, %s, %s", name, b, a, to) }

// The conditions of when.
const (
	xgreater  = 0x1e
	xless     = 0x11
	least     = 0x1d // greater or equal
	notAtMost = 0x16 // greater, or one of them is NaN
	ordered   = 0x07 // none is NaN
	equal     = 0x00
)

// when does to = from in the lanes where a and b are so; spare is lost. b may be in memory.
func (g mnemonics) when(condition int, a, b, from, to, spare string) {
	if g.reg == "Z" {
		g.line("VCMPPS $%#x, %s, %s, K3\nVMOVAPS %s, K3, %s", condition, b, a, from, to)
		return
	}
	g.line("VCMPPS $%#x, %s, %s, %s\nVBLENDVPS %s, %s, %s, %s", condition, b, a, spare, spare, from, to, to)
}

// pointers loads parameters into R8, R9 and so on.
func (g mnemonics) pointers(names ...string) {
	for i, n := range names {
		g.line("MOVQ {%s}, R%d", n, 8+i)
	}
}

// broadcast loads a scalar parameter.
func (g mnemonics) broadcast(name, to string) { g.line("VBROADCASTSS {%s}, %s", name, to) }

func (g mnemonics) end() { g.line("VZEROUPPER\nRET") }
