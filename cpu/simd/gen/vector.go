package main

import "fmt"

// elements makes a loop over the {n} elements of slices whose first elements R8, R9 and so on point to: body makes the
// code for a vector of each. It is made twice, the second time for what is left. SI is how many bytes are done.
func (g *gen) elements(body func()) {
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
func (g *gen) lanesLeft() {
	if g.reg == "Z" {
		g.line("MOVQ $-1, BX\nSHLQ CX, BX\nNOTQ BX\nKMOVW BX, K1")
		return
	}
	g.line("NEGQ CX\nLEAQ ·lanes+64(SB), BX\nVMOVUPS (BX)(CX*4), %s", g.mask(0))
}

// get and put move a vector of slice i of elements.
func (g *gen) get(i int, to string) {
	at := fmt.Sprintf("(R%d)(SI*1)", 8+i)
	if g.part {
		g.load(0, at, to)
	} else {
		g.line("VMOVUPS %s, %s", at, to)
	}
}

func (g *gen) put(from string, i int) {
	at := fmt.Sprintf("(R%d)(SI*1)", 8+i)
	if g.part {
		g.store(0, from, at)
	} else {
		g.line("VMOVUPS %s, %s", from, at)
	}
}

// ahead fetches what slice i has further on, in whole vectors.
func (g *gen) ahead(i int) {
	if !g.part {
		g.line("PREFETCHT0 2048(R%d)(SI*1)", 8+i)
	}
}

// op is an instruction that sets a vector: to = op(a, b). b may be in memory.
func (g *gen) op(name, a, b, to string) { g.line("%s %s, %s, %s", name, b, a, to) }

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
func (g *gen) when(condition int, a, b, from, to, spare string) {
	if g.reg == "Z" {
		g.line("VCMPPS $%#x, %s, %s, K3\nVMOVAPS %s, K3, %s", condition, b, a, from, to)
		return
	}
	g.line("VCMPPS $%#x, %s, %s, %s\nVBLENDVPS %s, %s, %s, %s", condition, b, a, spare, spare, from, to, to)
}

// polynomial does to = ((c[0] x + c[1]) x + ...), fused.
func (g *gen) polynomial(x, to string, c ...float64) {
	g.line("VMOVUPS %s, %s", g.f(c[0]), to)
	for _, c := range c[1:] {
		g.line("VFMADD213PS %s, %s, %s", g.f(c), x, to)
	}
}

// pointers loads parameters into R8, R9 and so on.
func (g *gen) pointers(names ...string) {
	for i, n := range names {
		g.line("MOVQ {%s}, R%d", n, 8+i)
	}
}

// broadcast loads a scalar parameter.
func (g *gen) broadcast(name, to string) { g.line("VBROADCASTSS {%s}, %s", name, to) }

func (g *gen) end() { g.line("VZEROUPPER\nRET") }

func (g *gen) vector() {
	g.function("does dst = a + b.", "sum", "dst, a, b *float32, n int")
	g.pointers("dst", "a", "b")
	x, y, z := g.v(0), g.v(1), g.v(2)
	g.elements(func() {
		g.ahead(1)
		g.ahead(2)
		g.get(1, x)
		g.get(2, y)
		g.op("VADDPS", x, y, x)
		g.put(x, 0)
	})
	g.end()

	g.function("does dst = a b.", "times", "dst, a, b *float32, n int")
	g.pointers("dst", "a", "b")
	g.elements(func() {
		g.get(1, x)
		g.get(2, y)
		g.op("VMULPS", x, y, x)
		g.put(x, 0)
	})
	g.end()

	g.function("does dst += a b.", "addTimes", "dst, a, b *float32, n int")
	g.pointers("dst", "a", "b")
	g.elements(func() {
		g.get(1, x)
		g.get(2, y)
		g.op("VMULPS", x, y, x)
		g.get(0, y)
		g.op("VADDPS", y, x, x)
		g.put(x, 0)
	})
	g.end()

	g.function("does dst += alpha*src.", "axpy", "dst, src *float32, n int, alpha float32")
	g.pointers("dst", "src")
	g.broadcast("alpha", z)
	g.elements(func() {
		g.get(1, x)
		g.op("VMULPS", x, z, x)
		g.get(0, y)
		g.op("VADDPS", y, x, x)
		g.put(x, 0)
	})
	g.end()

	g.channels()

	// Columns: SI and DI are a row and a pixel of src, R8 and R9 their strides.
	most := 64 / g.lanes
	g.function("adds up to 64 columns of pixels; strides are in bytes, vectors is n in vectors.", "columns", "dst, src *float32, h int, sh uintptr, w int, sw uintptr, vectors, n int")
	g.line("MOVQ {src}, SI\nMOVQ {sh}, R8\nMOVQ {sw}, R9\nMOVQ {h}, R10\nMOVQ {dst}, DX\nMOVQ {n}, CX\nANDQ $%d, CX\nJNZ lanes\nMOVQ $%d, CX\nlanes:", g.lanes-1, g.lanes)
	g.lanesLeft()
	g.line("MOVQ {vectors}, AX")
	for n := most; n > 1; n-- {
		g.line("CMPQ AX, $%d\nJEQ vectors%d", n, n)
	}
	for n := 1; n <= most; n++ {
		each := func(f func(acc, offset string, last bool)) {
			for v := range n {
				f(g.v(v), fmt.Sprint(v*g.bytes), v == n-1)
			}
		}
		g.line("vectors%d:", n)
		each(func(acc, offset string, last bool) {
			if last {
				g.load(0, offset+"(DX)", acc)
			} else {
				g.line("VMOVUPS %s(DX), %s", offset, acc)
			}
		})
		g.line("row%d:\nMOVQ {w}, CX\nMOVQ SI, DI\npixel%d:", n, n)
		each(func(acc, offset string, last bool) {
			if last {
				g.load(0, offset+"(DI)", g.v(15))
				g.op("VADDPS", acc, g.v(15), acc)
			} else {
				g.op("VADDPS", acc, offset+"(DI)", acc)
			}
		})
		g.line("ADDQ R9, DI\nDECQ CX\nJNZ pixel%d\nADDQ R8, SI\nDECQ R10\nJNZ row%d", n, n)
		each(func(acc, offset string, last bool) {
			if last {
				g.store(0, acc, offset+"(DX)")
			} else {
				g.line("VMOVUPS %s, %s(DX)", acc, offset)
			}
		})
		g.end()
	}
}

// channels makes a loop over w pixels and, within, over vectors of n of their channels. R8 and R9 are the pixels, R10 and R11 their strides, SI the
// bytes that are done of a pixel, DX the pixels left, and AX the elements of the last vector unless it is whole.
func (g *gen) channels() {
	g.function("copies n elements of w pixels; strides are in bytes.", "channels", "dst *float32, ds uintptr, src *float32, ss uintptr, w, n int")
	g.line("MOVQ {dst}, R8\nMOVQ {ds}, R10\nMOVQ {src}, R9\nMOVQ {ss}, R11\nMOVQ {w}, DX\nMOVQ {n}, CX\nANDQ $%d, CX\nMOVQ CX, AX", g.lanes-1)
	g.lanesLeft()
	x := g.v(0)
	g.line("pixel:\nXORQ SI, SI\nMOVQ {n}, CX\nSUBQ $%d, CX\nJLT part\nwhole:", g.lanes)
	g.ahead(0)
	g.ahead(1)
	g.line("VMOVUPS (R9)(SI*1), %s\nVMOVUPS %s, (R8)(SI*1)\nADDQ $%d, SI\nSUBQ $%d, CX\nJGE whole\npart:\nTESTQ AX, AX\nJZ next", x, x, g.bytes, g.lanes)
	g.load(0, "(R9)(SI*1)", x)
	g.store(0, x, "(R8)(SI*1)")
	g.line("next:\nADDQ R10, R8\nADDQ R11, R9\nDECQ DX\nJNZ pixel")
	g.end()
}
