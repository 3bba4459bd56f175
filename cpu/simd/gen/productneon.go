package main

import "fmt"

// neonWidths are the columns of a tile, and neonRows its most rows: as many as there are registers for the sums besides those of a row of B and of elements of A.
var (
	neonWidths = []int{16, 8, 4, 3, 2, 1}
	neonRows   = map[int]int{16: 5, 8: 10, 4: 12, 3: 12, 2: 12, 1: 12}
)

// fmla adds to the four lanes of register d those of n times lane i of m.
func (g *neon) fmla(d, n, m, i int) {
	g.word(0x4f801000|uint32(i&1)<<21|uint32(m)<<16|uint32(i>>1)<<11|uint32(n)<<5|uint32(d), "fmla v%d.4s, v%d.4s, v%d.s[%d]", d, n, m, i)
}

// positive sets the lanes of d to ones where those of n are above 0, else to zeros.
func (g *neon) positive(d, n int) {
	g.word(0x4ea0c800|uint32(n)<<5|uint32(d), "fcmgt v%d.4s, v%d.4s, #0.0", d, n)
}

func (g *neon) zero(r int) { g.line("VEOR V%d.B16, V%d.B16, V%d.B16", r, r, r) }

// loadRow fills registers from v on with width floats at an offset of the pointer, nothing behind them being read; storeRow is its reverse. Of 3 floats R22 is lost.
func (g *neon) loadRow(v, width int, pointer string, offset int) {
	g.moveRow(v, width, pointer, offset, true)
}

func (g *neon) storeRow(v, width int, pointer string, offset int) {
	g.moveRow(v, width, pointer, offset, false)
}

func (g *neon) moveRow(v, width int, pointer string, offset int, load bool) {
	at := fmt.Sprintf("%d(%s)", offset, pointer)
	one := func(op string) {
		if load {
			g.line("%s %s, F%d", op, at, v)
		} else {
			g.line("%s F%d, %s", op, v, at)
		}
	}
	switch {
	case width >= 8 && load:
		g.line("FLDPQ %s, (F%d, F%d)", at, v, v+1)
	case width >= 8:
		g.line("FSTPQ (F%d, F%d), %s", v, v+1, at)
	case width >= 4:
		one("FMOVQ")
	case width >= 2:
		one("FMOVD")
	case width == 1:
		one("FMOVS")
	}
	switch {
	case width > 8:
		g.moveRow(v+2, width-8, pointer, offset+32, load)
	case width == 3:
		g.line("ADD $%d, %s, R22", offset+8, pointer)
		if load {
			g.line("VLD1 (R22), V%d.S[2]", v)
		} else {
			g.line("VST1 V%d.S[2], (R22)", v)
		}
	case width > 4 && width < 8:
		g.moveRow(v+1, width-4, pointer, offset+16, load)
	}
}

// tiles makes the code of a tile for each width and number of rows: it jumps to the label of {rows} and {n}.
func (g *neon) tiles(f func(label string, rows, width int)) {
	g.line("MOVD {rows}, R21\nMOVD {n}, R22")
	for _, width := range neonWidths[1:] {
		g.line("CMP $%d, R22\nBEQ wide%d", width, width)
	}
	for i, width := range neonWidths {
		if i > 0 {
			g.line("wide%d:", width)
		}
		for rows := neonRows[width]; rows > 1; rows-- {
			g.line("CMP $%d, R21\nBEQ tile%dx%d", rows, rows, width)
		}
		for rows := 1; rows <= neonRows[width]; rows++ {
			label := fmt.Sprintf("%dx%d", rows, width)
			g.line("tile%s:", label)
			f(label, rows, width)
		}
	}
}

// neonTile numbers the registers of a tile: its sums come first, then a row of B, then elements of A.
type neonTile struct{ rows, width, vectors int }

func tileOf(rows, width int) neonTile { return neonTile{rows, width, (width + 3) / 4} }

func (t neonTile) sum(r, v int) int { return r*t.vectors + v }
func (t neonTile) b(v int) int      { return t.rows*t.vectors + v }
func (t neonTile) a(r int) int      { return (t.rows+1)*t.vectors + r }

// row is the register of the pointer to row r of A.
func row(r int) string {
	if r < 10 {
		return fmt.Sprintf("R%d", 8+r)
	}
	return fmt.Sprintf("R%d", 9+r) // without R18, which belongs to the system
}

// multiply makes the kernel of Product: a tile of some rows, for all y. R0 is the first row of C of this y, R1 that of A, R2 the stride between rows of A, R3 the
// next tap and R4 the taps left, R5 what is left of K, R6 the row of B, R7 what is left of H, R23 the stride between rows of C, R24 the first row of the mask.
func (g *neon) multiply() {
	g.function("computes a Product with W = rows and n columns of 16, 8, 4, 3, 2 or 1; rows are at most 5, 10 or 12, strides are in bytes, k and ntaps above 0.",
		"multiply", "c *float32, ch, cw uintptr, a *float32, ah, aw uintptr, taps *int, ntaps, k int, b, bias *float32, mode int, mask *float32, h, rows, n int")
	g.line("MOVD {c}, R0\nMOVD {a}, R1\nMOVD {aw}, R2\nMOVD {cw}, R23\nMOVD {mask}, R24\nMOVD {h}, R7")
	g.tiles(func(label string, rows, width int) {
		t := tileOf(rows, width)
		g.multiplySums(label, t)
		g.multiplyStore(label, t)
		g.line("MOVD {ch}, R21\nADD R21, R0\nADD R21, R24\nMOVD {ah}, R21\nADD R21, R1\nSUBS $1, R7\nBNE tile%s\nRET", label)
	})
}

func (g *neon) multiplySums(label string, t neonTile) {
	g.line("MOVD {bias}, R21\nCBZ R21, nobias%s", label)
	g.loadRow(t.sum(0, 0), t.width, "R21", 0)
	for r := 1; r < t.rows; r++ {
		for v := range t.vectors {
			g.line("VMOV V%d.B16, V%d.B16", t.sum(0, v), t.sum(r, v))
		}
	}
	g.line("B taps%s\nnobias%s:", label, label)
	for i := range t.rows * t.vectors {
		g.zero(i)
	}
	g.line("taps%s:\nMOVD {b}, R6\nMOVD {taps}, R3\nMOVD {ntaps}, R4\ntap%s:\nMOVD.P 8(R3), R21\nADD R21<<2, R1, R8", label, label)
	for r := 1; r < t.rows; r++ {
		g.line("ADD R2, %s, %s", row(r-1), row(r))
	}
	// A row of the panel has 16 columns, whatever the tile has of them.
	step := func(k int) {
		g.loadRow(t.b(0), 4*t.vectors, "R6", 64*k)
		for r := range t.rows {
			for v := range t.vectors {
				g.fmla(t.sum(r, v), t.b(v), t.a(r), k)
			}
		}
	}
	g.line("MOVD {k}, R5\nSUBS $4, R5\nBLT few%s\nfour%s:", label, label)
	for r := range t.rows {
		g.line("FMOVQ.P 16(%s), F%d", row(r), t.a(r))
	}
	for k := range 4 {
		step(k)
	}
	g.line("ADD $256, R6\nSUBS $4, R5\nBGE four%s\nfew%s:\nADDS $4, R5\nBEQ next%s\none%s:", label, label, label, label)
	for r := range t.rows {
		g.line("FMOVS.P 4(%s), F%d", row(r), t.a(r))
	}
	step(0)
	g.line("ADD $64, R6\nSUBS $1, R5\nBNE one%s\nnext%s:\nSUBS $1, R4\nBNE tap%s", label, label, label)
}

func (g *neon) multiplyStore(label string, t neonTile) {
	x := t.b(0) // registers of B are free
	g.line("MOVD {mode}, R21\nCMP $1, R21\nBLT store%s\nBEQ relu%s\nCMP $2, R21\nBEQ add%s\nMOVD R24, R21", label, label, label)
	each := func(pointer string, f func(r int)) {
		for r := range t.rows {
			f(r)
			if r < t.rows-1 {
				g.line("ADD R23, %s", pointer)
			}
		}
	}
	each("R21", func(r int) {
		g.loadRow(x, t.width, "R21", 0)
		for v := range t.vectors {
			g.positive(x+v, x+v)
			g.line("VAND V%d.B16, V%d.B16, V%d.B16", x+v, t.sum(r, v), t.sum(r, v))
		}
	})
	g.line("B store%s\nadd%s:\nMOVD R0, R21", label, label)
	each("R21", func(r int) {
		g.loadRow(x, t.width, "R21", 0)
		for v := range t.vectors {
			g.op(fadd, vec(x+v), vec(t.sum(r, v)), vec(t.sum(r, v)))
		}
	})
	g.line("B store%s\nrelu%s:", label, label)
	g.zero(x)
	for i := range t.rows * t.vectors {
		g.op(fmax, vec(i), vec(x), vec(i))
	}
	g.line("store%s:\nMOVD R0, R21", label)
	each("R21", func(r int) { g.storeRow(t.sum(r, 0), t.width, "R21", 0) })
}

// outer makes the kernel of Outer: a tile of some rows. R0 is the first row of C, R1 the stride between its rows, R2 and R4 are the rows of A and B of this y, R3 and R5
// the strides between pixels, R6 is what is left of H and R7 of W, R8 and R9 are the pixels of A and B.
func (g *neon) outer() {
	g.function("computes an Outer with M = rows and n columns of 16, 8, 4, 3, 2 or 1; rows are at most 5, 10 or 12; it is Set if set is 1; strides are in bytes.",
		"outer", "c *float32, cm uintptr, a *float32, ah, aw uintptr, b *float32, bh, bw uintptr, h, w, rows, n, set int")
	g.line("MOVD {c}, R0\nMOVD {cm}, R1\nMOVD {a}, R2\nMOVD {aw}, R3\nMOVD {b}, R4\nMOVD {bw}, R5\nMOVD {h}, R6")
	g.tiles(func(label string, rows, width int) {
		t := tileOf(rows, width)
		sums := func(move func(v, width int, pointer string, offset int)) {
			g.line("MOVD R0, R21")
			for r := range rows {
				move(t.sum(r, 0), width, "R21", 0)
				if r < rows-1 {
					g.line("ADD R1, R21")
				}
			}
		}
		sums(g.loadRow)
		g.line("MOVD {set}, R21\nCBZ R21, row%s", label)
		for i := range rows * t.vectors {
			g.zero(i)
		}
		g.line("row%s:\nMOVD {w}, R7\nMOVD R2, R8\nMOVD R4, R9\npixel%s:", label, label)
		g.loadRow(t.b(0), width, "R9", 0)
		g.loadRow(t.a(0), rows, "R8", 0)
		for r := range rows {
			for v := range t.vectors {
				g.fmla(t.sum(r, v), t.b(v), t.a(r/4), r%4)
			}
		}
		g.line("ADD R3, R8\nADD R5, R9\nSUBS $1, R7\nBNE pixel%s\nMOVD {ah}, R21\nADD R21, R2\nMOVD {bh}, R21\nADD R21, R4\nSUBS $1, R6\nBNE row%s", label, label)
		sums(g.storeRow)
		g.line("RET")
	})
}

// peak does nothing but multiply-adds.
func (g *neon) peak() {
	const n = 28
	g.function("does n times "+fmt.Sprint(n)+" independent multiply-adds of vectors: the machine's limit, for benchmarks.", "peak", "n int")
	g.line("MOVD {n}, R0")
	for i := range n + 2 {
		g.zero(i)
	}
	g.line("loop:")
	for i := range n {
		g.fmla(i, n, n+1, i%4)
	}
	g.line("SUBS $1, R0\nBNE loop\nRET")
}
