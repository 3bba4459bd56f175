package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

func actCases() []Case {
	var cases []Case
	for a := range backend.Tanh + 1 {
		for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 1, H: 31, W: 33, C: 8}, {N: 7, H: 2, W: 3, C: 31}} {
			cases = append(cases, actForward(a, s, "", normal(3)), actBack(a, s, "", outputs(a)))
		}
		s := shape{N: 3, H: 6, W: 5, C: 5}
		// Up to where an exponential overflows; infinities have their limits, and NaN stays NaN.
		cases = append(cases, actForward(a, s, "/wide", uniform(-110, 110)), actForward(a, s, "/small", normal(1e-3)),
			actForward(a, s, "/special", mixed(normal(1), nan, inf, -inf, 0, 88.8, -88.8, 1e30, -1e30)),
			actBack(a, s, "/saturated", mixed(outputs(a), 0, 1)),
			actForwardInPlace(a, s), actBackInPlace(a, s))
		views := []Case{actForward(a, s, "-of4", normal(3)), actBack(a, s, "-of4", outputs(a))}
		for _, c := range views {
			for i := range c.args {
				c.args[i].images = 4
			}
		}
		cases = append(cases, views...)
		cases = append(cases, bordered(actForward(a, s, "", normal(3)), "out"), bordered(actBack(a, s, "", outputs(a)), "gradX"))
	}
	bench := actForward(backend.Sigmoid, shape{N: 8, H: 28, W: 28, C: 32}, "", normal(3))
	bench.Bench = true
	return append(cases, bench)
}

// actAbs is the absolute error allowed to an activation: a few units in the last place of its range where it takes an
// exponential.
func actAbs(a backend.Act) float64 {
	if a == backend.Sigmoid || a == backend.Tanh {
		return 4 * eps
	}
	return 0
}

func actForward(a backend.Act, s shape, suffix string, f fill) Case {
	return Case{
		Name: fmt.Sprintf("act/forward/%v/%dx%dx%dx%d%s", a, s.N, s.H, s.W, s.C, suffix), Ops: []string{"Activate"},
		args: []arg{activation("x", s, f), activation("out", s, nil).out(backend.Bound{Abs: actAbs(a)})},
		run:  func(b backend.Backend, t tensors) { b.Activate(a, t["out"], t["x"]) },
		reference: func(d data) values {
			v, _ := refAct(a, d["x"], d["x"])
			return values{"out": {v: v}}
		},
	}
}

func actForwardInPlace(a backend.Act, s shape) Case {
	c := actForward(a, s, "/in-place", normal(3))
	first := c.reference
	c.args = []arg{activation("x", s, normal(3)).inout(backend.Bound{Abs: actAbs(a)})}
	c.run = func(b backend.Backend, t tensors) { b.Activate(a, t["x"], t["x"]) }
	c.reference = func(d data) values { return values{"x": first(d)["out"]} }
	return c
}

// backBound is that of a gradient times a derivative, of the magnitudes of derivMag.
var backBound = backend.Bound{Rel: 4 * eps}

func actBack(a backend.Act, s shape, suffix string, f fill) Case {
	return Case{
		Name: fmt.Sprintf("act/back/%v/%dx%dx%dx%d%s", a, s.N, s.H, s.W, s.C, suffix), Ops: []string{"ActivateBack"},
		args: []arg{activation("out", s, f), activation("gradOut", s, normal(1)), activation("gradX", s, nil).out(backBound)},
		run:  func(b backend.Backend, t tensors) { b.ActivateBack(a, t["gradX"], t["gradOut"], t["out"]) },
		reference: func(d data) values {
			return values{"gradX": refActBack(a, d["gradOut"], d["gradOut"], d["out"])}
		},
	}
}

func actBackInPlace(a backend.Act, s shape) Case {
	c := actBack(a, s, "/in-place", outputs(a))
	first := c.reference
	c.args = []arg{activation("out", s, outputs(a)), activation("gradOut", s, normal(1)).inout(backBound)}
	c.run = func(b backend.Backend, t tensors) { b.ActivateBack(a, t["gradOut"], t["gradOut"], t["out"]) }
	c.reference = func(d data) values { return values{"gradOut": first(d)["gradX"]} }
	return c
}

// act is the activation of x. NaN stays NaN.
func act(a backend.Act, x float64) float64 {
	switch a {
	case backend.ReLU:
		return max(x, 0)
	case backend.Sigmoid:
		return 1 / (1 + math.Exp(-x))
	case backend.Tanh:
		return math.Tanh(x)
	}
	return x
}

// refAct activates values, and takes the magnitudes of their errors along by the largest slope.
func refAct(a backend.Act, v, mag []float64) (y, ymag []float64) {
	slope := 1.0
	if a == backend.Sigmoid {
		slope = 0.25
	}
	y, ymag = make([]float64, len(v)), make([]float64, len(v))
	for i := range v {
		y[i], ymag[i] = act(a, v[i]), slope*mag[i]
	}
	return y, ymag
}

// refActBack multiplies gradients by the derivative of the activation whose output is y. The magnitude of a derivative
// is that of the terms which it is made of, such as y and y² of y(1-y).
func refActBack(a backend.Act, g, mag, y []float64) value {
	r := value{v: make([]float64, len(g)), mag: make([]float64, len(g))}
	for i := range g {
		d, m := 1.0, 1.0
		switch {
		case a == backend.ReLU && y[i] <= 0:
			d, m = 0, 0
		case a == backend.Sigmoid:
			d, m = y[i]*(1-y[i]), y[i]+y[i]*y[i]
		case a == backend.Tanh:
			d, m = 1-y[i]*y[i], 1+y[i]*y[i]
		}
		r.v[i], r.mag[i] = g[i]*d, math.Abs(mag[i])*m
	}
	return r
}
