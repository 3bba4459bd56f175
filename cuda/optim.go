package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// SGD is gradient descent with momentum or Nesterov's.
func (l *lane) SGD(o backend.SGD, param, velocity, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &velocity, &grad, &stepParams, &t)
	var v driver.Ptr
	if o.Momentum != 0 {
		v = l.at(velocity)
	}
	nesterov := 0
	if o.Nesterov {
		nesterov = 1
	}
	u := l.updating("SGD", kernels.OptimSGD, kernels.OptimSGDSums, grad, stepParams, &t)
	u.vectors(l.at(param), v)
	l.update(&u, f32(o.Momentum), i32(nesterov))
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, param, m, v, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &v, &grad, &stepParams, &t)
	u := l.updating("Adam", kernels.OptimAdam, kernels.OptimAdamSums, grad, stepParams, &t)
	u.vectors(l.at(param), l.at(m), l.at(v))
	l.update(&u, f32(1-o.Beta1), f32(1-o.Beta2), f32(o.Eps), f32(o.WeightDecay))
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, param, accGrad, accDelta, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &accGrad, &accDelta, &grad, &stepParams, &t)
	u := l.updating("Adadelta", kernels.OptimAdadelta, kernels.OptimAdadeltaSums, grad, stepParams, &t)
	u.vectors(l.at(param), l.at(accGrad), l.at(accDelta))
	l.update(&u, f32(o.Rho), f32(o.Eps))
}

// RMSprop is RMSprop, with momentum or without.
func (l *lane) RMSprop(o backend.RMSprop, param, v, speed, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &v, &speed, &grad, &stepParams, &t)
	var s driver.Ptr
	if o.Momentum != 0 {
		s = l.at(speed)
	}
	u := l.updating("RMSprop", kernels.OptimRMSprop, kernels.OptimRMSpropSums, grad, stepParams, &t)
	u.vectors(l.at(param), l.at(v), s)
	l.update(&u, f32(o.Rho), f32(o.Momentum), f32(o.Eps))
}

// Lion is Lion.
func (l *lane) Lion(o backend.Lion, param, m, grad, stepParams backend.Tensor, t backend.Tally) {
	o.Check(&param, &m, &grad, &stepParams, &t)
	u := l.updating("Lion", kernels.OptimLion, kernels.OptimLionSums, grad, stepParams, &t)
	u.vectors(l.at(param), l.at(m))
	l.update(&u, f32(o.Beta1), f32(o.Beta2), f32(o.WeightDecay))
}

// updating is an optimiser's op: its kernels, of which the second adds up partial sums first, and the arguments that both have.
type updating struct {
	op          string
	plain, sums kernels.Entry
	grad, step  driver.Ptr
	n           int
	tally       *backend.Tally
	args        arguments
	odd         bool // a vector is not aligned
}

func (l *lane) updating(op string, plain, sums kernels.Entry, grad, stepParams backend.Tensor, t *backend.Tally) updating {
	return updating{op: op, plain: plain, sums: sums, grad: l.at(grad), step: l.at(stepParams), n: grad.Shape.Len(), tally: t}
}

// vectors are the parameters, and the states of the optimiser.
func (u *updating) vectors(list ...driver.Ptr) {
	for _, p := range list {
		u.args.add(ptr(p))
		u.odd = u.odd || (p|u.grad)%16 != 0
	}
	u.args.add(ptr(u.grad), ptr(u.step), i32(u.n))
}

// update launches an optimiser's kernel with its constants.
func (l *lane) update(u *updating, constants ...uint64) {
	t := u.tally
	u.args.add(constants...)
	u.args.add(ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
	if len(t.Sums) == 0 {
		l.launch1(u.op, u.plain, ceilDiv(u.n, 4), u.args.all()...)
		return
	}
	for all := t.Sums; len(all) > 0; {
		n := min(len(all), sumsAtOnce)
		list := l.sums(all[:n])
		for i := range list {
			list[i].odd = u.odd
		}
		var args arguments
		blocks := args.addSums(list[:n])
		args.add(u.args.all()...)
		l.launch(u.op, u.sums, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, 0, args.all()...)
		all = all[n:]
	}
}
