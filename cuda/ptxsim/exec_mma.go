package ptxsim

import (
	"math"
	"math/bits"
)

// The matrix instructions keep a 16 x K matrix a, a K x 8 matrix b and 16 x 8 matrices c and d in the registers of a warp.
// Lane l stands for row l/4 of a, c and d, column l/4 of b, and place l%4 along the other side.

// multiply adds a*b in float64 and rounds once: hardware sums in an order of its own.
//
//go:norace
func multiply(w *warp, in *inst, k int, a *[16][16]float32, b *[16][8]float32) {
	var d [4][32]float32
	for l := range 32 {
		row, col := l>>2, 2*(l&3)
		for r := range 4 {
			i, j := row+8*(r>>1), col+r&1
			s := float64(w.f32(in.x[10+r])[l])
			for q := range k {
				s += float64(a[i][q]) * float64(b[q][j])
			}
			d[r][l] = float32(s)
		}
	}
	for r := range d {
		*w.f32(in.x[r]) = d[r]
	}
}

//go:norace
func mmaTF32(w *warp, in *inst, m uint32) {
	var a [16][16]float32
	var b [16][8]float32
	tf := func(o int32, l int) float32 { return math.Float32frombits(w.u32(o)[l] &^ 0x1fff) }
	for l := range 32 {
		g, t := l>>2, l&3
		for r := range 4 {
			a[g+8*(r&1)][t+4*(r>>1)] = tf(in.x[4+r], l)
		}
		for r := range 2 {
			b[t+4*r][g] = tf(in.x[8+r], l)
		}
	}
	multiply(w, in, 8, &a, &b)
}

// mma16 is the product of matrices of 16-bit floats, two in a register.
//
//go:norace
func mma16(w *warp, in *inst, value func(uint16) float32) {
	var a [16][16]float32
	var b [16][8]float32
	for l := range 32 {
		g, t := l>>2, l&3
		for r := range 4 {
			v := w.u32(in.x[4+r])[l]
			i, q := g+8*(r&1), 2*t+8*(r>>1)
			a[i][q], a[i][q+1] = value(uint16(v)), value(uint16(v>>16))
		}
		for r := range 2 {
			v := w.u32(in.x[8+r])[l]
			b[2*t+8*r][g], b[2*t+8*r+1][g] = value(uint16(v)), value(uint16(v>>16))
		}
	}
	multiply(w, in, 16, &a, &b)
}

func mmaBF16(w *warp, in *inst, m uint32) {
	mma16(w, in, func(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) })
}

func mmaF16(w *warp, in *inst, m uint32) { mma16(w, in, fromHalf) }

// ldmatrix loads 8 x 8 matrices of 16-bit values; lanes 8i to 8i+7 hold the addresses of the rows of matrix i.
//
//go:norace
func ldmatrix(w *warp, in *inst, m uint32) {
	var addr [32]uint64
	w.addresses(in, &addr)
	rows := 8 * len(in.x)
	w.block.anyTraffic(in, uint32(1<<rows-1), &addr, 16)
	for i := range in.x {
		var tile [8][8]uint16
		for r := range 8 {
			p := w.at(in, 8*i+r, addr[8*i+r], 16)
			tile[r] = *(*[8]uint16)(p)
		}
		d := w.u32(in.x[i])
		for k := m; k != 0; k &= k - 1 {
			l := bits.TrailingZeros32(k) & 31
			r, c := l>>2, 2*(l&3)
			lo, hi := tile[r][c], tile[r][c+1]
			if in.mode == 1 {
				lo, hi = tile[c][r], tile[c+1][r]
			}
			d[l] = uint32(hi)<<16 | uint32(lo)
		}
	}
}
