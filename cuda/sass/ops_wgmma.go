package sass

import (
	"encoding/binary"
	"fmt"
)

// A warpgroup, four warps, multiplies matrices of 64 x K and K x N that lie in shared memory (PTX ISA, "Asynchronous warpgroup level
// matrix instructions"). Each warp has 16 rows of the product, as it would have them of mma.sync. The sums are made at once here; the clock
// of the warp knows when they would be there, and that the warp waits for them. The PTX simulator finds waits and fences that are missing.

// wgmmaTypes are the types of elements by their part of an instruction's name: columns of a, and the value of an element.
var wgmmaTypes = []struct {
	name string
	k    int
	of   func([]byte) float64
}{
	{".TF32", 8, func(b []byte) float64 { return float64(float(binary.LittleEndian.Uint32(b) &^ 0x1fff)) }},
	{".BF16", 16, func(b []byte) float64 { return float64(float(uint32(binary.LittleEndian.Uint16(b)) << 16)) }},
	{"", 16, func(b []byte) float64 { return half(binary.LittleEndian.Uint16(b)) }},
}

func addWarpgroupOps() {
	for _, t := range wgmmaTypes {
		for n := 8; n <= 256; n += 8 {
			name := fmt.Sprintf("HGMMA.64x%dx%d.F32%s", n, t.k, t.name)
			for _, o := range add(pipeWarpgroup, "dgd dgdp dgdx dgdpx", execWGMMA(n, t.k, t.of), name) {
				o.products, o.tiles = 16*n*t.k/32, n/8
			}
		}
	}
	add(pipeBranch, "", func(*executor, *warp, *Inst, uint32) {}, "WARPGROUP.ARRIVE", "FENCE.VIEW.ASYNC.S", "MEMBAR.ALL.CTA")
	add(pipeBranch, "xi", func(_ *executor, w *warp, in *Inst, _ uint32) {
		w.clock.products.wait(int(in.o[1].imm), &w.clock.landed)
	}, "WARPGROUP.DEPBAR.LE")
}

// execWGMMA is d = a*b + c, or a*b if a predicate is false, each sum rounded once.
func execWGMMA(n, k int, of func([]byte) float64) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		w.whole(in, ex)
		d, c, ur := &in.o[0], &in.o[2], in.o[1].ur
		matrix := func(factor, rows int) [][16]float64 {
			m, from := make([][16]float64, rows), ur+2*factor
			l := newMatrix(in, uint64(w.ur[from])|uint64(w.ur[from+1])<<32, in.o[1].turned[factor])
			for i := range m {
				for e := range k {
					at := l.at(i, e, 32/k)
					if at < 0 || at+32/k > len(w.blk.shared) {
						fail("%q: warp %d: element %d,%d at %#x of %d bytes of shared memory", in.Text, w.id, i, e, at, len(w.blk.shared))
					}
					m[i][e] = of(w.blk.shared[at:])
				}
			}
			return m
		}
		a, b := matrix(0, 64)[w.id%4*16:], matrix(1, n)
		add := true
		if len(in.o) > 3 && in.o[3].kind != kindSpecial {
			p := w.pred(&in.o[3])
			if add = p != 0; add && p != ^uint32(0) {
				fail("%q: the lanes of warp %d do not agree", in.Text, w.id)
			}
		}
		for r := range n / 2 {
			var out lanes
			for l := range out {
				row, column := l/4+8*(r/2%2), r/4*8+2*(l%4)+r%2
				s := 0.0
				if add {
					s = float64(float(w.value(c, r, l)))
				}
				for e := range k {
					s += a[row][e] * b[column][e]
				}
				out[l] = bitsOf(float32(s))
			}
			w.put(d, &out, ex, r)
		}
	}
}

// matrix says where elements lie. A core is of eight units of 16 bytes, which are along k, of a row each; the cores of the next eight rows lie stride
// bytes on, and the two halves of the 32 bytes of a row leading bytes apart or, in swizzled rows, beside each other. Turned, units are along the rows, of
// eight at a place of k each; without swizzling the units of the next eight rows lie stride bytes on, and the next eight places leading bytes;
// swizzled, units of as many rows as a swizzle has lie beside each other, the next ones leading bytes on, and the next eight places stride bytes.
type matrix struct {
	start, leading, stride int
	swizzle                int
	turned                 bool
}

func newMatrix(in *Inst, d uint64, turned bool) matrix {
	if d&^0xc0003fff3fff3fff != 0 {
		fail("%q: the descriptor %#x is not known", in.Text, d)
	}
	field := func(at int) int { return int(d>>at&0x3fff) << 4 }
	return matrix{start: field(0), leading: field(16), stride: field(32), swizzle: [4]int{0, 3, 2, 1}[d>>62], turned: turned}
}

// at is the offset in the block's shared memory of an element of so many bytes. Units are permuted by their address in the window.
func (m *matrix) at(row, e, size int) int {
	off, in := m.start, e*size%16
	switch {
	case m.turned && m.swizzle == 0:
		off += row/8*m.stride + e/8*m.leading + e%8*16
		in = row % 8 * size
	case m.turned:
		side := 8 << m.swizzle // rows that lie beside each other
		off += row/side*m.leading + row%side/8*16 + e/8*m.stride + e%8*(16<<m.swizzle)
		in = row % 8 * size
	case m.swizzle == 0:
		off += row/8*m.stride + row%8*16 + e*size/16*m.leading
	default:
		off += row/8*m.stride + row%8*(16<<m.swizzle) + e*size/16*16
	}
	off ^= off >> 7 & (1<<m.swizzle - 1) << 4
	return off + in - sharedBase
}

// fetch is how many cycles shared memory takes to give the factors of a warpgroup's product: both go through once for all four warps.
func (o *opcode) fetch() int64 { return int64(64+8*o.tiles) * 32 / 128 }
