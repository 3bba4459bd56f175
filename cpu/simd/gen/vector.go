package main

import "fmt"

func (g *loops) vector() {
	const x, y, z = vec(0), vec(1), vec(2)
	g.function("does dst = a + b.", "sum", "dst, a, b *float32, n int")
	g.pointers("dst", "a", "b")
	g.elements(func() {
		g.ahead(1)
		g.ahead(2)
		g.get(1, x)
		g.get(2, y)
		g.op(fadd, x, y, x)
		g.put(x, 0)
	})
	g.end()

	g.function("does dst = a b.", "times", "dst, a, b *float32, n int")
	g.pointers("dst", "a", "b")
	g.elements(func() {
		g.get(1, x)
		g.get(2, y)
		g.op(fmul, x, y, x)
		g.put(x, 0)
	})
	g.end()

	g.function("does dst += a b.", "addTimes", "dst, a, b *float32, n int")
	g.pointers("dst", "a", "b")
	g.elements(func() {
		g.get(1, x)
		g.get(2, y)
		g.op(fmul, x, y, x)
		g.get(0, y)
		g.op(fadd, y, x, x)
		g.put(x, 0)
	})
	g.end()

	g.function("does dst += alpha*src.", "axpy", "dst, src *float32, n int, alpha float32")
	g.pointers("dst", "src")
	g.broadcast("alpha", z)
	g.elements(func() {
		g.get(1, x)
		g.op(fmul, x, z, x)
		g.get(0, y)
		g.op(fadd, y, x, x)
		g.put(x, 0)
	})
	g.end()

	g.channels()
	g.columns()
}

// channels makes a loop over w pixels and, within, over vectors of n of their channels. r8 and r9 are the pixels, r10 and r11 their strides, si the
// bytes that are done of a pixel, dx the pixels left, and ax the elements of the last vector unless it is whole.
func (g *loops) channels() {
	lanes, bytes := g.traits().lanes, g.traits().bytes
	g.function("copies n elements of w pixels; strides are in bytes.", "channels", "dst *float32, ds uintptr, src *float32, ss uintptr, w, n int")
	g.param("dst", r8)
	g.param("ds", r10)
	g.param("src", r9)
	g.param("ss", r11)
	g.param("w", dx)
	g.param("n", cx)
	g.andTo(lanes-1, cx, never, "")
	g.move(cx, ax)
	g.lanesLeft()
	const x = vec(0)
	g.label("pixel")
	g.immediate(0, si)
	g.param("n", cx)
	copied := func() {
		g.get(1, x)
		g.put(x, 0)
	}
	g.whole(si, bytes, func() {
		g.ahead(0)
		g.ahead(1)
		copied()
	})
	g.rest(true, "next", si, 4, copied)
	g.add(r10, r8)
	g.add(r11, r9)
	g.countTo(-1, dx, nonzero, "pixel")
	g.end()
}

// columns makes loops over h rows of w pixels, a loop for each number of vectors of columns. si and di are a row and a pixel of src, r8 and r9 their strides.
func (g *loops) columns() {
	set := g.traits()
	most := 64 / set.lanes
	g.function("adds up to 64 columns of pixels; strides are in bytes, vectors is n in vectors, or, of a set without masks, 0 for one column.", "columns", "dst, src *float32, h int, sh uintptr, w int, sw uintptr, vectors, n int")
	g.param("src", si)
	g.param("sh", r8)
	g.param("sw", r9)
	g.param("h", r10)
	g.param("dst", dx)
	if set.masks {
		g.param("n", cx)
		g.andTo(set.lanes-1, cx, nonzero, "lanes")
		g.immediate(set.lanes, cx)
		g.label("lanes")
		g.lanesLeft()
	}
	g.param("vectors", ax)
	if !set.masks {
		g.equal(ax, 0, "vectors0")
	}
	for n := most; n > 1; n-- {
		g.equal(ax, n, fmt.Sprint("vectors", n))
	}
	for n := 1; n <= most; n++ {
		g.columnsOf(n, n, set.masks)
	}
	if !set.masks {
		g.columnsOf(0, 1, true)
	}
}

// columnsOf is columns of n vectors, of the last of which only a part counts if part says so.
func (g *loops) columnsOf(name, n int, part bool) {
	const x = vec(15)
	each := func(base general, f func(acc vec, at place, part bool)) {
		for v := range n {
			p := at(base, v*g.traits().bytes)
			if part && v == n-1 {
				g.masked(func() { f(vec(v), p, true) })
			} else {
				f(vec(v), p, false)
			}
		}
	}
	row, pixel := fmt.Sprint("row", name), fmt.Sprint("pixel", name)
	g.label(fmt.Sprint("vectors", name))
	each(dx, func(acc vec, at place, part bool) { g.load(at, acc) })
	g.label(row)
	g.param("w", cx)
	g.move(si, di)
	g.label(pixel)
	each(di, func(acc vec, at place, part bool) {
		if part {
			g.load(at, x)
			g.op(fadd, acc, x, acc)
		} else {
			g.op(fadd, acc, at, acc)
		}
	})
	g.add(r9, di)
	g.countTo(-1, cx, nonzero, pixel)
	g.add(r8, si)
	g.countTo(-1, r10, nonzero, row)
	each(dx, func(acc vec, at place, part bool) { g.store(acc, at) })
	g.end()
}
