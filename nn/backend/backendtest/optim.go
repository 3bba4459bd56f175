package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

// optimiser is an optimiser with its constants.
type optimiser struct {
	backend.Optimizer
	name   string
	signed bool // the first state may be negative
	betas  [2]float64
	// step updates parameters and states, by the learning rate lr and the bias corrections of c.
	step func(lr float64, c backend.StepParams, p []float64, state [][]float64, g []float64)
}

func sgd(name string, o backend.SGD) optimiser {
	m := float64(o.Momentum)
	return optimiser{Optimizer: o, name: name, signed: true,
		step: func(lr float64, _ backend.StepParams, p []float64, state [][]float64, g []float64) {
			for i, g := range g {
				v := g
				if len(state) > 0 {
					v = m*state[0][i] + g
					state[0][i] = v
				}
				if o.Nesterov {
					v = g + m*v
				}
				p[i] -= lr * v
			}
		}}
}

func adam(name string, o backend.Adam) optimiser {
	b1, b2 := float64(o.Beta1), float64(o.Beta2)
	return optimiser{Optimizer: o, name: name, signed: true, betas: [2]float64{b1, b2},
		step: func(lr float64, c backend.StepParams, p []float64, state [][]float64, g []float64) {
			m, v := state[0], state[1]
			for i, g := range g {
				p[i] *= 1 - lr*float64(o.WeightDecay)
				m[i] += (1 - b1) * (g - m[i])
				v[i] += (1 - b2) * (g*g - v[i])
				p[i] -= lr / float64(c.BiasCorrection1) * m[i] / (math.Sqrt(v[i]/float64(c.BiasCorrection2)) + float64(o.Eps))
			}
		}}
}

func nadam(name string, o backend.Nadam) optimiser {
	b1, b2 := float64(o.Beta1), float64(o.Beta2)
	return optimiser{Optimizer: o, name: name, signed: true, betas: [2]float64{b1, b2},
		step: func(lr float64, c backend.StepParams, p []float64, state [][]float64, g []float64) {
			m, v := state[0], state[1]
			for i, g := range g {
				m[i] += (1 - b1) * (g - m[i])
				v[i] += (1 - b2) * (g*g - v[i])
				p[i] -= lr * (m[i]/float64(c.BiasCorrection1) + g) / (math.Sqrt(v[i]/float64(c.BiasCorrection2)) + float64(o.Eps))
			}
		}}
}

func adadelta(name string, o backend.Adadelta) optimiser {
	rho, e := float64(o.Rho), float64(o.Eps)
	return optimiser{Optimizer: o, name: name,
		step: func(lr float64, _ backend.StepParams, p []float64, state [][]float64, g []float64) {
			a, u := state[0], state[1]
			for i, g := range g {
				a[i] = rho*a[i] + (1-rho)*g*g
				d := math.Sqrt(u[i]+e) / math.Sqrt(a[i]+e) * g
				u[i] = rho*u[i] + (1-rho)*d*d
				p[i] -= lr * d
			}
		}}
}

func rmsprop(name string, o backend.RMSprop) optimiser {
	rho, m, e := float64(o.Rho), float64(o.Momentum), float64(o.Eps)
	return optimiser{Optimizer: o, name: name,
		step: func(lr float64, _ backend.StepParams, p []float64, state [][]float64, g []float64) {
			for i, g := range g {
				v := rho*state[0][i] + (1-rho)*g*g
				d := math.Abs(lr) * g / math.Sqrt(v+e) // the speed has the rate in it, so uphill it must add up too
				state[0][i] = v
				if m != 0 {
					d += m * state[1][i]
					state[1][i] = d
				}
				p[i] -= math.Copysign(1, lr) * d
			}
		}}
}

func lion(name string, o backend.Lion) optimiser {
	b1, b2 := float64(o.Beta1), float64(o.Beta2)
	return optimiser{Optimizer: o, name: name, signed: true,
		step: func(lr float64, _ backend.StepParams, p []float64, state [][]float64, g []float64) {
			m := state[0]
			for i, g := range g {
				p[i] *= 1 - lr*float64(o.WeightDecay)
				if u := b1*m[i] + (1-b1)*g; u != 0 {
					p[i] -= math.Copysign(lr, lr*u)
				}
				m[i] = b2*m[i] + (1-b2)*g
			}
		}}
}

func optimCases() []Case {
	var cases []Case
	for _, o := range []optimiser{
		sgd("sgd", backend.SGD{}),
		sgd("momentum", backend.SGD{Momentum: 0.9}),
		sgd("nesterov", backend.SGD{Momentum: 0.9, Nesterov: true}),
		adam("adam", backend.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-7}),
		adam("adamw", backend.Adam{Beta1: 0.8, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1}),
		nadam("nadam", backend.Nadam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-7}),
		adadelta("adadelta", backend.Adadelta{Rho: 0.95, Eps: 1e-7}),
		rmsprop("rmsprop", backend.RMSprop{Rho: 0.9, Eps: 1e-7}),
		rmsprop("rmsprop-momentum", backend.RMSprop{Rho: 0.8, Momentum: 0.9, Eps: 1e-6}),
		lion("lion", backend.Lion{Beta1: 0.9, Beta2: 0.99}),
		lion("lion-decay", backend.Lion{Beta1: 0.8, Beta2: 0.95, WeightDecay: 0.1}),
	} {
		rate := func(step int) float32 { return 0.01 / float32(step) }
		cases = append(cases, o.on(1, 0, 3, rate, 1, false), o.on(257, 0, 5, rate, 1, true), o.on(257, 3, 5, rate, 0.3, false), o.on(1000, 1, 2, rate, 1, false),
			o.on(31, 33, 1, rate, 1, true), o.on(33, 0, 2, rate, 0, false))
		bench := o.on(1<<16, 0, 1, rate, 1, false)
		bench.Bench = true
		cases = append(cases, bench, o.summed(0, 40, 300, 5), o.summed(0, 5, 40, 129), o.summed(1, 33, 8, 40))
	}
	return append(cases, lambCases()...)
}

// lambCases are those of a tensor's step, several in a row, also with norms of 0.
func lambCases() (cases []Case) {
	random, zero := normal(1), given(0)
	for _, k := range []struct {
		name     string
		n, shift int
		steps    int
		o        backend.Lamb
		rate     float32
		p, g     fill
	}{
		{"", 1, 0, 3, backend.Lamb{Beta1: 0.9, Beta2: 0.999, Eps: 1e-6, WeightDecay: 0.01}, 1, random, random},
		{"", 257, 3, 4, backend.Lamb{Beta1: 0.8, Beta2: 0.99, Eps: 1e-6, WeightDecay: 0.1}, 0.3, random, random},
		{"", 1000, 1, 2, backend.Lamb{Beta1: 0.9, Beta2: 0.999, Eps: 1e-6}, 1, random, mixed(random, 0, 1e-6)},
		{"", 600_001, 0, 1, backend.Lamb{Beta1: 0.9, Beta2: 0.999, Eps: 1e-6, WeightDecay: 0.01}, 2, random, random}, // more than a turn of all blocks
		{"-of-zeros", 33, 0, 2, backend.Lamb{Beta1: 0.9, Beta2: 0.999, Eps: 1e-6, WeightDecay: 0.01}, 1, zero, random},
		{"-to-nowhere", 33, 0, 2, backend.Lamb{Beta1: 0.9, Beta2: 0.999, Eps: 1e-6}, 1, random, zero},
	} {
		c := lamb(k.n, k.shift, k.steps, k.o, k.rate, k.p, k.g)
		c.Name += k.name
		cases = append(cases, c)
	}
	return cases
}

// lamb is the case of several steps on n parameters that lie shift elements behind an aligned address, from moments of 0.
func lamb(n, shift, steps int, o backend.Lamb, rate float32, p, g fill) Case {
	c := Case{Name: fmt.Sprintf("optim/lamb/%d-at%d-%dsteps-rate%v", n, shift, steps, rate), Ops: []string{o.Name(), "SetStepParams"}, Bench: n > 1<<16}
	b1, b2 := float64(o.Beta1), float64(o.Beta2)
	stepParams := func(step int) backend.StepParams {
		return backend.StepParams{Step: uint32(step), LearningRate: 0.01, BiasCorrection1: float32(1 - math.Pow(b1, float64(step))), BiasCorrection2: float32(1 - math.Pow(b2, float64(step)))}
	}
	bound := backend.Bound{Rel: eps * float64(20+4*steps)}
	add := func(name string, n int, f fill, inout bool) {
		a := flat(name, n, f)
		if a.shift = shift; inout {
			a = a.inout(bound)
		}
		c.args = append(c.args, a)
	}
	const weight = 2.5
	add("param", n, p, true)
	add("m", n, given(0), true)
	add("v", n, given(0), true)
	add("total", 1, normal(3), true)
	add("loss", 1, normal(1), false)
	for i := range steps {
		add(fmt.Sprintf("grad%d", i+1), n, g, false)
	}
	c.args = append(c.args, stepParamsArg(backend.StepParams{}).scratch())
	c.run = func(b backend.Backend, t tensors) {
		for i := range steps {
			b.SetStepParams(t["stepParams"], stepParams(i+1))
			b.Lamb(o, backend.Update{Param: t["param"], Grad: t[fmt.Sprintf("grad%d", i+1)], State: [2]backend.Tensor{t["m"], t["v"]}, StepParams: t["stepParams"],
				Rate: rate, Tally: backend.Tally{Total: t["total"], Loss: t["loss"], Weight: weight}})
		}
	}
	c.reference = func(d data) values {
		r := values{}
		for _, name := range []string{"param", "m", "v", "total"} {
			r[name] = addTo(d[name])
		}
		p, m, v := r["param"], r["m"], r["v"]
		for i := range steps {
			k, gs := stepParams(i+1), d[fmt.Sprintf("grad%d", i+1)]
			u, mag := make([]float64, n), make([]float64, n) // the direction, and its magnitude
			var pp, uu, magmag float64
			for j, g := range gs {
				m.v[j] += (1 - b1) * (g - m.v[j])
				m.mag[j] = b1*m.mag[j] + (1-b1)*math.Abs(g)
				v.v[j] += (1 - b2) * (g*g - v.v[j])
				v.mag[j] = v.v[j]
				root := math.Sqrt(v.v[j]/float64(k.BiasCorrection2)) + float64(o.Eps)
				u[j] = m.v[j]/float64(k.BiasCorrection1)/root + float64(o.WeightDecay)*p.v[j]
				mag[j] = m.mag[j]/float64(k.BiasCorrection1)/root + float64(o.WeightDecay)*p.mag[j]
				pp, uu, magmag = pp+p.v[j]*p.v[j], uu+u[j]*u[j], magmag+mag[j]*mag[j]
			}
			step, off := float64(k.LearningRate)*float64(rate), 0.0
			if pp > 0 && uu > 0 {
				step *= math.Sqrt(pp / uu)
				off = math.Sqrt(magmag / uu) // what the norm is off by, as a share
			}
			for j := range u {
				p.v[j] -= step * u[j]
				p.mag[j] += step * (mag[j] + off*math.Abs(u[j]))
			}
			r["total"].add(0, weight*d["loss"][0])
		}
		return r
	}
	return c
}

// on is the case of several steps on n parameters that lie shift elements behind an aligned address. The states start
// at zero if fresh; else the steps tally a loss. factor multiplies the learning rate.
func (o optimiser) on(n, shift, steps int, rate func(step int) float32, factor float32, fresh bool) Case {
	c := Case{Name: fmt.Sprintf("optim/%s/%d-at%d-%dsteps", o.name, n, shift, steps), Ops: []string{o.Name(), "SetStepParams"}}
	if factor != 1 {
		c.Name += fmt.Sprintf("-rate%v", factor)
	}
	stepParams := func(step int) backend.StepParams {
		return backend.StepParams{Step: uint32(step), LearningRate: rate(step),
			BiasCorrection1: float32(1 - math.Pow(o.betas[0], float64(step))),
			BiasCorrection2: float32(1 - math.Pow(o.betas[1], float64(step)))}
	}
	bound := backend.Bound{Rel: eps * float64(8+2*steps)}
	c.args = []arg{flat("param", n, normal(1)).inout(bound), stepParamsArg(backend.StepParams{}).scratch()}
	for i, name := range o.States() {
		f := mixed(uniform(0, 1), 0) // Adam divides by the root of a second moment of 0 besides eps
		if i == 0 && o.signed {
			f = normal(1)
		}
		if fresh {
			f = given(0)
		}
		c.args = append(c.args, flat(name, n, f).inout(bound))
	}
	grads := make([]string, steps)
	for i := range grads {
		grads[i] = fmt.Sprintf("grad%d", i+1)
		c.args = append(c.args, flat(grads[i], n, mixed(normal(1), 0, 1e-6)))
	}
	for i := range c.args {
		if c.args[i].role == backend.Flat {
			c.args[i].shift = shift
		}
	}
	const weight = 2.5
	if !fresh {
		c.args = append(c.args, flat("total", 1, normal(3)).inout(bound), flat("loss", 1, normal(1)))
	}
	c.run = func(b backend.Backend, t tensors) {
		u := o.update(t)
		u.Rate = factor
		if !fresh {
			u.Tally = backend.Tally{Total: t["total"], Loss: t["loss"], Weight: weight}
		}
		for i := range steps {
			b.SetStepParams(t["stepParams"], stepParams(i+1))
			u.Grad = t[grads[i]]
			o.Update(b, u)
		}
	}
	c.reference = func(d data) values {
		v, mag := make(data), make(data)
		for _, name := range append([]string{"param"}, o.States()...) {
			v[name], mag[name] = addTo(d[name]).v, addTo(d[name]).mag
		}
		// The same steps uphill with all signs positive add up the magnitudes.
		for i := range steps {
			k, g := stepParams(i+1), d[grads[i]]
			lr := float64(k.LearningRate) * float64(factor)
			o.step(lr, k, v["param"], o.stateOf(v), g)
			o.step(-lr, k, mag["param"], o.stateOf(mag), addTo(g).mag)
		}
		r := make(values)
		for name := range v {
			r[name] = value{v: v[name], mag: mag[name]}
		}
		if !fresh {
			total, added := d["total"][0], float64(steps)*weight*d["loss"][0]
			r["total"] = value{v: []float64{total + added}, mag: []float64{math.Abs(total) + math.Abs(added)}}
		}
		return r
	}
	return c
}

// summed is the case of a step that adds up partial sums first: so many of each gradient of one layer and of another, and of the loss. The layers
// have the elements at some offsets of the gradient; between them are elements of none. Parameters and states lie shift elements behind an aligned address. No
// value is negative, so that what the sums are off by stays a share of them, and what changes a parameter has one sign.
func (o optimiser) summed(shift, first, second, loss int) Case {
	const n, rate, weight, most = 320, 0.01, 2.5, 300
	const lr = rate * summedRate
	c := Case{Name: fmt.Sprintf("optim/%s/sums-of-%d-%d-%d-at%d", o.name, first, second, loss, shift), Ops: []string{o.Name(), "SetStepParams", "SumPartials"}}
	step := backend.StepParams{Step: 1, LearningRate: rate, BiasCorrection1: float32(1 - o.betas[0]), BiasCorrection2: float32(1 - o.betas[1])}
	layers := []struct{ at, weights, bias, biases, rows int }{{0, 64, 64, 12, first}, {128, 33, 192, 7, second}}
	positive, bound := uniform(0.1, 1), backend.Bound{Rel: eps * (10 + most)}
	for _, name := range append([]string{"param"}, o.States()...) {
		a := flat(name, n, positive).inout(bound)
		a.shift = shift
		c.args = append(c.args, a)
	}
	c.args = append(c.args, flat("grad", n, positive).inout(bound), stepParamsArg(backend.StepParams{}).scratch(), flat("total", 1, positive).inout(bound), flat("loss", 1, positive).inout(bound))
	partials := func(name string, rows, columns int) {
		c.args = append(c.args, arg{name: name, role: backend.Flat, shape: shape{N: rows, H: 1, W: 1, C: columns}, fill: positive})
	}
	for i, l := range layers {
		partials(fmt.Sprint("partials", i), l.rows, l.weights+l.biases)
	}
	partials("lossPartials", loss, 1)
	c.run = func(b backend.Backend, t tensors) {
		part := func(at int, s shape) backend.Tensor {
			p := t["grad"].Range(at, at+s.Len())
			p.Role, p.Shape = backend.Param, s
			return p
		}
		sums := []backend.Params{{W: t["loss"], Partials: t["lossPartials"]}}
		for i, l := range layers {
			sums = append(sums, backend.Params{W: part(l.at, shape{N: l.weights, H: 1, W: 1, C: 1}), Bias: part(l.bias, backend.Vec(l.biases)),
				Partials: t[fmt.Sprint("partials", i)]})
		}
		b.SetStepParams(t["stepParams"], step)
		u := o.update(t)
		u.Grad, u.Tally = t["grad"], backend.Tally{Sums: sums, Total: t["total"], Loss: t["loss"], Weight: weight}
		o.Update(b, u)
	}
	c.reference = func(d data) values {
		r := values{}
		for _, name := range append([]string{"param", "grad", "loss", "total"}, o.States()...) {
			r[name] = addTo(d[name])
		}
		for i, l := range layers {
			for k, x := range d[fmt.Sprint("partials", i)] {
				if column := k % (l.weights + l.biases); column < l.weights {
					r["grad"].add(l.at+column, x)
				} else {
					r["grad"].add(l.bias+column-l.weights, x)
				}
			}
		}
		for _, x := range d["lossPartials"] {
			r["loss"].add(0, x)
		}
		r["total"].add(0, weight*r["loss"].v[0])
		for _, l := range layers {
			for _, span := range [][2]int{{l.at, l.at + l.weights}, {l.bias, l.bias + l.biases}} {
				within := func(name string) []float64 { return r[name].v[span[0]:span[1]] }
				var states [][]float64
				for _, name := range o.States() {
					states = append(states, within(name))
				}
				o.step(lr, step, within("param"), states, within("grad"))
			}
		}
		for name, v := range r {
			for i := range v.v {
				v.mag[i] = math.Abs(v.v[i])
			}
			if name == "param" {
				for i, before := range d[name] {
					v.mag[i] = before + math.Abs(v.v[i]-before)
				}
			}
		}
		return r
	}
	return c
}

// summedRate is what parameters have of the learning rate where sums are added up first.
const summedRate = 0.5

// update has the tensors of a case, but for the gradient.
func (o optimiser) update(t tensors) backend.Update {
	u := backend.Update{Param: t["param"], StepParams: t["stepParams"], Rate: summedRate}
	for i, name := range o.States() {
		u.State[i] = t[name]
	}
	return u
}

func (o optimiser) stateOf(d data) [][]float64 {
	var s [][]float64
	for _, name := range o.States() {
		s = append(s, d[name])
	}
	return s
}
