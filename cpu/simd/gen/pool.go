package main

import "fmt"

// pixels makes a loop over w pixels and, within, over vectors of their first n channels; c is the channels. ax is the
// channel, r8 the pixel of the pooled row, r9 its places, r10 to r13 those of its window, all of which move on, and dx
// 4c. A set that has no masked stores of bytes takes n without a rest.
func (g *loops) pixels(rows string, body func()) {
	set := g.traits()
	g.keep(body)
	g.param("pooled", r8)
	g.param("at", r9)
	g.param(rows, r10)
	g.param("c", dx)
	g.shiftLeft(2, dx)
	g.param("row", r12)
	g.shiftLeft(2, r12)
	g.add(r10, r12)
	g.addScaled(r10, dx, 1, r11)
	g.addScaled(r12, dx, 1, r13)
	g.param("w", si)
	g.param("at", di)
	g.label("pixel")
	g.immediate(0, ax)
	g.param("n", cx)
	g.whole(ax, set.lanes, body)
	if set.bytesRest {
		g.rest(false, "next", ax, 1, body)
	}
	g.add(dx, r8)
	g.addParam("c", r9)
	for i := r10; i <= r13; i++ {
		g.addScaled(i, dx, 2, i)
	}
	g.countTo(-1, si, nonzero, "pixel")
	g.end()
}

func (g *loops) pool() {
	window := func(k int) place { return place{base: r10 + general(k), index: ax, scale: 4} }
	const best, found, x, spare, spare2 = vec(0), vec(1), vec(2), vec(3), vec(4)
	pooled := place{base: r8, index: ax, scale: 4}
	places := place{base: r9, index: ax, scale: 1}

	g.function("takes the maxima of windows of 2 by 2, of n of their c channels; at may be nil.", "maxPool", "pooled *float32, at *byte, src *float32, row, w, c, n int")
	g.pixels("src", func() {
		g.load(window(0), best)
		g.clear(found)
		for k := 1; k < 4; k++ {
			g.load(window(k), x)
			g.compare(notAtMost, x, best, spare)
			g.alsoCompare(ordered, best, best, spare, spare2)
			g.choose(spare, x, best)
			g.choose(spare, constant{uint32(k)}, found)
		}
		g.store(best, pooled)
		label := fmt.Sprintf("noplace%t", g.partial())
		g.test(di, zero, label)
		g.storeBytes(found, places, x)
		g.label(label)
	})

	g.function("gives each of n of c channels of windows of 2 by 2 its gradient where it was the maximum, else 0.", "unpool", "dst *float32, row int, pooled *float32, at *byte, w, c, n int")
	g.pixels("dst", func() {
		g.load(pooled, best)
		g.loadBytes(places, found)
		for k := range 4 {
			g.compare(sameBits, found, constant{uint32(k)}, x)
			g.chooseElse0(x, best, x)
			g.store(x, window(k))
		}
	})

	set := g.traits()
	g.function("does dst = src/255; n is a number of vectors.", "pixels", "dst *float32, src *byte, n int")
	g.param("dst", r8)
	g.param("src", r9)
	g.param("n", cx)
	g.copy(f(255), x)
	g.label("loop")
	g.loadBytes(at(r9, 0), best)
	g.toFloat(best, best)
	g.op(fdiv, best, x, best)
	g.store(best, at(r8, 0))
	g.countTo(set.bytes, r8, never, "")
	g.countTo(set.lanes, r9, never, "")
	g.countTo(-set.lanes, cx, nonzero, "loop")
	g.end()
}
