package main

// norm makes the loops of normalisations, without fused operations.
func (g *loops) norm() {
	x, m, a, b := vec(0), vec(1), vec(2), vec(3)
	mul := func(a, b, to vec) { g.op(fmul, a, b, to) }
	add := func(a, b, to vec) { g.op(fadd, a, b, to) }
	sub := func(a, b, to vec) { g.op(fsub, a, b, to) }
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
		g.elements(func() {
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

	// normalized does y = x scale + shift, of a difference x and slices i and i+1.
	y := vec(4)
	normalized := func(i int) {
		g.get(i, a)
		mul(x, a, y)
		g.get(i+1, b)
		add(y, b, y)
	}
	// where keeps a gradient where the value before ReLU is above 0.
	where := func(grad vec) {
		zero, kept := vec(5), vec(6)
		g.clear(zero)
		g.clear(kept)
		g.when(greater, y, zero, grad, kept, vec(7))
		g.copy(kept, grad)
	}

	for _, relu := range []bool{false, true} {
		name, doc := "normalize", "does dst = (src - from) scale + shift."
		if relu {
			name, doc = "normalizeReLU", "does dst = max((src - from) scale + shift, 0)."
		}
		g.function(doc, name, "dst, src, from, scale, shift *float32, n int")
		g.pointers("dst", "src", "from", "scale", "shift")
		g.elements(func() {
			g.ahead(0)
			g.ahead(1)
			difference(1)
			normalized(3)
			if relu {
				g.clear(a)
				g.op(fmax, a, y, y)
			}
			g.put(y, 0)
		})
		g.end()
	}

	for _, relu := range []bool{false, true} {
		name, doc, params := "correlate", "does sum += grad and products += grad (src - from).", "sum, products, grad, src, from *float32, n int"
		names := []string{"sum", "products", "grad", "src", "from"}
		if relu {
			name, doc = "correlateReLU", "is correlate with the gradient before ReLU, whose input is (src - from) scale + shift."
			params = "sum, products, grad, src, from, scale, shift *float32, n int"
			names = append(names, "scale", "shift")
		}
		g.function(doc, name, params)
		g.pointers(names...)
		g.elements(func() {
			g.ahead(2)
			g.ahead(3)
			difference(3)
			if relu {
				normalized(5)
			}
			g.get(2, a)
			if relu {
				where(a)
			}
			g.get(0, b)
			add(b, a, b)
			g.put(b, 0)
			mul(a, x, a)
			g.get(1, b)
			add(b, a, b)
			g.put(b, 1)
		})
		g.end()
	}

	for _, relu := range []bool{false, true} {
		name, doc, params := "normalizeBack", "does dst = scale grad - (mean + slope (src - from)).", "dst, grad, src, from, scale, mean, slope *float32, n int"
		names := []string{"dst", "grad", "src", "from", "scale", "mean", "slope"}
		if relu {
			name, doc = "normalizeBackReLU", "is normalizeBack with the gradient before ReLU, whose input is (src - from) scale + shift."
			params = "dst, grad, src, from, scale, shift, mean, slope *float32, n int"
			names = []string{"dst", "grad", "src", "from", "scale", "shift", "mean", "slope"}
		}
		g.function(doc, name, params)
		g.pointers(names...)
		g.elements(func() {
			g.ahead(0)
			g.ahead(1)
			g.ahead(2)
			difference(2)
			if relu {
				normalized(4)
			}
			g.get(1, a)
			if relu {
				where(a)
			}
			g.get(4, b)
			mul(a, b, a)
			g.get(len(names)-1, b)
			mul(x, b, x)
			g.get(len(names)-2, b)
			add(b, x, x)
			sub(a, x, a)
			g.put(a, 0)
		})
		g.end()
	}
}
