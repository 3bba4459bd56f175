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
	case NEON:
		deviationsNEON(first(sum), first(src), first(from), len(sum))
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
	case NEON:
		squaresNEON(first(sum), first(src), first(from), len(sum))
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
	case NEON:
		normalizeNEON(first(dst), first(src), first(from), first(scale), first(shift), len(dst))
	default:
		for i, x := range src {
			dst[i] = float32((x-from[i])*scale[i]) + shift[i]
		}
	}
}

// NormalizeReLU: dst = max((src - from) scale + shift, 0).
func NormalizeReLU(dst, src, from, scale, shift []float32) {
	same(len(dst), src, from, scale, shift)
	switch current {
	case AVX512:
		normalizeReLUAVX512(first(dst), first(src), first(from), first(scale), first(shift), len(dst))
	case AVX2:
		normalizeReLUAVX2(first(dst), first(src), first(from), first(scale), first(shift), len(dst))
	case NEON:
		normalizeReLUNEON(first(dst), first(src), first(from), first(scale), first(shift), len(dst))
	default:
		for i, x := range src {
			dst[i] = max(float32((x-from[i])*scale[i])+shift[i], 0)
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
	case NEON:
		correlateNEON(first(sum), first(products), first(grad), first(src), first(from), len(sum))
	default:
		for i, g := range grad {
			sum[i] += g
			products[i] += float32(g * (src[i] - from[i]))
		}
	}
}

// CorrelateReLU is Correlate with the gradient before ReLU, whose input is (src - from) scale + shift.
func CorrelateReLU(sum, products, grad, src, from, scale, shift []float32) {
	same(len(sum), products, grad, src, from, scale, shift)
	switch current {
	case AVX512:
		correlateReLUAVX512(first(sum), first(products), first(grad), first(src), first(from), first(scale), first(shift), len(sum))
	case AVX2:
		correlateReLUAVX2(first(sum), first(products), first(grad), first(src), first(from), first(scale), first(shift), len(sum))
	case NEON:
		correlateReLUNEON(first(sum), first(products), first(grad), first(src), first(from), first(scale), first(shift), len(sum))
	default:
		for i, g := range grad {
			d := src[i] - from[i]
			if !(float32(d*scale[i])+shift[i] > 0) {
				g = 0
			}
			sum[i] += g
			products[i] += float32(g * d)
		}
	}
}

// NormalizeBack: dst = scale grad - (mean + slope (src - from)). dst may be grad.
func NormalizeBack(dst, grad, src, from, scale, mean, slope []float32) {
	same(len(dst), grad, src, from, scale, mean, slope)
	switch current {
	case AVX512:
		normalizeBackAVX512(first(dst), first(grad), first(src), first(from), first(scale), first(mean), first(slope), len(dst))
	case AVX2:
		normalizeBackAVX2(first(dst), first(grad), first(src), first(from), first(scale), first(mean), first(slope), len(dst))
	case NEON:
		normalizeBackNEON(first(dst), first(grad), first(src), first(from), first(scale), first(mean), first(slope), len(dst))
	default:
		for i, g := range grad {
			dst[i] = float32(scale[i]*g) - (mean[i] + float32(slope[i]*(src[i]-from[i])))
		}
	}
}

// NormalizeBackReLU is NormalizeBack with the gradient before ReLU, whose input is (src - from) scale + shift.
func NormalizeBackReLU(dst, grad, src, from, scale, shift, mean, slope []float32) {
	same(len(dst), grad, src, from, scale, shift, mean, slope)
	switch current {
	case AVX512:
		normalizeBackReLUAVX512(first(dst), first(grad), first(src), first(from), first(scale), first(shift), first(mean), first(slope), len(dst))
	case AVX2:
		normalizeBackReLUAVX2(first(dst), first(grad), first(src), first(from), first(scale), first(shift), first(mean), first(slope), len(dst))
	case NEON:
		normalizeBackReLUNEON(first(dst), first(grad), first(src), first(from), first(scale), first(shift), first(mean), first(slope), len(dst))
	default:
		for i, g := range grad {
			d := src[i] - from[i]
			if !(float32(d*scale[i])+shift[i] > 0) {
				g = 0
			}
			dst[i] = float32(scale[i]*g) - (mean[i] + float32(slope[i]*d))
		}
	}
}
