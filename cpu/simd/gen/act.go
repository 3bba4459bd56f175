package main

import "math"

// exp does to = exp(x) for x <= 0, and for NaN; x is at least -87, below which 1e-38 stands for 0. With n = x/ln 2
// rounded and r = x - n ln 2, it is 2^n times the Taylor polynomial of exp(r), |r| <= ln 2/2, whose error is below
// 2^-26. x and y are lost.
func (g *gen) exp(x, y, to string) {
	const magic = 1.5 * (1 << 23) // the low bits of magic+n are n
	// ln 2 in two parts: the first has few bits, so that its product with n is exact.
	const high = 0.693359375
	g.line("VMOVUPS %s, %s", g.f(-87), y)
	g.op("VMAXPS", y, x, x) // NaN for NaN
	g.line("VMOVUPS %s, %s", g.f(magic), y)
	g.line("VFMADD231PS %s, %s, %s", g.f(math.Log2E), x, y)
	g.op("VSUBPS", y, g.f(magic), to)
	g.line("VFNMADD231PS %s, %s, %s", g.f(high), to, x)
	g.line("VFNMADD231PS %s, %s, %s", g.f(math.Ln2-high), to, x)
	g.polynomial(x, to, 1.0/5040, 1.0/720, 1.0/120, 1.0/24, 1.0/6, 0.5, 1, 1)
	g.line("VPSLLD $23, %s, %s", y, y)
	g.line("VPADDD %s, %s, %s", g.f(1), y, y)
	g.op("VMULPS", to, y, to)
}

func (g *gen) act() {
	r := g.v
	unary := func(doc, name string, body func()) {
		g.function(doc, name, "v *float32, n int")
		g.pointers("v")
		g.elements(1, body)
		g.end()
	}
	back := func(doc, name string, body func()) {
		g.function(doc, name, "grad, out *float32, n int")
		g.pointers("grad", "out")
		g.elements(2, body)
		g.end()
	}
	unary("does v = max(v, 0).", "relu", func() {
		g.zero(r(1))
		g.get(0, r(0))
		g.op("VMAXPS", r(1), r(0), r(0))
		g.put(r(0), 0)
	})
	back("does g = g where out > 0, else 0.", "reluBack", func() {
		g.zero(r(0))
		g.get(0, r(1))
		g.get(1, r(2))
		g.zero(r(3))
		g.when(greater, r(2), r(3), r(1), r(0), r(4))
		g.put(r(0), 0)
	})
	unary("does v = sigmoid(v).", "sigmoid", func() {
		g.get(0, r(0))
		g.sigmoid(r(0), r(1), r(2), r(3), r(4))
		g.put(r(1), 0)
	})
	back("does g *= out (1 - out).", "sigmoidBack", func() {
		g.get(1, r(0))
		g.line("VMOVUPS %s, %s", g.f(1), r(1))
		g.op("VSUBPS", r(1), r(0), r(1))
		g.op("VMULPS", r(0), r(1), r(0))
		g.get(0, r(1))
		g.op("VMULPS", r(1), r(0), r(0))
		g.put(r(0), 0)
	})
	unary("does v = tanh(v).", "tanh", func() {
		// (1-e)/(1+e) with e = exp(-2|x|), and near 0 the polynomial of Cephes.
		g.get(0, r(0))
		g.op("VANDPS", r(0), g.u(1<<31-1), r(1))
		g.op("VMULPS", r(1), g.f(-2), r(2))
		g.exp(r(2), r(3), r(4))
		g.line("VMOVUPS %s, %s", g.f(1), r(2))
		g.op("VSUBPS", r(2), r(4), r(3))
		g.op("VADDPS", r(2), r(4), r(4))
		g.op("VDIVPS", r(3), r(4), r(3))
		g.op("VMULPS", r(1), r(1), r(2))
		g.polynomial(r(2), r(4), -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
		g.op("VMULPS", r(4), r(2), r(4))
		g.line("VFMADD213PS %s, %s, %s", r(1), r(1), r(4))
		g.line("VMOVUPS %s, %s", g.f(0.625), r(2))
		g.when(greater, r(2), r(1), r(4), r(3), r(5))
		g.op("VANDPS", r(0), g.u(1<<31), r(0))
		g.op("VORPS", r(3), r(0), r(3))
		g.put(r(3), 0)
	})
	back("does g *= 1 - out*out.", "tanhBack", func() {
		g.get(1, r(0))
		g.op("VMULPS", r(0), r(0), r(0))
		g.line("VMOVUPS %s, %s", g.f(1), r(1))
		g.op("VSUBPS", r(1), r(0), r(1))
		g.get(0, r(0))
		g.op("VMULPS", r(0), r(1), r(0))
		g.put(r(0), 0)
	})
}

// sigmoid does to = sigmoid(z) and e = exp(-|z|): 1/(1+e), times e where z < 0. a and b are lost.
func (g *gen) sigmoid(z, to, e, a, b string) {
	g.op("VORPS", z, g.u(1<<31), a)
	g.exp(a, b, e)
	g.line("VMOVUPS %s, %s", g.f(1), a)
	g.op("VADDPS", a, e, b)
	g.op("VDIVPS", a, b, a)
	g.op("VMULPS", e, a, to)
	g.zero(b)
	if g.reg == "Z" {
		g.when(least, z, b, a, to, "")
		return
	}
	g.op("VCMPPS $0x1d,", z, b, b)
	g.line("VBLENDVPS %s, %s, %s, %s", b, a, to, to)
}
