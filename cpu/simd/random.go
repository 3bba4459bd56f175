package simd

import "github.com/convae/convae/nn/rng"

// The draws are those of package rng, bit for bit: a function takes columns 0 to len(dst)-1 of a row of a draw.

// Normals fills dst with standard normal numbers.
func Normals(dst []float32, src rng.Source, row, draw uint32) {
	if current != None {
		draws(normals, dst, nil, 0, src, row, draw)
		return
	}
	for i := 0; i < len(dst); i += 4 {
		z := src.Normals(uint32(i/4), row, draw)
		copy(dst[i:], z[:])
	}
}

// Noise: dst = clip(x + std*normal, 0, 1), the product rounded. dst may be x.
func Noise(dst, x []float32, std float32, src rng.Source, row, draw uint32) {
	same(len(dst), x)
	if current != None {
		draws(noise, dst, x, std, src, row, draw)
		return
	}
	for i := 0; i < len(dst); i += 4 {
		z := src.Normals(uint32(i/4), row, draw)
		for j := i; j < min(i+4, len(dst)); j++ {
			dst[j] = min(max(x[j]+float32(std*z[j-i]), 0), 1)
		}
	}
}

// Dropout: dst = x/(1-rate) where the uniform number is at least rate, else 0. dst may be x.
func Dropout(dst, x []float32, rate float32, src rng.Source, row, draw uint32) {
	same(len(dst), x)
	if current != None {
		draws(dropout, dst, x, rate, src, row, draw)
		return
	}
	for i := 0; i < len(dst); i += 4 {
		u := src.Uniforms(uint32(i/4), row, draw)
		for j := i; j < min(i+4, len(dst)); j++ {
			v := float32(0)
			if u[j-i] >= rate {
				v = x[j] / (1 - rate)
			}
			dst[j] = v
		}
	}
}

// kind is what is made of random words.
type kind uint8

const (
	normals kind = iota
	noise
	dropout
)

// draws does the above by the assembly, which draws a number of vectors at a time; the last go through a buffer. x is nil
// for normals.
func draws(k kind, dst, x []float32, a float32, src rng.Source, row, draw uint32) {
	var last [64]float32
	rest := len(last)
	switch current {
	case AVX2:
		rest = 32
	case NEON:
		rest = 16
	}
	n := len(dst) / rest * rest
	drawsFrom(k, dst[:n], x, 0, a, src, row, draw)
	if n == len(dst) {
		return
	}
	if x != nil {
		copy(last[:], x[n:])
	}
	drawsFrom(k, last[:rest], last[:], n, a, src, row, draw)
	copy(dst[n:], last[:])
}

// drawsFrom fills dst from a column on.
func drawsFrom(k kind, dst, x []float32, column int, a float32, src rng.Source, row, draw uint32) {
	if len(dst) == 0 {
		return
	}
	to, from, n := &dst[0], first(x), len(dst)
	block, stream, k0, k1 := uint32(column/4), src.Stream, uint32(src.Seed), uint32(src.Seed>>32)
	switch k {
	case normals:
		switch current {
		case AVX512:
			normalsAVX512(to, from, n, block, row, draw, stream, k0, k1)
		case AVX2:
			normalsAVX2(to, from, n, block, row, draw, stream, k0, k1)
		case NEON:
			normalsNEON(to, from, n, block, row, draw, stream, k0, k1)
		}
	case noise:
		switch current {
		case AVX512:
			noiseAVX512(to, from, n, block, row, draw, stream, k0, k1, a)
		case AVX2:
			noiseAVX2(to, from, n, block, row, draw, stream, k0, k1, a)
		case NEON:
			noiseNEON(to, from, n, block, row, draw, stream, k0, k1, a)
		}
	case dropout:
		switch current {
		case AVX512:
			dropoutAVX512(to, from, n, block, row, draw, stream, k0, k1, a, 1-a)
		case AVX2:
			dropoutAVX2(to, from, n, block, row, draw, stream, k0, k1, a, 1-a)
		case NEON:
			dropoutNEON(to, from, n, block, row, draw, stream, k0, k1, a, 1-a)
		}
	}
}

// Pixels: dst = src/255, bit for bit.
func Pixels(dst []float32, src []byte) {
	if len(src) != len(dst) {
		panic(errLength)
	}
	done := 0
	switch n := len(src); {
	case n < 16:
	case current == AVX512:
		done = n &^ 15
		pixelsAVX512(&dst[0], &src[0], done)
	case current == AVX2:
		done = n &^ 7
		pixelsAVX2(&dst[0], &src[0], done)
	case current == NEON:
		done = n &^ 3
		pixelsNEON(&dst[0], &src[0], done)
	}
	for i := done; i < len(src); i++ {
		dst[i] = float32(src[i]) / 255
	}
}
