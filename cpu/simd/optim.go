package simd

import (
	"math"

	"github.com/convae/convae/nn/backend"
)

// The optimisers update in place, by the formulas of backend.Optim, bit for bit alike at every level: products are
// converted to float32 before they are added, so that none is fused.

// SGD is gradient descent; velocity is not used when there is no momentum.
func SGD(o backend.SGD, lr float32, param, velocity, grad []float32) {
	same(len(param), grad)
	if o.Momentum == 0 {
		Axpy(param, -lr, grad)
		return
	}
	same(len(param), velocity)
	switch {
	case current == AVX512 && o.Nesterov:
		nesterovAVX512(first(param), first(velocity), first(grad), len(param), lr, o.Momentum)
	case current == AVX512:
		momentumAVX512(first(param), first(velocity), first(grad), len(param), lr, o.Momentum)
	case current == AVX2 && o.Nesterov:
		nesterovAVX2(first(param), first(velocity), first(grad), len(param), lr, o.Momentum)
	case current == AVX2:
		momentumAVX2(first(param), first(velocity), first(grad), len(param), lr, o.Momentum)
	case current == NEON && o.Nesterov:
		nesterovNEON(first(param), first(velocity), first(grad), len(param), lr, o.Momentum)
	case current == NEON:
		momentumNEON(first(param), first(velocity), first(grad), len(param), lr, o.Momentum)
	default:
		for i, g := range grad {
			v := float32(o.Momentum*velocity[i]) + g
			velocity[i] = v
			if o.Nesterov {
				v = float32(o.Momentum*v) + g
			}
			param[i] -= float32(lr * v)
		}
	}
}

// Adam is Adam, and AdamW when it has weight decay.
func Adam(o backend.Adam, c backend.StepParams, param, m, v, grad []float32) {
	same(len(param), m, v, grad)
	keep := 1 - float32(c.LearningRate*o.WeightDecay)
	step := c.LearningRate / c.BiasCorrection1
	switch current {
	case AVX512:
		adamAVX512(first(param), first(m), first(v), first(grad), len(param), keep, step, 1-o.Beta1, 1-o.Beta2, c.BiasCorrection2, o.Eps)
	case AVX2:
		adamAVX2(first(param), first(m), first(v), first(grad), len(param), keep, step, 1-o.Beta1, 1-o.Beta2, c.BiasCorrection2, o.Eps)
	case NEON:
		adamNEON(first(param), first(m), first(v), first(grad), len(param), keep, step, 1-o.Beta1, 1-o.Beta2, c.BiasCorrection2, o.Eps)
	default:
		for i, g := range grad {
			a := m[i] + float32((1-o.Beta1)*(g-m[i]))
			b := v[i] + float32((1-o.Beta2)*(float32(g*g)-v[i]))
			m[i], v[i] = a, b
			param[i] = float32(param[i]*keep) - float32(step*a)/(sqrt(b/c.BiasCorrection2)+o.Eps)
		}
	}
}

// Nadam is Adam with Nesterov's momentum.
func Nadam(o backend.Nadam, c backend.StepParams, param, m, v, grad []float32) {
	same(len(param), m, v, grad)
	step := c.LearningRate / c.BiasCorrection1
	for i, g := range grad {
		a := m[i] + float32((1-o.Beta1)*(g-m[i]))
		b := v[i] + float32((1-o.Beta2)*(float32(g*g)-v[i]))
		m[i], v[i] = a, b
		param[i] -= (float32(step*a) + float32(c.LearningRate*g)) / (sqrt(b/c.BiasCorrection2) + o.Eps)
	}
}

// Adadelta is Zeiler's method.
func Adadelta(o backend.Adadelta, lr float32, param, accGrad, accDelta, grad []float32) {
	same(len(param), accGrad, accDelta, grad)
	switch current {
	case AVX512:
		adadeltaAVX512(first(param), first(accGrad), first(accDelta), first(grad), len(param), lr, o.Rho, 1-o.Rho, o.Eps)
	case AVX2:
		adadeltaAVX2(first(param), first(accGrad), first(accDelta), first(grad), len(param), lr, o.Rho, 1-o.Rho, o.Eps)
	case NEON:
		adadeltaNEON(first(param), first(accGrad), first(accDelta), first(grad), len(param), lr, o.Rho, 1-o.Rho, o.Eps)
	default:
		for i, d := range grad {
			a := float32(o.Rho*accGrad[i]) + float32((1-o.Rho)*float32(d*d))
			d *= sqrt(accDelta[i]+o.Eps) / sqrt(a+o.Eps)
			accGrad[i] = a
			accDelta[i] = float32(o.Rho*accDelta[i]) + float32((1-o.Rho)*float32(d*d))
			param[i] -= float32(lr * d)
		}
	}
}

// RMSprop is RMSprop; speed is not used when there is no momentum.
func RMSprop(o backend.RMSprop, lr float32, param, v, speed, grad []float32) {
	same(len(param), v, grad)
	for i, g := range grad {
		a := float32(o.Rho*v[i]) + float32((1-o.Rho)*float32(g*g))
		d := float32(lr*g) / sqrt(a+o.Eps)
		v[i] = a
		if o.Momentum != 0 {
			d += float32(o.Momentum * speed[i])
			speed[i] = d
		}
		param[i] -= d
	}
}

// Lion is Lion.
func Lion(o backend.Lion, lr float32, param, m, grad []float32) {
	same(len(param), m, grad)
	keep := 1 - float32(lr*o.WeightDecay)
	for i, g := range grad {
		u := float32(o.Beta1*m[i]) + float32((1-o.Beta1)*g)
		m[i] = float32(o.Beta2*m[i]) + float32((1-o.Beta2)*g)
		p := float32(param[i] * keep)
		switch {
		case u > 0:
			p -= lr
		case u < 0:
			p += lr
		case u != u:
			p = u
		}
		param[i] = p
	}
}

// Lamb is Adam with a step as long as the parameters say.
func Lamb(o backend.Lamb, c backend.StepParams, param, m, v, grad []float32) {
	same(len(param), m, v, grad)
	direction := func(i int) float32 {
		return m[i]/c.BiasCorrection1/(sqrt(v[i]/c.BiasCorrection2)+o.Eps) + float32(o.WeightDecay*param[i])
	}
	var parameters, directions float64
	for i, g := range grad {
		m[i] += float32((1 - o.Beta1) * (g - m[i]))
		v[i] += float32((1 - o.Beta2) * (float32(g*g) - v[i]))
		p, d := float64(param[i]), float64(direction(i))
		parameters, directions = parameters+p*p, directions+d*d
	}
	rate := c.LearningRate
	if parameters > 0 && directions > 0 {
		rate *= float32(math.Sqrt(parameters) / math.Sqrt(directions))
	}
	for i := range param {
		param[i] -= float32(rate * direction(i))
	}
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
