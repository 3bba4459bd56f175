package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

// lossFunc is a loss: its name, op, and for one element value, gradient and the magnitudes of their terms.
type lossFunc struct {
	name, op string
	apply    func(b backend.Backend, scale float32, loss, partials, grad, pred, target backend.Tensor)
	value    func(p, t float64) (v, mag float64)
	slope    func(p, t float64) (v, mag float64)
}

var (
	bce = lossFunc{"bce", "SigmoidBCE", backend.Backend.SigmoidBCE,
		func(z, t float64) (v, mag float64) {
			e := math.Log1p(math.Exp(-math.Abs(z)))
			return max(z, 0) - z*t + e, max(z, 0) + math.Abs(z*t) + e
		},
		func(z, t float64) (v, mag float64) {
			s := act(backend.Sigmoid, z)
			return s - t, s + t + 1
		}}
	mse = lossFunc{"mse", "MSE", backend.Backend.MSE,
		func(p, t float64) (v, mag float64) {
			return (p - t) * (p - t), (math.Abs(p) + math.Abs(t)) * math.Abs(p-t)
		},
		func(p, t float64) (v, mag float64) { return 2 * (p - t), 2 * (math.Abs(p) + math.Abs(t)) }}
)

func lossCases() []Case {
	var cases []Case
	target := mixed(uniform(0, 1), 0, 1)
	for _, l := range []lossFunc{bce, mse} {
		for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 7, W: 5, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 1, H: 31, W: 33, C: 1}, {N: 7, H: 28, W: 28, C: 1}} {
			both := l.on(s, "", normal(2), target, true)
			cases = append(cases, both, l.on(s, "", normal(2), target, false), lossInPartials(both, s))
		}
		s := shape{N: 3, H: 6, W: 5, C: 5}
		cases = append(cases, l.on(s, "/wide", mixed(uniform(-110, 110), 100, -100, 0, 20, -20, 88, -88), target, true),
			l.on(s, "/nan", mixed(normal(1), nan), target, true), bordered(l.on(s, "", normal(2), target, true), "grad"))
		views := l.on(s, "-of4", normal(2), target, true)
		for i := range views.args {
			if views.args[i].role == backend.Activation {
				views.args[i].images = 4
			}
		}
		bench := l.on(shape{N: 32, H: 28, W: 28, C: 1}, "", normal(2), target, true)
		bench.Bench = true
		cases = append(cases, views, bench, l.on(manyTurns, "", normal(2), target, true))
	}
	return append(cases,
		bce.on(shape{N: 1, H: 1, W: 1, C: 9}, "/infinite", given(inf, -inf, nan), given(0, 0, 0, 0.25, 0.25, 0.25, 1, 1, 1), true),
		mse.on(shape{N: 1, H: 1, W: 1, C: 3}, "/infinite", given(inf, -inf, 1), given(0.5), true))
}

// on is the case of the loss on a shape. The loss is added to what is there.
func (l lossFunc) on(s shape, suffix string, pred, target fill, grad bool) Case {
	const scale = 0.125
	c := Case{
		Name: fmt.Sprintf("loss/%s/%dx%dx%dx%d%s", l.name, s.N, s.H, s.W, s.C, suffix), Ops: []string{"LossNeeds", l.op},
		args: []arg{activation("pred", s, pred), activation("target", s, target), flat("loss", 1, given(0.75)).inout(sumBound(s.Len() + 1))},
	}
	if grad {
		c.args = append(c.args, activation("grad", s, nil).out(backend.Bound{Rel: 4 * eps}))
	} else {
		c.Name += "/value-only"
	}
	return c.scaled(l, scale)
}

// lossInPartials is a case of a loss of that shape whose partial sums, if the backend makes any, are added up apart.
func lossInPartials(c Case, s shape) Case {
	return inPartials(c, func(b backend.Backend) backend.Needs { return b.LossNeeds(s) }, func(t tensors) backend.Params {
		return backend.Params{W: t["loss"], Partials: t["partials"]}
	})
}

// scaled sets the run and the reference of a loss's case for a scale.
func (c Case) scaled(l lossFunc, scale float32) Case {
	c.run = func(b backend.Backend, t tensors) {
		l.apply(b, scale, t["loss"], t["partials"], t["grad"], t["pred"], t["target"])
	}
	c.reference = func(d data) values {
		v, g := refLoss(l, float64(scale), d["loss"], d["pred"], d["target"])
		return values{"loss": v, "grad": g}
	}
	return c
}

func refLoss(l lossFunc, scale float64, loss, pred, target []float64) (total, grad value) {
	total = addTo(loss)
	grad = value{v: make([]float64, len(pred)), mag: make([]float64, len(pred))}
	for i, p := range pred {
		v, mag := l.value(p, target[i])
		total.v[0] += scale * v
		total.mag[0] += scale * mag
		v, mag = l.slope(p, target[i])
		grad.v[i], grad.mag[i] = scale*v, scale*mag
	}
	return total, grad
}
