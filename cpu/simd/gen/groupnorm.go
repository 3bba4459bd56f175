package main

// norm makes the loops of normalisations, without fused operations.
func (g *gen) norm() {
	x, m, a, b := g.v(0), g.v(1), g.v(2), g.v(3)
	mul := func(a, b, to string) { g.op("VMULPS", a, b, to) }
	add := func(a, b, to string) { g.op("VADDPS", a, b, to) }
	sub := func(a, b, to string) { g.op("VSUBPS", a, b, to) }
	// difference does x = src - from, of slices i and i+1.
	difference := func(i int) {
		g.get(i, x)
		g.get(i+1, m)
		sub(x, m, x)
	}

	for _, name := range []string{"deviations", "squares"} {
		doc := "does sum += src - from."
		if name == "squares" {
			doc = "does sum += (src - from)²."
		}
		g.function(doc, name, "sum, src, from *float32, n int")
		g.pointers("sum", "src", "from")
		g.elements(3, func() {
			difference(1)
			if name == "squares" {
				mul(x, x, x)
			}
			g.get(0, a)
			add(a, x, a)
			g.put(a, 0)
		})
		g.end()
	}

	g.function("does dst = (src - from) scale + shift.", "normalize", "dst, src, from, scale, shift *float32, n int")
	g.pointers("dst", "src", "from", "scale", "shift")
	g.elements(5, func() {
		difference(1)
		g.get(3, a)
		mul(x, a, x)
		g.get(4, b)
		add(x, b, x)
		g.put(x, 0)
	})
	g.end()

	g.function("does sum += grad and products += grad (src - from).", "correlate", "sum, products, grad, src, from *float32, n int")
	g.pointers("sum", "products", "grad", "src", "from")
	g.elements(5, func() {
		difference(3)
		g.get(2, a)
		g.get(0, b)
		add(b, a, b)
		g.put(b, 0)
		mul(a, x, a)
		g.get(1, b)
		add(b, a, b)
		g.put(b, 1)
	})
	g.end()

	g.function("does grad = rstd (gamma grad - (mean + slope (src - from))).", "normalizeBack", "grad, src, from, gamma, mean, slope, rstd *float32, n int")
	g.pointers("grad", "src", "from", "gamma", "mean", "slope", "rstd")
	g.elements(7, func() {
		difference(1)
		g.get(5, a)
		mul(x, a, x)
		g.get(4, a)
		add(a, x, x)
		g.get(0, a)
		g.get(3, b)
		mul(a, b, a)
		sub(a, x, a)
		g.get(6, b)
		mul(a, b, a)
		g.put(a, 0)
	})
	g.end()
}
