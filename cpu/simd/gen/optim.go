package main

// optim makes the optimisers, without fused operations.
func (g *loops) optim() {
	// Scalars have registers that elements leaves alone.
	scalars := func(names ...string) (regs []vec) {
		for i, n := range names {
			regs = append(regs, vec(12-i))
			g.broadcast(n, regs[i])
		}
		return regs
	}
	p, v, d, x := vec(0), vec(1), vec(2), vec(3)
	mul := func(a, b, to vec) { g.op(fmul, a, b, to) }
	add := func(a, b, to vec) { g.op(fadd, a, b, to) }
	sub := func(a, b, to vec) { g.op(fsub, a, b, to) }
	div := func(a, b, to vec) { g.op(fdiv, a, b, to) }

	for _, name := range []string{"momentum", "nesterov"} {
		g.function("is SGD with momentum.", name, "param, velocity, grad *float32, n int, lr, momentum float32")
		g.pointers("param", "velocity", "grad")
		s := scalars("lr", "momentum")
		g.elements(func() {
			g.get(1, v)
			g.get(2, d)
			mul(s[1], v, v)
			add(v, d, v)
			g.put(v, 1)
			if name == "nesterov" {
				mul(s[1], v, v)
				add(v, d, v)
			}
			mul(s[0], v, v)
			g.get(0, p)
			sub(p, v, p)
			g.put(p, 0)
		})
		g.end()
	}

	g.function("is Adam: keep = 1 - lr decay, step = lr/c1, a = 1-b1, b = 1-b2.", "adam", "param, m, v, grad *float32, n int, keep, step, a, b, c2, eps float32")
	g.pointers("param", "m", "v", "grad")
	s := scalars("keep", "step", "a", "b", "c2", "eps")
	g.elements(func() {
		g.get(3, d)
		g.get(1, v)
		sub(d, v, x)
		mul(s[2], x, x)
		add(v, x, v) // m
		g.put(v, 1)
		mul(d, d, d)
		g.get(2, x)
		sub(d, x, d)
		mul(s[3], d, d)
		add(x, d, x) // v
		g.put(x, 2)
		div(x, s[4], x)
		g.sqrt(x, x)
		add(x, s[5], x)
		mul(s[1], v, v)
		div(v, x, v)
		g.get(0, p)
		mul(p, s[0], p)
		sub(p, v, p)
		g.put(p, 0)
	})
	g.end()

	g.function("is Adadelta: rest = 1 - rho.", "adadelta", "param, accGrad, accDelta, grad *float32, n int, lr, rho, rest, eps float32")
	g.pointers("param", "accGrad", "accDelta", "grad")
	s = scalars("lr", "rho", "rest", "eps")
	u := vec(4)
	g.elements(func() {
		g.get(3, d)
		g.get(1, v)
		mul(s[1], v, v)
		mul(d, d, x)
		mul(s[2], x, x)
		add(v, x, v)
		g.put(v, 1)
		g.get(2, u)
		add(u, s[3], x)
		g.sqrt(x, x)
		add(v, s[3], v)
		g.sqrt(v, v)
		div(x, v, x)
		mul(d, x, d)
		mul(s[1], u, u)
		mul(d, d, x)
		mul(s[2], x, x)
		add(u, x, u)
		g.put(u, 2)
		g.get(0, p)
		mul(s[0], d, d)
		sub(p, d, p)
		g.put(p, 0)
	})
	g.end()
}
