package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// alike returns a Flat tensor of as many elements as like.
func (l *lane) alike(t, like backend.Tensor) []float32 {
	return l.floats(t, backend.Flat, like.Shape)
}

// SGD is gradient descent with momentum or Nesterov's.
func (l *lane) SGD(o backend.SGD, param, velocity, grad, stepParams backend.Tensor) {
	p, g, lr := l.flat(param), l.alike(grad, param), l.stepParams(stepParams).LearningRate
	var v []float32
	if o.Momentum != 0 {
		v = l.alike(velocity, param)
	}
	simd.SGD(o, lr, p, v, g)
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, param, m, v, grad, stepParams backend.Tensor) {
	simd.Adam(o, *l.stepParams(stepParams), l.flat(param), l.alike(m, param), l.alike(v, param), l.alike(grad, param))
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, param, accGrad, accDelta, grad, stepParams backend.Tensor) {
	lr := l.stepParams(stepParams).LearningRate
	simd.Adadelta(o, lr, l.flat(param), l.alike(accGrad, param), l.alike(accDelta, param), l.alike(grad, param))
}
