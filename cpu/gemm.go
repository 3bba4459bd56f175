package cpu

import "gonum.org/v1/gonum/blas/gonum"

// alignRow is what rows of the second factor of product are padded to, in floats: gonum's dot product starts with the
// elements before a 16-byte boundary of its second argument, so the order of its sum would depend on the address.
const alignRow = 4

func rowUp(n int) int { return (n + alignRow - 1) / alignRow * alignRow }

// shortRow is the length from which gonum's dot product beats the loop below.
const shortRow = 24

// blockFloats is how much of b is used for all of a before the next part: it stays in the L1 cache.
const blockFloats = 8 << 10

// product sets c = a bᵀ, or adds it to c: a is m rows of k, b n rows of k, c m rows of n, at the given distances. The
// order of summation depends on k alone.
func product(add bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	if k < shortRow {
		shortProduct(add, m, n, k, a, lda, b, ldb, c, ldc)
		return
	}
	block := max(blockFloats/k, 1)
	for j0 := 0; j0 < n; j0 += block {
		cols := min(block, n-j0)
		for i := range m {
			ai, ci, bj := a[i*lda:][:k], c[i*ldc+j0:][:cols], b[j0*ldb:]
			for j := range ci {
				// Sdot neither allocates nor starts goroutines, as Sgemm may.
				s := gonum.Implementation{}.Sdot(k, ai, 1, bj[j*ldb:], 1)
				if add {
					s += ci[j]
				}
				ci[j] = s
			}
		}
	}
}

// shortProduct takes four columns at a time, each sum in order.
func shortProduct(add bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	for i := range m {
		ai, ci := a[i*lda:][:k], c[i*ldc:][:n]
		if !add {
			clear(ci)
		}
		j := 0
		for ; j+4 <= n; j += 4 {
			b0, b1, b2, b3 := b[j*ldb:][:k], b[(j+1)*ldb:][:k], b[(j+2)*ldb:][:k], b[(j+3)*ldb:][:k]
			var s0, s1, s2, s3 float32
			for l, v := range ai {
				s0 += v * b0[l]
				s1 += v * b1[l]
				s2 += v * b2[l]
				s3 += v * b3[l]
			}
			q := ci[j:][:4]
			q[0] += s0
			q[1] += s1
			q[2] += s2
			q[3] += s3
		}
		for ; j < n; j++ {
			bj := b[j*ldb:][:k]
			var s float32
			for l, v := range ai {
				s += v * bj[l]
			}
			ci[j] += s
		}
	}
}

// transpose writes rows of n elements as columns: dst[j*ld+i] = src[i*n+j].
func transpose(dst []float32, ld int, src []float32, rows, n int) {
	i := 0
	for ; i+4 <= rows; i += 4 {
		r0, r1, r2, r3 := src[i*n:][:n], src[(i+1)*n:][:n], src[(i+2)*n:][:n], src[(i+3)*n:][:n]
		for j := range r0 {
			d := dst[j*ld+i:][:4]
			d[0], d[1], d[2], d[3] = r0[j], r1[j], r2[j], r3[j]
		}
	}
	for ; i < rows; i++ {
		for j, v := range src[i*n:][:n] {
			dst[j*ld+i] = v
		}
	}
}

// columnSums adds the sums of the columns of rows of len(dst) elements.
func columnSums(dst, src []float32, rows int) {
	n, i := len(dst), 0
	for ; i+4 <= rows; i += 4 {
		r0, r1, r2, r3 := src[i*n:][:n], src[(i+1)*n:][:n], src[(i+2)*n:][:n], src[(i+3)*n:][:n]
		for j := range r0 {
			dst[j] += (r0[j] + r1[j]) + (r2[j] + r3[j])
		}
	}
	for ; i < rows; i++ {
		for j, v := range src[i*n:][:n] {
			dst[j] += v
		}
	}
}
