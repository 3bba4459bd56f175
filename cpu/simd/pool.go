package simd

const errPool = "simd: the parts of a pool do not fit"

// MaxPool takes the maximum of windows of size by size pixels of c channels, w of them side by side: for x < w
//
//	dst[x*c+n] = max over i, j < size of src[i*row+(x*size+j)*c+n]
//
// The first maximum wins, NaN is above all numbers, and at, unless nil, gets its position i*size+j.
func MaxPool(dst []float32, at []byte, src []float32, row, size, w, c int) {
	if w <= 0 || c <= 0 {
		return
	}
	if size < 1 || size > 15 || row < 0 || w*c > len(dst) || at != nil && w*c > len(at) || (size-1)*row+w*size*c > len(src) {
		panic(errPool)
	}
	done := quick(size, c)
	switch {
	case done == 0:
	case current == AVX512:
		maxPoolAVX512(&dst[0], first(at), &src[0], row, w, c, done)
	case current == AVX2:
		maxPoolAVX2(&dst[0], first(at), &src[0], row, w, c, done)
	default:
		maxPoolNEON(&dst[0], first(at), &src[0], row, w, c, done)
	}
	if done == c {
		return
	}
	for x := range w {
		best := dst[x*c:][done:c]
		var place []byte
		if at != nil {
			place = at[x*c:][done:c]
			clear(place)
		}
		copy(best, src[x*size*c+done:])
		for k := 1; k < size*size; k++ {
			for n, v := range src[k/size*row+(x*size+k%size)*c:][done:c] {
				if b := best[n]; v > b || v != v && b == b {
					best[n] = v
					if place != nil {
						place[n] = byte(k)
					}
				}
			}
		}
	}
}

// Unpool is the inverse for gradients: for x < w and i, j < size
//
//	dst[i*row+(x*size+j)*c+n] = g[x*c+n] where at[x*c+n] is i*size+j, else 0
func Unpool(dst []float32, row int, g []float32, at []byte, size, w, c int) {
	if w <= 0 || c <= 0 {
		return
	}
	if size < 1 || size > 15 || row < 0 || w*c > len(g) || w*c > len(at) || (size-1)*row+w*size*c > len(dst) {
		panic(errPool)
	}
	done := quick(size, c)
	switch {
	case done == 0:
	case current == AVX512:
		unpoolAVX512(&dst[0], row, &g[0], &at[0], w, c, done)
	case current == AVX2:
		unpoolAVX2(&dst[0], row, &g[0], &at[0], w, c, done)
	default:
		unpoolNEON(&dst[0], row, &g[0], &at[0], w, c, done)
	}
	if done == c {
		return
	}
	for x := range w {
		from, place := g[x*c:][done:c], at[x*c:][done:c]
		for k := range size * size {
			to := dst[k/size*row+(x*size+k%size)*c:][done:c]
			for n, v := range from {
				if int(place[n]) != k {
					v = 0
				}
				to[n] = v
			}
		}
	}
}

// quick is how many channels the assembly does: that for AVX2 cannot store less than a whole vector of positions.
func quick(size, c int) int {
	switch {
	case size != 2 || current == None:
		return 0
	case current == AVX2:
		return c &^ 7
	}
	return c
}
