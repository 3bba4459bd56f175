package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

// functions are those of the table.
func functions() []backend.Function {
	var list []backend.Function
	for a := range backend.Softsign + 1 {
		f := backend.Function{Act: a}
		switch a {
		case backend.LeakyReLU:
			f.Alpha = 0.3
		case backend.ELU:
			f.Alpha = 0.7
		}
		list = append(list, f)
	}
	return append(list, backend.Function{Act: backend.LeakyReLU, Alpha: 1.5}, backend.Function{Act: backend.ELU, Alpha: 1})
}

func functionName(f backend.Function) string {
	if f.Act.Parametric() {
		return fmt.Sprintf("%v-%g", f.Act, f.Alpha)
	}
	return f.Act.String()
}

func actCases() []Case {
	var cases []Case
	for _, f := range functions() {
		for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 1, H: 31, W: 33, C: 8}, {N: 7, H: 2, W: 3, C: 31}} {
			cases = append(cases, actForward(f, s, "", normal(3)), actBack(f, s, "", derivedFrom(f)))
		}
		s := shape{N: 3, H: 6, W: 5, C: 5}
		saturated := mixed(derivedFrom(f), 0, 1)
		if !f.Act.FromOutput() {
			saturated = mixed(normal(3), 0, 90, -90, 1e4, -1e4, 1e30, -1e30, inf, -inf, nan)
		}
		// Up to where an exponential overflows; infinities have their limits, and NaN stays NaN.
		cases = append(cases, actForward(f, s, "/wide", uniform(-110, 110)), actForward(f, s, "/small", normal(1e-3)),
			actForward(f, s, "/special", mixed(normal(1), nan, inf, -inf, 0, 88.8, -88.8, 1e30, -1e30, 2e38, -2e38)),
			actBack(f, s, "/saturated", saturated),
			actForwardInPlace(f, s), actBackInPlace(f, s))
		views := []Case{actForward(f, s, "-of4", normal(3)), actBack(f, s, "-of4", derivedFrom(f))}
		for _, c := range views {
			for i := range c.args {
				c.args[i].images = 4
			}
		}
		cases = append(cases, views...)
		cases = append(cases, bordered(actForward(f, s, "", normal(3)), "out"), bordered(actBack(f, s, "", derivedFrom(f)), "gradX"))
	}
	for _, a := range []backend.Act{backend.Sigmoid, backend.SiLU, backend.GELU} {
		f, s := backend.Function{Act: a}, shape{N: 8, H: 28, W: 28, C: 32}
		bench := []Case{actForward(f, s, "", normal(3)), actBack(f, s, "", derivedFrom(f))}
		bench[0].Bench, bench[1].Bench = true, true
		cases = append(cases, bench...)
	}
	return append(cases, rescaleCases()...)
}

// actBound is the error allowed to an activation, of the magnitudes of functionMag: a few units in the last place where it takes an exponential.
// Sigmoid and Tanh have it of their range. An exponential below 2^-126 may be rounded to that, or to 0, and SiLU and the like multiply it by
// up to 128.
func actBound(f backend.Function) backend.Bound {
	switch f.Act {
	case backend.Linear, backend.ReLU:
		return exact
	case backend.Sigmoid, backend.Tanh:
		return backend.Bound{Abs: 4 * eps}
	case backend.LeakyReLU:
		return backend.Bound{Rel: eps / 2}
	case backend.GELU, backend.GELUTanh:
		return backend.Bound{Abs: 0x1p-118, Rel: 5 * eps}
	}
	return backend.Bound{Abs: 0x1p-118, Rel: 4 * eps}
}

func actForward(f backend.Function, s shape, suffix string, x fill) Case {
	return Case{
		Name: fmt.Sprintf("act/forward/%v/%dx%dx%dx%d%s", functionName(f), s.N, s.H, s.W, s.C, suffix), Ops: []string{"Activate"},
		args: []arg{activation("x", s, x), activation("out", s, nil).out(actBound(f))},
		run:  func(b backend.Backend, t tensors) { b.Activate(f, t["out"], t["x"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, s.Len()), mag: make([]float64, s.Len())}
			for i, x := range d["x"] {
				r.v[i], r.mag[i] = function(f, x), functionMag(f, x)
			}
			return values{"out": r}
		},
	}
}

func actForwardInPlace(f backend.Function, s shape) Case {
	c := actForward(f, s, "/in-place", normal(3))
	first := c.reference
	c.args = []arg{activation("x", s, normal(3)).inout(actBound(f))}
	c.run = func(b backend.Backend, t tensors) { b.Activate(f, t["x"], t["x"]) }
	c.reference = func(d data) values { return values{"x": first(d)["out"]} }
	return c
}

// backBound is that of a gradient times a derivative, of the magnitudes of refSlope. What stands for an exponential that is 0 is multiplied
// by up to the square of 128, and GELUTanh's derivative of its argument.
func backBound(f backend.Function) backend.Bound {
	if !f.Act.FromOutput() {
		return backend.Bound{Abs: 0x1p-105, Rel: 5 * eps}
	}
	return backend.Bound{Rel: 4 * eps}
}

func actBack(f backend.Function, s shape, suffix string, of fill) Case {
	return Case{
		Name: fmt.Sprintf("act/back/%v/%dx%dx%dx%d%s", functionName(f), s.N, s.H, s.W, s.C, suffix), Ops: []string{"ActivateBack"},
		args: []arg{activation("of", s, of), activation("gradOut", s, normal(1)), activation("gradX", s, nil).out(backBound(f))},
		run:  func(b backend.Backend, t tensors) { b.ActivateBack(f, t["gradX"], t["gradOut"], t["of"]) },
		reference: func(d data) values {
			return values{"gradX": refSlope(f, d["gradOut"], d["gradOut"], d["of"])}
		},
	}
}

func actBackInPlace(f backend.Function, s shape) Case {
	c := actBack(f, s, "/in-place", derivedFrom(f))
	first := c.reference
	c.args = []arg{activation("of", s, derivedFrom(f)), activation("gradOut", s, normal(1)).inout(backBound(f))}
	c.run = func(b backend.Backend, t tensors) { b.ActivateBack(f, t["gradOut"], t["gradOut"], t["of"]) }
	c.reference = func(d data) values { return values{"gradOut": first(d)["gradX"]} }
	return c
}

// derivedFrom draws what the derivative of a function is taken of: its outputs, or its inputs.
func derivedFrom(f backend.Function) fill {
	switch f.Act {
	case backend.ELU:
		return uniform(-f.Alpha, 2)
	case backend.Softplus:
		return uniform(0, 4)
	case backend.Softsign:
		return uniform(-1, 1)
	}
	if f.Act.Fuses() {
		return outputs(f.Act)
	}
	return normal(3)
}

// function is a function of x. NaN stays NaN, and infinities have their limits.
func function(f backend.Function, x float64) float64 {
	alpha := float64(f.Alpha)
	switch f.Act {
	case backend.LeakyReLU:
		return max(x, 0) + alpha*min(x, 0)
	case backend.ELU:
		return max(x, 0) + alpha*math.Expm1(min(x, 0))
	case backend.SiLU, backend.GELU, backend.GELUTanh:
		p, _, _ := gate(f.Act, x)
		return max(x, -1e3) * p
	case backend.Softplus:
		return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
	case backend.Softsign:
		if math.IsInf(x, 0) {
			return math.Copysign(1, x)
		}
		return x / (1 + math.Abs(x))
	}
	return act(f.Act, x)
}

// gate returns the p of an activation x p(x), its derivative, and the argument of the exponential in it that is rounded.
func gate(a backend.Act, x float64) (p, slope, argument float64) {
	x = max(min(x, 1e3), -1e3) // p is 0 or 1 there in float64, too
	z, dz := x, 1.0
	switch a {
	case backend.GELU:
		return math.Erfc(-x/math.Sqrt2) / 2, math.Exp(-x*x/2) / math.Sqrt(2*math.Pi), 0
	case backend.GELUTanh:
		c := 2 * math.Sqrt(2/math.Pi)
		z, dz = c*(x+0.044715*x*x*x), c*(1+3*0.044715*x*x)
		argument = math.Abs(z)
	}
	e := math.Exp(-math.Abs(z))
	if p = 1 / (1 + e); z < 0 {
		p *= e
	}
	return p, e / ((1 + e) * (1 + e)) * dz, argument
}

// functionMag is what rounding errors of a function are measured by: its value, more where an argument of an exponential is rounded.
func functionMag(f backend.Function, x float64) float64 {
	mag := math.Abs(function(f, x))
	if f.Act == backend.GELUTanh {
		p, _, z := gate(f.Act, x)
		mag *= 1 + z*(1-p)
	}
	return mag
}

// refSlope multiplies gradients by the derivative of a function at of, its outputs or its inputs. The magnitude of a derivative is that of
// the terms which it is made of.
func refSlope(f backend.Function, g, mag, of []float64) value {
	if f.Act.Fuses() {
		return refActBack(f.Act, g, mag, of)
	}
	r := value{v: make([]float64, len(g)), mag: make([]float64, len(g))}
	for i, v := range of {
		d, m := 1.0, 1.0
		switch alpha := float64(f.Alpha); {
		case f.Act == backend.LeakyReLU && !(v > 0):
			d, m = alpha, alpha
		case f.Act == backend.ELU && !(v > 0):
			d, m = v+alpha, math.Abs(v)+alpha
		case f.Act == backend.Softplus:
			d = -math.Expm1(-v)
			m = math.Abs(d)
		case f.Act == backend.Softsign:
			d = (1 - math.Abs(v)) * (1 - math.Abs(v))
			m = d
		case !f.Act.FromOutput():
			x := max(min(v, 1e3), -1e3)
			p, slope, z := gate(f.Act, x)
			d, m = p+x*slope, p*(1+z*(1-p))+math.Abs(x)*slope*(1+z)
		}
		r.v[i], r.mag[i] = g[i]*d, math.Abs(mag[i])*m
	}
	return r
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

func rescaleCases() []Case {
	var cases []Case
	for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}} {
		cases = append(cases, rescale(2, -1, s, normal(1)), rescale(-0.3, 0.7, s, mixed(normal(1), nan, inf, -inf, 0)))
	}
	s := shape{N: 3, H: 6, W: 5, C: 5}
	inPlace := rescale(0.5, 0.5, s, normal(1))
	inPlace.Name += "/in-place"
	first := inPlace.reference
	inPlace.args = []arg{activation("x", s, normal(1)).inout(rescaleBound)}
	inPlace.run = func(b backend.Backend, t tensors) { b.Rescale(0.5, 0.5, t["x"], t["x"]) }
	inPlace.reference = func(d data) values { return values{"x": first(d)["out"]} }
	return append(cases, inPlace, bordered(rescale(2, -1, s, normal(1)), "out"))
}

// rescaleBound is that of a product and a sum, each rounded once.
var rescaleBound = backend.Bound{Rel: eps}

func rescale(scale, offset float32, s shape, x fill) Case {
	return Case{
		Name: fmt.Sprintf("act/rescale/%g+%g/%dx%dx%dx%d", scale, offset, s.N, s.H, s.W, s.C), Ops: []string{"Rescale"},
		args: []arg{activation("x", s, x), activation("out", s, nil).out(rescaleBound)},
		run:  func(b backend.Backend, t tensors) { b.Rescale(scale, offset, t["out"], t["x"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, s.Len()), mag: make([]float64, s.Len())}
			for i, x := range d["x"] {
				r.add(i, float64(scale)*x)
				r.add(i, float64(offset))
			}
			return values{"out": r}
		},
	}
}
