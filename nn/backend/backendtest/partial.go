package backendtest

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
)

// grads are the gradients of a case's layer.
func grads(t tensors) backend.Params {
	return backend.Params{W: t["gradW"], Bias: t["gradBias"], Partials: t["partials"]}
}

// inPartials is a case whose partial sums, if the backend makes any, have memory of their own and are added up apart, to what sums
// returns.
func inPartials(c Case, needs func(b backend.Backend) backend.Needs, sums func(t tensors) backend.Params) Case {
	var of backend.Params
	for _, a := range c.args {
		switch a.name {
		case "gradW", "loss":
			of.W.Shape = a.shape
		case "gradBias":
			of.Bias.Shape = a.shape
		}
	}
	c.Name += "/partials"
	c.Ops = append(slices.Clone(c.Ops), "SumPartials")
	c.Bench = false
	c.args = append(slices.Clone(c.args), arg{name: "partials", role: backend.Flat, shape: of.PartialsShape(1), use: scratch,
		partials: func(b backend.Backend) int { return needs(b).Partials }})
	c.workspace = func(b backend.Backend) int {
		n := needs(b)
		return n.Workspace - n.PartialBytes
	}
	run := c.run
	c.run = func(b backend.Backend, t tensors) {
		run(b, t)
		if s := sums(t); !s.Partials.IsZero() {
			b.SumPartials([]backend.Params{s})
		}
	}
	return c
}

// layerSums are a layer's partial sums: elements of weights and bias, and how many sums.
type layerSums struct{ weights, bias, rows int }

// Few rows or many, in fours or not, of one layer or of more than a GPU adds up at once.
func partialCases() []Case {
	var cases []Case
	for i, columns := range [][2]int{{1, 0}, {3, 1}, {4, 4}, {31, 2}, {36, 0}, {64, 33}, {288, 32}, {1000, 28}, {1100, 9}} {
		for j, rows := range []int{1, 2, 3, 7, 8, 9, 33, 129, 256, 257, 600} {
			if (i+j)%3 == 0 || rows == 8 {
				cases = append(cases, sumPartials(layerSums{columns[0], columns[1], rows}))
			}
		}
	}
	several := []layerSums{{288, 1, 40}, {36, 4, 4}, {9, 5, 300}, {64, 8, 8}, {5, 0, 2}, {1028, 4, 3}, {33, 32, 9}, {256, 8, 1}, {32, 32, 257}, {7, 7, 7}}
	for _, n := range []int{2, 5, 7, 8, 9, len(several)} {
		cases = append(cases, sumPartials(several[:n]...))
	}
	bench := sumPartials(layerSums{9216, 32, 98}, layerSums{200704, 256, 4})
	bench.Bench = true
	return append(cases, bench)
}

func sumPartials(layers ...layerSums) Case {
	first := layers[0]
	c := Case{Name: fmt.Sprintf("partial/sum/%d+%d-of-%d", first.weights, first.bias, first.rows), Ops: []string{"SumPartials"}}
	if len(layers) > 1 {
		c.Name += fmt.Sprintf("-and-%d-layers", len(layers)-1)
	}
	name := func(what string, i int) string { return fmt.Sprint(what, i) }
	for i, l := range layers {
		bound := sumBound(l.rows + 1)
		c.args = append(c.args, param(name("gradW", i), shape{N: l.weights, H: 1, W: 1, C: 1}, normal(1)).inout(bound))
		if l.bias > 0 {
			c.args = append(c.args, param(name("gradBias", i), backend.Vec(l.bias), normal(1)).inout(bound))
		}
		c.args = append(c.args, arg{name: name("partials", i), role: backend.Flat, shape: shape{N: l.rows, H: 1, W: 1, C: l.weights + l.bias}, fill: normal(1)})
	}
	c.run = func(b backend.Backend, t tensors) {
		var list []backend.Params
		for i := range layers {
			list = append(list, backend.Params{W: t[name("gradW", i)], Bias: t[name("gradBias", i)], Partials: t[name("partials", i)]})
		}
		b.SumPartials(list)
	}
	c.reference = func(d data) values {
		r := make(values)
		for i, l := range layers {
			w, bias := addTo(d[name("gradW", i)]), addTo(d[name("gradBias", i)])
			for k, x := range d[name("partials", i)] {
				if column := k % (l.weights + l.bias); column < l.weights {
					w.add(column, x)
				} else {
					bias.add(column-l.weights, x)
				}
			}
			r[name("gradW", i)] = w
			if l.bias > 0 {
				r[name("gradBias", i)] = bias
			}
		}
		return r
	}
	return c
}
