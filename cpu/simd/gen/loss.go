package main

import "fmt"

// half is the lower half of a register.
func (s mnemonics) half(r string) string {
	if s.reg == "Z" {
		return "Y" + r[1:]
	}
	return "X" + r[1:]
}

// twice widens x to two vectors of float64.
func (g mnemonics) twice(x, low, high string) {
	if g.reg == "Z" {
		g.line("VEXTRACTF64X4 $1, %s, %s", x, g.half(high))
	} else {
		g.line("VEXTRACTF128 $1, %s, %s", x, g.half(high))
	}
	g.line("VCVTPS2PD %s, %s\nVCVTPS2PD %s, %s", g.half(x), low, g.half(high), high)
}

// total adds the float64 elements of a and b to {total}; all registers are lost.
func (g mnemonics) total(a, b string) {
	g.op("VADDPD", a, b, g.v(0))
	if g.reg == "Z" {
		g.line("VEXTRACTF64X4 $1, Z0, Y1\nVADDPD Y1, Y0, Y0")
	}
	g.line("VEXTRACTF128 $1, Y0, X1\nVADDPD X1, X0, X0\nVHADDPD X0, X0, X0")
	g.line("MOVQ {total}, AX\nVADDSD (AX), X0, X0\nVMOVSD X0, (AX)")
	g.end()
}

// only sets lanes that do not count to zero.
func (g mnemonics) only(x string) {
	switch {
	case !g.part:
	case g.reg == "Z":
		g.line("VMOVAPS.Z %s, K1, %s", x, x)
	default:
		g.op("VANDPS", x, g.mask(0), x)
	}
}

// log1p makes two factors of ln(1+x), x from 0 to 1: 2 atanh(s), s = x/(2+x), by its series. x becomes s, which is at most 1/3, and to the
// series without its first factor; y is lost.
func (g mnemonics) log1p(x, to, y string) {
	g.op("VADDPS", x, g.f(2), y)
	g.op("VDIVPS", x, y, x)
	g.op("VMULPS", x, x, y)
	g.polynomial(y, to, 2./15, 2./13, 2./11, 2./9, 2./7, 2./5, 2./3, 2)
}

func (g mnemonics) loss() {
	const params = "grad, x, target *float32, n int, scale float32, total *float64"
	x, t, scale, sum0, sum1 := g.v(0), g.v(1), g.v(10), g.v(11), g.v(12)
	a, b, c, d := g.v(2), g.v(3), g.v(4), g.v(5)
	start := func() {
		g.pointers("grad", "x", "target")
		g.line("MOVQ R8, DX")
		g.broadcast("scale", scale)
		g.zero(sum0)
		g.zero(sum1)
	}
	gradient := func(v string) { // scales and stores it
		label := fmt.Sprintf("nogradient%t", g.part)
		g.line("TESTQ DX, DX\nJZ %s", label)
		g.op("VMULPS", v, scale, v)
		g.put(v, 0)
		g.line("%s:", label)
	}

	g.function("adds the sum of the cross-entropies to total; grad may be nil.", "sigmoidBCE", params)
	start()
	g.elements(func() {
		g.get(1, x)
		g.get(2, t)
		g.sigmoid(x, a, b, c, d) // b is exp(-|x|)
		g.op("VSUBPS", a, t, a)
		gradient(a)
		g.log1p(b, a, c)
		g.zero(c)
		g.op("VMAXPS", c, x, c)
		g.line("VFNMADD231PS %s, %s, %s", x, t, c)
		g.line("VFMADD231PS %s, %s, %s", a, b, c)
		g.only(c)
		g.twice(c, a, b)
		g.op("VADDPD", sum0, a, sum0)
		g.op("VADDPD", sum1, b, sum1)
	})
	g.total(sum0, sum1)

	g.function("adds the sum of the squared differences to total; scale is that of the gradient, and grad may be nil.", "mse", params)
	start()
	g.elements(func() {
		g.get(1, x)
		g.get(2, t)
		g.op("VSUBPS", x, t, a)
		gradient(a)
		g.twice(x, a, b)
		g.twice(t, c, d)
		g.op("VSUBPD", a, c, a)
		g.op("VSUBPD", b, d, b)
		g.line("VFMADD231PD %s, %s, %s", a, a, sum0)
		g.line("VFMADD231PD %s, %s, %s", b, b, sum1)
	})
	g.total(sum0, sum1)
}
