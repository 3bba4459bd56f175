package main

import "fmt"

// mnemonics writes the loops that are written in the mnemonics of amd64.
type mnemonics struct{ *avx }

func (g mnemonics) load(v int, from, to string)  { g.maskedLoad(v, from, to) }
func (g mnemonics) store(v int, from, to string) { g.maskedStore(v, from, to) }

// f and u are the places of constants.
func (g mnemonics) f(x float64) string      { return g.operand(f(x)) }
func (g mnemonics) u(bits ...uint32) string { return g.operand(constant(bits)) }

// elements makes a loop over the {n} elements of slices whose first elements R8, R9 and so on point to: body makes the
// code for a vector of each. It is made twice, the second time for what is left. SI is how many bytes are done.
func (g mnemonics) elements(body func()) {
	g.line("XORQ SI, SI\nMOVQ {n}, CX\nSUBQ $%d, CX\nJLT part\nwhole:", g.lanes)
	body()
	g.line("ADDQ $%d, SI", g.bytes)
	g.line("SUBQ $%d, CX\nJGE whole\npart:\nADDQ $%d, CX\nJZ done", g.lanes, g.lanes)
	g.lanesLeft()
	g.part = true
	body()
	g.part = false
	g.line("done:")
}

// lanesLeft makes mask(0) of CX lanes; BX is lost.
func (g mnemonics) lanesLeft() {
	if g.reg == "Z" {
		g.line("MOVQ $-1, BX\nSHLQ CX, BX\nNOTQ BX\nKMOVW BX, K1")
		return
	}
	g.line("NEGQ CX\nLEAQ ·lanes+64(SB), BX\nVMOVUPS (BX)(CX*4), %s", g.mask(0))
}

// get and put move a vector of slice i of elements.
func (g mnemonics) get(i int, to string) {
	at := fmt.Sprintf("(R%d)(SI*1)", 8+i)
	if g.part {
		g.load(0, at, to)
	} else {
		g.line("VMOVUPS %s, %s", at, to)
	}
}

func (g mnemonics) put(from string, i int) {
	at := fmt.Sprintf("(R%d)(SI*1)", 8+i)
	if g.part {
		g.store(0, from, at)
	} else {
		g.line("VMOVUPS %s, %s", from, at)
	}
}

// ahead fetches what slice i has further on, in whole vectors.
func (g mnemonics) ahead(i int) {
	if !g.part {
		g.line("PREFETCHT0 2048(R%d)(SI*1)", 8+i)
	}
}

// op is an instruction that sets a vector: to = op(a, b). b may be in memory.
func (g mnemonics) op(name, a, b, to string) { g.line("%s %s, %s, %s", name, b, a, to) }

// The conditions of when.
const (
	greater   = 0x1e
	less      = 0x11
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

// polynomial does to = ((c[0] x + c[1]) x + ...), fused.
func (g mnemonics) polynomial(x, to string, c ...float64) {
	g.line("VMOVUPS %s, %s", g.f(c[0]), to)
	for _, c := range c[1:] {
		g.line("VFMADD213PS %s, %s, %s", g.f(c), x, to)
	}
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
