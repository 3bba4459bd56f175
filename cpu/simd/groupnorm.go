package simd

// The loops of normalisations, over pixels whose channels have coefficients of their own; bit for bit alike at every level.

// Deviations: sum += src - from.
func Deviations(sum, src, from []float32) {
	same(len(sum), src, from)
	switch current {
	case AVX512:
		deviationsAVX512(first(sum), first(src), first(from), len(sum))
	case AVX2:
		deviationsAVX2(first(sum), first(src), first(from), len(sum))
	default:
		for i, x := range src {
			sum[i] += x - from[i]
		}
	}
}

// Squares: sum += (src - from)².
func Squares(sum, src, from []float32) {
	same(len(sum), src, from)
	switch current {
	case AVX512:
		squaresAVX512(first(sum), first(src), first(from), len(sum))
	case AVX2:
		squaresAVX2(first(sum), first(src), first(from), len(sum))
	default:
		for i, x := range src {
			d := x - from[i]
			sum[i] += float32(d * d)
		}
	}
}

// Normalize: dst = (src - from) scale + shift.
func Normalize(dst, src, from, scale, shift []float32) {
	same(len(dst), src, from, scale, shift)
	switch current {
	case AVX512:
		normalizeAVX512(first(dst), first(src), first(from), first(scale), first(shift), len(dst))
	case AVX2:
		normalizeAVX2(first(dst), first(src), first(from), first(scale), first(shift), len(dst))
	default:
		for i, x := range src {
			dst[i] = float32((x-from[i])*scale[i]) + shift[i]
		}
	}
}

// Correlate: sum += grad and products += grad (src - from).
func Correlate(sum, products, grad, src, from []float32) {
	same(len(sum), products, grad, src, from)
	switch current {
	case AVX512:
		correlateAVX512(first(sum), first(products), first(grad), first(src), first(from), len(sum))
	case AVX2:
		correlateAVX2(first(sum), first(products), first(grad), first(src), first(from), len(sum))
	default:
		for i, g := range grad {
			sum[i] += g
			products[i] += float32(g * (src[i] - from[i]))
		}
	}
}

// NormalizeBack: grad = rstd (gamma grad - (mean + slope (src - from))).
func NormalizeBack(grad, src, from, gamma, mean, slope, rstd []float32) {
	same(len(grad), src, from, gamma, mean, slope, rstd)
	switch current {
	case AVX512:
		normalizeBackAVX512(first(grad), first(src), first(from), first(gamma), first(mean), first(slope), first(rstd), len(grad))
	case AVX2:
		normalizeBackAVX2(first(grad), first(src), first(from), first(gamma), first(mean), first(slope), first(rstd), len(grad))
	default:
		for i, g := range grad {
			grad[i] = rstd[i] * (float32(gamma[i]*g) - (mean[i] + float32(slope[i]*(src[i]-from[i]))))
		}
	}
}
