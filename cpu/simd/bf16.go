package simd

import (
	"encoding/binary"
	"math"
)

const errPairs = "simd: the slices of pairs do not fit"

// Pairs reports whether there are instructions that multiply pairs of bfloat16.
func Pairs() bool { return chosen >= AVX512BF16 }

// pair rounds two numbers to a word, the first in its lower half.
func pair(first, second float32) float32 {
	return math.Float32frombits(uint32(bf16(first)) | uint32(bf16(second))<<16)
}

// bf16 rounds to nearest, and what is halfway to even; NaN stays NaN. A number below the smallest normal one becomes zero, as the instructions take it.
func bf16(x float32) uint16 {
	bits := math.Float32bits(x)
	switch {
	case x != x:
		return uint16(bits>>16) | 0x40
	case bits&0x7f800000 == 0:
		return uint16(bits >> 16 & 0x8000)
	}
	return uint16((bits + (bits>>16&1 + 1<<15 - 1)) >> 16)
}

// unpair returns the numbers of a word.
func unpair(word float32) (first, second float32) {
	bits := math.Float32bits(word)
	return math.Float32frombits(bits << 16), math.Float32frombits(bits &^ 0xffff)
}

// addPair returns sum plus the product of two words.
func addPair(sum, a, b float32) float32 {
	a0, a1 := unpair(a)
	b0, b1 := unpair(b)
	return sum + a0*b0 + a1*b1
}

// Words is how many words PairChannels makes of c channels: a product takes its words in steps of 16 or fewer, all of one size, so there is one more where
// their number is not a multiple of the steps.
func Words(c int) int {
	words := (c + 1) / 2
	steps := (words + amxWords - 1) / amxWords
	return (words + steps - 1) / steps * steps
}

// PairChannels rounds w pixels of c channels to pairs of neighbouring channels, Words(c) words each. Those beyond the channels are zero.
func PairChannels(dst, src []float32, w, c int) {
	n := Words(c)
	if w < 0 || c <= 0 || len(dst) != w*n || len(src) != w*c {
		panic(errPairs)
	}
	if w == 0 {
		return
	}
	if 2*n == c {
		w, c, n = 1, w*c, w*n // the pixels follow on each other without gaps
	}
	if Pairs() {
		pairChannelsAVX512BF16(&dst[0], &src[0], w, c, n)
		return
	}
	for x := range w {
		to, from := dst[x*n:][:n], src[x*c:][:c]
		clear(to)
		for i, v := range from {
			switch {
			case i%2 == 1:
			case i+1 < c:
				to[i/2] = pair(v, from[i+1])
			default:
				to[i/2] = pair(v, 0)
			}
		}
	}
}

// PairRows rounds a and b to pairs: dst[i] has a[i] and b[i].
func PairRows(dst, a, b []float32) {
	if len(a) != len(dst) || len(b) != len(dst) {
		panic(errPairs)
	}
	if len(dst) == 0 {
		return
	}
	if Pairs() {
		pairRowsAVX512BF16(&dst[0], &a[0], &b[0], len(dst))
		return
	}
	for i := range dst {
		dst[i] = pair(a[i], b[i])
	}
}

const (
	amxRows  = 32 // of two tiles
	amxWords = 16 // in a row of a tile
)

// tiles is what multiplyAMX works with.
type tiles struct {
	config [64]byte // LDTILECFG's
	bias   [32]float32
	sums   [amxRows * 32]float32
}

// shape sets the rows of tile t, and the bytes of each.
func (w *tiles) shape(t, rows, bytes int) {
	w.config[0] = 1 // the palette: eight tiles of up to 16 rows of 64 bytes
	binary.LittleEndian.PutUint16(w.config[16+2*t:], uint16(bytes))
	w.config[48+t] = byte(rows)
}

// tileAMX is tile with up to amxRows rows.
func (p *Product) tileAMX(r, rows, h, ch, ah int) {
	step := p.K / amxSteps(p.K)
	var w tiles
	var mask *float32
	copy(w.bias[:p.N], p.Bias)
	if p.Mode == Mask {
		mask = &p.Mask[r*p.CW]
	}
	for i := range 2 {
		w.shape(6+i, step, 64)
		if height := min(rows-16*i, 16); height > 0 {
			w.shape(2*i, height, 64)
			w.shape(2*i+1, height, 64)
			w.shape(4+i, height, 4*step)
		}
	}
	multiplyAMX(&p.C[r*p.CW], bytes(ch), bytes(p.CW), &p.A[r*p.AW], bytes(ah), bytes(p.AW), &p.Taps[0], len(p.Taps), p.K, step, &p.B[0],
		&w.config[0], &w.bias[0], &w.sums[0], int(p.Mode), mask, h, rows, p.N)
}

// amxSteps is in how many steps of one size k words are taken.
func amxSteps(k int) int {
	n := (k + amxWords - 1) / amxWords
	for k%n != 0 {
		n++
	}
	return n
}
