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
func (l *lane) SGD(o backend.SGD, param, velocity, grad, clock backend.Tensor) {
	p, g, lr := l.flat(param), l.alike(grad, param), l.clock(clock).LearningRate
	var v []float32
	if o.Momentum != 0 {
		v = l.alike(velocity, param)
	}
	simd.SGD(o, lr, p, v, g)
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, param, m, v, grad, clock backend.Tensor) {
	simd.Adam(o, *l.clock(clock), l.flat(param), l.alike(m, param), l.alike(v, param), l.alike(grad, param))
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, param, accGrad, accDelta, grad, clock backend.Tensor) {
	lr := l.clock(clock).LearningRate
	simd.Adadelta(o, lr, l.flat(param), l.alike(accGrad, param), l.alike(accDelta, param), l.alike(grad, param))
}
