package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

func concreteCases() []Case {
	var cases []Case
	src := []rng.Source{{Seed: 1, Stream: rng.StreamLayer}, {Seed: 0xfedcba9876543210, Stream: rng.StreamLayer + 3}}
	for i, s := range [][3]int{{1, 1, 1}, {3, 5, 33}, {7, 20, 257}, {33, 3, 784}} {
		temperature := []float32{10, 1, 0.1}[i%3]
		cases = append(cases, concretizeCase(src[i%2], s[1], s[2], temperature, normal(1)), concretizeCase(src[i%2], s[1], s[2], 0, normal(1)),
			pickCase(s[0], s[1], s[2]), concreteBackCase(s[0], s[1], s[2], temperature))
	}
	views := []Case{pickCase(3, 4, 5), concreteBackCase(3, 4, 5, 0.5)}
	for i := range views {
		views[i].Name += "-of4"
		for j := range views[i].args {
			if views[i].args[j].role == backend.Activation && views[i].args[j].shape.N == 3 {
				views[i].args[j].images = 4
			}
		}
	}
	bench := pickCase(128, 50, 784)
	bench.Bench = true
	// Of equal logits the first wins.
	return append(append(cases, views...), concretizeCase(src[0], 4, 300, 0, grid(0, 2, 1)), bordered(pickCase(2, 3, 9), "out"), bench)
}

// concretizeCase takes a temperature of 0 for none, that is, for no stepParams.
func concretizeCase(src rng.Source, rows, size int, temperature float32, f fill) Case {
	s := shape{N: rows, H: 1, W: 1, C: size}
	// An error of Gumbel's numbers, which reach 17, is divided by the temperature, and in the exponent it is a relative one.
	// What is smaller than any normal number counts for nothing.
	bound := backend.Bound{Abs: 0x1p-126, Rel: sumBound(size).Rel}
	c := Case{
		Name: fmt.Sprintf("concrete/select/%dof%d-temperature%g", rows, size, temperature), Ops: []string{"Concretize"},
		args: []arg{param("logits", s, f)},
		run:  func(b backend.Backend, t tensors) { b.Concretize(src, t["m"], t["logits"], t["stepParams"]) },
	}
	if temperature > 0 {
		bound.Rel += 64 * eps / float64(temperature)
		c.args = append(c.args, stepParamsArg(backend.StepParams{Step: 4, Temperature: temperature}))
	} else {
		bound = exact
	}
	c.args = append(c.args, activation("m", s, nil).out(bound))
	c.reference = func(d data) values {
		m := make([]float64, s.Len())
		for j := range rows {
			row, a := m[j*size:][:size], d["logits"][j*size:][:size]
			if temperature == 0 {
				best := 0
				for i, v := range a {
					if v > a[best] {
						best = i
					}
				}
				row[best] = 1
				continue
			}
			most, sum := math.Inf(-1), 0.0
			for i, v := range a {
				u := float64(src.Words(uint32(i/4), uint32(j), 4)[i%4]>>8|1) / (1 << 24)
				row[i] = (v - math.Log(-math.Log(u))) / float64(temperature)
				most = max(most, row[i])
			}
			for i := range row {
				row[i] = math.Exp(row[i] - most)
				sum += row[i]
			}
			for i := range row {
				row[i] /= sum
			}
		}
		return values{"m": {v: m}}
	}
	return c
}

func pickCase(n, rows, size int) Case {
	x, m, out := shape{N: n, H: 1, W: 1, C: size}, shape{N: rows, H: 1, W: 1, C: size}, shape{N: n, H: 1, W: 1, C: rows}
	return Case{
		Name: fmt.Sprintf("concrete/pick/%d-%dof%d", n, rows, size), Ops: []string{"Pick"}, MACs: n * rows * size,
		args: []arg{activation("x", x, normal(1)), activation("m", m, uniform(0, 1)), activation("out", out, nil).out(sumBound(size))},
		run:  func(b backend.Backend, t tensors) { b.Pick(t["out"], t["x"], t["m"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, n*rows), mag: make([]float64, n*rows)}
			for at := range r.v {
				for i := range size {
					r.add(at, d["x"][at/rows*size+i]*d["m"][at%rows*size+i])
				}
			}
			return values{"out": r}
		},
	}
}

func concreteBackCase(n, rows, size int, temperature float32) Case {
	x, m, out := shape{N: n, H: 1, W: 1, C: size}, shape{N: rows, H: 1, W: 1, C: size}, shape{N: n, H: 1, W: 1, C: rows}
	return Case{
		Name: fmt.Sprintf("concrete/back/%d-%dof%d-temperature%g", n, rows, size, temperature), Ops: []string{"ConcreteBack"},
		args: []arg{activation("x", x, normal(1)), activation("m", m, uniform(0, 2/float32(size))), activation("gradOut", out, normal(1)),
			stepParamsArg(backend.StepParams{Temperature: temperature}), param("gradLogits", m, normal(1)).inout(backend.Bound{Rel: sumBound(n*size).Rel + 8*eps})},
		run: func(b backend.Backend, t tensors) {
			b.ConcreteBack(t["gradLogits"], t["gradOut"], t["x"], t["m"], t["stepParams"])
		},
		reference: func(d data) values {
			return values{"gradLogits": refConcreteBack(n, rows, size, float64(temperature), d)}
		},
	}
}

func refConcreteBack(n, rows, size int, temperature float64, d data) value {
	r := addTo(d["gradLogits"])
	for j := range rows {
		m := d["m"][j*size:][:size]
		g, gMag, mean, meanMag := make([]float64, size), make([]float64, size), 0.0, 0.0
		for i := range size {
			for k := range n {
				v := d["gradOut"][k*rows+j] * d["x"][k*size+i]
				g[i], gMag[i] = g[i]+v, gMag[i]+math.Abs(v)
			}
			mean, meanMag = mean+m[i]*g[i], meanMag+m[i]*gMag[i]
		}
		for i := range size {
			r.v[j*size+i] += m[i] * (g[i] - mean) / temperature
			r.mag[j*size+i] += m[i] * (gMag[i] + meanMag) / temperature
		}
	}
	return r
}
