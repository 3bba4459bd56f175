package main

import (
	"fmt"
	"math"
)

// loops writes the loops of an instruction set: each is defined once, of operations that the set spells.
type loops struct{ set }

// set is an instruction set: how it spells the operations of loops. What they make is put last, and may be an operand too.
//
// Operations leave the vectors 0 to 15 alone, but for 13 in code for parts of vectors.
type set interface {
	// traits tells what the set is.
	traits() isa
	function(doc, name, params string)
	end()

	// Of general registers. Where something is compared with 0, the code goes on at a label if that is so.
	param(name string, to general)
	param32(name string, to general)
	immediate(x int, to general)
	move(from, to general)
	add(a, to general)
	addParam(name string, to general)
	addScaled(a, b general, scale int, to general) // to = a + scale b
	shiftLeft(bits int, r general)
	label(name string)
	countTo(by int, r general, if0 condition, to string) // r += by
	andTo(mask int, r general, if0 condition, to string) // r &= mask
	test(r general, if0 condition, to string)
	equal(r general, with int, to string) // whether r is that

	// Of vectors. In the code that rest and masked make, load and store move the lanes that there are alone, and load sets the others to zero.
	load(from place, to vec)
	store(from vec, to place)
	prefetch(at place)             // of whole vectors alone
	broadcast(name string, to vec) // of a parameter
	clear(v vec)
	spread(from general, to vec) // the lower 32 bits to all elements
	copy(from operand, to vec)
	op(o op, a vec, b operand, to vec) // to = o(a, b)
	sqrt(a, to vec)
	shift(s shift, bits int, a, to vec)
	toFloat(a, to vec) // of int32

	// Fused, rounded once.
	addProduct(a vec, b operand, to vec)            // to += a b
	subProduct(a vec, b operand, to vec)            // to -= a b
	productMinus(a vec, b operand, to vec)          // to = a b - to
	scaleAdd(by vec, c operand, to vec)             // to = to by + c
	polynomial(x, to vec, coefficients ...constant) // to = ((c[0] x + c[1]) x + ...)

	// compare makes the mask of the lanes where a and b are so, in m unless masks have a register of their own, which is one, and alsoCompare leaves it those
	// of its lanes where they are so; spare is lost. choose does to = from in its lanes, and chooseElse0 sets the others to 0.
	compare(r relation, a vec, b operand, m vec)
	alsoCompare(r relation, a vec, b operand, m, spare vec)
	choose(m vec, from operand, to vec)
	chooseElse0(m, from, to vec)

	// Of bytes, as many as a vector has elements, which become uint32, and the reverse, in which from and spare are lost.
	loadBytes(from place, to vec)
	storeBytes(from vec, to place, spare vec)

	// mulWords makes the lower and the upper words of the products of words. Where they are the lower halves of 64-bit elements, the upper ones are lost.
	mulWords(a vec, b operand, low, high vec)

	// Of float64: widen makes two vectors of x, and total adds the elements of a and b to {total} and ends the function.
	widen(x, low, high vec)
	addSquares64(a, to vec) // to += a a, fused
	total(a, b vec)

	// Of parts of vectors. lanesLeft makes the mask of the first cx lanes, if the set has masks, and bx is lost; masked makes code for its lanes.
	// rest makes code for what whole has left, by a mask, which is there already if known says so and ax is the lanes, or, without masks, an
	// element at a time, after which step is added to at. It ends at done.
	lanesLeft()
	masked(f func())
	partial() bool // whether code is made for a part of a vector
	only(v vec)    // sets lanes that do not count to zero
	rest(known bool, done string, at general, step int, body func())

	// keep has the constants of body, which comes next, in registers, if the set has any to spare.
	keep(body func())
}

// isa is what loops ask about an instruction set.
type isa struct {
	name      string
	lanes     int
	bytes     int  // of a vector
	masks     bool // whether a part of a vector can be moved at once; else its elements are moved one by one
	bytesRest bool // whether rest can move bytes
	halves    bool // whether mulWords takes the lower halves of 64-bit elements alone, not all elements of 32 bits
}

// vec is a vector register.
type vec int

// operand is a vec, a constant or a place.
type operand any

// constant is the bits of the elements of a vector, again and again.
type constant []uint32

// f is a constant of one number.
func f(x float64) constant { return constant{math.Float32bits(float32(x))} }

func (c constant) name() string {
	name := "u"
	for _, b := range c {
		name += fmt.Sprintf("_%x", b)
	}
	return name
}

// place is a vector in memory, at base + offset + scale*index; scale 0 is for no index.
type place struct {
	base   general
	offset int
	index  general
	scale  int
}

// at is a place without an index.
func at(base general, offset int) place { return place{base: base, offset: offset} }

// general is a register of addresses and numbers.
type general int

const (
	ax general = iota
	bx
	cx
	dx
	si
	di
	r8
	r9
	r10
	r11
	r12
	r13
	r14
	r15
)

// condition compares a number with 0.
type condition int

const (
	zero condition = iota
	nonzero
	negative
	notNegative
	never
)

// op is an operation of two vectors.
type op int

const (
	fadd op = iota
	fsub
	fmul
	fdiv
	fmax // NaN if b is NaN
	fmin // likewise
	and
	or
	xor
	iadd
	fadd64
	fsub64
	// Of each 16 bytes: the lower or upper elements of a and b by turns.
	zipLow
	zipHigh
	zipLow64
	zipHigh64
)

// shift is a shift of all elements by a number of bits.
type shift int

const (
	left shift = iota
	right
	rightSigned
	left64 // of elements of 64 bits
)

// relation is between two numbers.
type relation int

const (
	greater relation = iota
	less
	atLeast
	notAtMost // greater, or one of them is NaN
	ordered   // none is NaN
	sameBits
)

// all writes them.
func (g *loops) all() {
	g.vector()
	g.act()
	g.loss()
	g.optim()
	g.pool()
	g.norm()
	g.random()
	g.winograd()
}

// elements makes a loop over the {n} elements of slices whose first elements r8, r9 and so on point to: body makes the
// code for a vector of each. si is how many bytes are done.
func (g *loops) elements(body func()) {
	g.keep(body)
	g.immediate(0, si)
	g.param("n", cx)
	g.whole(si, g.traits().bytes, body)
	g.rest(false, "done", si, 4, body)
}

// whole makes a loop over the whole vectors of cx elements: body makes the code of one, after which step is added to at. cx becomes less than 0, by
// how many elements another lacks. It ends at the label part.
func (g *loops) whole(at general, step int, body func()) {
	lanes := g.traits().lanes
	g.countTo(-lanes, cx, negative, "part")
	g.label("whole")
	body()
	g.countTo(step, at, never, "")
	g.countTo(-lanes, cx, notNegative, "whole")
	g.label("part")
}

// slice is where a vector of slice i of elements is.
func slice(i int) place { return place{base: r8 + general(i), index: si, scale: 1} }

// get and put move a vector of slice i of elements, and ahead fetches what it has further on.
func (g *loops) get(i int, to vec)   { g.load(slice(i), to) }
func (g *loops) put(from vec, i int) { g.store(from, slice(i)) }
func (g *loops) ahead(i int) {
	p := slice(i)
	p.offset = 2048
	g.prefetch(p)
}

// when does to = from in the lanes where a and b are so; spare is lost.
func (g *loops) when(r relation, a vec, b operand, from, to, spare vec) {
	g.compare(r, a, b, spare)
	g.choose(spare, from, to)
}

// polynomial is that of the set.
func (g *loops) polynomial(x, to vec, coefficients ...float64) {
	c := make([]constant, len(coefficients))
	for i, x := range coefficients {
		c[i] = f(x)
	}
	g.set.polynomial(x, to, c...)
}

// pointers loads parameters into r8, r9 and so on.
func (g *loops) pointers(names ...string) {
	for i, n := range names {
		g.param(n, r8+general(i))
	}
}
