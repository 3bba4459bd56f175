package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// SGD is gradient descent with momentum or Nesterov's.
func (l *lane) SGD(o backend.SGD, param, velocity, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &velocity, &grad, &stepParams, &t)
	p, g, lr := l.floats(param), l.floats(grad), l.stepParams(stepParams).LearningRate
	var v []float32
	if o.Momentum != 0 {
		v = l.floats(velocity)
	}
	l.update(&grad, &t, func(lo, hi int) {
		if v == nil {
			simd.SGD(o, lr, p[lo:hi], nil, g[lo:hi])
		} else {
			simd.SGD(o, lr, p[lo:hi], v[lo:hi], g[lo:hi])
		}
	})
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, param, m, v, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &v, &grad, &stepParams, &t)
	c, p, m1, m2, g := l.stepParams(stepParams), l.floats(param), l.floats(m), l.floats(v), l.floats(grad)
	l.update(&grad, &t, func(lo, hi int) { simd.Adam(o, *c, p[lo:hi], m1[lo:hi], m2[lo:hi], g[lo:hi]) })
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, param, accGrad, accDelta, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &accGrad, &accDelta, &grad, &stepParams, &t)
	lr, p, a, u, g := l.stepParams(stepParams).LearningRate, l.floats(param), l.floats(accGrad), l.floats(accDelta), l.floats(grad)
	l.update(&grad, &t, func(lo, hi int) { simd.Adadelta(o, lr, p[lo:hi], a[lo:hi], u[lo:hi], g[lo:hi]) })
}

// RMSprop is RMSprop, with momentum or without.
func (l *lane) RMSprop(o backend.RMSprop, param, v, speed, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &v, &speed, &grad, &stepParams, &t)
	var s []float32
	if o.Momentum != 0 {
		s = l.floats(speed)
	}
	lr, p, a, g := l.stepParams(stepParams).LearningRate, l.floats(param), l.floats(v), l.floats(grad)
	l.update(&grad, &t, func(lo, hi int) {
		if s == nil {
			simd.RMSprop(o, lr, p[lo:hi], a[lo:hi], nil, g[lo:hi])
		} else {
			simd.RMSprop(o, lr, p[lo:hi], a[lo:hi], s[lo:hi], g[lo:hi])
		}
	})
}

// Lion is Lion.
func (l *lane) Lion(o backend.Lion, param, m, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &grad, &stepParams, &t)
	lr, p, a, g := l.stepParams(stepParams).LearningRate, l.floats(param), l.floats(m), l.floats(grad)
	l.update(&grad, &t, func(lo, hi int) { simd.Lion(o, lr, p[lo:hi], a[lo:hi], g[lo:hi]) })
}

// update has apply update stretches of the parameters, and adds up what a Tally says.
func (l *lane) update(grad *backend.Tensor, t *backend.Tally, apply func(lo, hi int)) {
	if len(t.Sums) == 0 {
		apply(0, grad.Shape.Len())
	} else {
		l.SumPartials(t.Sums)
		for i := range t.Sums {
			for _, x := range [...]*backend.Tensor{&t.Sums[i].W, &t.Sums[i].Bias} {
				if lo, hi, ok := x.Within(grad); ok {
					apply(lo, hi)
				}
			}
		}
	}
	if !t.Total.IsZero() {
		l.Axpy(t.Total, t.Weight, t.Loss)
	}
}
