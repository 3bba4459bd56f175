package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/convae/convae/nn/backend"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

func poolCases() []Case {
	var specs []backend.PoolSpec
	add := func(n, h, w, c, size, stride int, p backend.Padding) {
		specs = append(specs, backend.PoolSpec{X: shape{N: n, H: h, W: w, C: c}, Size: size, Stride: stride, Padding: p})
	}
	for _, p := range []backend.Padding{same, valid} {
		add(2, 28, 28, 3, 2, 2, p)
		add(1, 7, 9, 1, 2, 2, p)
		add(3, 9, 5, 2, 3, 3, p)
		add(2, 8, 7, 5, 3, 2, p) // windows overlap
		add(2, 6, 9, 8, 3, 1, p) // and more
		add(1, 11, 13, 3, 5, 2, p)
		add(2, 10, 9, 16, 2, 3, p) // some inputs are in no window
		add(1, 17, 16, 2, 15, 4, p)
		add(1, 5, 4, 31, 1, 1, p)
		add(2, 4, 6, 33, 2, 2, p)
		add(7, 4, 4, 64, 4, 4, p)
		add(1, 33, 31, 32, 2, 2, p)
		add(1, 2, 257, 3, 2, 2, p)
	}
	add(2, 1, 1, 3, 2, 2, same)
	add(1, 1, 31, 2, 3, 2, same)
	add(1, 2, 3, 5, 15, 15, same)
	var cases []Case
	for i, c := range specs {
		cases = append(cases, poolForward(c, "", normal(1)), poolBack(c))
		if i%4 == 0 {
			cases = append(cases, poolForward(c, "/ties", grid(-1, 1, 1)))
		}
	}
	// The maximum of nothing but -Inf is -Inf, of anything with NaN NaN. No padding may win, on any side.
	window := backend.PoolSpec{X: shape{N: 2, H: 6, W: 5, C: 3}, Size: 3, Stride: 2, Padding: same}
	cases = append(cases, poolForward(window, "/negative", uniform(-2, -1)), poolForward(window, "/minus-infinity", given(-inf)),
		poolForward(window, "/special", mixed(normal(1), -inf, inf, 0, 0, nan, 0, 0, 0)),
		poolForward(backend.PoolSpec{X: shape{N: 2, H: 8, W: 8, C: 5}, Size: 2}, "/special", mixed(normal(1), inf, 0, nan, 0, -inf)))
	batch := backend.PoolSpec{X: shape{N: 3, H: 6, W: 8, C: 3}, Size: 2}
	views := []Case{poolForward(batch, "-of4", normal(1)), poolBack(batch)}
	views[1].Name += "-of4"
	for _, c := range views {
		for i := range c.args {
			c.args[i].images = 4
		}
	}
	bench := backend.PoolSpec{X: shape{N: 8, H: 28, W: 28, C: 32}, Size: 2, Padding: same}
	speed := []Case{poolForward(bench, "", normal(1)), poolBack(bench)}
	for i := range speed {
		speed[i].Bench = true
	}
	cases = append(cases, views...)
	cases = append(cases, speed...)
	for i, c := range specs {
		if i%2 == 0 || c.Size > 4 {
			cases = append(cases, averageForward(c), averageBack(c))
		}
	}
	cases = append(cases, averageForward(batch), averageBack(batch), averageForward(bench), averageBack(bench), bordered(averageForward(window), "out"), bordered(averageBack(window), "gradX"))
	return append(cases, bordered(poolForward(batch, "", normal(1)), "out"), bordered(poolBack(window), "gradX"),
		withoutArgmax(poolForward(window, "", normal(1))))
}

// withoutArgmax returns a forward case that does not ask for the positions of the maxima, as inference does.
func withoutArgmax(c Case) Case {
	c.Name += "/no-argmax"
	c.args = slices.DeleteFunc(slices.Clone(c.args), func(a arg) bool { return a.name == "argmax" })
	return c
}

func poolName(what string, s backend.PoolShape) string {
	return fmt.Sprintf("pool/%s/%dx%dx%dx%d/%d-s%d-%v", what, s.X.N, s.X.H, s.X.W, s.X.C, s.Size, s.Stride, s.Padding)
}

func poolForward(c backend.PoolSpec, suffix string, f fill) Case {
	s := must(backend.NewPool(c))
	return Case{
		Name: poolName("forward", s) + suffix, Ops: []string{"MaxPool"},
		args: []arg{activation("x", s.X, f), activation("out", s.Out, nil).out(exact), argmaxArg("argmax", s.Out, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.MaxPool(s, t["out"], t["argmax"], t["x"]) },
		reference: func(d data) values {
			v, arg := refMaxPool(s, d["x"])
			return values{"out": {v: v}, "argmax": {v: arg}}
		},
	}
}

func poolBack(c backend.PoolSpec) Case {
	s := must(backend.NewPool(c))
	_, argmax := refMaxPool(s, make([]float64, s.X.Len()))
	// Any position of a window that is not padding could have been the maximum.
	positions := func(d draw, v []float32) {
		d.uniforms(v)
		options := make([][]float32, len(argmax))
		eachWindow(s, func(o, _, k int) { options[o] = append(options[o], float32(k)) })
		for i, p := range options {
			v[i] = p[int(v[i]*float32(len(p)))]
		}
	}
	return Case{
		Name: poolName("back", s), Ops: []string{"MaxPoolBack"},
		args: []arg{activation("gradOut", s.Out, normal(1)), argmaxArg("argmax", s.Out, positions),
			activation("gradX", s.X, nil).out(sumBound(s.Size * s.Size))},
		run: func(b backend.Backend, t tensors) { b.MaxPoolBack(s, t["gradX"], t["gradOut"], t["argmax"]) },
		reference: func(d data) values {
			v, mag := refMaxPoolBack(s, d["gradOut"], d["argmax"])
			return values{"gradX": {v: v, mag: mag}}
		},
	}
}

// eachWindow visits the pairs of an output and an input in its window, with the input's position there.
func eachWindow(s backend.PoolShape, visit func(o, i, position int)) {
	for o := range s.Out.Len() {
		c, ox := o%s.Out.C, o/s.Out.C%s.Out.W
		oy, n := o/s.Out.C/s.Out.W%s.Out.H, o/s.Out.Image()
		for position := range s.Size * s.Size {
			y, x := oy*s.Stride+position/s.Size-s.PadTop, ox*s.Stride+position%s.Size-s.PadLeft
			if y >= 0 && y < s.X.H && x >= 0 && x < s.X.W {
				visit(o, ((n*s.X.H+y)*s.X.W+x)*s.X.C+c, position)
			}
		}
	}
}

// refMaxPool returns the first maximum of each window and its position. NaN is above all numbers.
func refMaxPool(s backend.PoolShape, x []float64) (v, argmax []float64) {
	v, argmax = make([]float64, s.Out.Len()), make([]float64, s.Out.Len())
	for i := range argmax {
		argmax[i] = -1
	}
	eachWindow(s, func(o, i, position int) {
		if argmax[o] < 0 || x[i] > v[o] || math.IsNaN(x[i]) && !math.IsNaN(v[o]) {
			v[o], argmax[o] = x[i], float64(position)
		}
	})
	return v, argmax
}

func refMaxPoolBack(s backend.PoolShape, gradOut, argmax []float64) (v, mag []float64) {
	r := value{v: make([]float64, s.X.Len()), mag: make([]float64, s.X.Len())}
	eachWindow(s, func(o, i, position int) {
		if float64(position) == argmax[o] {
			r.add(i, gradOut[o])
		}
	})
	return r.v, r.mag
}

func averageForward(c backend.PoolSpec) Case {
	s := must(backend.NewPool(c))
	return Case{
		Name: poolName("average", s), Ops: []string{"AveragePool"},
		args: []arg{activation("x", s.X, normal(1)), activation("out", s.Out, nil).out(sumBound(s.Size * s.Size))},
		run:  func(b backend.Backend, t tensors) { b.AveragePool(s, t["out"], t["x"]) },
		reference: func(d data) values {
			r, counts := sums(s.Out.Len()), windowCounts(s)
			eachWindow(s, func(o, i, _ int) { r.add(o, d["x"][i]/counts[o]) })
			return values{"out": r}
		},
	}
}

func averageBack(c backend.PoolSpec) Case {
	s := must(backend.NewPool(c))
	return Case{
		Name: poolName("averageBack", s), Ops: []string{"AveragePoolBack"},
		args: []arg{activation("gradOut", s.Out, normal(1)), activation("gradX", s.X, nil).out(sumBound(s.Size * s.Size))},
		run:  func(b backend.Backend, t tensors) { b.AveragePoolBack(s, t["gradX"], t["gradOut"]) },
		reference: func(d data) values {
			r, counts := sums(s.X.Len()), windowCounts(s)
			eachWindow(s, func(o, i, _ int) { r.add(i, d["gradOut"][o]/counts[o]) })
			return values{"gradX": r}
		},
	}
}

// windowCounts are the inputs in each window.
func windowCounts(s backend.PoolShape) []float64 {
	n := make([]float64, s.Out.Len())
	eachWindow(s, func(o, _, _ int) { n[o]++ })
	return n
}

// sums are n sums of nothing so far; see value.add.
func sums(n int) value { return value{v: make([]float64, n), mag: make([]float64, n)} }
