package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

func attentionCases() []Case {
	spec := func(n, h, w, c, heads int) backend.AttentionShape {
		return must(backend.NewAttention(backend.AttentionSpec{X: shape{N: n, H: h, W: w, C: c}, Heads: heads}))
	}
	var cases []Case
	for _, s := range []backend.AttentionShape{
		spec(1, 1, 1, 1, 1), spec(2, 4, 5, 16, 1), spec(1, 3, 5, 7, 1), spec(3, 4, 4, 12, 3), spec(1, 5, 7, 33, 11), spec(2, 1, 31, 8, 2),
		spec(1, 9, 8, 130, 1), spec(1, 3, 11, 68, 1), spec(1, 1, 257, 4, 1), spec(1, 4, 5, 512, 1), spec(1, 1, 17, 397, 1),
	} {
		cases = append(cases, attentionForward(s, 1), attentionBack(s, 1))
	}
	s := spec(2, 5, 7, 12, 2)
	// Scores of up to a hundred, whose exponentials overflow: nearly all weight is on one position.
	cases = append(cases, attentionForward(s, 7), attentionBack(s, 7))
	cases = append(cases, narrowed(attentionForward(s, 1)),
		narrowed(attentionBack(s, 1), "gradQ", "gradK", "gradV", "gradOut", "q", "k", "v")) // the forward pass, whose output is not rounded, has made the rest
	for _, name := range []string{"out", "q", "k", "v"} {
		cases = append(cases, narrowed(attentionForward(s, 1), name))
	}
	for _, name := range []string{"gradQ", "gradK", "gradV", "gradOut", "q", "k", "v"} {
		cases = append(cases, narrowed(attentionBack(s, 1), name))
	}
	views := []Case{attentionForward(s, 1), attentionBack(s, 1)}
	for i := range views {
		views[i].Name += "-of4"
		for j := range views[i].args {
			if views[i].args[j].role == backend.Activation {
				views[i].args[j].images = 4
			}
		}
	}
	bench := []Case{attentionForward(spec(1, 16, 16, 64, 1), 1), attentionBack(spec(1, 16, 16, 64, 1), 1)}
	bench[0].Bench, bench[1].Bench = true, true
	return append(append(cases, views...), bordered(attentionForward(s, 1), "out"), bench[0], bench[1])
}

func attentionBase(s backend.AttentionShape, std float64, what, op string) Case {
	return Case{
		Name: fmt.Sprintf("attention/%s/%dx%dx%dx%d/%d-heads/std%g", what, s.X.N, s.X.H, s.X.W, s.X.C, s.Heads, std),
		Ops:  []string{"AttentionNeeds", op}, workspace: func(b backend.Backend) int { return b.AttentionNeeds(s).Workspace },
		args: []arg{activation("q", s.X, normal(std)), activation("k", s.X, normal(std)), activation("v", s.X, normal(1))},
	}
}

// attentionBound is that of sums over positions of products whose factors are such sums of exponentials; the magnitudes have what an error of
// a score makes of its exponential.
func attentionBound(s backend.AttentionShape) backend.Bound {
	return backend.Bound{Rel: sumBound(s.Positions()).Rel + sumBound(s.Head()).Rel + 8*eps}
}

func attentionForward(s backend.AttentionShape, std float64) Case {
	c := attentionBase(s, std, "forward", "Attention")
	c.args = append(c.args, activation("out", s.X, nil).out(attentionBound(s)), flat("stats", s.Stats().Len(), nil).out(attentionBound(s)))
	c.run = func(b backend.Backend, t tensors) { b.Attention(s, t["out"], t["stats"], t["q"], t["k"], t["v"]) }
	c.reference = func(d data) values {
		r := refAttention(s, d, nil)
		return values{"out": r.out, "stats": r.stats}
	}
	return c
}

// attentionBack has the output and the statistics that the forward pass leaves.
func attentionBack(s backend.AttentionShape, std float64) Case {
	c := attentionBase(s, std, "back", "AttentionBack")
	bound := attentionBound(s)
	c.args = append(c.args, activation("gradOut", s.X, normal(1)), activation("ahead", s.X, nil).scratch(), flat("stats", s.Stats().Len(), nil).scratch(),
		activation("gradQ", s.X, nil).out(bound), activation("gradK", s.X, nil).out(bound), activation("gradV", s.X, nil).out(bound))
	c.setup = func(b backend.Backend, t tensors) { b.Attention(s, t["ahead"], t["stats"], t["q"], t["k"], t["v"]) }
	c.run = func(b backend.Backend, t tensors) {
		b.AttentionBack(s, t["gradQ"], t["gradK"], t["gradV"], t["gradOut"], t["ahead"], t["stats"], t["q"], t["k"], t["v"])
	}
	c.reference = func(d data) values {
		r := refAttention(s, d, nil)
		q, k, v := r.back(s, d, nil)
		return values{"gradQ": q, "gradK": k, "gradV": v}
	}
	return c
}

// refAttended is an attention in float64: weights are by head of an image, query and key.
type refAttended struct {
	out, stats value
	weights    []float64
	errors     []float64 // the magnitude of a weight's relative error: 1 and that of its score, and those of all its row's
}

// at is where a position's first channel of a head lies.
func attentionAt(s *backend.AttentionShape, head, position int) int {
	return (head/s.Heads*s.Positions()+position)*s.X.C + head%s.Heads*s.Head()
}

func zeros(n int) value { return value{v: make([]float64, n), mag: make([]float64, n)} }

// magnitudes are those of values that have errors of their own, by name; of the others they are the values without their signs.
func magnitudes(d, errors data, name string) []float64 {
	if m, ok := errors[name]; ok {
		return m
	}
	return absolute(d[name])
}

func absolute(v []float64) []float64 {
	m := make([]float64, len(v))
	for i, x := range v {
		m[i] = math.Abs(x)
	}
	return m
}

// refAttention has errors of q, k and v, if they have any, in its magnitudes.
func refAttention(s backend.AttentionShape, d, errors data) refAttended {
	qm, km, vm := magnitudes(d, errors, "q"), magnitudes(d, errors, "k"), magnitudes(d, errors, "v")
	p, heads, scale := s.Positions(), s.X.N*s.Heads, 1/math.Sqrt(float64(s.Head()))
	r := refAttended{out: zeros(s.X.Len()), stats: zeros(heads * p), weights: make([]float64, heads*p*p), errors: make([]float64, heads*p*p)}
	for head := range heads {
		for i := range p {
			row := (head*p + i) * p
			scores, mags := make([]float64, p), make([]float64, p)
			largest := math.Inf(-1)
			for j := range p {
				for c := range s.Head() {
					x := scale * d["q"][attentionAt(&s, head, i)+c] * d["k"][attentionAt(&s, head, j)+c]
					scores[j] += x
					mags[j] += scale * qm[attentionAt(&s, head, i)+c] * km[attentionAt(&s, head, j)+c]
				}
				largest = max(largest, scores[j])
			}
			total, off := 0.0, 0.0
			for j := range p {
				total += math.Exp(scores[j] - largest)
			}
			for j := range p {
				r.weights[row+j] = math.Exp(scores[j]-largest) / total
				off += r.weights[row+j] * (1 + mags[j] + math.Abs(largest))
			}
			r.stats.v[head*p+i] = largest + math.Log(total)
			r.stats.mag[head*p+i] = math.Abs(largest) + math.Log(total) + off
			for j := range p {
				r.errors[row+j] = 1 + mags[j] + math.Abs(largest) + off
				for c := range s.Head() {
					x := r.weights[row+j] * d["v"][attentionAt(&s, head, j)+c]
					o := attentionAt(&s, head, i) + c
					r.out.v[o] += x
					r.out.mag[o] += r.weights[row+j] * vm[attentionAt(&s, head, j)+c] * r.errors[row+j]
				}
			}
		}
	}
	return r
}

// back is the gradients of queries, keys and values.
func (r *refAttended) back(s backend.AttentionShape, d, errors data) (q, k, v value) {
	qm, km, vm, gm := magnitudes(d, errors, "q"), magnitudes(d, errors, "k"), magnitudes(d, errors, "v"), magnitudes(d, errors, "gradOut")
	p, scale := s.Positions(), 1/math.Sqrt(float64(s.Head()))
	q, k, v = zeros(s.X.Len()), zeros(s.X.Len()), zeros(s.X.Len())
	for head := range s.X.N * s.Heads {
		for i := range p {
			row, from := (head*p+i)*p, attentionAt(&s, head, i)
			delta, deltaMag := 0.0, 0.0
			for c := range s.Head() {
				delta += r.out.v[from+c] * d["gradOut"][from+c]
				deltaMag += r.out.mag[from+c] * gm[from+c]
			}
			for j := range p {
				w, to := r.weights[row+j], attentionAt(&s, head, j)
				product, mag := 0.0, 0.0
				for c := range s.Head() {
					product, mag = product+d["gradOut"][from+c]*d["v"][to+c], mag+gm[from+c]*vm[to+c]
				}
				slope, slopeMag := w*(product-delta)*scale, w*(mag*r.errors[row+j]+math.Abs(delta)*r.errors[row+j]+deltaMag)*scale
				for c := range s.Head() {
					v.v[to+c] += w * d["gradOut"][from+c]
					v.mag[to+c] += w * r.errors[row+j] * gm[from+c]
					q.v[from+c] += slope * d["k"][to+c]
					q.mag[from+c] += slopeMag * km[to+c]
					k.v[to+c] += slope * d["q"][from+c]
					k.mag[to+c] += slopeMag * qm[from+c]
				}
			}
		}
	}
	return q, k, v
}

// projections are the products of pixels of a golden layer of attention.
var projections = []string{"q", "k", "v", "o"}

// spatialAttention is a layer of a golden file: a normalisation, queries, keys and values of products of pixels, the attention, another product,
// and the input again.
func (g golden) spatialAttention() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	s, err := backend.NewAttention(backend.AttentionSpec{X: x, Heads: g.Heads})
	if err != nil {
		return nil, err
	}
	const epsilon = 1e-6 // where the file has none
	norm, err := backend.NewGroupNorm(backend.GroupNormSpec{X: x, Groups: g.Groups, Epsilon: max(g.Epsilon, epsilon)})
	if err != nil {
		return nil, err
	}
	if !g.Residual {
		return nil, fmt.Errorf("an attention without a residual connection")
	}
	project := must(backend.NewConv(backend.ConvSpec{X: x, Filters: x.C, KernelH: 1, KernelW: 1}))
	names := map[string]string{"gradOut": "grad_out", "gradX": "grad_x", "gradGamma": "grad_gamma", "gradBeta": "grad_beta"}
	vector := backend.Vec(x.C)
	c := Case{Ops: []string{"GroupNorm", "Conv", "Attention", "Plus", "ConvBackInput", "ConvBackWeights", "AttentionBack", "GroupNormBack", "Accumulate"}}
	c.args = []arg{activation("x", x, nil), param("gamma", vector, nil), param("beta", vector, nil), activation("gradOut", x, nil),
		flat("normStats", norm.Stats().Len(), nil).scratch(), flat("stats", s.Stats().Len(), nil).scratch(),
		activation("out", x, nil).out(goldenBound), activation("gradX", x, nil).out(goldenBound),
		param("gradGamma", vector, nil).inout(goldenBound), param("gradBeta", vector, nil).inout(goldenBound)}
	for _, name := range []string{"normal", "mixed", "gradMixed", "gradNormal", "gradPart"} {
		c.args = append(c.args, activation(name, x, nil).scratch())
	}
	for _, p := range projections {
		c.args = append(c.args, param("w"+p, project.Weights(), nil), param("b"+p, vector, nil), convPacked("packed"+p, project),
			activation("of"+p, x, nil).scratch(), activation("grad"+p, x, nil).scratch(),
			param("gradW"+p, project.Weights(), nil).inout(goldenBound), param("gradB"+p, vector, nil).inout(goldenBound))
		names["gradW"+p], names["gradB"+p] = "grad_w"+p, "grad_b"+p
	}
	weights := func(t tensors, p string) backend.Params {
		return backend.Params{W: t["w"+p], Bias: t["b"+p], Packed: t["packed"+p]}
	}
	c.workspace = func(b backend.Backend) int {
		return max(b.ConvNeeds(project).Workspace, b.GroupNormNeeds(norm).Workspace, b.AttentionNeeds(s).Workspace)
	}
	c.setup = func(b backend.Backend, t tensors) {
		for _, p := range projections {
			convPack(b, project, weights(t, p))
		}
	}
	var none backend.Tensor
	c.run = func(b backend.Backend, t tensors) {
		scales := backend.Params{W: t["gamma"], Bias: t["beta"]}
		b.GroupNorm(norm, t["normal"], t["normStats"], t["x"], scales)
		for _, p := range projections[:3] {
			b.Conv(project, t["of"+p], none, t["normal"], weights(t, p))
		}
		b.Attention(s, t["mixed"], t["stats"], t["ofq"], t["ofk"], t["ofv"])
		b.Conv(project, t["ofo"], none, t["mixed"], weights(t, "o"))
		b.Plus(t["out"], t["ofo"], t["x"])
		back := func(gradX, gradOut, x, p string) {
			b.ConvBackWeights(project, backend.Params{W: t["gradW"+p], Bias: t["gradB"+p]}, t[gradOut], none, t[x])
			b.ConvBackInput(project, t[gradX], t[gradOut], none, weights(t, p), t[x])
		}
		back("gradMixed", "gradOut", "mixed", "o")
		b.AttentionBack(s, t["gradq"], t["gradk"], t["gradv"], t["gradMixed"], t["mixed"], t["stats"], t["ofq"], t["ofk"], t["ofv"])
		back("gradNormal", "gradq", "normal", "q")
		for _, p := range projections[1:3] {
			back("gradPart", "grad"+p, "normal", p)
			b.Accumulate(t["gradNormal"], 1, t["gradPart"])
		}
		b.GroupNormBack(norm, t["gradX"], backend.Params{W: t["gradGamma"], Bias: t["gradBeta"]}, t["gradNormal"], t["normStats"], t["x"], scales)
		b.Accumulate(t["gradX"], 1, t["gradOut"])
	}
	c.reference = func(d data) values { return refSpatialAttention(s, norm, project, d) }
	fitted, err := g.fit(c, "layer", names)
	return []Case{fitted}, err
}

// refSpatialAttention is such a layer and its gradients in float64. Magnitudes go the same way, of all factors without their signs.
func refSpatialAttention(s backend.AttentionShape, norm backend.GroupNormShape, project backend.ConvShape, d data) values {
	n := refGroupNorm(norm, d)
	conv := func(x value, p string) (y value) {
		y.v, _ = refConv(project, x.v, d["w"+p], d["b"+p])
		y.mag, _ = refConv(project, x.mag, absolute(d["w"+p]), absolute(d["b"+p]))
		return y
	}
	r, attended, errors := values{}, data{}, data{}
	for _, p := range projections[:3] {
		y := conv(n.before, p)
		attended[p], errors[p] = y.v, y.mag
	}
	a := refAttention(s, attended, errors)
	out := conv(a.out, "o")
	r["out"] = zeros(len(out.v))
	for i, x := range d["x"] {
		r["out"].v[i], r["out"].mag[i] = out.v[i]+x, out.mag[i]+math.Abs(x)
	}
	back := func(g, x value, p string) (gradX value) {
		gradX.v, _ = refConvBackInput(project, g.v, nil, d["w"+p])
		gradX.mag, _ = refConvBackInput(project, g.mag, nil, absolute(d["w"+p]))
		zero := func(name string) []float64 { return make([]float64, len(d[name])) }
		grads := refConvBackWeights(project, zero("w"+p), zero("b"+p), g.v, nil, x.v)
		mags := refConvBackWeights(project, zero("w"+p), zero("b"+p), g.mag, nil, x.mag)
		r["gradW"+p] = value{v: grads["gradW"].v, mag: mags["gradW"].v}
		r["gradB"+p] = value{v: grads["gradBias"].v, mag: mags["gradBias"].v}
		return gradX
	}
	g := back(value{v: d["gradOut"], mag: absolute(d["gradOut"])}, a.out, "o")
	attended["gradOut"], errors["gradOut"] = g.v, g.mag
	q, k, v := a.back(s, attended, errors)
	total := zeros(len(d["x"]))
	for i, g := range []value{q, k, v} {
		part := back(g, n.before, projections[i])
		for i := range total.v {
			total.v[i], total.mag[i] = total.v[i]+part.v[i], total.mag[i]+part.mag[i]
		}
	}
	r["gradX"], r["gradGamma"], r["gradBeta"] = n.back(norm, data{"gamma": d["gamma"], "gradOut": total.v}, total.mag)
	for i, g := range d["gradOut"] {
		r["gradX"].v[i] += g
		r["gradX"].mag[i] += math.Abs(g)
	}
	return r
}
