package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// SGD is gradient descent with momentum or Nesterov's.
func (l *lane) SGD(o backend.SGD, u backend.Update) {
	states := 0
	if o.Momentum != 0 {
		states = 1
	}
	l.update(&u, states, func(c backend.StepParams, p, g, velocity, _ []float32) { simd.SGD(o, c.LearningRate, p, velocity, g) })
}

// Adam is Adam, and AdamW when it has weight decay.
func (l *lane) Adam(o backend.Adam, u backend.Update) {
	l.update(&u, 2, func(c backend.StepParams, p, g, m, v []float32) { simd.Adam(o, c, p, m, v, g) })
}

// Nadam is Adam with Nesterov's momentum.
func (l *lane) Nadam(o backend.Nadam, u backend.Update) {
	l.update(&u, 2, func(c backend.StepParams, p, g, m, v []float32) { simd.Nadam(o, c, p, m, v, g) })
}

// Adadelta is Zeiler's method.
func (l *lane) Adadelta(o backend.Adadelta, u backend.Update) {
	l.update(&u, 2, func(c backend.StepParams, p, g, accGrad, accDelta []float32) {
		simd.Adadelta(o, c.LearningRate, p, accGrad, accDelta, g)
	})
}

// RMSprop is RMSprop, with momentum or without.
func (l *lane) RMSprop(o backend.RMSprop, u backend.Update) {
	states := 1
	if o.Momentum != 0 {
		states = 2
	}
	l.update(&u, states, func(c backend.StepParams, p, g, v, speed []float32) { simd.RMSprop(o, c.LearningRate, p, v, speed, g) })
}

// Lion is Lion.
func (l *lane) Lion(o backend.Lion, u backend.Update) {
	l.update(&u, 1, func(c backend.StepParams, p, g, m, _ []float32) { simd.Lion(o, c.LearningRate, p, m, g) })
}

// Lamb is Adam with a step as long as the parameters say.
func (l *lane) Lamb(o backend.Lamb, u backend.Update) {
	o.Check(&u)
	l.update(&u, 2, func(c backend.StepParams, p, g, m, v []float32) { simd.Lamb(o, c, p, m, v, g) })
}

// update has step update stretches of the parameters p by their gradient g and what an optimiser with so many states keeps, the states
// beyond being nil, and adds up what a Tally says.
func (l *lane) update(u *backend.Update, states int, step func(c backend.StepParams, p, g, first, second []float32)) {
	u.Check(states)
	p, g, c := l.floats(u.Param), l.floats(u.Grad), *l.stepParams(u.StepParams)
	c.LearningRate *= u.Rate
	var of [backend.MaxStates][]float32
	for i := range states {
		of[i] = l.floats(u.State[i])
	}
	apply := func(lo, hi int) {
		var s [backend.MaxStates][]float32
		for i := range states {
			s[i] = of[i][lo:hi]
		}
		step(c, p[lo:hi], g[lo:hi], s[0], s[1])
	}
	t := &u.Tally
	if len(t.Sums) == 0 {
		apply(0, len(g))
	} else {
		l.SumPartials(t.Sums)
		for i := range t.Sums {
			for _, x := range [...]*backend.Tensor{&t.Sums[i].W, &t.Sums[i].Bias} {
				if lo, hi, ok := x.Within(&u.Grad); ok {
					apply(lo, hi)
				}
			}
		}
	}
	if !t.Total.IsZero() {
		l.Axpy(t.Total, t.Weight, t.Loss)
	}
}
