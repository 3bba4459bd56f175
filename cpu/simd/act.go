package simd

import "math"

// ReLU: v = max(v, 0), NaN for NaN.
func ReLU(v []float32) {
	switch current {
	case AVX512:
		reluAVX512(first(v), len(v))
	case AVX2:
		reluAVX2(first(v), len(v))
	default:
		for i, x := range v {
			v[i] = max(x, 0)
		}
	}
}

// ReLUBack: g = g where out > 0, else 0. out is the output of the activation, here and below.
func ReLUBack(g, out []float32) {
	same(len(g), out)
	switch current {
	case AVX512:
		reluBackAVX512(first(g), first(out), len(g))
	case AVX2:
		reluBackAVX2(first(g), first(out), len(g))
	default:
		for i, x := range out {
			// The choice is made on the bits of the numbers, so that the compiler makes a conditional move of it, not a jump.
			b := math.Float32bits(g[i])
			if !(x > 0) {
				b = 0
			}
			g[i] = math.Float32frombits(b)
		}
	}
}

// Sigmoid: v = 1/(1+exp(-v)).
func Sigmoid(v []float32) {
	switch current {
	case AVX512:
		sigmoidAVX512(first(v), len(v))
	case AVX2:
		sigmoidAVX2(first(v), len(v))
	default:
		for i, x := range v {
			v[i] = float32(1 / (1 + math.Exp(-float64(x))))
		}
	}
}

// SigmoidBack: g *= out (1 - out), bit for bit.
func SigmoidBack(g, out []float32) {
	same(len(g), out)
	switch current {
	case AVX512:
		sigmoidBackAVX512(first(g), first(out), len(g))
	case AVX2:
		sigmoidBackAVX2(first(g), first(out), len(g))
	default:
		for i, x := range out {
			g[i] *= float32(x * (1 - x))
		}
	}
}

// Tanh: v = tanh(v).
func Tanh(v []float32) {
	switch current {
	case AVX512:
		tanhAVX512(first(v), len(v))
	case AVX2:
		tanhAVX2(first(v), len(v))
	default:
		for i, x := range v {
			v[i] = float32(math.Tanh(float64(x)))
		}
	}
}

// TanhBack: g *= 1 - out², bit for bit.
func TanhBack(g, out []float32) {
	same(len(g), out)
	switch current {
	case AVX512:
		tanhBackAVX512(first(g), first(out), len(g))
	case AVX2:
		tanhBackAVX2(first(g), first(out), len(g))
	default:
		for i, x := range out {
			g[i] *= 1 - float32(x*x)
		}
	}
}
