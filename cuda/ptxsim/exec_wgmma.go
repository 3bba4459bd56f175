package ptxsim

import (
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"unsafe"
)

// wgmma multiplies matrices of four warps, a warpgroup: d of 64 x N, to which the products of a of 64 x K and b of K x N are added. K is
// 32 bytes of elements. b, and a if it is in no registers, is read from shared memory while the warps go on, so what was written there by
// ordinary instructions has to be fenced (fence.proxy.async), and neither it nor d may be touched before wgmma.wait_group. The warps need
// not be at the same instruction at the same time, and each computes its own 16 rows of d; that all four execute the same instructions
// is checked.

// wgmmaOp is a wgmma.mma_async of a warp. It reads and lands only when the warp waits for it, so that a missing wait shows.
type wgmmaOp struct {
	in    *inst
	group int32 // 0: not yet committed
	a, b  layout
	regs  [4][32]uint32 // a, if it is in registers
	add   bool          // to what d is
	sum   uint64        // of the bytes read, when it was issued
}

// accumulator is a d that operations under way add to, by its first register.
type accumulator struct {
	d []int32
	v []float32 // by register and lane
}

// warpgroup is what four warps have in common: the instructions of wgmma that the foremost of them has executed.
type warpgroup struct {
	calls []wgmmaCall
	seen  [4]int // how many each warp has executed
}

type wgmmaCall struct {
	in   *inst
	a, b uint64
}

// together checks that the warps of a group execute the same instructions with the same matrices.
func (w *warp) together(in *inst, a, b uint64) {
	if int(w.id/4) >= len(w.block.groups) {
		w.fault(in, 0, DivergentSync, 0, fmt.Sprintf("warp %d is in no warpgroup: the block has %d warps", w.id, len(w.block.warps)))
	}
	g := &w.block.groups[w.id/4]
	call := wgmmaCall{in, a, b}
	switch at := g.seen[w.id%4]; {
	case at == len(g.calls):
		g.calls = append(g.calls, call)
	case g.calls[at].in != in:
		w.fault(in, 0, DivergentSync, 0, fmt.Sprintf("another warp of the warpgroup executes line %d here", g.calls[at].in.line))
	case g.calls[at] != call:
		w.fault(in, 0, DivergentSync, 0, fmt.Sprintf("the matrices are at %#x and %#x here, at %#x and %#x in another warp of the warpgroup", a, b, g.calls[at].a, g.calls[at].b))
	}
	g.seen[w.id%4]++
}

// checkGroups reports warps that have left before others of their warpgroup.
func (b *block) checkGroups() {
	for i := range b.groups {
		g := &b.groups[i]
		for k, n := range g.seen {
			if n < len(g.calls) {
				b.warps[4*i+k].fault(g.calls[n].in, 0, DivergentSync, 0, "a warp of the warpgroup has left and never comes here")
			}
		}
	}
}

// layout is where the elements of a matrix lie in shared memory: a row of d's rows or columns by 16 bytes of k, in cores of 8 by 8 units of
// two bytes. Of a transposed matrix the 16 bytes lie along the rows.
type layout struct {
	start, leading, stride uint32
	swizzle                uint8 // 0: none; 1, 2, 3: of 32, 64, 128 bytes
	trans                  bool
}

// newLayout takes a matrix descriptor apart.
func (w *warp) newLayout(in *inst, d uint64, trans bool) layout {
	l := layout{start: uint32(d&0x3fff) << 4, leading: uint32(d>>16&0x3fff) << 4, stride: uint32(d>>32&0x3fff) << 4, swizzle: [4]uint8{0, 3, 2, 1}[d>>62], trans: trans}
	switch {
	case d>>14&3 != 0 || d>>30&3 != 0 || d>>46&7 != 0 || d>>52&0x3ff != 0:
		w.fault(in, 0, Misaligned, uint64(l.start), fmt.Sprintf("the matrix descriptor %#x has bits that are always 0", d))
	case d>>49&7 != 0:
		w.fault(in, 0, Internal, uint64(l.start), fmt.Sprintf("the matrix descriptor %#x has a base offset, which is not simulated", d))
	}
	return l
}

// unit returns the offset of 16 bytes: of row i and of the q-th half of the 32 bytes along k or, transposed, of rows 8i to 8i+7 and place q
// along k.
func (l *layout) unit(i, q uint32) uint32 {
	row := uint32(16) << l.swizzle // bytes of a row of a core, or of several side by side
	var off uint32
	switch {
	case !l.trans && l.swizzle == 0:
		off = i/8*l.stride + i%8*16 + q*l.leading
	case !l.trans:
		off = i/8*l.stride + i%8*row + q*16
	case l.swizzle == 0:
		off = i*l.stride + q%8*16 + q/8*l.leading
	default:
		side := uint32(1) << l.swizzle
		off = i%side*16 + i/side*l.leading + q%8*row + q/8*l.stride
	}
	off += l.start
	return off ^ off>>7&(uint32(1)<<l.swizzle-1)<<4
}

// rows is the number of d's rows or columns that a unit has, and of units along k that a row has.
func (l *layout) rows() (rows, units uint32) {
	if l.trans {
		return 8, 16
	}
	return 1, 2
}

// touchMatrix checks that rows first to first+n-1 of a matrix may be read, and adds the bytes there to a sum.
func (w *warp) touchMatrix(in *inst, l *layout, first, n uint32, h *maphash.Hash) {
	s := &w.block.shared
	rows, units := l.rows()
	for i := first / rows; i < (first+n)/rows; i++ {
		for q := range units {
			at := l.unit(i, q)
			if at >= s.size || s.size-at < 16 {
				w.badShared(in, 0, uint64(at), 16)
			}
			w.checkShared(in.sub, 0, at, 16)
			if w.block.checks.Race {
				w.checkProxy(in, at, 16)
			}
			h.Write(unsafe.Slice((*byte)(unsafe.Add(s.ptr, at)), 16))
		}
	}
}

// checkProxy reports bytes that ordinary instructions have written and that no fence has made visible to the asynchronous ones.
func (w *warp) checkProxy(in *inst, off, n uint32) {
	s := &w.block.shared
	for k := off >> s.shift; k <= (off+n-1)>>s.shift; k++ {
		if v := s.proxy[k]; v != 0 && w.block.warps[v&31].fences < v>>5 {
			w.fault(in, 0, Unfenced, uint64(k)<<s.shift, fmt.Sprintf("warp %d has written it and executed no fence.proxy.async since", v&31))
		}
	}
}

// sums is the seed of sums of the bytes that products read.
var sums = maphash.MakeSeed()

// touch checks what an operation reads and returns a sum of it.
func (o *wgmmaOp) touch(w *warp) uint64 {
	var h maphash.Hash
	h.SetSeed(sums)
	if o.in.mode&wgmmaRegs == 0 {
		w.touchMatrix(o.in, &o.a, uint32(w.id%4)*16, 16, &h)
	}
	w.touchMatrix(o.in, &o.b, 0, uint32(len(o.in.x)*2), &h)
	return h.Sum64()
}

// Bits of the mode of a wgmma.mma_async, whose x is d, e the predicate of adding to d if it has one, and a and b the descriptors.
const (
	wgmmaRegs uint8 = 1 << iota // a is in the registers sub.x
	wgmmaNegA                   // a is negated
	wgmmaNegB
	wgmmaTransA
	wgmmaTransB
	wgmmaAdd // to d, whatever a predicate
)

// Types of a wgmma's elements.
const (
	elementTF32 int32 = iota
	elementBF16
	elementF16
)

func wgmmaFence(w *warp, in *inst, m uint32) {
	w.together(in, 0, 0)
	w.fenced = true
}

func wgmmaCommit(w *warp, in *inst, m uint32) {
	w.together(in, 0, 0)
	w.committed++
	for i := range w.products {
		if o := &w.products[i]; o.group == 0 {
			o.group = w.committed
		}
	}
}

func wgmmaIssue(w *warp, in *inst, m uint32) {
	uniform := func(o int32) uint64 {
		v := w.u64(o)
		for k := m; k != 0; k &= k - 1 {
			if i := bits.TrailingZeros32(k); v[i] != v[0] {
				w.fault(in, i, DivergentSync, 0, fmt.Sprintf("the matrix descriptor is %#x here and %#x in lane 0", v[i], v[0]))
			}
		}
		return v[0]
	}
	o := wgmmaOp{in: in, add: in.mode&wgmmaAdd != 0}
	var a uint64
	if in.mode&wgmmaRegs != 0 {
		for i, r := range in.sub.x {
			o.regs[i] = *w.u32(r)
		}
	} else {
		a = uniform(in.a)
		o.a = w.newLayout(in, a, in.mode&wgmmaTransA != 0)
	}
	b := uniform(in.b)
	o.b = w.newLayout(in, b, in.mode&wgmmaTransB != 0)
	w.together(in, a, b)
	if in.e != 0 {
		p := *w.p(in.e)
		if in.inv {
			p = ^p
		}
		if o.add = p&m != 0; p&m != m && o.add {
			w.fault(in, bits.TrailingZeros32(m&^p), DivergentSync, 0, "whether to add to d differs from lane to lane")
		}
	}
	acc := w.accumulator(in.x)
	if acc == nil {
		if !w.fenced {
			w.fault(in, 0, Unfenced, 0, "registers are accessed with no wgmma.fence before")
		}
		for _, r := range in.x {
			w.accumulators = slices.DeleteFunc(w.accumulators, func(a accumulator) bool {
				if slices.Contains(a.d, r) {
					w.fault(in, 0, Unfenced, 0, "some registers of d are those of another d, which has not been waited for")
				}
				return false
			})
		}
		v := make([]float32, 32*len(in.x))
		for i, r := range in.x {
			d := w.f32(r)
			copy(v[32*i:], d[:])
			for l := range d { // whoever looks before it has landed sees nothing of use
				d[l] = math.Float32frombits(poison)
			}
		}
		w.accumulators = append(w.accumulators, accumulator{in.x, v})
	}
	o.sum = o.touch(w)
	w.products = append(w.products, o)
}

// accumulator returns the accumulator of these registers, if operations under way add to it.
func (w *warp) accumulator(d []int32) *accumulator {
	for i := range w.accumulators {
		if slices.Equal(w.accumulators[i].d, d) {
			return &w.accumulators[i]
		}
	}
	return nil
}

func wgmmaWait(w *warp, in *inst, m uint32) {
	w.together(in, 0, 0)
	w.fenced = false
	left := w.products[:0]
	for _, o := range w.products {
		if o.group == 0 || o.group > w.committed-int32(in.imm) {
			left = append(left, o)
			continue
		}
		if o.touch(w) != o.sum {
			w.fault(o.in, 0, SharedRace, 0, fmt.Sprintf("the matrices have changed before they were waited for, in line %d", in.line))
		}
		o.land(w, w.accumulator(o.in.x).v)
	}
	w.products = left
	w.accumulators = slices.DeleteFunc(w.accumulators, func(a accumulator) bool {
		if slices.ContainsFunc(left, func(o wgmmaOp) bool { return slices.Equal(o.in.x, a.d) }) {
			return false
		}
		for i, r := range a.d {
			copy(w.f32(r)[:], a.v[32*i:])
		}
		return true
	})
}

// land adds the products of an operation in float64 and rounds once, as multiply does.
func (o *wgmmaOp) land(w *warp, d []float32) {
	in := o.in
	value, size := tf32Value, 4
	switch in.size {
	case elementBF16:
		value, size = bf16Value, 2
	case elementF16:
		value, size = f16Value, 2
	}
	depth, columns := 32/size, 2*len(in.x)
	element := func(l *layout, i, k int) float64 {
		var at uint32
		if l.trans {
			at = l.unit(uint32(i/8), uint32(k)) + uint32(i%8*size)
		} else {
			at = l.unit(uint32(i), uint32(k*size/16)) + uint32(k*size%16)
		}
		return value(load(unsafe.Add(w.block.shared.ptr, at), size))
	}
	var a [16][16]float64 // by k and row
	for i := range 16 {
		for k := range depth {
			if in.mode&wgmmaRegs == 0 {
				a[k][i] = element(&o.a, int(w.id%4)*16+i, k)
				continue
			}
			// As in mma.sync: lane l has row l/4 of the upper half, in the registers with an even number, and of the lower.
			pair := 4 / size // elements of a register
			v := o.regs[i/8+k/(4*pair)*2][i%8*4+k/pair%4]
			a[k][i] = value(uint64(v) >> (k % pair * 16))
		}
	}
	sign := 1.0
	if in.mode&wgmmaNegA != 0 {
		sign = -sign
	}
	if in.mode&wgmmaNegB != 0 {
		sign = -sign
	}
	for j := range columns {
		at := func(i int) int { return 32*(j/8*4+i/8*2+j%2) + i%8*4 + j%8/2 }
		var s [16]float64 // of the rows, which do not wait for each other
		for i := range s {
			if o.add {
				s[i] = float64(d[at(i)])
			}
		}
		for k := range depth {
			b := sign * element(&o.b, j, k)
			for i, v := range &a[k] {
				s[i] += v * b
			}
		}
		for i, v := range s {
			d[at(i)] = float32(v)
		}
	}
}

func tf32Value(v uint64) float64 { return float64(math.Float32frombits(uint32(v) &^ 0x1fff)) }
func bf16Value(v uint64) float64 { return float64(math.Float32frombits(uint32(v) << 16)) }
func f16Value(v uint64) float64  { return float64(fromHalf(uint16(v))) }

// fenceProxy makes what the warp has written to shared memory visible to what reads it asynchronously.
func fenceProxy(w *warp, in *inst, m uint32) { w.fences++ }
