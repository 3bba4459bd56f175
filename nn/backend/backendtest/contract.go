package backendtest

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

func contractCases() []Case {
	var cases []Case
	for a := range backend.Tanh + 1 {
		for _, s := range [][3]int{{1, 1, 1}, {3, 33, 5}, {7, 31, 257}, {257, 9, 3}} {
			cases = append(cases, contractCase(a, s[0], s[1], s[2]))
		}
	}
	src := rng.Source{Seed: 5, Stream: rng.StreamLayer}
	for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}} {
		cases = append(cases, perturbCase(src, s, 100), accumulateCase(s))
	}
	s := shape{N: 3, H: 4, W: 3, C: 5}
	views := []Case{contractCase(backend.Sigmoid, 3, 5, 6), perturbCase(src, s, 2), accumulateCase(s)}
	for i := range views {
		views[i].Name += "-of4"
		for j := range views[i].args {
			if views[i].args[j].role == backend.Activation {
				views[i].args[j].images = 4
			}
		}
	}
	bench := contractCase(backend.Sigmoid, 64, 784, 64)
	bench.Bench = true
	return append(append(cases, views...), bordered(perturbCase(src, s, 0), "out"), contractCase(backend.Sigmoid, 2, 3, 1030), bench)
}

// contractCase is that of n images of a layer from in values to out units.
func contractCase(a backend.Act, n, in, out int) Case {
	const scale = 0.125
	hs, ws := shape{N: n, H: 1, W: 1, C: out}, shape{N: out, H: 1, W: 1, C: in}
	gradBound := sumBound(in)
	gradBound.Rel += 8 * eps
	return Case{
		Name: fmt.Sprintf("contract/dense/%v/%d-%dto%d", a, n, in, out), Ops: []string{"ContractDense"},
		args: []arg{activation("h", hs, outputs(a)), param("w", ws, normal(0.5)), flat("loss", 1, given(0.75)).inout(sumBound(n*in*out + 8)),
			activation("gradH", hs, normal(1)).inout(gradBound), param("gradW", ws, normal(1)).inout(backend.Bound{Rel: sumBound(n).Rel + 8*eps})},
		run: func(b backend.Backend, t tensors) {
			b.ContractDense(a, scale, t["loss"], t["gradH"], t["gradW"], t["h"], t["w"])
		},
		reference: func(d data) values { return refContract(a, scale, n, in, out, d) },
	}
}

func refContract(a backend.Act, scale float64, n, in, out int, d data) values {
	loss, gh, gw := addTo(d["loss"]), addTo(d["gradH"]), addTo(d["gradW"])
	for k := range n {
		for j := range out {
			y := d["h"][k*out+j]
			// The derivative of the activation, its magnitude, and its derivative with respect to y.
			one := refActBack(a, []float64{1}, []float64{1}, []float64{y})
			v, mag, slope, slopeMag := one.v[0], one.mag[0], 0.0, 0.0
			switch a {
			case backend.Sigmoid:
				slope, slopeMag = 1-2*y, 1+2*y
			case backend.Tanh:
				slope, slopeMag = -2*y, 2*max(y, -y)
			}
			for i := range in {
				w := d["w"][j*in+i]
				loss.v[0] += scale * v * v * w * w
				loss.mag[0] += scale * mag * mag * w * w
				gh.v[k*out+j] += scale * 2 * v * slope * w * w
				gh.mag[k*out+j] += scale * 2 * mag * slopeMag * w * w
				gw.v[j*in+i] += scale * 2 * v * v * w
				gw.mag[j*in+i] += scale * 2 * mag * mag * max(w, -w)
			}
		}
	}
	return values{"loss": loss, "gradH": gh, "gradW": gw}
}

func perturbCase(src rng.Source, s shape, first int) Case {
	const std = float32(0.25)
	return Case{
		Name: fmt.Sprintf("contract/perturb/%dx%dx%dx%d-first%d", s.N, s.H, s.W, s.C, first), Ops: []string{"Perturb"},
		args: []arg{activation("x", s, normal(1)), stepParamsArg(backend.StepParams{Step: 3}), activation("out", s, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.Perturb(std, src, t["out"], t["x"], t["stepParams"], first) },
		reference: func(d data) values {
			r := make([]float64, s.Len())
			for i, z := range normals(src, s, 3, func(n int) int { return first + n }) {
				r[i] = float64(float32(d["x"][i]) + float32(std*z))
			}
			return values{"out": {v: r}}
		},
	}
}

func accumulateCase(s shape) Case {
	const alpha = float32(-0.3)
	return Case{
		Name: fmt.Sprintf("contract/accumulate/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"Accumulate"},
		args: []arg{activation("x", s, normal(1)), activation("dst", s, normal(1)).inout(backend.Bound{Rel: 2 * eps})},
		run:  func(b backend.Backend, t tensors) { b.Accumulate(t["dst"], alpha, t["x"]) },
		reference: func(d data) values {
			r := addTo(d["dst"])
			for i, x := range d["x"] {
				r.add(i, float64(alpha)*x)
			}
			return values{"dst": r}
		},
	}
}
