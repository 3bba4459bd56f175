package cpu

import (
	"math"

	"convae/nn/backend"
)

// alike returns a Flat tensor of as many elements as like.
func (l *lane) alike(t, like backend.Tensor) []float32 {
	return l.floats(t, backend.Flat, like.Shape)
}

// SGD is gradient descent with momentum or Nesterov's.
func (l *lane) SGD(o backend.SGD, param, velocity, grad, clock backend.Tensor) {
	p, g, lr := l.flat(param), l.alike(grad, param), l.clock(clock).LearningRate
	if o.Momentum == 0 {
		for i, d := range g {
			p[i] -= lr * d
		}
		return
	}
	v := l.alike(velocity, param)
	for i, d := range g {
		v[i] = o.Momentum*v[i] + d
		if o.Nesterov {
			d += o.Momentum * v[i]
		} else {
			d = v[i]
		}
		p[i] -= lr * d
	}
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, param, m, v, grad, clock backend.Tensor) {
	p, g, m1, m2, c := l.flat(param), l.alike(grad, param), l.alike(m, param), l.alike(v, param), l.clock(clock)
	keep := 1 - c.LearningRate*o.WeightDecay
	step := c.LearningRate / c.BiasCorrection1
	for i, d := range g {
		a := m1[i] + (1-o.Beta1)*(d-m1[i])
		b := m2[i] + (1-o.Beta2)*(d*d-m2[i])
		m1[i], m2[i] = a, b
		p[i] = p[i]*keep - step*a/(sqrt(b/c.BiasCorrection2)+o.Eps)
	}
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, param, accGrad, accDelta, grad, clock backend.Tensor) {
	p, g, a, u := l.flat(param), l.alike(grad, param), l.alike(accGrad, param), l.alike(accDelta, param)
	lr := l.clock(clock).LearningRate
	for i, d := range g {
		a[i] = o.Rho*a[i] + (1-o.Rho)*(d*d)
		d *= sqrt(u[i]+o.Eps) / sqrt(a[i]+o.Eps)
		u[i] = o.Rho*u[i] + (1-o.Rho)*(d*d)
		p[i] -= lr * d
	}
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
