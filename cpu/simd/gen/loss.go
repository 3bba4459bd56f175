package main

import "fmt"

// log1p makes two factors of ln(1+x), x from 0 to 1: 2 atanh(s), s = x/(2+x), by its series. x becomes s, which is at most 1/3, and to the
// series without its first factor; y is lost.
func (g *loops) log1p(x, to, y vec) {
	g.op(fadd, x, f(2), y)
	g.op(fdiv, x, y, x)
	g.op(fmul, x, x, y)
	g.polynomial(y, to, 2./15, 2./13, 2./11, 2./9, 2./7, 2./5, 2./3, 2)
}

func (g *loops) loss() {
	const params = "grad, x, target *float32, n int, scale float32, total *float64"
	x, t, scale, sum0, sum1 := vec(0), vec(1), vec(10), vec(11), vec(12)
	a, b, c, d := vec(2), vec(3), vec(4), vec(5)
	start := func() {
		g.pointers("grad", "x", "target")
		g.move(r8, dx)
		g.broadcast("scale", scale)
		g.clear(sum0)
		g.clear(sum1)
	}
	gradient := func(v vec) { // scales and stores it
		label := fmt.Sprintf("nogradient%t", g.partial())
		g.test(dx, zero, label)
		g.op(fmul, v, scale, v)
		g.put(v, 0)
		g.label(label)
	}

	g.function("adds the sum of the cross-entropies to total; grad may be nil.", "sigmoidBCE", params)
	start()
	g.elements(func() {
		g.get(1, x)
		g.get(2, t)
		g.sigmoid(x, a, b, c, d) // b is exp(-|x|)
		g.op(fsub, a, t, a)
		gradient(a)
		g.log1p(b, a, c)
		g.clear(c)
		g.op(fmax, c, x, c)
		g.subProduct(t, x, c)
		g.addProduct(b, a, c)
		g.only(c)
		g.widen(c, a, b)
		g.op(fadd64, sum0, a, sum0)
		g.op(fadd64, sum1, b, sum1)
	})
	g.total(sum0, sum1)

	g.function("adds the sum of the squared differences to total; scale is that of the gradient, and grad may be nil.", "mse", params)
	start()
	g.elements(func() {
		g.get(1, x)
		g.get(2, t)
		g.op(fsub, x, t, a)
		gradient(a)
		g.widen(x, a, b)
		g.widen(t, c, d)
		g.op(fsub64, a, c, a)
		g.op(fsub64, b, d, b)
		g.addSquares64(a, sum0)
		g.addSquares64(b, sum1)
	})
	g.total(sum0, sum1)
}
