package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// SGD is gradient descent with momentum or Nesterov's.
func (l *lane) SGD(o backend.SGD, param, velocity, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &velocity, &grad, &stepParams, &t)
	p, g, c, n := l.at(param), l.at(grad), l.at(stepParams), param.Shape.Len()
	var v driver.Ptr
	if o.Momentum != 0 {
		v = l.at(velocity)
	}
	nesterov := 0
	if o.Nesterov {
		nesterov = 1
	}
	l.launch1("SGD", kernels.OptimSGD, ceilDiv(n, 4), ptr(p), ptr(v), ptr(g), ptr(c), i32(n), f32(o.Momentum), i32(nesterov),
		ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, param, m, v, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &v, &grad, &stepParams, &t)
	p, m1, m2, n := l.at(param), l.at(m), l.at(v), param.Shape.Len()
	l.launch1("Adam", kernels.OptimAdam, ceilDiv(n, 4), ptr(p), ptr(m1), ptr(m2), ptr(l.at(grad)), ptr(l.at(stepParams)),
		i32(n), f32(1-o.Beta1), f32(1-o.Beta2), f32(o.Eps), f32(o.WeightDecay), ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, param, accGrad, accDelta, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &accGrad, &accDelta, &grad, &stepParams, &t)
	p, a, u, n := l.at(param), l.at(accGrad), l.at(accDelta), param.Shape.Len()
	l.launch1("Adadelta", kernels.OptimAdadelta, ceilDiv(n, 4), ptr(p), ptr(a), ptr(u), ptr(l.at(grad)), ptr(l.at(stepParams)),
		i32(n), f32(o.Rho), f32(o.Eps), ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
}

// RMSprop is RMSprop, with momentum or without.
func (l *lane) RMSprop(o backend.RMSprop, param, v, speed, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &v, &speed, &grad, &stepParams, &t)
	var s driver.Ptr
	if o.Momentum != 0 {
		s = l.at(speed)
	}
	n := param.Shape.Len()
	l.launch1("RMSprop", kernels.OptimRMSprop, ceilDiv(n, 4), ptr(l.at(param)), ptr(l.at(v)), ptr(s), ptr(l.at(grad)), ptr(l.at(stepParams)),
		i32(n), f32(o.Rho), f32(o.Momentum), f32(o.Eps), ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
}

// Lion is Lion.
func (l *lane) Lion(o backend.Lion, param, m, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &grad, &stepParams, &t)
	n := param.Shape.Len()
	l.launch1("Lion", kernels.OptimLion, ceilDiv(n, 4), ptr(l.at(param)), ptr(l.at(m)), ptr(l.at(grad)), ptr(l.at(stepParams)),
		i32(n), f32(o.Beta1), f32(o.Beta2), f32(o.WeightDecay), ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
}
