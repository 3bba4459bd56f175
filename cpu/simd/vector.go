package simd

import "unsafe"

const errLength = "simd: slices of different lengths"

// same panics unless the slices have n elements each.
func same(n int, s ...[]float32) {
	for _, v := range s {
		if len(v) != n {
			panic(errLength)
		}
	}
}

// first is the first element of a slice, if it has any.
func first[T any](s []T) *T { return unsafe.SliceData(s) }

// Sum: dst = a + b, bit for bit. The slices may be the same.
func Sum(dst, a, b []float32) {
	same(len(dst), a, b)
	switch current {
	case AVX512:
		sumAVX512(first(dst), first(a), first(b), len(dst))
	case AVX2:
		sumAVX2(first(dst), first(a), first(b), len(dst))
	case NEON:
		sumNEON(first(dst), first(a), first(b), len(dst))
	default:
		for i, v := range a {
			dst[i] = v + b[i]
		}
	}
}

// Times: dst = a b, bit for bit. The slices may be the same.
func Times(dst, a, b []float32) {
	same(len(dst), a, b)
	switch current {
	case AVX512:
		timesAVX512(first(dst), first(a), first(b), len(dst))
	case AVX2:
		timesAVX2(first(dst), first(a), first(b), len(dst))
	case NEON:
		timesNEON(first(dst), first(a), first(b), len(dst))
	default:
		for i, v := range a {
			dst[i] = v * b[i]
		}
	}
}

// AddTimes: dst += a b, bit for bit: the product is rounded.
func AddTimes(dst, a, b []float32) {
	same(len(dst), a, b)
	switch current {
	case AVX512:
		addTimesAVX512(first(dst), first(a), first(b), len(dst))
	case AVX2:
		addTimesAVX2(first(dst), first(a), first(b), len(dst))
	case NEON:
		addTimesNEON(first(dst), first(a), first(b), len(dst))
	default:
		for i, v := range a {
			dst[i] += float32(v * b[i])
		}
	}
}

// Axpy: dst += alpha*src, bit for bit: the product is rounded.
func Axpy(dst []float32, alpha float32, src []float32) {
	same(len(dst), src)
	switch current {
	case AVX512:
		axpyAVX512(first(dst), first(src), len(dst), alpha)
	case AVX2:
		axpyAVX2(first(dst), first(src), len(dst), alpha)
	case NEON:
		axpyNEON(first(dst), first(src), len(dst), alpha)
	default:
		for i, v := range src {
			dst[i] += float32(alpha * v)
		}
	}
}

// CopyChannels: dst[p*ds+i] = src[p*ss+i] for p < pixels and i < n; strides are in floats. The two do not overlap.
func CopyChannels(dst []float32, ds int, src []float32, ss, pixels, n int) {
	if pixels <= 0 || n <= 0 {
		return
	}
	if min(ds, ss) < 0 || extent(1, 0, pixels, ds, n) > len(dst) || extent(1, 0, pixels, ss, n) > len(src) {
		panic(errLength)
	}
	switch current {
	case AVX512:
		channelsAVX512(&dst[0], bytes(ds), &src[0], bytes(ss), pixels, n)
	case AVX2:
		channelsAVX2(&dst[0], bytes(ds), &src[0], bytes(ss), pixels, n)
	case NEON:
		channelsNEON(&dst[0], bytes(ds), &src[0], bytes(ss), pixels, n)
	default:
		for p := range pixels {
			copy(dst[p*ds:][:n], src[p*ss:])
		}
	}
}

// AddColumns adds to dst[n] the sum over y < h and x < w of src[y*sh+x*sw+n]; strides are in floats.
func AddColumns(dst, src []float32, h, sh, w, sw int) {
	n := len(dst)
	if h <= 0 || w <= 0 || n == 0 {
		return
	}
	if min(sh, sw) < 0 || extent(h, sh, w, sw, n) > len(src) {
		panic(errLength)
	}
	if current == None {
		for y := range h {
			for x := range w {
				for i, v := range src[y*sh+x*sw:][:n] {
					dst[i] += v
				}
			}
		}
		return
	}
	if sh == w*sw {
		h, w = 1, h*w
	}
	if side := min(wideColumns/n, w); sw == n && side > 1 {
		// Few columns: pixels that lie side by side are summed apart, then together.
		var wide [wideColumns]float32
		columns(wide[:side*n], src, h, sh, w/side, side*sw)
		for i, v := range wide[:side*n] {
			dst[i%n] += v
		}
		src, w = src[w/side*side*sw:], w%side
		if w == 0 {
			return
		}
	}
	for i := 0; i < n; i += wideColumns {
		columns(dst[i:min(i+wideColumns, n)], src[i:], h, sh, w, sw)
	}
}

// wideColumns is how many columns the assembly sums at once.
const wideColumns = 64

func columns(dst, src []float32, h, sh, w, sw int) {
	n := len(dst)
	switch current {
	case AVX512:
		columnsAVX512(&dst[0], &src[0], h, bytes(sh), w, bytes(sw), (n+15)/16, n)
	case AVX2:
		columnsAVX2(&dst[0], &src[0], h, bytes(sh), w, bytes(sw), (n+7)/8, n)
	case NEON:
		for i, cols := 0, 0; i < n; i += cols {
			if cols = n &^ 3; i >= cols { // columns that are less than a vector go one by one
				cols = 1
			}
			columnsNEON(&dst[i], &src[i], h, bytes(sh), w, bytes(sw), cols/4, cols)
		}
	}
}
