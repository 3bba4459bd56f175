package main

import "fmt"

// draws makes a loop over n numbers, a multiple of four vectors, of a row. words gets the registers of four words of
// Philox4x32-10 of as many blocks as there are lanes, and others that are free, and makes four numbers a block of them;
// each gets the numbers in their order. v13 to v15 are not used.
//
// Philox multiplies 32-bit words to 64 bits, here in 64-bit lanes whose upper halves it ignores: so two sets of blocks,
// those of the even and of the odd lanes, go through it and are then put together.
func (g mnemonics) draws(words func(w, free []string), each func(i int, v string)) {
	g.pointers("dst", "x")
	g.line("MOVQ {n}, CX\nMOVL {block}, DX\nloop:")
	r := g.v
	even := []string{r(0), r(1), r(2), r(3)}
	odd := []string{r(4), r(5), r(6), r(7)}
	spare := []string{r(8), r(9)}
	key := []string{r(10), r(11)}
	// The transposition below brings lane 4l+e to quarter l of vector e.
	var first, second []uint32
	for lane := 0; lane < g.lanes; lane += 2 {
		block := func(lane int) uint32 { return uint32(lane%4*g.lanes/4 + lane/4) }
		first, second = append(first, block(lane), 0), append(second, block(lane+1), 0)
	}
	g.line("VMOVD DX, X8\nVPBROADCASTD X8, %s", r(8))
	g.line("VPADDD %s, %s, %s", g.u(first...), r(8), even[0])
	g.line("VPADDD %s, %s, %s", g.u(second...), r(8), odd[0])
	for i, name := range []string{"row", "draw", "stream"} {
		g.line("VBROADCASTSS {%s}, %s\nVMOVAPS %s, %s", name, even[i+1], even[i+1], odd[i+1])
	}
	g.line("VBROADCASTSS {k0}, %s\nVBROADCASTSS {k1}, %s", key[0], key[1])
	for round := range 10 {
		if round > 0 {
			g.line("VPADDD %s, %s, %s\nVPADDD %s, %s, %s", g.u(0x9E3779B9), key[0], key[0], g.u(0xBB67AE85), key[1], key[1])
		}
		for _, c := range [][]string{even, odd} {
			g.op("VPMULUDQ", c[0], g.u(0xD2511F53), spare[0])
			g.op("VPMULUDQ", c[2], g.u(0xCD9E8D57), spare[1])
			for i := range 2 {
				g.line("VPSRLQ $32, %s, %s", spare[1-i], c[2*i])
				g.op("VXORPS", c[2*i], c[2*i+1], c[2*i])
				g.op("VXORPS", c[2*i], key[i], c[2*i])
			}
			c[1], c[3], spare[0], spare[1] = spare[1], spare[0], c[1], c[3]
		}
	}
	for i := range 4 {
		g.line("VPSLLQ $32, %s, %s", odd[i], odd[i])
		g.op("VANDPS", even[i], g.u(1<<32-1, 0), even[i])
		g.op("VORPS", even[i], odd[i], even[i])
	}
	w := even
	words(w, append(append(odd, spare...), append(key, r(12))...))
	a, b, c, d := odd[0], odd[1], odd[2], odd[3]
	g.op("VUNPCKLPS", w[0], w[1], a)
	g.op("VUNPCKHPS", w[0], w[1], b)
	g.op("VUNPCKLPS", w[2], w[3], c)
	g.op("VUNPCKHPS", w[2], w[3], d)
	g.op("VUNPCKLPD", a, c, w[0])
	g.op("VUNPCKHPD", a, c, w[1])
	g.op("VUNPCKLPD", b, d, w[2])
	g.op("VUNPCKHPD", b, d, w[3])
	for i := range 4 {
		each(i, w[i])
	}
	g.line("ADDQ $%d, R8\nADDQ $%d, R9\nADDL $%d, DX\nSUBQ $%d, CX\nJNZ loop", 4*g.bytes, 4*g.bytes, g.lanes, 4*g.lanes)
	g.end()
}

// horner does to = ((c[0] x + c[1]) x + ...), each operation rounded.
func (g mnemonics) horner(x, to string, c ...float64) {
	g.op("VMULPS", x, g.f(c[0]), to)
	for i, c := range c[1:] {
		if i > 0 {
			g.op("VMULPS", to, x, to)
		}
		g.op("VADDPS", to, g.f(c), to)
	}
}

// boxMuller turns two vectors of words into normal numbers, as rng.BoxMuller does, operation by operation.
func (g mnemonics) boxMuller(w0, w1 string, t []string) {
	// Radius: w0 becomes sqrt(-2 ln u).
	g.line("VPSRLD $8, %s, %s\nVPADDD %s, %s, %s\nVCVTDQ2PS %s, %s", w0, w0, g.u(1), w0, w0, w0, w0)
	e, m, x, y := t[0], t[1], t[2], t[3]
	g.line("VPSRLD $23, %s, %s\nVPADDD %s, %s, %s\nVCVTDQ2PS %s, %s", w0, e, g.u(1<<32-127-24), e, e, e, e)
	g.op("VANDPS", w0, g.u(0x7fffff), m)
	g.op("VORPS", m, g.f(1), m)
	g.op("VADDPS", e, g.f(1), x)
	g.when(least, m, g.f(1.41421354), x, e, y)
	g.op("VMULPS", m, g.f(0.5), x)
	g.when(least, m, g.f(1.41421354), x, m, y)
	g.op("VSUBPS", m, g.f(1), x)
	g.op("VADDPS", m, g.f(1), y)
	g.op("VDIVPS", x, y, x)
	g.op("VMULPS", x, x, y)
	g.horner(y, m, 1./9, 1./7, 1./5, 1./3, 1)
	g.op("VADDPS", x, x, x)
	g.op("VMULPS", x, m, x)
	g.op("VMULPS", e, g.f(0.693147180), e)
	g.op("VADDPS", e, x, x)
	g.op("VMULPS", x, g.f(-2), x)
	g.line("VSQRTPS %s, %s", x, w0)

	// Turn: sine and cosine of the angle in an eighth of a turn to both sides, then the quadrant.
	a, q, s, c := t[0], t[1], t[2], t[3]
	g.line("VPSLLD $2, %s, %s\nVPSRLD $8, %s, %s\nVPADDD %s, %s, %s\nVCVTDQ2PS %s, %s", w1, a, a, a, g.u(1<<32-1<<23), a, a, a, a)
	g.op("VMULPS", a, g.f(1.57079633/(1<<24)), a)
	g.op("VMULPS", a, a, q)
	g.horner(q, s, 1./362880, -1./5040, 1./120, -1./6, 1)
	g.op("VMULPS", a, s, s)
	g.horner(q, c, -1./3628800, 1./40320, -1./720, 1./24, -0.5, 1)
	// In the second and fourth quadrant they change places.
	other, swap := t[0], t[1]
	g.line("VPSLLD $1, %s, %s\nVPSRAD $31, %s, %s", w1, other, other, swap)
	g.op("VXORPS", other, w1, other)
	diff := t[4]
	g.op("VXORPS", s, c, diff)
	g.op("VANDPS", diff, swap, diff)
	g.op("VXORPS", s, diff, s)
	g.op("VXORPS", c, diff, c)
	g.op("VANDPS", other, g.u(1<<31), other)
	g.op("VANDPS", w1, g.u(1<<31), w1)
	g.op("VXORPS", c, other, c)
	g.op("VXORPS", s, w1, s)
	g.op("VMULPS", w0, s, w1)
	g.op("VMULPS", w0, c, w0)
}

func (g mnemonics) random() {
	const params = "dst, x *float32, n int, block, row, draw, stream, k0, k1 uint32"
	a, x, y := g.v(13), g.v(14), g.v(15)
	place := func(pointer string, i int) string { return fmt.Sprintf("%d(%s)", i*g.bytes, pointer) }
	normals := func(w, free []string) {
		g.boxMuller(w[0], w[1], free)
		g.boxMuller(w[2], w[3], free)
	}
	g.function("draws normal numbers, n of them, a multiple of four vectors; x is not used.", "normals", params)
	g.draws(normals, func(i int, v string) { g.line("VMOVUPS %s, %s", v, place("R8", i)) })

	g.function("does dst = clip(x + a*normal, 0, 1); n is a multiple of four vectors.", "noise", params+", a float32")
	g.broadcast("a", a)
	g.draws(normals, func(i int, v string) {
		g.op("VMULPS", v, a, v)
		g.op("VADDPS", v, place("R9", i), v)
		g.zero(x)
		g.op("VMAXPS", x, v, v)
		g.line("VMOVUPS %s, %s", g.f(1), x)
		g.op("VMINPS", x, v, v)
		g.line("VMOVUPS %s, %s", v, place("R8", i))
	})

	g.function("does dst = x/keep where the uniform number is at least a, else 0; n is a multiple of four vectors.", "dropout", params+", a, keep float32")
	g.broadcast("a", a)
	g.draws(func(w, free []string) {
		for _, w := range w {
			g.line("VPSRLD $8, %s, %s\nVCVTDQ2PS %s, %s", w, w, w, w)
			g.op("VMULPS", w, g.f(1./(1<<24)), w)
		}
	}, func(i int, v string) {
		g.line("VMOVUPS %s, %s\nVBROADCASTSS {keep}, %s", place("R9", i), x, y)
		g.op("VDIVPS", x, y, x)
		g.zero(y)
		g.when(least, v, a, x, y, v)
		g.line("VMOVUPS %s, %s", y, place("R8", i))
	})
}
