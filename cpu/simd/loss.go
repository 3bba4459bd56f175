package simd

import "math"

// SigmoidBCE returns the sum of max(z,0) - z t + ln(1+exp(-|z|)), the binary cross-entropy of sigmoid(z) and target t. Unless
// g is nil, g = scale (sigmoid(z) - t).
func SigmoidBCE(scale float32, g, logits, target []float32) float64 {
	same(len(logits), target)
	if g != nil {
		same(len(logits), g)
	}
	sum := 0.0
	switch current {
	case AVX512:
		sigmoidBCEAVX512(first(g), first(logits), first(target), len(logits), scale, &sum)
	case AVX2:
		sigmoidBCEAVX2(first(g), first(logits), first(target), len(logits), scale, &sum)
	case NEON:
		sigmoidBCENEON(first(g), first(logits), first(target), len(logits), scale, &sum)
	default:
		for i := range logits {
			z, t := float64(logits[i]), float64(target[i])
			e := math.Exp(-math.Abs(z))
			sum += max(z, 0) - z*t + math.Log1p(e)
			if g != nil {
				p := 1 / (1 + e) // sigmoid(|z|)
				if z < 0 {
					p *= e
				}
				g[i] = float32(float64(scale) * (p - t))
			}
		}
	}
	return sum
}

// MSE returns the sum of (p - t)². Unless g is nil, g = 2 scale (p - t).
func MSE(scale float32, g, pred, target []float32) float64 {
	same(len(pred), target)
	if g != nil {
		same(len(pred), g)
	}
	sum := 0.0
	switch current {
	case AVX512:
		mseAVX512(first(g), first(pred), first(target), len(pred), 2*scale, &sum)
	case AVX2:
		mseAVX2(first(g), first(pred), first(target), len(pred), 2*scale, &sum)
	case NEON:
		mseNEON(first(g), first(pred), first(target), len(pred), 2*scale, &sum)
	default:
		for i := range pred {
			d := float64(pred[i]) - float64(target[i])
			sum += float64(d * d)
			if g != nil {
				g[i] = float32(2 * float64(scale) * d)
			}
		}
	}
	return sum
}
