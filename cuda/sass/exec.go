package sass

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/convae/convae/cuda/driver"
)

// executor runs the blocks of a launch.
type executor struct {
	k   *Kernel
	l   *Launch
	c0  []byte // constant bank 0
	mem *memory
	buf [6]lanes
	out lanes
	// what the last instruction did to memory
	access     access
	bulk       *bulk  // the copy that it started
	prefetched uint64 // the tensor map that it asked for
	completes  bool   // it completed a phase of an mbarrier
	arrives    bool   // it arrived at a barrier of the block without waiting there

	tensors map[[mapBytes]byte]*driver.Tiled
}

// access is the addresses of a warp's load or store.
type access struct {
	mask          uint32
	addr          [32]uint64
	width         int
	store, shared bool
}

const (
	paramBase      = 0x210   // where parameters begin in constant bank 0 from sm_90 on
	paramAddress   = 0x198   // where it has their address, as of memory
	constantWindow = 1 << 56 // the address of bank 0, as of memory
)

func newExecutor(k *Kernel, l *Launch, mem *memory) *executor {
	x := &executor{k: k, l: l, mem: mem, c0: make([]byte, paramBase+k.paramsEnd(len(l.Params))+8)}
	for i, v := range []int{l.Block.X, l.Block.Y, l.Block.Z, l.Grid.X, l.Grid.Y, l.Grid.Z} {
		binary.LittleEndian.PutUint32(x.c0[4*i:], uint32(v))
	}
	binary.LittleEndian.PutUint64(x.c0[paramAddress:], constantWindow+paramBase)
	k.placeParams(x.c0[paramBase:], l.Params)
	return x
}

// block makes a block by its number.
func (x *executor) block(i int) *block {
	g, t := x.l.Grid, x.l.Block.X*x.l.Block.Y*x.l.Block.Z
	b := &block{x: i % g.X, y: i / g.X % g.Y, z: i / g.X / g.Y, shared: make([]byte, x.k.Shared+x.l.Shared)}
	for j := range b.shared {
		b.shared[j] = 0xff
	}
	for n := 0; 32*n < t; n++ {
		b.warps = append(b.warps, newWarp(b, n, t, x.k.Registers, x.k.most))
	}
	return b
}

// fault is what ends a launch.
type fault struct{ err error }

func fail(format string, a ...any) { panic(fault{fmt.Errorf(format, a...)}) }

// caught turns a fault into an error that names what was run.
func caught(name string, err *error) {
	switch r := recover().(type) {
	case nil:
	case fault:
		*err = fmt.Errorf("sass: %s: %w", name, r.err)
	default:
		*err = fmt.Errorf("sass: %s: %v", name, r)
	}
}

const maxSteps = 1 << 30 // instructions of a warp between two barriers

// maxPolls is how often in a row warps may ask for a phase that is not complete, or for registers.
const maxPolls = 1 << 18

// run executes a whole block, each warp for as long as it can. Copies land when nothing else can go on, so that what does not wait for them is
// without their bytes.
func (x *executor) run(b *block) {
	var copies []*bulk
	for polls := 0; ; polls++ {
		for _, w := range b.warps {
			for n := 0; w.runs(); n++ {
				x.step(w)
				if x.bulk != nil {
					copies = append(copies, x.bulk)
				}
				if x.completes {
					x.wake(b, func(*warp, *Inst) {})
				}
				if x.arrives || w.atBar || w.done {
					x.open(b)
				}
				if n == maxSteps {
					fail("a warp does not end")
				}
				if w.polled {
					break
				}
			}
		}
		switch {
		case b.ended():
			b.checkEnd()
			return
		case slices.ContainsFunc(b.warps, func(w *warp) bool { return w.runs() && !w.polled }): // woken by a later one
		case len(copies) > 0:
			completes, err := copies[0].land(x.mem)
			if err != nil {
				fail("%w", err)
			}
			if completes {
				x.wake(b, func(*warp, *Inst) {})
			}
			copies, polls = copies[1:], 0
		case !b.runs():
			fail("%s", b.stuck())
		case polls > maxPolls:
			fail("warps of block %d,%d,%d ask for ever for the end of a phase, or for registers", b.x, b.y, b.z)
		}
	}
}

// wake lets lanes go on whose phase is complete.
func (x *executor) wake(b *block, woken func(*warp, *Inst)) {
	if err := b.wake(woken); err != nil {
		fail("%w", err)
	}
}

// open lets warps pass the block's barriers at which all have arrived.
func (x *executor) open(b *block) {
	list, err := b.open()
	for _, w := range list {
		if err == nil {
			err = w.pass()
		}
	}
	if err != nil {
		fail("%w", err)
	}
}

// step executes one instruction of a warp.
func (x *executor) step(w *warp) {
	pc := w.groups[w.cur].pc
	if pc >= len(x.k.Code) {
		fail("the code ended")
	}
	in := &x.k.Code[pc]
	x.access.mask = 0
	x.bulk, x.prefetched, x.completes, x.arrives, w.polled = nil, 0, false, false, false
	ex := w.guardMask(in)
	if in.op.flow != nil {
		in.op.flow(x, w, in, ex)
	} else {
		if ex != 0 {
			in.op.exec(x, w, in, ex)
		}
		w.groups[w.cur].pc++
	}
	if err := w.settle(); err != nil {
		fail("%w", err)
	}
}

// raw returns an operand's values without its modifiers.
func (x *executor) raw(w *warp, o *operand, n int) *lanes {
	var v uint32
	b := &x.buf[n]
	switch o.kind {
	case kindReg:
		if o.r != rz {
			return &w.regs[o.r]
		}
	case kindUniform:
		if o.ur != urz {
			v = w.ur[o.ur]
		}
	case kindImm, kindTarget:
		v = o.imm
	case kindConst:
		if o.r != rz {
			for l := range b {
				b[l] = x.constant(o.bank, int64(w.regs[o.r][l])+o.off)
			}
			return b
		}
		v = x.constant(o.bank, o.off)
	default:
		fail("operand %s has no value", o.name)
	}
	for l := range b {
		b[l] = v
	}
	return b
}

// constant reads a word of a constant bank. Lanes that do not take part may have any address.
func (x *executor) constant(bank int, off int64) uint32 {
	b := x.c0
	if bank == 2 {
		b = x.k.table
	}
	if off < 0 || off+4 > int64(len(b)) {
		return 0xdeadc0de
	}
	return binary.LittleEndian.Uint32(b[off:])
}

// ints returns an operand's values as integers.
func (x *executor) ints(w *warp, o *operand, n int) *lanes {
	v := x.raw(w, o, n)
	if !o.neg && !o.inv {
		return v
	}
	b := &x.buf[n]
	for l := range b {
		u := v[l]
		if o.inv {
			u = ^u
		}
		if o.neg {
			u = -u
		}
		b[l] = u
	}
	return b
}

// floats returns an operand's bits as floats.
func (x *executor) floats(w *warp, o *operand, n int) *lanes {
	v := x.raw(w, o, n)
	if !o.neg && !o.abs {
		return v
	}
	b := &x.buf[n]
	for l := range b {
		u := v[l]
		if o.abs {
			u &^= 1 << 31
		}
		if o.neg {
			u ^= 1 << 31
		}
		b[l] = u
	}
	return b
}

// high returns the upper words of an operand of 64 bits.
func (x *executor) high(w *warp, o *operand, n int) *lanes {
	h := *o
	switch {
	case o.kind == kindReg && o.r != rz:
		h.r++
	case o.kind == kindUniform && o.ur != urz:
		h.ur++
	case o.kind == kindConst:
		h.off += 4
	case o.kind == kindImm:
		h.imm = 0
	}
	return x.raw(w, &h, n)
}

// put writes a register for the lanes of ex. A uniform register takes the value of the first.
func (w *warp) put(o *operand, v *lanes, ex uint32, next int) {
	if o.kind == kindUniform {
		if o.ur != urz {
			w.ur[o.ur+next] = v[bits.TrailingZeros32(ex)]
		}
		return
	}
	if o.r == rz {
		return
	}
	d := &w.regs[o.r+next]
	if ex == ^uint32(0) {
		*d = *v
		return
	}
	for m := ex; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		d[l] = v[l]
	}
}

func float(u uint32) float32  { return math.Float32frombits(u) }
func bitsOf(f float32) uint32 { return math.Float32bits(f) }
