package simd

import "math"

// ReLU: v = max(v, 0), NaN for NaN.
func ReLU(v []float32) {
	switch current {
	case AVX512:
		reluAVX512(first(v), len(v))
	case AVX2:
		reluAVX2(first(v), len(v))
	case NEON:
		reluNEON(first(v), len(v))
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
	case NEON:
		reluBackNEON(first(g), first(out), len(g))
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
	case NEON:
		sigmoidNEON(first(v), len(v))
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
	case NEON:
		sigmoidBackNEON(first(g), first(out), len(g))
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
	case NEON:
		tanhNEON(first(v), len(v))
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
	case NEON:
		tanhBackNEON(first(g), first(out), len(g))
	default:
		for i, x := range out {
			g[i] *= 1 - float32(x*x)
		}
	}
}

// LeakyReLU: v = v, times alpha where v is at most 0.
func LeakyReLU(alpha float32, v []float32) {
	switch current {
	case AVX512:
		leakyReLUAVX512(first(v), len(v), alpha)
	case AVX2:
		leakyReLUAVX2(first(v), len(v), alpha)
	case NEON:
		leakyReLUNEON(first(v), len(v), alpha)
	default:
		for i, x := range v {
			if !(x > 0) {
				v[i] = alpha * x
			}
		}
	}
}

// LeakyReLUBack: g *= alpha where out is at most 0, bit for bit.
func LeakyReLUBack(alpha float32, g, out []float32) {
	same(len(g), out)
	switch current {
	case AVX512:
		leakyReLUBackAVX512(first(g), first(out), len(g), alpha)
	case AVX2:
		leakyReLUBackAVX2(first(g), first(out), len(g), alpha)
	case NEON:
		leakyReLUBackNEON(first(g), first(out), len(g), alpha)
	default:
		for i, x := range out {
			if !(x > 0) {
				g[i] *= alpha
			}
		}
	}
}

// ELU: v = alpha (exp(v) - 1) where v is at most 0.
func ELU(alpha float32, v []float32) {
	switch current {
	case AVX512:
		eluAVX512(first(v), len(v), alpha)
	case AVX2:
		eluAVX2(first(v), len(v), alpha)
	case NEON:
		eluNEON(first(v), len(v), alpha)
	default:
		for i, x := range v {
			if !(x > 0) {
				v[i] = float32(float64(alpha) * math.Expm1(float64(x)))
			}
		}
	}
}

// ELUBack: g *= out + alpha where out is at most 0, bit for bit.
func ELUBack(alpha float32, g, out []float32) {
	same(len(g), out)
	switch current {
	case AVX512:
		eluBackAVX512(first(g), first(out), len(g), alpha)
	case AVX2:
		eluBackAVX2(first(g), first(out), len(g), alpha)
	case NEON:
		eluBackNEON(first(g), first(out), len(g), alpha)
	default:
		for i, x := range out {
			if !(x > 0) {
				g[i] *= x + alpha
			}
		}
	}
}

// Softplus: v = ln(1 + exp(v)).
func Softplus(v []float32) {
	switch current {
	case AVX512:
		softplusAVX512(first(v), len(v))
	case AVX2:
		softplusAVX2(first(v), len(v))
	case NEON:
		softplusNEON(first(v), len(v))
	default:
		for i, x := range v {
			v[i] = float32(max(float64(x), 0) + math.Log1p(math.Exp(-math.Abs(float64(x)))))
		}
	}
}

// SoftplusBack: g *= 1 - exp(-out).
func SoftplusBack(g, out []float32) {
	same(len(g), out)
	switch current {
	case AVX512:
		softplusBackAVX512(first(g), first(out), len(g))
	case AVX2:
		softplusBackAVX2(first(g), first(out), len(g))
	case NEON:
		softplusBackNEON(first(g), first(out), len(g))
	default:
		for i, x := range out {
			g[i] *= float32(-math.Expm1(-float64(x)))
		}
	}
}

// Softsign: v = v/(1 + |v|).
func Softsign(v []float32) {
	switch current {
	case AVX512:
		softsignAVX512(first(v), len(v))
	case AVX2:
		softsignAVX2(first(v), len(v))
	case NEON:
		softsignNEON(first(v), len(v))
	default:
		for i, x := range v {
			y := within(float64(x), math.MaxFloat32)
			v[i] = float32(y / (1 + math.Abs(y)))
		}
	}
}

// SoftsignBack: g *= (1 - |out|)², bit for bit.
func SoftsignBack(g, out []float32) {
	same(len(g), out)
	switch current {
	case AVX512:
		softsignBackAVX512(first(g), first(out), len(g))
	case AVX2:
		softsignBackAVX2(first(g), first(out), len(g))
	case NEON:
		softsignBackNEON(first(g), first(out), len(g))
	default:
		for i, x := range out {
			d := 1 - float32(math.Abs(float64(x)))
			g[i] *= float32(d * d)
		}
	}
}

// SiLU, GELU and GELUTanh: v = v p(v), where p is the sigmoid of v, the standard normal distribution, and the sigmoid of v (linear + cubic v²),
// which comes near to that. p is 0 or 1 beyond 128, as it is in float32.
func SiLU(v []float32) {
	switch current {
	case AVX512:
		siluAVX512(first(v), len(v))
	case AVX2:
		siluAVX2(first(v), len(v))
	case NEON:
		siluNEON(first(v), len(v))
	default:
		gated(v, sigmoidGate)
	}
}

func GELU(v []float32) {
	switch current {
	case AVX512:
		geluAVX512(first(v), len(v))
	case AVX2:
		geluAVX2(first(v), len(v))
	case NEON:
		geluNEON(first(v), len(v))
	default:
		gated(v, normalGate)
	}
}

func GELUTanh(v []float32) {
	switch current {
	case AVX512:
		geluTanhAVX512(first(v), len(v))
	case AVX2:
		geluTanhAVX2(first(v), len(v))
	case NEON:
		geluTanhNEON(first(v), len(v))
	default:
		gated(v, tanhGate)
	}
}

// SiLUBack, GELUBack and GELUTanhBack: g *= p(x) + x p'(x). x is the input of the activation.
func SiLUBack(g, x []float32) {
	same(len(g), x)
	switch current {
	case AVX512:
		siluBackAVX512(first(g), first(x), len(g))
	case AVX2:
		siluBackAVX2(first(g), first(x), len(g))
	case NEON:
		siluBackNEON(first(g), first(x), len(g))
	default:
		gatedBack(g, x, sigmoidGate)
	}
}

func GELUBack(g, x []float32) {
	same(len(g), x)
	switch current {
	case AVX512:
		geluBackAVX512(first(g), first(x), len(g))
	case AVX2:
		geluBackAVX2(first(g), first(x), len(g))
	case NEON:
		geluBackNEON(first(g), first(x), len(g))
	default:
		gatedBack(g, x, normalGate)
	}
}

func GELUTanhBack(g, x []float32) {
	same(len(g), x)
	switch current {
	case AVX512:
		geluTanhBackAVX512(first(g), first(x), len(g))
	case AVX2:
		geluTanhBackAVX2(first(g), first(x), len(g))
	case NEON:
		geluTanhBackNEON(first(g), first(x), len(g))
	default:
		gatedBack(g, x, tanhGate)
	}
}

// gate returns p and its derivative at x.
type gate func(x float64) (p, slope float64)

func sigmoidGate(x float64) (p, slope float64) {
	e := math.Exp(-math.Abs(x))
	if p = 1 / (1 + e); x < 0 {
		p *= e
	}
	return p, e / ((1 + e) * (1 + e))
}

func normalGate(x float64) (p, slope float64) {
	return math.Erfc(-x/math.Sqrt2) / 2, math.Exp(-x*x/2) / math.Sqrt(2*math.Pi)
}

func tanhGate(x float64) (p, slope float64) {
	linear := 2 * math.Sqrt(2/math.Pi)
	cubic := 0.044715 * linear
	p, slope = sigmoidGate(x * (linear + cubic*x*x))
	return p, slope * (linear + 3*cubic*x*x)
}

func gated(v []float32, of gate) {
	for i, x := range v {
		p, _ := of(within(float64(x), 128))
		v[i] = float32(max(float64(x), -128) * p)
	}
}

func gatedBack(g, x []float32, of gate) {
	for i, x := range x {
		x := within(float64(x), 128)
		p, slope := of(x)
		g[i] *= float32(p + x*slope)
	}
}

// within returns x, held within most of 0; NaN for NaN.
func within(x, most float64) float64 { return max(min(x, most), -most) }
