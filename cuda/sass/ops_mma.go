package sass

import "math"

// The matrix instructions keep a 16 x K matrix a, a K x 8 matrix b and 16 x 8 matrices c and d in the registers of a warp (PTX ISA,
// "Matrix fragments for mma.m16n8k8" and "for mma.m16n8k16"). Lane l holds rows l/4 and l/4+8 of a, c and d, and column l/4 of b.

// product is what a tensor core multiplies in an instruction.
type product struct {
	k int // the columns of a
	a [16][16]float64
	b [16][8]float64
}

// addMatrixOps adds products of matrices and the loads of their factors.
func addMatrixOps() {
	mma := func(name string, k int, factors func(w *warp, a, b *operand) *product) {
		for _, o := range add(pipeTensor, "dsss", execMMA(factors), name) {
			o.products, o.tiles = 16*8*k/32, 1
		}
	}
	mma("HMMA.1688.F32.TF32", 8, factorsTF32)
	mma("HMMA.16816.F32.BF16", 16, factors16(func(v uint16) float64 { return float64(float(uint32(v) << 16)) }))
	mma("HMMA.16816.F32", 16, factors16(half))
	for suffix, matrices := range map[string]int{"": 1, ".2": 2, ".4": 4} {
		for name, transposed := range map[string]bool{"LDSM.16.M88": false, "LDSM.16.MT88": true} {
			for _, o := range add(pipeShared, "dm", execLDSM(matrices, transposed), name+suffix) {
				o.width = 16
			}
		}
	}
}

// execMMA is d = a*b + c. Each sum is made in float64 and rounded once, as the PTX simulator does; the hardware sums in an order of its
// own.
func execMMA(factors func(w *warp, a, b *operand) *product) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		w.whole(in, ex)
		d, c, p := &in.o[0], &in.o[3], factors(w, &in.o[1], &in.o[2])
		var out [4]lanes
		for r := range out {
			for l := range 32 {
				row, column := l/4+8*(r/2), 2*(l%4)+r%2
				s := float64(float(w.value(c, r, l)))
				for k := range p.k {
					s += p.a[row][k] * p.b[k][column] // which is exact
				}
				out[r][l] = bitsOf(float32(s))
			}
		}
		for r := range out {
			w.put(d, &out[r], ex, r)
		}
	}
}

// whole fails unless all lanes take part in an instruction of the whole warp.
func (w *warp) whole(in *Inst, ex uint32) {
	if ex != ^uint32(0) {
		fail("%q: lanes %#x of warp %d, want all", in.Text, ex, w.id)
	}
}

// value is what a lane has in a register of a matrix, the first of which is an operand.
func (w *warp) value(o *operand, register, lane int) uint32 {
	if o.kind != kindReg || o.neg {
		fail("operand %s of a matrix is not known", o.name)
	}
	if o.r == rz {
		return 0
	}
	return w.regs[o.r+register][lane]
}

// factorsTF32 reads a and b, of whose elements the lower 13 bits do not count.
func factorsTF32(w *warp, a, b *operand) *product {
	p := &product{k: 8}
	of := func(u uint32) float64 { return float64(float(u &^ 0x1fff)) }
	for l := range 32 {
		row, k := l/4, l%4
		for r := range 4 {
			p.a[row+r%2*8][k+r/2*4] = of(w.value(a, r, l))
		}
		for r := range 2 {
			p.b[k+r*4][row] = of(w.value(b, r, l))
		}
	}
	return p
}

// factors16 reads a and b of elements of 16 bits, two in a register.
func factors16(of func(uint16) float64) func(w *warp, a, b *operand) *product {
	return func(w *warp, a, b *operand) *product {
		p := &product{k: 16}
		for l := range 32 {
			row, k := l/4, l%4*2
			for r := range 4 {
				u := w.value(a, r, l)
				to := p.a[row+r%2*8][k+r/2*8:]
				to[0], to[1] = of(uint16(u)), of(uint16(u>>16))
			}
			for r := range 2 {
				u := w.value(b, r, l)
				p.b[k+r*8][row], p.b[k+r*8+1][row] = of(uint16(u)), of(uint16(u>>16))
			}
		}
		return p
	}
}

// half is an IEEE float of 16 bits.
func half(v uint16) float64 {
	exponent, fraction := int(v>>10&31), float64(v&1023)
	sign := uint32(v>>15) << 31
	switch exponent {
	case 31:
		return float64(float(sign | 0x7f800000 | uint32(v&1023)<<13))
	case 0:
		exponent = 1
	default:
		fraction += 1024
	}
	return math.Copysign(math.Ldexp(fraction, exponent-25), float64(float(sign|0x3f800000)))
}

// execLDSM loads matrices of 8 x 8 elements of 16 bits. Lanes 8i to 8i+7 have the addresses of the rows of matrix i, which goes to
// the ith register: of lane l, the elements of row l/4 from column 2*(l%4) on, or of the transposed matrix.
func execLDSM(matrices int, transposed bool) func(x *executor, w *warp, in *Inst, ex uint32) {
	return func(x *executor, w *warp, in *Inst, ex uint32) {
		w.whole(in, ex)
		x.access = access{mask: uint32(1<<(8*matrices) - 1), width: in.width, shared: true}
		var out [4]lanes // the registers of the addresses may be among those that are loaded
		for i := range matrices {
			var rows [8][]byte
			for r := range rows {
				rows[r] = x.sharedAt(w, in, &in.o[1], 8*i+r)
			}
			at := func(row, column int) uint32 {
				if transposed {
					row, column = column, row
				}
				return uint32(rows[row][2*column]) | uint32(rows[row][2*column+1])<<8
			}
			for l := range out[i] {
				out[i][l] = at(l/4, l%4*2) | at(l/4, l%4*2+1)<<16
			}
		}
		for i := range matrices {
			w.put(&in.o[0], &out[i], ex, i)
		}
	}
}
