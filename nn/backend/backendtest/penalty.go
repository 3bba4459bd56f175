package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

func penaltyCases() []Case {
	var cases []Case
	shapes := []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 7, H: 2, W: 3, C: 31}}
	both, l1, l2 := backend.Norms{L1: 0.1, L2: 0.3}, backend.Norms{L1: 0.5}, backend.Norms{L2: 0.25}
	for i, s := range shapes {
		k := []backend.Role{backend.Activation, backend.Flat}
		o := []backend.Norms{both, l1, l2}[i%3]
		cases = append(cases, penalizeCase(o, k[0], s, 0), penalizeCase(o, k[1], backend.Vec(s.Len()), i), columnSumCase(s), addRowCase(s))
	}
	for i, n := range []int{1, 33, 257, 1000} {
		cases = append(cases, sparseCase(backend.Sparsity{Weight: 3, Rho: 0.05}, n, 1.0/float32(1+i), uniform(0, 1)))
	}
	s := shapes[1]
	views := []Case{penalizeCase(both, backend.Activation, s, 0), columnSumCase(s), addRowCase(s)}
	for i := range views {
		views[i].Name += "-of4"
		for j := range views[i].args {
			if views[i].args[j].role == backend.Activation {
				views[i].args[j].images = 4
			}
		}
	}
	bench := columnSumCase(shape{N: 128, H: 1, W: 1, C: 1024})
	bench.Bench = true
	return append(append(cases, views...), penalizeCase(both, backend.Flat, backend.Vec(1<<14), 0), bench,
		penalizeCase(both, backend.Flat, manyTurns, 0),
		// Activations that are all off or on are held away from 0 and 1.
		sparseCase(backend.Sparsity{Weight: 1, Rho: 0.2}, 4, 0.5, given(0, 2, 1, 2e-7)), sparseCase(backend.Sparsity{Weight: 1, Rho: 0.2}, 2, 0.5, given(1, nan)))
}

// penalizeCase has zeros among the values, where an absolute value has no slope.
func penalizeCase(o backend.Norms, k backend.Role, s shape, shift int) Case {
	x := arg{name: "x", role: k, shape: s, fill: mixed(normal(1), 0, 2, -3), shift: shift}
	grad := arg{name: "grad", role: k, shape: s, fill: normal(1), shift: shift}.inout(backend.Bound{Rel: 4 * eps})
	return Case{
		Name: fmt.Sprintf("penalty/norms/%v/%dx%dx%dx%d-at%d-%g-%g", k, s.N, s.H, s.W, s.C, shift, o.L1, o.L2), Ops: []string{"Penalize"},
		args: []arg{x, grad, flat("loss", 1, given(0.75)).inout(sumBound(2 * s.Len()))},
		run:  func(b backend.Backend, t tensors) { b.Penalize(o, t["loss"], t["grad"], t["x"]) },
		reference: func(d data) values {
			loss, g := addTo(d["loss"]), addTo(d["grad"])
			l1, l2 := float64(o.L1), float64(o.L2)
			for i, x := range d["x"] {
				loss.add(0, l1*math.Abs(x)+l2*x*x)
				if x != 0 {
					g.add(i, math.Copysign(l1, x))
				}
				g.add(i, 2*l2*x)
			}
			return values{"loss": loss, "grad": g}
		},
	}
}

func columnSumCase(s shape) Case {
	return Case{
		Name: fmt.Sprintf("penalty/columns/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"ColumnSum"},
		args: []arg{activation("x", s, normal(1)), flat("dst", s.Image(), normal(1)).inout(sumBound(s.N + 1))},
		run:  func(b backend.Backend, t tensors) { b.ColumnSum(t["dst"], t["x"]) },
		reference: func(d data) values {
			r := addTo(d["dst"])
			for i, x := range d["x"] {
				r.add(i%s.Image(), x)
			}
			return values{"dst": r}
		},
	}
}

func addRowCase(s shape) Case {
	return Case{
		Name: fmt.Sprintf("penalty/row/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"AddRow"},
		args: []arg{activation("x", s, normal(1)).inout(backend.Bound{Rel: eps}), flat("row", s.Image(), normal(1))},
		run:  func(b backend.Backend, t tensors) { b.AddRow(t["x"], t["row"]) },
		reference: func(d data) values {
			r := addTo(d["x"])
			for i := range d["x"] {
				r.add(i, d["row"][i%s.Image()])
			}
			return values{"x": r}
		},
	}
}

func sparseCase(o backend.Sparsity, n int, share float32, sums fill) Case {
	rho, scale := float64(o.Rho), float64(o.Weight)*float64(share)
	// Where nearly all are on, 1-r has few digits left: the error of r over it is added.
	c := Case{
		Name: fmt.Sprintf("penalty/sparse/%d-share%g-rho%g", n, share, o.Rho), Ops: []string{"SparseKL"},
		args: []arg{flat("sums", n, sums), flat("loss", 1, given(0.5)).inout(sumBound(4 * n)), flat("grad", n, nil).out(backend.Bound{Rel: 8 * eps})},
		run: func(b backend.Backend, t tensors) {
			b.SparseKL(o, share, t["loss"], t["grad"], t["sums"])
		},
	}
	c.reference = func(d data) values {
		loss, grad := addTo(d["loss"]), value{v: make([]float64, n), mag: make([]float64, n)}
		for j, s := range d["sums"] {
			// The ends of the interval are float32 numbers.
			r := min(max(float64(share)*s, float64(float32(1e-6))), float64(float32(1)-float32(1e-6)))
			on, off := rho/r, (1-rho)/(1-r)
			steep := 1 + 1/(1-r) // how much an error of r counts in 1-r
			loss.v[0] += float64(o.Weight) * (rho*math.Log(on) + (1-rho)*math.Log(off))
			loss.mag[0] += float64(o.Weight) * (rho*(1+math.Abs(math.Log(on))) + (1-rho)*(steep+math.Abs(math.Log(off))))
			grad.v[j], grad.mag[j] = scale*(off-on), scale*(off*steep+on)
		}
		return values{"loss": loss, "grad": grad}
	}
	return c
}
