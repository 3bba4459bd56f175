package backendtest

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

func vectorCases() []Case {
	var cases []Case
	tensor := func(name string, k backend.Role, s shape, f fill) arg {
		return arg{name: name, role: k, shape: s, fill: f}
	}
	for _, k := range []struct {
		role backend.Role
		s    shape
	}{
		{backend.Activation, shape{N: 1, H: 1, W: 1, C: 1}}, {backend.Activation, shape{N: 3, H: 5, W: 7, C: 3}},
		{backend.Activation, shape{N: 2, H: 31, W: 3, C: 33}}, {backend.Param, shape{N: 5, H: 3, W: 3, C: 3}},
		{backend.Param, backend.Vec(33)}, {backend.Param, shape{N: 64, H: 1, W: 1, C: 257}},
		{backend.Flat, backend.Vec(1)}, {backend.Flat, backend.Vec(257)}, {backend.Flat, backend.Vec(1000)},
	} {
		for shift := range 2 {
			if shift > 0 && k.role != backend.Flat {
				continue
			}
			name := fmt.Sprintf("%v/%dx%dx%dx%d-at%d", k.role, k.s.N, k.s.H, k.s.W, k.s.C, 3*shift)
			x, dst := tensor("x", k.role, k.s, normal(1)), tensor("out", k.role, k.s, nil).out(exact)
			sum := tensor("out", k.role, k.s, normal(1)).inout(backend.Bound{Rel: 2 * eps})
			x.shift, dst.shift, sum.shift = 3*shift, 3*shift, 3*shift
			cases = append(cases, Case{
				Name: "vector/zero/" + name, Ops: []string{"Zero"},
				args:      []arg{dst},
				run:       func(b backend.Backend, t tensors) { b.Zero(t["out"]) },
				reference: func(data) values { return values{"out": {v: make([]float64, k.s.Len())}} },
			}, Case{
				Name: "vector/copy/" + name, Ops: []string{"Copy"},
				args:      []arg{x, dst},
				run:       func(b backend.Backend, t tensors) { b.Copy(t["out"], t["x"]) },
				reference: func(d data) values { return values{"out": {v: d["x"]}} },
			})
			if k.role == backend.Activation {
				continue
			}
			cases = append(cases, Case{
				Name: "vector/axpy/" + name, Ops: []string{"Axpy"},
				args: []arg{x, sum},
				run:  func(b backend.Backend, t tensors) { b.Axpy(t["out"], -0.3, t["x"]) },
				reference: func(d data) values {
					r := addTo(d["out"])
					for i, x := range d["x"] {
						r.add(i, float64(float32(-0.3))*x)
					}
					return values{"out": r}
				},
			}, axpyInPlace(name, sum))
		}
	}
	for i, n := range []int{1, 31, 257, 1000} {
		cases = append(cases, sumCase(n, 1+i, 0, false), sumCase(n, 2+3*i, 3, false), sumCase(n, 2+i, i, true))
	}
	for _, r := range [][2]shape{
		{{N: 2, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 105}}, {{N: 3, H: 1, W: 1, C: 784}, {N: 3, H: 28, W: 28, C: 1}},
		{{N: 1, H: 4, W: 9, C: 8}, {N: 1, H: 6, W: 2, C: 24}}, {{N: 7, H: 3, W: 3, C: 33}, {N: 7, H: 33, W: 9, C: 1}},
		{{N: 2, H: 2, W: 3, C: 5}, {N: 2, H: 2, W: 3, C: 5}},
	} {
		cases = append(cases, reshapeCase(r[0], r[1]))
	}
	views := reshapeCase(shape{N: 3, H: 4, W: 3, C: 5}, shape{N: 3, H: 2, W: 5, C: 6})
	views.Name += "-of4"
	views.args[0].images, views.args[1].images = 4, 4
	cases = append(cases, views, bordered(reshapeCase(shape{N: 2, H: 1, W: 1, C: 60}, shape{N: 2, H: 4, W: 5, C: 3}), "out"))
	for _, c := range cases {
		if c.Name == "vector/zero/activation/3x5x7x3-at0" || c.Name == "vector/copy/activation/3x5x7x3-at0" {
			cases = append(cases, bordered(c, "out"))
		}
	}
	return cases
}

// axpyInPlace adds a multiple of a vector to itself.
func axpyInPlace(name string, v arg) Case {
	return Case{
		Name: "vector/axpy/" + name + "/in-place", Ops: []string{"Axpy"},
		args: []arg{v},
		run:  func(b backend.Backend, t tensors) { b.Axpy(t["out"], 0.75, t["out"]) },
		reference: func(d data) values {
			r := addTo(d["out"])
			for i, x := range d["out"] {
				r.add(i, 0.75*x)
			}
			return values{"out": r}
		},
	}
}

// sumCase adds k vectors, in float32 and in order: that is exact. inPlace, the first of them is the destination.
func sumCase(n, k, shift int, inPlace bool) Case {
	c := Case{Name: fmt.Sprintf("vector/sum/%d-of-%d-at%d", k, n, shift), Ops: []string{"Sum"}}
	first := "out"
	if inPlace {
		c.Name += "/in-place"
		c.args = append(c.args, flat("out", n, normal(1)).inout(exact))
	} else {
		first = "src0"
		c.args = append(c.args, flat("out", n, nil).out(exact), flat(first, n, normal(1)))
	}
	names := []string{first}
	for i := 1; i < k; i++ {
		names = append(names, fmt.Sprintf("src%d", i))
		c.args = append(c.args, flat(names[i], n, normal(1)))
	}
	for i := range c.args {
		c.args[i].shift = shift
	}
	c.run = func(b backend.Backend, t tensors) {
		src := make([]backend.Tensor, k)
		for i, name := range names {
			src[i] = t[name]
		}
		b.Sum(t["out"], src)
	}
	c.reference = func(d data) values {
		v := make([]float64, n)
		for i := range v {
			s := float32(d[first][i])
			for _, name := range names[1:] {
				s += float32(d[name][i])
			}
			v[i] = float64(s)
		}
		return values{"out": {v: v}}
	}
	return c
}

func reshapeCase(from, to shape) Case {
	return Case{
		Name: fmt.Sprintf("vector/reshape/%dx%dx%dx%d-%dx%dx%dx%d", from.N, from.H, from.W, from.C, to.N, to.H, to.W, to.C), Ops: []string{"Reshape"},
		args:      []arg{activation("x", from, normal(1)), activation("out", to, nil).out(exact)},
		run:       func(b backend.Backend, t tensors) { b.Reshape(t["out"], t["x"]) },
		reference: func(d data) values { return values{"out": {v: d["x"]}} },
	}
}
