package main

import "math"

// Bits of a number.
var sign, magnitude = constant{1 << 31}, constant{1<<31 - 1}

// exp does to = exp(x) for x <= 0, and for NaN; x is at least -87, below which 1e-38 stands for 0. With n = x/ln 2
// rounded and r = x - n ln 2, it is 2^n times the Taylor polynomial of exp(r), |r| <= ln 2/2, whose error is below
// 2^-26. x and y are lost.
func (g *loops) exp(x, y, to vec) {
	g.reduce(x, y, to)
	g.polynomial(x, to, 1.0/5040, 1.0/720, 1.0/120, 1.0/24, 1.0/6, 0.5, 1, 1)
	g.op(fmul, to, y, to)
}

// expm1 does to = exp(x) - 1 as exp does exp(x): 2^n (exp(r) - 1) + (2^n - 1), of which both have the sign of x and neither is a difference
// of what is rounded.
func (g *loops) expm1(x, y, to vec) {
	g.reduce(x, y, to)
	g.polynomial(x, to, 1.0/5040, 1.0/720, 1.0/120, 1.0/24, 1.0/6, 0.5, 1)
	g.op(fmul, to, x, to)
	g.op(fsub, y, f(1), x)
	g.scaleAdd(y, x, to)
}

// reduce makes r of x in its place, and 2^n in y.
func (g *loops) reduce(x, y, to vec) {
	const magic = 1.5 * (1 << 23) // the low bits of magic+n are n
	// ln 2 in two parts: the first has few bits, so that its product with n is exact.
	const high = 0.693359375
	g.copy(f(-87), y)
	g.op(fmax, y, x, x) // NaN for NaN
	g.copy(f(magic), y)
	g.addProduct(x, f(math.Log2E), y)
	g.op(fsub, y, f(magic), to)
	g.subProduct(to, f(high), x)
	g.subProduct(to, f(math.Ln2-high), x)
	g.shift(left, 23, y, y)
	g.op(iadd, y, f(1), y)
}

func (g *loops) act() {
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
		g.clear(vec(1))
		g.get(0, vec(0))
		g.op(fmax, vec(1), vec(0), vec(0))
		g.put(vec(0), 0)
	})
	back("does g = g where out > 0, else 0.", "reluBack", func() {
		g.clear(vec(0))
		g.get(0, vec(1))
		g.get(1, vec(2))
		g.clear(vec(3))
		g.when(greater, vec(2), vec(3), vec(1), vec(0), vec(4))
		g.put(vec(0), 0)
	})
	unary("does v = sigmoid(v).", "sigmoid", func() {
		g.get(0, vec(0))
		g.sigmoid(vec(0), vec(1), vec(2), vec(3), vec(4))
		g.put(vec(1), 0)
	})
	back("does g *= out (1 - out).", "sigmoidBack", func() {
		g.get(1, vec(0))
		g.copy(f(1), vec(1))
		g.op(fsub, vec(1), vec(0), vec(1))
		g.op(fmul, vec(0), vec(1), vec(0))
		g.get(0, vec(1))
		g.op(fmul, vec(1), vec(0), vec(0))
		g.put(vec(0), 0)
	})
	unary("does v = tanh(v).", "tanh", func() {
		// (1-e)/(1+e) with e = exp(-2|x|), and near 0 the polynomial of Cephes.
		g.get(0, vec(0))
		g.op(and, vec(0), magnitude, vec(1))
		g.op(fmul, vec(1), f(-2), vec(2))
		g.exp(vec(2), vec(3), vec(4))
		g.copy(f(1), vec(2))
		g.op(fsub, vec(2), vec(4), vec(3))
		g.op(fadd, vec(2), vec(4), vec(4))
		g.op(fdiv, vec(3), vec(4), vec(3))
		g.op(fmul, vec(1), vec(1), vec(2))
		g.polynomial(vec(2), vec(4), -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
		g.op(fmul, vec(4), vec(2), vec(4))
		g.scaleAdd(vec(1), vec(1), vec(4))
		g.copy(f(0.625), vec(2))
		g.when(greater, vec(2), vec(1), vec(4), vec(3), vec(5))
		g.op(and, vec(0), sign, vec(0))
		g.op(or, vec(3), vec(0), vec(3))
		g.put(vec(3), 0)
	})
	back("does g *= 1 - out*out.", "tanhBack", func() {
		g.get(1, vec(0))
		g.op(fmul, vec(0), vec(0), vec(0))
		g.copy(f(1), vec(1))
		g.op(fsub, vec(1), vec(0), vec(1))
		g.get(0, vec(0))
		g.op(fmul, vec(0), vec(1), vec(0))
		g.put(vec(0), 0)
	})
	g.rising()
	g.gated()
}

// rising makes the activations whose derivatives follow from their outputs.
func (g *loops) rising() {
	x, y, a, b, c, alpha := vec(0), vec(1), vec(2), vec(3), vec(4), vec(9)
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
	positive := func(from vec) { // takes from in place of a where x > 0
		g.clear(b)
		g.when(greater, x, b, from, a, c)
	}
	unary("does v = v, times alpha where v <= 0.", "leakyReLU", true, func() {
		g.op(fmul, x, alpha, a)
		positive(x)
	})
	back("does g *= alpha where out <= 0.", "leakyReLUBack", true, func() {
		g.op(fmul, y, alpha, a)
		positive(y)
	})
	unary("does v = alpha (exp(v) - 1) where v <= 0.", "elu", true, func() {
		g.clear(b)
		g.op(fmin, b, x, c)
		g.expm1(c, b, a)
		g.op(fmul, a, alpha, a)
		positive(x)
	})
	back("does g *= out + alpha where out <= 0.", "eluBack", true, func() {
		g.op(fadd, x, alpha, a)
		g.op(fmul, a, y, a)
		positive(y)
	})
	unary("does v = ln(1 + exp(v)).", "softplus", false, func() {
		g.op(or, x, sign, a)
		g.exp(a, b, c)
		g.log1p(c, a, b)
		g.clear(y)
		g.op(fmax, y, x, y)
		g.scaleAdd(c, y, a)
	})
	back("does g *= 1 - exp(-out).", "softplusBack", false, func() {
		g.op(or, x, sign, x)
		g.expm1(x, b, a)
		g.op(fmul, y, a, a)
		g.op(xor, a, sign, a)
	})
	unary("does v = v/(1 + |v|).", "softsign", false, func() {
		g.within(x, math.MaxFloat32, b)
		g.op(and, x, magnitude, a)
		g.op(fadd, a, f(1), a)
		g.op(fdiv, x, a, a)
	})
	back("does g *= (1 - |out|) squared.", "softsignBack", false, func() {
		g.op(and, x, magnitude, x)
		g.copy(f(1), a)
		g.op(fsub, a, x, a)
		g.op(fmul, a, a, a)
		g.op(fmul, y, a, a)
	})
}

// gated makes the activations x p(x), of which p is a sigmoid of x, the normal distribution's or a sigmoid that comes near to that. x is held
// within 128 of 0 where p and its derivative are taken: they are as at infinity there.
func (g *loops) gated() {
	const most = 128
	x, p, slope, z, a, b, c, d := vec(0), vec(1), vec(2), vec(3), vec(4), vec(5), vec(6), vec(7)
	sigmoid := func(dz func()) { // of z; dz makes in d what the derivative is to be multiplied by
		g.sigmoid(z, p, a, b, c)
		if dz == nil {
			return
		}
		g.op(fmul, a, b, slope)
		g.op(fmul, slope, b, slope)
		dz()
	}
	const linear, cubic = 1.5957691216057308, 0.07135481282553054 // 2 sqrt(2/pi), and that times 0.044715
	gates := []struct {
		name string
		of   func(back bool) // makes p of x and, for the way back, its derivative in slope
	}{
		{"silu", func(back bool) {
			g.copy(x, z)
			if back {
				sigmoid(func() {})
			} else {
				sigmoid(nil)
			}
		}},
		{"gelu", func(back bool) { g.normal(x, p, slope, z, a, b) }},
		{"geluTanh", func(back bool) {
			g.op(fmul, x, x, d)
			g.polynomial(d, z, cubic, linear)
			g.op(fmul, x, z, z)
			if !back {
				sigmoid(nil)
				return
			}
			sigmoid(func() {
				g.polynomial(d, z, 3*cubic, linear)
				g.op(fmul, slope, z, slope)
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
			g.copy(f(-most), a)
			g.get(0, x)
			g.op(fmax, a, x, x)
			g.op(fmul, x, p, x)
			g.put(x, 0)
		})
		g.end()
		g.function("does g *= the derivative at x.", gate.name+"Back", "grad, x *float32, n int")
		g.pointers("grad", "x")
		g.elements(func() {
			g.get(1, x)
			g.within(x, most, a)
			gate.of(true)
			g.scaleAdd(x, p, slope)
			g.get(0, x)
			g.op(fmul, x, slope, x)
			g.put(x, 0)
		})
		g.end()
	}
}

// within holds x within most of 0, NaN for NaN; a is lost.
func (g *loops) within(x vec, most float64, a vec) {
	g.copy(f(most), a)
	g.op(fmin, a, x, x)
	g.copy(f(-most), a)
	g.op(fmax, a, x, x)
}

// normal does p = Phi(x), the standard normal distribution, and density = its derivative. Phi(-u), u = |x|, is exp(-u²/2) times a function
// that falls slowly: with t = 1/(1 + 0.35u) it is t times a polynomial of t, off by 2^-24.9 of itself at most for u <= 13.4 (a
// fit by Remez's algorithm). What u² rounds off is made good in the exponential. a, b and c are lost.
func (g *loops) normal(x, p, density, a, b, c vec) {
	g.op(fmul, x, x, a)
	g.copy(a, c)
	g.productMinus(x, x, c) // the rest of the square
	g.op(fmul, a, f(-0.5), a)
	g.exp(a, b, density)
	g.op(fmul, c, density, c)
	g.addProduct(c, f(-0.5), density)
	g.op(and, x, magnitude, b)
	g.copy(f(1), c)
	g.copy(c, a)
	g.addProduct(b, f(0.35), a)
	g.op(fdiv, c, a, a)
	g.polynomial(a, b, -0.029120665522859093, 0.1438464467034744, -0.25545016274688487, 0.15886571547019987, -0.02289226147900201,
		0.10541340863899824, 0.11985753499523871, 0.1398583549929743, 0.13962161308480975)
	g.op(fmul, a, density, a)
	g.op(fmul, a, b, a) // Phi(-u)
	g.op(fsub, c, a, p)
	g.clear(b)
	g.when(less, x, b, a, p, c)
	g.op(fmul, density, f(0.3989422804014327), density)
}

// sigmoid does to = sigmoid(z) and e = exp(-|z|): 1/(1+e), times e where z < 0. a becomes 1/(1+e), b is lost.
func (g *loops) sigmoid(z, to, e, a, b vec) {
	g.op(or, z, sign, a)
	g.exp(a, b, e)
	g.copy(f(1), a)
	g.op(fadd, a, e, b)
	g.op(fdiv, a, b, a)
	g.op(fmul, e, a, to)
	g.clear(b)
	g.when(atLeast, z, b, a, to, b)
}
