package main

import "fmt"

// tileRows is the most rows of a tile of a product of that many vectors: as many as there are registers for the sums
// besides those of B's row, two for elements of A, and, with 16 registers, those of the masks.
func (s *avx) tileRows(vectors int) int {
	if s.reg == "Z" {
		return 14
	}
	return 12 / vectors
}

// tiles starts the code of tiles: it jumps to the label of {rows} and {n}, and f makes the code at each label.
func (g *avx) tiles(f func(label string, rows, vectors int)) {
	g.line("MOVQ {rows}, AX\nMOVQ {n}, CX\nCMPQ CX, $%d\nJGT wide", g.lanes)
	g.rows("x1", g.tileRows(1), func(label string, rows int) { f(label, rows, 1) })
	g.line("wide:")
	g.rows("x2", g.tileRows(2), func(label string, rows int) { f(label, rows, 2) })
}

// rows is tiles of one width: AX holds the rows.
func (g *avx) rows(suffix string, most int, f func(label string, rows int)) {
	for rows := most; rows > 1; rows-- {
		g.line("CMPQ AX, $%d\nJEQ tile%d%s", rows, rows, suffix)
	}
	for rows := 1; rows <= most; rows++ {
		label := fmt.Sprint(rows, suffix)
		g.line("tile%s:", label)
		f(label, rows)
	}
}

// sum is the register of the sum of vector v of row r.
func (s *avx) sum(r, v, vectors int) string { return s.v(r*vectors + v) }

// last is one of the last four registers, those that hold no sums.
func (s *avx) last(i int) string { return s.v(s.count - 4 + i) }

// fma adds a row of B, in the first of the last registers, times the elements of a column of A.
func (g *avx) fma(rows, vectors int, a func(r int) string) {
	for r := range rows {
		x := g.last(2 + r%2)
		g.line("VBROADCASTSS %s, %s", a(r), x)
		for v := range vectors {
			g.multiplyAdd(g.last(v), x, g.sum(r, v, vectors))
		}
	}
}

// each calls f with the register of each sum and its place, in rows BX bytes apart of which AX is the first.
func (g *avx) each(rows, vectors int, f func(sum, at string, v int)) {
	for r := range rows {
		for v := range vectors {
			f(g.sum(r, v, vectors), fmt.Sprintf("%d(AX)", g.bytes*v), v)
		}
		if r < rows-1 {
			g.line("ADDQ BX, AX")
		}
	}
}

// multiply makes the kernel of Product: a tile of some rows, for all y. SI is the first row of A of this y, DI that of
// C, R8 to R12 are every third row of A under a tap, R13 the stride between rows of A, R14 the taps left, R15 what is
// left of H, BX the row of B, CX the elements left and DX the taps.
func (g *avx) multiply() {
	g.function(
		fmt.Sprintf("computes a Product with W = rows <= %d, or %d if n <= %d; strides are in bytes, k and ntaps above 0.", g.tileRows(2), g.tileRows(1), g.lanes),
		"multiply", "c *float32, ch, cw uintptr, a *float32, ah, aw uintptr, taps *int, ntaps, k int, b, bias *float32, mode int, mask *float32, h, rows, n int")
	g.line("MOVQ {a}, SI\nMOVQ {c}, DI\nMOVQ {aw}, R13\nMOVQ {h}, R15")
	g.tiles(func(label string, rows, vectors int) {
		g.multiplySums(label, rows, vectors)
		g.multiplyStore(label, rows, vectors)
		g.line("ADDQ {ch}, DI\nADDQ {ah}, SI\nDECQ R15\nJNZ tile%s\nVZEROUPPER\nRET", label)
	})
}

func (g *avx) multiplySums(label string, rows, vectors int) {
	g.masks(vectors)
	g.line("MOVQ {bias}, AX\nTESTQ AX, AX\nJZ nobias%s", label)
	for v := range vectors {
		g.maskedLoad(v, fmt.Sprintf("%d(AX)", g.bytes*v), g.sum(0, v, vectors))
	}
	for r := 1; r < rows; r++ {
		for v := range vectors {
			g.line("VMOVAPS %s, %s", g.sum(0, v, vectors), g.sum(r, v, vectors))
		}
	}
	g.line("JMP taps%s\nnobias%s:", label, label)
	for i := range rows * vectors {
		g.zero(g.v(i))
	}
	g.line("taps%s:\nMOVQ {b}, BX\nMOVQ {taps}, DX\nMOVQ {ntaps}, R14", label)
	g.line("tap%s:\nMOVQ (DX), AX\nADDQ $8, DX\nLEAQ (SI)(AX*4), R8", label)
	bases := (rows + 2) / 3
	if bases > 1 {
		g.line("LEAQ (R13)(R13*2), AX")
	}
	for i := 1; i < bases; i++ {
		g.line("LEAQ (R%d)(AX*1), R%d", 7+i, 8+i)
	}
	steps := func(n int) {
		for k := range n {
			for v := range vectors {
				g.line("VMOVUPS %d(BX), %s", 2*g.bytes*k+g.bytes*v, g.last(v))
			}
			g.fma(rows, vectors, func(r int) string {
				return fmt.Sprintf("%d(R%d)", 4*k, 8+r/3) + [...]string{"", "(R13*1)", "(R13*2)"}[r%3]
			})
		}
		g.line("ADDQ $%d, BX", 2*g.bytes*n)
		for i := range bases {
			g.line("ADDQ $%d, R%d", 4*n, 8+i)
		}
	}
	g.line("MOVQ {k}, CX\nSHRQ $1, CX\nJZ odd%s\npair%s:", label, label)
	steps(2)
	g.line("DECQ CX\nJNZ pair%s\nodd%s:\nMOVQ {k}, CX\nTESTQ $1, CX\nJZ next%s", label, label, label)
	steps(1)
	g.line("next%s:\nDECQ R14\nJNZ tap%s", label, label)
}

func (g *avx) multiplyStore(label string, rows, vectors int) {
	if g.reg == "Y" {
		g.masks(vectors)
	}
	x, zero := g.last(2), g.last(3)
	g.line("MOVQ {cw}, BX\nMOVQ {mode}, AX\nCMPQ AX, $1\nJLT store%s\nJEQ relu%s\nCMPQ AX, $2\nJEQ add%s", label, label, label)
	each := func(f func(sum, at string, v int)) { g.each(rows, vectors, f) }
	g.zero(zero)
	g.line("MOVQ {mask}, AX")
	each(func(sum, at string, v int) {
		g.maskedLoad(v, at, x)
		if g.reg == "Z" {
			g.line("VCMPPS $0x1e, %s, %s, K3\nVMOVAPS.Z %s, K3, %s", zero, x, sum, sum)
		} else {
			g.line("VCMPPS $0x1e, %s, %s, %s\nVANDPS %s, %s, %s", zero, x, x, sum, x, sum)
		}
	})
	g.line("MOVQ {ch}, AX\nADDQ AX, {mask}\nJMP store%s\nadd%s:\nMOVQ DI, AX", label, label)
	each(func(sum, at string, v int) {
		g.maskedLoad(v, at, x)
		g.line("VADDPS %s, %s, %s", x, sum, sum)
	})
	g.line("JMP store%s\nrelu%s:", label, label)
	g.zero(zero)
	for i := range rows * vectors {
		g.line("VMAXPS %s, %s, %s", g.v(i), zero, g.v(i))
	}
	g.line("store%s:\nMOVQ DI, AX", label)
	if g.reg == "Y" { // whose masked stores take many cycles on some processors
		g.line("CMPQ {n}, $%d\nJNE part%s", g.lanes*vectors, label)
		each(func(sum, at string, v int) { g.line("VMOVUPS %s, %s", sum, at) })
		g.line("JMP stored%s\npart%s:", label, label)
	}
	each(func(sum, at string, v int) { g.maskedStore(v, sum, at) })
	if g.reg == "Y" {
		g.line("stored%s:", label)
	}
}

// outer makes the kernel of Outer: a tile of some rows. Whole rows of two vectors take no masks, which cost more than
// plain loads, and for which AVX2 has no registers left.
func (g *avx) outer() {
	g.function(
		fmt.Sprintf("computes an Outer with M = rows <= %d, or %d if n <= %d; it is Set if set is 1; strides are in bytes.", g.tileRows(2), g.tileRows(1), g.lanes),
		"outer", "c *float32, cm uintptr, a *float32, ah, aw uintptr, b *float32, bh, bw uintptr, h, w, rows, n, set int")
	g.line("MOVQ {c}, DI\nMOVQ {cm}, BX\nMOVQ {a}, SI\nMOVQ {aw}, R8\nMOVQ {b}, DX\nMOVQ {bw}, R9\nMOVQ {h}, R15")
	if g.reg == "Z" {
		g.line("MOVQ {rows}, AX\nMOVQ {n}, CX\nCMPQ CX, $%d\nJNE part", 2*g.lanes)
		g.rows("whole", g.tileRows(2), func(label string, rows int) { g.outerTile(label, rows, 2, false) })
		g.line("part:")
	}
	g.tiles(func(label string, rows, vectors int) {
		g.outerTile(label, rows, vectors, g.reg == "Z" || vectors == 1)
	})
}

func (g *avx) outerTile(label string, rows, vectors int, masked bool) {
	load := func(sum, at string, v int) { g.line("VMOVUPS %s, %s", at, sum) }
	store := func(sum, at string, v int) { g.line("VMOVUPS %s, %s", sum, at) }
	if masked {
		g.masks(vectors)
		load = func(sum, at string, v int) { g.maskedLoad(v, at, sum) }
		store = func(sum, at string, v int) { g.maskedStore(v, sum, at) }
	}
	g.line("MOVQ DI, AX")
	g.each(rows, vectors, load)
	// The sums of the next tile come to the cache meanwhile: their rows are too far apart for the processor to foresee them.
	for range rows {
		g.line("ADDQ BX, AX\nPREFETCHT0 (AX)")
	}
	g.line("CMPQ {set}, $0\nJEQ row%s", label)
	for i := range rows * vectors {
		g.zero(g.v(i))
	}
	pixel := func(a, b string) {
		for v := range vectors {
			load(g.last(v), fmt.Sprintf("%d%s", g.bytes*v, b), v)
		}
		g.fma(rows, vectors, func(r int) string { return fmt.Sprintf("%d%s", 4*r, a) })
	}
	g.line("row%s:\nMOVQ {w}, CX\nMOVQ SI, R11\nMOVQ DX, R12\nSHRQ $1, CX\nJZ odd%s\npair%s:", label, label, label)
	pixel("(R11)", "(R12)")
	pixel("(R11)(R8*1)", "(R12)(R9*1)")
	g.line("LEAQ (R11)(R8*2), R11\nLEAQ (R12)(R9*2), R12\nDECQ CX\nJNZ pair%s\nodd%s:\nMOVQ {w}, CX\nTESTQ $1, CX\nJZ next%s", label, label, label)
	pixel("(R11)", "(R12)")
	g.line("next%s:\nADDQ {ah}, SI\nADDQ {bh}, DX\nDECQ R15\nJNZ row%s", label, label)
	g.line("MOVQ DI, AX")
	g.each(rows, vectors, store)
	g.line("VZEROUPPER\nRET")
}
