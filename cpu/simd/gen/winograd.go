package main

import "math"

// The points of Winograd's transforms, as in package simd.
const (
	pointA = 0.75
	pointB = 1.5
)

// transform is M X Mᵀ of a square X of in by in vectors, which has out by out. one multiplies the column of vectors 0 to in-1 by M and puts out the results, out of them.
type transform struct {
	in, out int
	one     func(put func(i int, v vec))
	first   func()                // what comes before the vectors of a tile
	last    func(v vec, at place) // what is done to a vector of the result before it is stored
}

// winograd makes the transforms of Winograd's minimal filtering.
func (g *loops) winograd() {
	const params = "dst *float32, dr, dc, dt uintptr, src *float32, sr, sc, st uintptr, between *float32, tiles, n int"
	const addend, floor = vec(11), vec(12)

	g.function("is WinogradInput; strides are in bytes.", "winogradInput", params)
	g.transform(transform{in: 6, out: 6, one: g.evaluatePixels})
	g.function("is WinogradKernel; strides are in bytes.", "winogradKernel", params)
	g.transform(transform{in: 3, out: 6, one: func(put func(i int, v vec)) { g.evaluateTaps(3, put) }})
	g.function("is WinogradGradient; strides are in bytes.", "winogradGradient", params)
	g.transform(transform{in: 4, out: 6, one: func(put func(i int, v vec)) { g.evaluateTaps(4, put) }})
	g.function("is WinogradTaps; strides are in bytes.", "winogradTaps", params)
	g.transform(transform{in: 6, out: 3, one: func(put func(i int, v vec)) { g.interpolate(3, put) }, last: func(v vec, at place) {
		g.load(at, addend)
		g.op(fadd, v, addend, v)
	}})

	g.function("is WinogradOutput, with ReLU unless relu is 0; strides are in bytes.", "winogradOutput", params+", bias *float32, relu int")
	g.clear(floor)
	g.param("relu", ax)
	g.test(ax, nonzero, "floor")
	g.copy(f(math.Inf(-1)), floor)
	g.label("floor")
	g.transform(transform{in: 6, out: 4, one: func(put func(i int, v vec)) { g.interpolate(4, put) }, first: func() {
		g.param("bias", ax)
		g.load(place{base: ax, index: si, scale: 1}, addend)
	}, last: func(v vec, _ place) {
		g.op(fadd, v, addend, v)
		g.op(fmax, floor, v, v)
	}})
}

// transform makes the loops over tiles and vectors of their channels. r8 and r9 are the tiles of {dst} and {src}, si the bytes that are done of the channels, dx the
// tiles left. Each column of X makes one of M X, which is kept at di, {between}; each row of that makes one of the result.
func (g *loops) transform(t transform) {
	const size = 64 // bytes from one vector that is kept to the next
	body := func() {
		if t.first != nil {
			t.first()
		}
		g.param("sr", r12)
		g.param("sc", r10)
		g.addScaled(r9, si, 1, r11)
		for j := range t.in {
			at := g.square(t.in)
			for i := range t.in {
				g.load(at[i], vec(i))
			}
			g.add(r10, r11)
			t.one(func(i int, v vec) { g.store(v, place{base: di, offset: size * (i*t.in + j)}) })
		}
		g.param("dc", r12)
		g.param("dr", r10)
		g.addScaled(r8, si, 1, r11)
		for i := range t.out {
			to := g.square(t.out)
			for k := range t.in {
				g.load(at(di, size*(i*t.in+k)), vec(k))
			}
			t.one(func(j int, v vec) {
				if t.last != nil {
					t.last(v, to[j])
				}
				g.store(v, to[j])
			})
			g.add(r10, r11)
		}
	}
	g.keep(body)
	g.param("dst", r8)
	g.param("src", r9)
	g.param("between", di)
	g.param("tiles", dx)
	g.label("tile")
	g.immediate(0, si)
	g.param("n", cx)
	g.whole(si, g.traits().bytes, body)
	g.rest(false, "next", si, 4, body)
	g.addParam("dt", r8)
	g.addParam("st", r9)
	g.countTo(-1, dx, nonzero, "tile")
	g.end()
}

// square returns the places of n vectors that are r12 bytes apart, of which r11 is the first; r13 and r14 are lost.
func (g *loops) square(n int) (places []place) {
	g.addScaled(r12, r12, 2, r13)
	if n > 5 {
		g.addScaled(r11, r12, 1, r14)
	}
	return []place{
		at(r11, 0), {base: r11, index: r12, scale: 1}, {base: r11, index: r12, scale: 2}, {base: r11, index: r13, scale: 1}, {base: r11, index: r12, scale: 4},
		{base: r14, index: r12, scale: 4},
	}[:n]
}

// times does to = x a, plus does to += x a.
func (g *loops) times(x float64, a, to vec) { g.op(fmul, a, f(x), to) }
func (g *loops) plus(x float64, a, to vec)  { g.addProduct(a, f(x), to) }

// both puts the sum of two vectors and their difference, the rows of a point and of its negative.
func (g *loops) both(i int, even, odd, spare vec, put func(i int, v vec)) {
	g.op(fadd, even, odd, spare)
	put(i, spare)
	g.op(fsub, even, odd, even)
	put(i+1, even)
}

// evaluatePixels multiplies by the matrix of WinogradInput.
func (g *loops) evaluatePixels(put func(i int, v vec)) {
	const x, even, odd = vec(6), vec(7), vec(8)
	outer := func(i int) { // the rows of 0 and of infinity
		g.copy(vec(4+i), x)
		g.plus(pointA*pointA*pointB*pointB, vec(i), x)
		g.plus(-(pointA*pointA + pointB*pointB), vec(2+i), x)
		put(5*i, x)
	}
	outer(0)
	for i, p := range []float64{pointA, pointB} {
		q := pointA * pointB / p
		g.copy(vec(4), even)
		g.plus(-q*q, vec(2), even)
		g.times(p, vec(3), odd)
		g.plus(-p*q*q, vec(1), odd)
		g.both(1+2*i, even, odd, x, put)
	}
	outer(1)
}

// evaluateTaps multiplies by that of WinogradKernel, which has 3 columns, or WinogradGradient, which has 4.
func (g *loops) evaluateTaps(n int, put func(i int, v vec)) {
	const x, even, odd = vec(6), vec(7), vec(8)
	g.times(1/(pointA*pointA*pointB*pointB), vec(0), x)
	put(0, x)
	for i, p := range []float64{pointA, pointB} {
		q := pointA * pointB / p
		scale := 2 * p * p * (p*p - q*q)
		g.times(1/scale, vec(0), even)
		g.plus(p*p/scale, vec(2), even)
		g.times(p/scale, vec(1), odd)
		if n == 4 {
			g.plus(p*p*p/scale, vec(3), odd)
		}
		g.both(1+2*i, even, odd, x, put)
	}
	put(5, vec(n-1))
}

// interpolate multiplies by that of WinogradOutput, which has 4 rows, or WinogradTaps, which has 3.
func (g *loops) interpolate(rows int, put func(i int, v vec)) {
	const evenA, oddA, evenB, oddB, x = vec(6), vec(7), vec(8), vec(9), vec(10)
	g.op(fadd, vec(1), vec(2), evenA)
	g.op(fsub, vec(1), vec(2), oddA)
	g.op(fadd, vec(3), vec(4), evenB)
	g.op(fsub, vec(3), vec(4), oddB)
	g.op(fadd, vec(0), evenA, x)
	g.op(fadd, x, evenB, x)
	put(0, x)
	a, b := 1.0, 1.0
	for i := 1; i < rows; i++ {
		a, b = a*pointA, b*pointB
		s, t := evenA, evenB
		if i%2 == 1 {
			s, t = oddA, oddB
		}
		g.times(a, s, x)
		g.plus(b, t, x)
		if i == rows-1 {
			g.op(fadd, x, vec(5), x)
		}
		put(i, x)
	}
}
