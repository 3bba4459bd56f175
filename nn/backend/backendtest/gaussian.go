package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

func gaussianCases() []Case {
	var cases []Case
	src := []rng.Source{{Seed: 1, Stream: rng.StreamLayer}, {Seed: 0xfedcba9876543210, Stream: rng.StreamLayer + 3}}
	for i, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 7, H: 1, W: 1, C: 20}, {N: 2, H: 1, W: 1, C: 257}, {N: 5, H: 3, W: 3, C: 8}} {
		stepParams := backend.StepParams{Step: uint32(3 * i), Divergence: 0.5}
		cases = append(cases, sampleCase(src[i%2], s, stepParams, 1000*(i%2), true), sampleCase(src[i%2], s, stepParams, 0, false),
			sampleBackCase(src[i%2], s, stepParams, 1000*(i%2)))
	}
	s := shape{N: 3, H: 5, W: 7, C: 3}
	views := []Case{sampleCase(src[0], s, backend.StepParams{Step: 1}, 2, true), sampleBackCase(src[0], s, backend.StepParams{Step: 1, Divergence: 2}, 2)}
	for i := range views {
		views[i].Name += "-of4"
		for j := range views[i].args {
			if views[i].args[j].role == backend.Activation {
				views[i].args[j].images = 4
			}
		}
	}
	bench := sampleBackCase(src[0], shape{N: 128, H: 1, W: 1, C: 64}, backend.StepParams{Step: 1, Divergence: 1}, 0)
	bench.Bench = true
	cases = append(cases, clampCases()...)
	return append(append(cases, views...), bordered(sampleCase(src[0], s, backend.StepParams{Step: 2}, 0, true), "code"),
		bordered(sampleBackCase(src[0], s, backend.StepParams{Step: 2, Divergence: 1}, 0), "gradStats"), bench,
		sampleBackCase(src[0], manyTurns, backend.StepParams{Step: 1, Divergence: 1}, 0))
}

// stats is the shape of the means and variances of a code.
func stats(code shape) shape { code.C *= 2; return code }

func sampleCase(src rng.Source, s shape, c backend.StepParams, first int, drawn bool) Case {
	k := Case{
		Name: fmt.Sprintf("gaussian/sample/%dx%dx%dx%d-step%d-first%d", s.N, s.H, s.W, s.C, c.Step, first), Ops: []string{"Sample"},
		args: []arg{activation("stats", stats(s), normal(1)), activation("code", s, nil).out(backend.Bound{Rel: 4 * eps})},
		run: func(b backend.Backend, t tensors) {
			b.Sample(src, t["code"], t["stats"], t["stepParams"], first)
		},
	}
	if drawn {
		k.args = append(k.args, stepParamsArg(c))
	} else {
		k.Name += "/mean"
	}
	k.reference = func(d data) values {
		r := value{v: make([]float64, s.Len()), mag: make([]float64, s.Len())}
		z := normals(src, s, c.Step, func(n int) int { return first + n })
		for i := range r.v {
			mean := i + i/s.C*s.C
			r.add(i, d["stats"][mean])
			if drawn {
				r.add(i, math.Exp(d["stats"][mean+s.C]/2)*float64(z[i]))
			}
		}
		return values{"code": r}
	}
	return k
}

func sampleBackCase(src rng.Source, s shape, c backend.StepParams, first int) Case {
	const scale = 0.125
	return Case{
		Name: fmt.Sprintf("gaussian/back/%dx%dx%dx%d-step%d-first%d", s.N, s.H, s.W, s.C, c.Step, first), Ops: []string{"SampleBack"},
		args: []arg{activation("stats", stats(s), normal(1)), activation("gradCode", s, normal(1)), stepParamsArg(c),
			flat("loss", 1, given(0.75)).inout(sumBound(4 * s.Len())), activation("gradStats", stats(s), nil).out(backend.Bound{Rel: 8 * eps})},
		run: func(b backend.Backend, t tensors) {
			b.SampleBack(scale, src, t["loss"], t["gradStats"], t["gradCode"], t["stats"], t["stepParams"], first)
		},
		reference: func(d data) values {
			loss, g := addTo(d["loss"]), value{v: make([]float64, 2*s.Len()), mag: make([]float64, 2*s.Len())}
			z, w := normals(src, s, c.Step, func(n int) int { return first + n }), scale*float64(c.Divergence)
			for i, gz := range d["gradCode"] {
				mean := i + i/s.C*s.C
				m, v := d["stats"][mean], d["stats"][mean+s.C]
				for _, term := range []float64{m * m / 2, math.Exp(v) / 2, -0.5, -v / 2} {
					loss.add(0, w*term)
				}
				g.add(mean, gz)
				g.add(mean, w*m)
				g.add(mean+s.C, gz*float64(z[i])*math.Exp(v/2)/2)
				g.add(mean+s.C, w*math.Exp(v)/2)
				g.add(mean+s.C, -w/2)
			}
			return values{"loss": loss, "gradStats": g}
		},
	}
}

// clampCases clamp what is above, below, and just at the limits.
func clampCases() []Case {
	var cases []Case
	for _, s := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}} {
		x := mixed(normal(3), -2, 1, nan, inf, -inf, 0)
		cases = append(cases, clampCase(s, x), clampBackCase(s, x))
	}
	s := shape{N: 3, H: 5, W: 7, C: 3}
	return append(cases, bordered(clampCase(s, normal(3)), "out"), bordered(clampBackCase(s, normal(3)), "gradStats"))
}

var clampLimits = backend.Limits{Min: -2, Max: 1}

func clampCase(s shape, x fill) Case {
	return Case{
		Name: fmt.Sprintf("gaussian/clamp/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"ClampVariance"},
		args: []arg{activation("stats", stats(s), x), activation("out", stats(s), nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.ClampVariance(clampLimits, t["out"], t["stats"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, 2*s.Len()), mag: make([]float64, 2*s.Len())}
			for i, x := range d["stats"] {
				if i%(2*s.C) >= s.C {
					x = min(max(x, float64(clampLimits.Min)), float64(clampLimits.Max))
				}
				r.add(i, x)
			}
			return values{"out": r}
		},
	}
}

func clampBackCase(s shape, x fill) Case {
	return Case{
		Name: fmt.Sprintf("gaussian/clamp-back/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"ClampVarianceBack"},
		args: []arg{activation("stats", stats(s), x), activation("gradOut", stats(s), normal(1)), activation("gradStats", stats(s), nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.ClampVarianceBack(clampLimits, t["gradStats"], t["gradOut"], t["stats"])
		},
		reference: func(d data) values {
			r := value{v: make([]float64, 2*s.Len()), mag: make([]float64, 2*s.Len())}
			for i, x := range d["stats"] {
				if outside := x < float64(clampLimits.Min) || x > float64(clampLimits.Max); i%(2*s.C) < s.C || !outside {
					r.add(i, d["gradOut"][i])
				}
			}
			return values{"gradStats": r}
		},
	}
}
