package main

// draws makes a loop over n numbers, a multiple of four vectors, of a row. words gets the registers of four words of
// Philox4x32-10 of as many blocks as there are lanes, and others that are free, and makes four numbers a block of them;
// each gets the numbers in their order. v13 to v15 are not used.
//
// Philox multiplies 32-bit words to 64 bits. Where that is done in 64-bit lanes whose upper halves it ignores, two sets of blocks,
// those of the even and of the odd lanes, go through it and are then put together.
func (g *loops) draws(words func(w, free []vec), each func(i int, v vec)) {
	set := g.traits()
	body := func() { g.drawn(words, each) }
	g.pointers("dst", "x")
	g.keep(body)
	g.param("n", cx)
	g.param32("block", dx)
	g.label("loop")
	body()
	g.countTo(4*set.bytes, r8, never, "")
	g.countTo(4*set.bytes, r9, never, "")
	g.countTo(set.lanes, dx, never, "")
	g.countTo(-4*set.lanes, cx, nonzero, "loop")
	g.end()
}

// drawn is what draws repeats. dx is the first block.
func (g *loops) drawn(words func(w, free []vec), each func(i int, v vec)) {
	lanes := g.traits().lanes
	w, odd, spare, key := []vec{0, 1, 2, 3}, []vec{4, 5, 6, 7}, []vec{8, 9}, []vec{10, 11}
	sets := [][]vec{w, odd}
	if !g.traits().halves {
		sets = sets[:1]
	}
	g.spread(dx, spare[0])
	for i, c := range sets {
		var blocks constant
		for lane := i; lane < lanes; lane += len(sets) {
			// The transposition below brings lane 4l+e to quarter l of vector e.
			blocks = append(blocks, uint32(lane%4*lanes/4+lane/4))
			if len(sets) > 1 {
				blocks = append(blocks, 0)
			}
		}
		g.op(iadd, spare[0], blocks, c[0])
	}
	for i, name := range []string{"row", "draw", "stream"} {
		g.broadcast(name, w[i+1])
		for _, c := range sets[1:] {
			g.copy(w[i+1], c[i+1])
		}
	}
	g.broadcast("k0", key[0])
	g.broadcast("k1", key[1])
	for round := range 10 {
		if round > 0 {
			g.op(iadd, key[0], constant{0x9E3779B9}, key[0])
			g.op(iadd, key[1], constant{0xBB67AE85}, key[1])
		}
		for _, c := range sets {
			g.mulWords(c[0], constant{0xD2511F53}, spare[0], c[0])
			g.mulWords(c[2], constant{0xCD9E8D57}, spare[1], c[2])
			c[0], c[1], c[2], c[3], spare[0], spare[1] = c[2], spare[1], c[0], spare[0], c[1], c[3]
			for i := range 2 {
				g.op(xor, c[2*i], spare[i], c[2*i])
				g.op(xor, c[2*i], key[i], c[2*i])
			}
		}
	}
	for _, odd := range sets[1:] {
		for i := range 4 {
			g.shift(left64, 32, odd[i], odd[i])
			g.op(and, w[i], constant{1<<32 - 1, 0}, w[i])
			g.op(or, w[i], odd[i], w[i])
		}
	}
	words(w, append(append(odd, spare...), append(key, 12)...))
	a, b, c, d := odd[0], odd[1], odd[2], odd[3]
	g.op(zipLow, w[0], w[1], a)
	g.op(zipHigh, w[0], w[1], b)
	g.op(zipLow, w[2], w[3], c)
	g.op(zipHigh, w[2], w[3], d)
	g.op(zipLow64, a, c, w[0])
	g.op(zipHigh64, a, c, w[1])
	g.op(zipLow64, b, d, w[2])
	g.op(zipHigh64, b, d, w[3])
	for i := range 4 {
		each(i, w[i])
	}
}

// horner does to = ((c[0] x + c[1]) x + ...), each operation rounded.
func (g *loops) horner(x, to vec, c ...float64) {
	g.op(fmul, x, f(c[0]), to)
	for i, c := range c[1:] {
		if i > 0 {
			g.op(fmul, to, x, to)
		}
		g.op(fadd, to, f(c), to)
	}
}

// boxMuller turns two vectors of words into normal numbers, as rng.BoxMuller does, operation by operation.
func (g *loops) boxMuller(w0, w1 vec, t []vec) {
	// Radius: w0 becomes sqrt(-2 ln u).
	g.shift(right, 8, w0, w0)
	g.op(iadd, w0, constant{1}, w0)
	g.toFloat(w0, w0)
	e, m, x, y := t[0], t[1], t[2], t[3]
	g.shift(right, 23, w0, e)
	g.op(iadd, e, constant{1<<32 - 127 - 24}, e)
	g.toFloat(e, e)
	g.op(and, w0, constant{1<<23 - 1}, m)
	g.op(or, m, f(1), m)
	g.op(fadd, e, f(1), x)
	g.when(atLeast, m, f(1.41421354), x, e, y)
	g.op(fmul, m, f(0.5), x)
	g.when(atLeast, m, f(1.41421354), x, m, y)
	g.op(fsub, m, f(1), x)
	g.op(fadd, m, f(1), y)
	g.op(fdiv, x, y, x)
	g.op(fmul, x, x, y)
	g.horner(y, m, 1./9, 1./7, 1./5, 1./3, 1)
	g.op(fadd, x, x, x)
	g.op(fmul, x, m, x)
	g.op(fmul, e, f(0.693147180), e)
	g.op(fadd, e, x, x)
	g.op(fmul, x, f(-2), x)
	g.sqrt(x, w0)

	// Turn: sine and cosine of the angle in an eighth of a turn to both sides, then the quadrant.
	a, q, s, c := t[0], t[1], t[2], t[3]
	g.shift(left, 2, w1, a)
	g.shift(right, 8, a, a)
	g.op(iadd, a, constant{1<<32 - 1<<23}, a)
	g.toFloat(a, a)
	g.op(fmul, a, f(1.57079633/(1<<24)), a)
	g.op(fmul, a, a, q)
	g.horner(q, s, 1./362880, -1./5040, 1./120, -1./6, 1)
	g.op(fmul, a, s, s)
	g.horner(q, c, -1./3628800, 1./40320, -1./720, 1./24, -0.5, 1)
	// In the second and fourth quadrant they change places.
	other, swap := t[0], t[1]
	g.shift(left, 1, w1, other)
	g.shift(rightSigned, 31, other, swap)
	g.op(xor, other, w1, other)
	diff := t[4]
	g.op(xor, s, c, diff)
	g.op(and, diff, swap, diff)
	g.op(xor, s, diff, s)
	g.op(xor, c, diff, c)
	g.op(and, other, sign, other)
	g.op(and, w1, sign, w1)
	g.op(xor, c, other, c)
	g.op(xor, s, w1, s)
	g.op(fmul, w0, s, w1)
	g.op(fmul, w0, c, w0)
}

func (g *loops) random() {
	const params = "dst, x *float32, n int, block, row, draw, stream, k0, k1 uint32"
	a, x, y := vec(13), vec(14), vec(15)
	bytes := g.traits().bytes
	normals := func(w, free []vec) {
		g.boxMuller(w[0], w[1], free)
		g.boxMuller(w[2], w[3], free)
	}
	g.function("draws normal numbers, n of them, a multiple of four vectors; x is not used.", "normals", params)
	g.draws(normals, func(i int, v vec) { g.store(v, at(r8, i*bytes)) })

	g.function("does dst = clip(x + a*normal, 0, 1); n is a multiple of four vectors.", "noise", params+", a float32")
	g.broadcast("a", a)
	g.draws(normals, func(i int, v vec) {
		g.op(fmul, v, a, v)
		g.op(fadd, v, at(r9, i*bytes), v)
		g.clear(x)
		g.op(fmax, x, v, v)
		g.copy(f(1), x)
		g.op(fmin, x, v, v)
		g.store(v, at(r8, i*bytes))
	})

	g.function("does dst = x/keep where the uniform number is at least a, else 0; n is a multiple of four vectors.", "dropout", params+", a, keep float32")
	g.broadcast("a", a)
	g.draws(func(w, free []vec) {
		for _, w := range w {
			g.shift(right, 8, w, w)
			g.toFloat(w, w)
			g.op(fmul, w, f(1./(1<<24)), w)
		}
	}, func(i int, v vec) {
		g.load(at(r9, i*bytes), x)
		g.broadcast("keep", y)
		g.op(fdiv, x, y, x)
		g.clear(y)
		g.when(atLeast, v, a, x, y, v)
		g.store(y, at(r8, i*bytes))
	})
}
