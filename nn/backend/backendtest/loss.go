package backendtest

import (
	"fmt"
	"math"
	"slices"
	"strings"

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
	l1 = ofDistance("l1", "L1", backend.Backend.L1, func(d float64) (v, slope float64) { return math.Abs(d), signum(d) })
)

// ofDistance is a loss of the difference d of prediction and target. A difference of two float32 is rounded once, so its terms do not count.
func ofDistance(name, op string, apply func(b backend.Backend, scale float32, loss, partials, grad, pred, target backend.Tensor), of func(d float64) (v, slope float64)) lossFunc {
	return lossFunc{name, op, apply,
		func(p, t float64) (v, mag float64) { v, _ = of(p - t); return v, math.Abs(v) },
		func(p, t float64) (v, mag float64) { _, v = of(p - t); return v, math.Abs(v) }}
}

func signum(d float64) float64 {
	if d == 0 || math.IsNaN(d) {
		return d
	}
	return math.Copysign(1, d)
}

func huber(delta float32) lossFunc {
	limit := float64(delta)
	return ofDistance("huber", "Huber", func(b backend.Backend, scale float32, loss, partials, grad, pred, target backend.Tensor) {
		b.Huber(delta, scale, loss, partials, grad, pred, target)
	}, func(d float64) (v, slope float64) {
		if math.Abs(d) <= limit {
			return d * d / 2, d
		}
		return limit * (math.Abs(d) - limit/2), limit * signum(d)
	})
}

func charbonnier(epsilon float32) lossFunc {
	return ofDistance("charbonnier", "Charbonnier", func(b backend.Backend, scale float32, loss, partials, grad, pred, target backend.Tensor) {
		b.Charbonnier(epsilon, scale, loss, partials, grad, pred, target)
	}, func(d float64) (v, slope float64) {
		r := math.Hypot(d, float64(epsilon))
		return r, d / r
	})
}

func lossCases() []Case {
	var cases []Case
	target := mixed(uniform(0, 1), 0, 1)
	for _, l := range []lossFunc{bce, mse, l1, huber(0.75), charbonnier(0.001)} {
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
		mse.on(shape{N: 1, H: 1, W: 1, C: 3}, "/infinite", given(inf, -inf, 1), given(0.5), true),
		l1.on(shape{N: 1, H: 1, W: 1, C: 4}, "/equal", given(0.5, 0, -1, inf), given(0.5, 0, -1, 0), true),
		huber(0.5).on(shape{N: 1, H: 1, W: 1, C: 5}, "/bound", given(0.5, -0.5, 0, inf, -inf), given(0), true))
}

// variationCases has images of one pixel, of one row, constant ones, and several blocks of them.
func variationCases() []Case {
	var cases []Case
	for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 2, H: 1, W: 9, C: 2}, {N: 2, H: 6, W: 1, C: 3}, {N: 3, H: 7, W: 5, C: 3}, {N: 1, H: 31, W: 33, C: 1}} {
		c := variation(s, "", normal(2), true)
		cases = append(cases, c, variation(s, "", normal(2), false), lossInPartials(c, s))
	}
	s := shape{N: 2, H: 5, W: 6, C: 3}
	return append(cases, variation(s, "/constant", given(0.25), true), variation(s, "/nan", mixed(normal(1), nan), true),
		bordered(variation(s, "", normal(2), true), "grad"), variation(manyTurns, "", normal(2), true))
}

// variation is the case of a total variation on a shape. Each of up to four neighbours adds to a slope.
func variation(s shape, suffix string, pred fill, grad bool) Case {
	const scale = 0.375
	c := bce.on(s, suffix, pred, nil, grad)
	c.Name = strings.Replace(c.Name, "bce", "variation", 1)
	c.Ops = []string{"LossNeeds", "TotalVariation"}
	c.args = slices.Delete(c.args, 1, 2)
	c.run = func(b backend.Backend, t tensors) {
		b.TotalVariation(scale, t["loss"], t["partials"], t["grad"], t["pred"])
	}
	c.reference = func(d data) values {
		total, p := addTo(d["loss"]), d["pred"]
		slopes := value{v: make([]float64, len(p)), mag: make([]float64, len(p))}
		between := func(i, j int) {
			v := p[i] - p[j]
			total.v[0] += scale * math.Abs(v)
			total.mag[0] += scale * math.Abs(v)
			slopes.v[i] += scale * signum(v)
			slopes.v[j] -= scale * signum(v)
			slopes.mag[i] += scale
			slopes.mag[j] += scale
		}
		for i := range p {
			if i/s.C%s.W < s.W-1 {
				between(i, i+s.C)
			}
			if i/(s.W*s.C)%s.H < s.H-1 {
				between(i, i+s.W*s.C)
			}
		}
		return values{"loss": total, "grad": slopes}
	}
	return c
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
