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
	simd.SGD(o, lr, p, v, g)
	l.tally(&t)
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, param, m, v, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &v, &grad, &stepParams, &t)
	simd.Adam(o, *l.stepParams(stepParams), l.floats(param), l.floats(m), l.floats(v), l.floats(grad))
	l.tally(&t)
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, param, accGrad, accDelta, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &accGrad, &accDelta, &grad, &stepParams, &t)
	lr := l.stepParams(stepParams).LearningRate
	simd.Adadelta(o, lr, l.floats(param), l.floats(accGrad), l.floats(accDelta), l.floats(grad))
	l.tally(&t)
}

// RMSprop is RMSprop, with momentum or without.
func (l *lane) RMSprop(o backend.RMSprop, param, v, speed, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &v, &speed, &grad, &stepParams, &t)
	var s []float32
	if o.Momentum != 0 {
		s = l.floats(speed)
	}
	simd.RMSprop(o, l.stepParams(stepParams).LearningRate, l.floats(param), l.floats(v), s, l.floats(grad))
	l.tally(&t)
}

// Lion is Lion.
func (l *lane) Lion(o backend.Lion, param, m, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &grad, &stepParams, &t)
	simd.Lion(o, l.stepParams(stepParams).LearningRate, l.floats(param), l.floats(m), l.floats(grad))
	l.tally(&t)
}

// tally does what a Tally says.
func (l *lane) tally(t *backend.Tally) {
	if !t.Total.IsZero() {
		l.Axpy(t.Total, t.Weight, t.Loss)
	}
}
