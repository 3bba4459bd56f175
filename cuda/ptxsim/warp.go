package ptxsim

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// full is the mask of all lanes.
const full = ^uint32(0)

// group is a set of lanes that wait to run from pc.
type group struct {
	pc   int32
	mask uint32
	wait bool // at an instruction that needs other lanes
}

type warpState uint8

const (
	warpRuns warpState = iota
	warpWaits
	warpDone
)

// warp runs the lanes of a warp. Lanes that stand at one instruction are a group and run together; of several groups the one
// with the lowest pc runs, so that they meet again behind a branch.
type warp struct {
	base    unsafe.Pointer // register file
	mask    uint32         // lanes of the running group
	live    uint32         // lanes that have not left
	born    uint32         // lanes that there are
	dead    uint32         // ^live: nobody reads their registers
	pc      int32
	others  []group
	block   *block
	id      int32
	state   warpState
	carry   uint32 // carry flag of the lanes
	barID   uint32
	barN    uint32 // threads of the barrier, 0: the block
	clock   [32]uint32
	local   []byte
	written []uint8  // bytes of local that are
	copies  []copyOp // cp.async under way
	groups  [32]int32

	products     []wgmmaOp // wgmma under way
	accumulators []accumulator
	committed    int32  // groups of wgmma
	fenced       bool   // a wgmma.fence orders the registers
	fences       uint32 // fence.proxy.async executed
	initFences   uint32 // fence.mbarrier_init
	seen         phases
	wait         waiting // the last wait for an mbarrier that was in vain
	spins        bool    // nothing has come of its turn but that

	file  []uint64
	slice uint64 // instructions until other warps have a turn
	steps uint64
	old   [32]uint64
}

func (w *warp) u32(o int32) *[32]uint32 { return (*[32]uint32)(unsafe.Add(w.base, uintptr(uint32(o)))) }
func (w *warp) s32(o int32) *[32]int32  { return (*[32]int32)(unsafe.Add(w.base, uintptr(uint32(o)))) }
func (w *warp) f32(o int32) *[32]float32 {
	return (*[32]float32)(unsafe.Add(w.base, uintptr(uint32(o))))
}
func (w *warp) u64(o int32) *[32]uint64 { return (*[32]uint64)(unsafe.Add(w.base, uintptr(uint32(o)))) }
func (w *warp) s64(o int32) *[32]int64  { return (*[32]int64)(unsafe.Add(w.base, uintptr(uint32(o)))) }
func (w *warp) f64(o int32) *[32]float64 {
	return (*[32]float64)(unsafe.Add(w.base, uintptr(uint32(o))))
}
func (w *warp) p(o int32) *uint32 { return (*uint32)(unsafe.Add(w.base, uintptr(uint32(o)))) }

// turn is the number of instructions that a warp runs before others have a turn, which lets a warp wait for what another
// writes.
const turn = 1 << 20

// run executes until the warp waits at a barrier, has no lanes left, or has had its turn.
//
//go:norace
func (w *warp) run() {
	code := w.block.prog.code
	pc, mask := w.pc, w.mask
	start := pc
	w.slice, w.spins = turn, false
	for {
		in := &code[pc]
		pc++
		m := mask
		if in.pred != 0 {
			p := *w.p(in.pred)
			if in.not {
				p = ^p
			}
			m &= p
			if m == 0 && in.kind < kindBra {
				continue
			}
		}
		switch in.kind {
		case kindSelf:
			in.fn(w, in, m)
		case kindALU32:
			if m|w.dead == full {
				in.fn(w, in, m)
			} else {
				d := w.u32(in.d)
				o := *d
				in.fn(w, in, m)
				for k := ^m; k != 0; k &= k - 1 {
					i := bits.TrailingZeros32(k) & 31
					d[i] = o[i]
				}
			}
		case kindALU64:
			if m|w.dead == full {
				in.fn(w, in, m)
			} else {
				d := w.u64(in.d)
				w.old = *d
				in.fn(w, in, m)
				for k := ^m; k != 0; k &= k - 1 {
					i := bits.TrailingZeros32(k) & 31
					d[i] = w.old[i]
				}
			}
		case kindLabel:
			if len(w.others) != 0 {
				w.count(start, pc, mask)
				w.others = append(w.others, group{pc: pc - 1, mask: mask})
				w.schedule()
				mask, start = w.mask, w.pc
				if w.pc == pc-1 {
					start = pc
				}
				pc = start
			}
		case kindBra:
			w.count(start, pc, mask)
			switch rest := mask &^ m; {
			case m == 0:
			case rest == 0:
				pc = in.target
			default:
				w.others = append(w.others, group{pc: pc, mask: rest})
				pc, mask = in.target, m
			}
			if len(w.others) != 0 {
				w.others = append(w.others, group{pc: pc, mask: mask})
				w.schedule()
				pc, mask = w.pc, w.mask
			}
			start = pc
			if w.slice == 0 {
				w.pc, w.mask = pc, mask
				if w.spins && len(w.others) != 0 {
					w.rotate()
				}
				return
			}
		case kindExit:
			w.count(start, pc, mask)
			w.live &^= m
			w.dead = ^w.live
			for i := range w.others { // some may have waited for these lanes
				w.others[i].wait = false
			}
			if mask &^= m; mask != 0 {
				w.others = append(w.others, group{pc: pc, mask: mask})
			}
			if len(w.others) == 0 {
				w.state = warpDone
				return
			}
			w.schedule()
			pc, mask = w.pc, w.mask
			start = pc
		case kindSync:
			late := w.sync(in, m)
			if late == 0 {
				continue
			}
			w.count(start, pc-1, mask)
			w.others = append(w.others, group{pc: pc - 1, mask: late, wait: true})
			if mask &^= late; mask != 0 {
				w.others = append(w.others, group{pc: pc, mask: mask})
			}
			w.schedule()
			pc, mask = w.pc, w.mask
			start = pc
		case kindBar:
			if w.live&^m != 0 {
				w.count(start, pc-1, mask)
				w.others = append(w.others, group{pc: pc - 1, mask: mask, wait: true})
				w.schedule()
				pc, mask = w.pc, w.mask
				start = pc
				continue
			}
			w.count(start, pc, mask)
			w.pc, w.mask = pc, mask
			start = pc
			if w.arrive(in, m) {
				return
			}
		}
	}
}

// sync runs an instruction for the lanes whose members are all here, and returns the other lanes of m.
//
//go:norace
func (w *warp) sync(in *inst, m uint32) uint32 {
	c := w.u32(in.c)
	if c[bits.TrailingZeros32(m)] == full && m == w.live {
		in.fn(w, in, m)
		return 0
	}
	var late uint32
	for rest := m; rest != 0; {
		lane := bits.TrailingZeros32(rest)
		members := c[lane] & w.live
		if members>>lane&1 == 0 {
			w.fault(in, lane, DivergentSync, 0, fmt.Sprintf("the thread is not among the members %08x", c[lane]))
		}
		here := members & m
		for k := here; k != 0; k &= k - 1 {
			if i := bits.TrailingZeros32(k); c[i] != c[lane] {
				w.fault(in, i, DivergentSync, 0, fmt.Sprintf("the members are %08x here and %08x in lane %d", c[i], c[lane], lane))
			}
		}
		if here == members {
			in.fn(w, in, here)
		} else {
			late |= here
		}
		rest &^= here
	}
	return late
}

// count notes that the lanes of mask ran the instructions from start to end.
//
//go:norace
func (w *warp) count(start, end int32, mask uint32) {
	b := w.block
	n := uint64(end - start)
	lanes := int64(bits.OnesCount32(mask))
	b.runs[start].lanes += lanes
	b.runs[end].lanes -= lanes
	b.runs[start].warps++
	b.runs[end].warps--
	w.slice -= min(w.slice, n+1)
	if w.steps += n + 1; w.steps > b.limit {
		w.fault(&b.prog.code[start], bits.TrailingZeros32(mask), Endless, 0, fmt.Sprintf("a warp has run more than %d instructions", b.limit))
	}
}

// schedule merges groups at the same pc and makes the one with the lowest pc that does not wait the running one.
//
//go:norace
func (w *warp) schedule() {
	g := w.others
	for i := 0; i < len(g); i++ {
		for j := i + 1; j < len(g); {
			if g[j].pc == g[i].pc {
				g[i].mask |= g[j].mask
				g[i].wait = false // look at the member mask anew
				g[j] = g[len(g)-1]
				g = g[:len(g)-1]
			} else {
				j++
			}
		}
	}
	best := -1
	for i := range g {
		if !g[i].wait && (best < 0 || g[i].pc < g[best].pc) {
			best = i
		}
	}
	if best < 0 {
		w.stuck(g)
	}
	w.pc, w.mask = g[best].pc, g[best].mask
	g[best] = g[len(g)-1]
	w.others = g[:len(g)-1]
}

// rotate lets another group of lanes run than the one that waits in vain: the next one that may, by its pc.
func (w *warp) rotate() {
	best := -1
	for i, g := range w.others {
		if !g.wait && (best < 0 || uint32(g.pc-w.pc-1) < uint32(w.others[best].pc-w.pc-1)) {
			best = i
		}
	}
	if best >= 0 {
		g := &w.others[best]
		w.pc, w.mask, g.pc, g.mask = g.pc, g.mask, w.pc, w.mask
		if w.block.prog.code[w.pc].kind == kindLabel { // where the group with the lowest pc would run again
			w.pc++
		}
	}
}

// stuck reports lanes that wait for each other at different instructions.
func (w *warp) stuck(g []group) {
	in := &w.block.prog.code[g[0].pc]
	kind := DivergentSync
	for _, o := range g {
		if w.block.prog.code[o.pc].kind == kindBar {
			kind = DivergentBarrier
			in = &w.block.prog.code[o.pc]
		}
	}
	msg := ""
	for _, o := range g {
		msg += fmt.Sprintf("; lanes %08x at line %d", o.mask, w.block.prog.code[o.pc].line)
	}
	w.fault(in, bits.TrailingZeros32(g[0].mask), kind, 0, "lanes of a warp wait for each other"+msg)
}

//go:norace
func (w *warp) setp(in *inst, m, r uint32) {
	if in.mode != 0 {
		c := *w.p(in.c)
		if in.inv {
			c = ^c
		}
		n := ^r
		switch in.mode {
		case logicAnd:
			r, n = r&c, n&c
		case logicOr:
			r, n = r|c, n|c
		case logicXor:
			r, n = r^c, n^c
		}
		if in.e != 0 {
			q := w.p(in.e)
			*q = *q&^m | n&m
		}
	} else if in.e != 0 {
		q := w.p(in.e)
		*q = *q&^m | ^r&m
	}
	p := w.p(in.d)
	*p = *p&^m | r&m
}

func quads(v *[32]float32) *[8][4]float32 { return (*[8][4]float32)(unsafe.Pointer(v)) }
