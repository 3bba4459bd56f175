package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

func unitNormCases() []Case {
	var cases []Case
	for i, s := range []shape{
		{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 3, C: 257}, {N: 1, H: 31, W: 3, C: 32}, {N: 7, H: 2, W: 3, C: 31}, {N: 2, H: 3, W: 3, C: 64},
	} {
		for _, c := range []unitNormCase{{s: s, scaled: i%2 == 0}, {s: s, scaled: i%2 == 1, values: "some"}} {
			cases = append(cases, c.forward(), c.back())
		}
	}
	s := shape{N: 3, H: 4, W: 3, C: 37}
	for _, values := range []string{"zero", "special", "large"} {
		c := unitNormCase{s: s, scaled: true, values: values}
		cases = append(cases, c.forward(), c.back())
	}
	c := unitNormCase{s: s, scaled: true}
	of4 := []Case{c.forward(), c.back()}
	for i := range of4 {
		of4[i].Name += "-of4"
		for k := range of4[i].args {
			if of4[i].args[k].role == backend.Activation {
				of4[i].args[k].images = 4
			}
		}
	}
	bench := unitNormCase{s: shape{N: 8, H: 16, W: 16, C: 64}, scaled: true, bench: true}
	return append(append(cases, of4...), narrowed(c.forward()), narrowed(c.back()), narrowed(c.forward(), "x"), narrowed(c.forward(), "out"), narrowed(c.back(), "gradX"),
		narrowed(c.back(), "x"), narrowed(c.back(), "gradOut"), bordered(c.forward(), "out"), bordered(c.back(), "gradX"), bench.forward(), bench.back())
}

// unitNormCase is a normalisation of pixels' vectors to length 1.
type unitNormCase struct {
	s      shape
	scaled bool
	values string // what x is filled with, by its name in unitNormValues; "" is normal
	bench  bool
}

// unitNormValues are vectors of zeros, some of zeros alone, of large numbers, and with what is no number.
var unitNormValues = map[string]fill{
	"":     normal(1),
	"zero": given(0),
	"some": func(d draw, v []float32) {
		d.normals(v)
		clear(v[:len(v)/2])
	},
	"large":   uniform(1e15, 2e15),
	"special": func(d draw, v []float32) { d.normals(v); v[len(v)/3], v[len(v)-1] = nan, nan },
}

func (c unitNormCase) base(what, op string) Case {
	name := fmt.Sprintf("unitnorm/%s/%dx%dx%dx%d", what, c.s.N, c.s.H, c.s.W, c.s.C)
	if c.scaled {
		name += "-scaled"
	}
	if c.values != "" {
		name += "-" + c.values
	}
	return Case{Name: name, Ops: []string{op}, Bench: c.bench}
}

func (c unitNormCase) inputs() []arg {
	args := []arg{activation("x", c.s, unitNormValues[c.values])}
	if c.scaled {
		args = append(args, param("scales", backend.Vec(c.s.C), uniform(0, 2)))
	}
	return args
}

// bound is that of a length, which is off by half the bound of a sum of squares, and of a few roundings.
func (c unitNormCase) bound() backend.Bound { return sumBound(c.s.C) }

func (c unitNormCase) forward() Case {
	k := c.base("forward", "UnitNorm")
	k.args = append(c.inputs(), activation("out", c.s, nil).out(c.bound()))
	k.run = func(b backend.Backend, t tensors) { b.UnitNorm(t["out"], t["x"], t["scales"]) }
	k.reference = func(d data) values {
		r := value{v: make([]float64, c.s.Len())}
		for at := 0; at < len(r.v); at += c.s.C {
			n := lengthOf(d["x"][at:][:c.s.C])
			for i := at; i < at+c.s.C; i++ {
				r.v[i] = c.scale(d, i) * d["x"][i] / (n + backend.UnitEpsilon)
			}
		}
		return values{"out": r}
	}
	return k
}

// scale is that of element i.
func (c unitNormCase) scale(d data, i int) float64 {
	if !c.scaled {
		return 1
	}
	return d["scales"][i%c.s.C]
}

func lengthOf(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

func (c unitNormCase) back() Case {
	k := c.base("back", "UnitNormBack")
	k.args = append(c.inputs(), activation("gradOut", c.s, normal(1)), activation("gradX", c.s, nil).out(c.bound()))
	k.run = func(b backend.Backend, t tensors) {
		b.UnitNormBack(t["gradX"], t["gradOut"], t["x"], t["scales"])
	}
	k.reference = func(d data) values {
		r := sums(c.s.Len())
		for at := 0; at < len(r.v); at += c.s.C {
			n, along, size := lengthOf(d["x"][at:][:c.s.C]), 0.0, 0.0
			if n == 0 {
				continue
			}
			for i := at; i < at+c.s.C; i++ {
				term := c.scale(d, i) * d["gradOut"][i] * d["x"][i] / n
				along, size = along+term, size+math.Abs(term)
			}
			share := 1 / (n + backend.UnitEpsilon)
			for i := at; i < at+c.s.C; i++ {
				g, x := c.scale(d, i)*d["gradOut"][i], d["x"][i]*share
				r.v[i] = share * (g - along*x)
				r.mag[i] = share * (math.Abs(g) + size*math.Abs(x))
			}
		}
		return values{"gradX": r}
	}
	return k
}
