package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// SGD is gradient descent with momentum or Nesterov's.
func (l *lane) SGD(o backend.SGD, u backend.Update) {
	states, nesterov := 0, 0
	if o.Momentum != 0 {
		states = 1
	}
	if o.Nesterov {
		nesterov = 1
	}
	l.update("SGD", kernels.OptimSGD, kernels.OptimSGDSums, &u, 1, states, f32(o.Momentum), i32(nesterov))
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, u backend.Update) {
	l.update("Adam", kernels.OptimAdam, kernels.OptimAdamSums, &u, 2, 2, f32(1-o.Beta1), f32(1-o.Beta2), f32(o.Eps), f32(o.WeightDecay))
}

// Nadam is Adam with Nesterov's momentum.
func (l *lane) Nadam(o backend.Nadam, u backend.Update) {
	l.update("Nadam", kernels.OptimNadam, kernels.OptimNadamSums, &u, 2, 2, f32(1-o.Beta1), f32(1-o.Beta2), f32(o.Eps))
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, u backend.Update) {
	l.update("Adadelta", kernels.OptimAdadelta, kernels.OptimAdadeltaSums, &u, 2, 2, f32(o.Rho), f32(o.Eps))
}

// RMSprop is RMSprop, with momentum or without.
func (l *lane) RMSprop(o backend.RMSprop, u backend.Update) {
	states := 1
	if o.Momentum != 0 {
		states = 2
	}
	l.update("RMSprop", kernels.OptimRMSprop, kernels.OptimRMSpropSums, &u, 2, states, f32(o.Rho), f32(o.Momentum), f32(o.Eps))
}

// Lion is Lion.
func (l *lane) Lion(o backend.Lion, u backend.Update) {
	l.update("Lion", kernels.OptimLion, kernels.OptimLionSums, &u, 1, 1, f32(o.Beta1), f32(o.Beta2), f32(o.WeightDecay))
}

// Lamb is Adam with a step as long as the parameters say: a launch for the moments and the norms, and one for the step.
func (l *lane) Lamb(o backend.Lamb, u backend.Update) {
	o.Check(&u)
	n, p, m, v, params, t := u.Param.Shape.Len(), l.at(u.Param), l.at(u.State[0]), l.at(u.State[1]), l.at(u.StepParams), &u.Tally
	blocks := min(ceilDiv(n, 4*threads), maxBlocks/2) // there are partial sums of two norms
	l.launch("Lamb", kernels.OptimLambMoments, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, 0, ptr(l.partials), ptr(m), ptr(v), ptr(p), ptr(l.at(u.Grad)),
		ptr(params), i32(n), f32(1-o.Beta1), f32(1-o.Beta2), f32(o.Eps), f32(o.WeightDecay))
	l.launch1("Lamb", kernels.OptimLamb, ceilDiv(n, 4), ptr(p), ptr(m), ptr(v), ptr(l.partials), ptr(params), i32(n), i32(blocks), f32(u.Rate), f32(o.Eps),
		f32(o.WeightDecay), ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
}

// update launches an optimiser's kernel, or the one that adds up partial sums first. They take pointers to room states, of which those beyond states
// are null, and these constants.
func (l *lane) update(op string, plain, sums kernels.Entry, u *backend.Update, room, states int, constants ...uint64) {
	u.Check(states)
	n, grad, t := u.Param.Shape.Len(), l.at(u.Grad), &u.Tally
	var a arguments
	odd := false // a vector is not aligned
	vector := func(p driver.Ptr) {
		a.add(ptr(p))
		odd = odd || (p|grad)%16 != 0
	}
	vector(l.at(u.Param))
	for i := range room {
		var state driver.Ptr
		if i < states {
			state = l.at(u.State[i])
		}
		vector(state)
	}
	a.add(ptr(grad), ptr(l.at(u.StepParams)), i32(n), f32(u.Rate))
	a.add(constants...)
	a.add(ptr(l.at(t.Total)), ptr(l.at(t.Loss)), f32(t.Weight))
	if len(t.Sums) == 0 {
		l.launch1(op, plain, ceilDiv(n, 4), a.all()...)
		return
	}
	for all := t.Sums; len(all) > 0; {
		k := min(len(all), sumsAtOnce)
		list := l.sums(all[:k])
		for i := range list {
			list[i].odd = odd
		}
		var args arguments
		blocks := args.addSums(list[:k])
		args.add(a.all()...)
		l.launch(op, sums, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, 0, args.all()...)
		all = all[k:]
	}
}
