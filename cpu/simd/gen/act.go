package main

import "math"

// exp does to = exp(x) for x <= 0, and for NaN; x is at least -87, below which 1e-38 stands for 0. With n = x/ln 2
// rounded and r = x - n ln 2, it is 2^n times the Taylor polynomial of exp(r), |r| <= ln 2/2, whose error is below
// 2^-26. x and y are lost.
func (g mnemonics) exp(x, y, to string) {
	g.reduce(x, y, to)
	g.polynomial(x, to, 1.0/5040, 1.0/720, 1.0/120, 1.0/24, 1.0/6, 0.5, 1, 1)
	g.op("VMULPS", to, y, to)
}

// expm1 does to = exp(x) - 1 as exp does exp(x): 2^n (exp(r) - 1) + (2^n - 1), of which both have the sign of x and neither is a difference
// of what is rounded.
func (g mnemonics) expm1(x, y, to string) {
	g.reduce(x, y, to)
	g.polynomial(x, to, 1.0/5040, 1.0/720, 1.0/120, 1.0/24, 1.0/6, 0.5, 1)
	g.op("VMULPS", to, x, to)
	g.op("VSUBPS", y, g.f(1), x)
	g.line("VFMADD213PS %s, %s, %s", x, y, to)
}

// reduce makes r of x in its place, and 2^n in y.
func (g mnemonics) reduce(x, y, to string) {
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
	g.line("VPSLLD $23, %s, %s", y, y)
	g.line("VPADDD %s, %s, %s", g.f(1), y, y)
}

func (g mnemonics) act() {
	r := g.v
	unary := func(doc, name string, body func()) {
		g.function(doc, name, "v *float32, n int")
		g.pointers("v")
		g.elements(body)
		g.end()
	}
	back := func(doc, name string, body func()) {
		g.function(doc, name, "grad, out *float32, n int")
		g.pointers("grad", "out")
		g.elements(body)
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
	g.rising()
	g.gated()
}

// rising makes the activations whose derivatives follow from their outputs.
func (g mnemonics) rising() {
	x, y, a, b, c, alpha := g.v(0), g.v(1), g.v(2), g.v(3), g.v(4), g.v(9)
	unary := func(doc, name string, parametric bool, body func()) {
		params := "v *float32, n int"
		if parametric {
			params += ", alpha float32"
		}
		g.function(doc, name, params)
		g.pointers("v")
		if parametric {
			g.broadcast("alpha", alpha)
		}
		g.elements(func() {
			g.get(0, x)
			body()
			g.put(a, 0)
		})
		g.end()
	}
	back := func(doc, name string, parametric bool, body func()) { // x is the output, y the gradient
		params := "grad, out *float32, n int"
		if parametric {
			params += ", alpha float32"
		}
		g.function(doc, name, params)
		g.pointers("grad", "out")
		if parametric {
			g.broadcast("alpha", alpha)
		}
		g.elements(func() {
			g.get(0, y)
			g.get(1, x)
			body()
			g.put(a, 0)
		})
		g.end()
	}
	positive := func(from string) { // takes from in place of a where x > 0
		g.zero(b)
		g.when(greater, x, b, from, a, c)
	}
	unary("does v = v, times alpha where v <= 0.", "leakyReLU", true, func() {
		g.op("VMULPS", x, alpha, a)
		positive(x)
	})
	back("does g *= alpha where out <= 0.", "leakyReLUBack", true, func() {
		g.op("VMULPS", y, alpha, a)
		positive(y)
	})
	unary("does v = alpha (exp(v) - 1) where v <= 0.", "elu", true, func() {
		g.zero(b)
		g.op("VMINPS", b, x, c)
		g.expm1(c, b, a)
		g.op("VMULPS", a, alpha, a)
		positive(x)
	})
	back("does g *= out + alpha where out <= 0.", "eluBack", true, func() {
		g.op("VADDPS", x, alpha, a)
		g.op("VMULPS", a, y, a)
		positive(y)
	})
	unary("does v = ln(1 + exp(v)).", "softplus", false, func() {
		g.op("VORPS", x, g.u(1<<31), a)
		g.exp(a, b, c)
		g.log1p(c, a, b)
		g.zero(y)
		g.op("VMAXPS", y, x, y)
		g.line("VFMADD213PS %s, %s, %s", y, c, a)
	})
	back("does g *= 1 - exp(-out).", "softplusBack", false, func() {
		g.op("VORPS", x, g.u(1<<31), x)
		g.expm1(x, b, a)
		g.op("VMULPS", y, a, a)
		g.op("VXORPS", a, g.u(1<<31), a)
	})
	unary("does v = v/(1 + |v|).", "softsign", false, func() {
		g.within(x, math.MaxFloat32, b)
		g.op("VANDPS", x, g.u(1<<31-1), a)
		g.op("VADDPS", a, g.f(1), a)
		g.op("VDIVPS", x, a, a)
	})
	back("does g *= (1 - |out|) squared.", "softsignBack", false, func() {
		g.op("VANDPS", x, g.u(1<<31-1), x)
		g.line("VMOVUPS %s, %s", g.f(1), a)
		g.op("VSUBPS", a, x, a)
		g.op("VMULPS", a, a, a)
		g.op("VMULPS", y, a, a)
	})
}

// gated makes the activations x p(x), of which p is a sigmoid of x, the normal distribution's or a sigmoid that comes near to that. x is held
// within 128 of 0 where p and its derivative are taken: they are as at infinity there.
func (g mnemonics) gated() {
	const most = 128
	x, p, slope, z, a, b, c, d := g.v(0), g.v(1), g.v(2), g.v(3), g.v(4), g.v(5), g.v(6), g.v(7)
	sigmoid := func(dz func()) { // of z; dz makes in d what the derivative is to be multiplied by
		g.sigmoid(z, p, a, b, c)
		if dz == nil {
			return
		}
		g.op("VMULPS", a, b, slope)
		g.op("VMULPS", slope, b, slope)
		dz()
	}
	const linear, cubic = 1.5957691216057308, 0.07135481282553054 // 2 sqrt(2/pi), and that times 0.044715
	gates := []struct {
		name string
		of   func(back bool) // makes p of x and, for the way back, its derivative in slope
	}{
		{"silu", func(back bool) {
			g.line("VMOVUPS %s, %s", x, z)
			if back {
				sigmoid(func() {})
			} else {
				sigmoid(nil)
			}
		}},
		{"gelu", func(back bool) { g.normal(x, p, slope, z, a, b) }},
		{"geluTanh", func(back bool) {
			g.op("VMULPS", x, x, d)
			g.line("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s", g.f(cubic), z, g.f(linear), d, z)
			g.op("VMULPS", x, z, z)
			if !back {
				sigmoid(nil)
				return
			}
			sigmoid(func() {
				g.line("VMOVUPS %s, %s\nVFMADD213PS %s, %s, %s", g.f(3*cubic), z, g.f(linear), d, z)
				g.op("VMULPS", slope, z, slope)
			})
		}},
	}
	for _, gate := range gates {
		g.function("does v *= the gate of v.", gate.name, "v *float32, n int")
		g.pointers("v")
		g.elements(func() {
			g.get(0, x)
			g.within(x, most, a)
			gate.of(false)
			g.line("VMOVUPS %s, %s", g.f(-most), a)
			g.get(0, x)
			g.op("VMAXPS", a, x, x)
			g.op("VMULPS", x, p, x)
			g.put(x, 0)
		})
		g.end()
		g.function("does g *= the derivative at x.", gate.name+"Back", "grad, x *float32, n int")
		g.pointers("grad", "x")
		g.elements(func() {
			g.get(1, x)
			g.within(x, most, a)
			gate.of(true)
			g.line("VFMADD213PS %s, %s, %s", p, x, slope)
			g.get(0, x)
			g.op("VMULPS", x, slope, x)
			g.put(x, 0)
		})
		g.end()
	}
}

// within holds x within most of 0, NaN for NaN; a is lost.
func (g mnemonics) within(x string, most float64, a string) {
	g.line("VMOVUPS %s, %s", g.f(most), a)
	g.op("VMINPS", a, x, x)
	g.line("VMOVUPS %s, %s", g.f(-most), a)
	g.op("VMAXPS", a, x, x)
}

// normal does p = Phi(x), the standard normal distribution, and density = its derivative. Phi(-u), u = |x|, is exp(-u²/2) times a function
// that falls slowly: with t = 1/(1 + 0.35u) it is t times a polynomial of t, off by 2^-24.9 of itself at most for u <= 13.4 (a
// fit by Remez's algorithm). What u² rounds off is made good in the exponential. a, b and c are lost.
func (g mnemonics) normal(x, p, density, a, b, c string) {
	g.op("VMULPS", x, x, a)
	g.line("VMOVUPS %s, %s\nVFMSUB231PS %s, %s, %s", a, c, x, x, c) // the rest of the square
	g.op("VMULPS", a, g.f(-0.5), a)
	g.exp(a, b, density)
	g.op("VMULPS", c, density, c)
	g.line("VFMADD231PS %s, %s, %s", g.f(-0.5), c, density)
	g.op("VANDPS", x, g.u(1<<31-1), b)
	g.line("VMOVUPS %s, %s", g.f(1), c)
	g.line("VMOVAPS %s, %s\nVFMADD231PS %s, %s, %s", c, a, g.f(0.35), b, a)
	g.op("VDIVPS", c, a, a)
	g.polynomial(a, b, -0.029120665522859093, 0.1438464467034744, -0.25545016274688487, 0.15886571547019987, -0.02289226147900201,
		0.10541340863899824, 0.11985753499523871, 0.1398583549929743, 0.13962161308480975)
	g.op("VMULPS", a, density, a)
	g.op("VMULPS", a, b, a) // Phi(-u)
	g.op("VSUBPS", c, a, p)
	g.zero(b)
	g.when(less, x, b, a, p, c)
	g.op("VMULPS", density, g.f(0.3989422804014327), density)
}

// sigmoid does to = sigmoid(z) and e = exp(-|z|): 1/(1+e), times e where z < 0. a becomes 1/(1+e), b is lost.
func (g mnemonics) sigmoid(z, to, e, a, b string) {
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
