package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

// normCase is a normalisation of which the table has the forward pass and the backward pass.
type normCase struct {
	backend.GroupNormSpec
	noGamma, noBeta, noGradX bool
	values                   string // what x is filled with, by its name in normValues; "" is normal
	images                   int
	bench                    bool
}

// normValues are inputs that are hard to normalise: far from 0, with one value that is far from all others, nearly alike.
var normValues = map[string]fill{
	"":        normal(1),
	"far":     uniform(299, 301),
	"outlier": func(d draw, v []float32) { d.normals(v); v[0] = 1000 },
	"close":   uniform(1, 1.0001),
	"special": func(d draw, v []float32) { d.normals(v); v[len(v)/3], v[len(v)-1] = nan, nan },
}

func groupNormCases() []Case {
	spec := func(n, h, w, c, groups int) backend.GroupNormSpec {
		return backend.GroupNormSpec{X: shape{N: n, H: h, W: w, C: c}, Groups: groups, Epsilon: 1e-6}
	}
	each := func(n, h, w, c int) backend.GroupNormSpec {
		s := spec(n, h, w, c, 1)
		s.EachPixel, s.Epsilon = true, 1e-3
		return s
	}
	specs := []backend.GroupNormSpec{
		spec(1, 1, 1, 1, 1), spec(3, 1, 1, 8, 8), spec(2, 5, 7, 12, 4), spec(1, 9, 4, 32, 1), spec(7, 3, 2, 31, 31), spec(2, 16, 16, 64, 32),
		spec(3, 5, 7, 6, 2), spec(1, 33, 31, 40, 5), spec(2, 1, 257, 3, 1),
		// More channels than a GPU's block has threads, or four times as many.
		spec(2, 3, 3, 257, 1), spec(1, 2, 3, 1032, 1), spec(1, 2, 2, 560, 2),
		// More values than a GPU's block has: several slices of pixels.
		spec(1, 70, 60, 16, 4), spec(2, 65, 64, 24, 2), spec(1, 150, 131, 3, 1),
		each(1, 1, 1, 1), each(2, 3, 5, 17), each(3, 7, 5, 8), each(1, 2, 3, 1032), each(2, 1, 3, 257), each(1, 33, 40, 4),
	}
	acts := functions()
	var table []normCase
	for i, s := range specs {
		s.Act = acts[i%len(acts)]
		table = append(table, normCase{GroupNormSpec: s, noGamma: i%7 == 5, noBeta: i%5 == 3})
	}
	few, sliced, pixel := spec(2, 5, 7, 12, 3), spec(1, 70, 60, 8, 1), each(2, 3, 5, 12)
	for _, name := range []string{"far", "outlier", "close", "special"} {
		for _, s := range []backend.GroupNormSpec{few, sliced, pixel} {
			table = append(table, normCase{GroupNormSpec: s, values: name})
		}
	}
	for _, s := range []backend.GroupNormSpec{few, pixel, spec(2, 5, 7, 6, 2), sliced} {
		s.Act.Act = backend.Sigmoid
		table = append(table, normCase{GroupNormSpec: s, noGamma: true, noBeta: true}, normCase{GroupNormSpec: s, noGradX: true},
			normCase{GroupNormSpec: s, images: s.X.N + 2})
	}
	var cases []Case
	for _, c := range table {
		cases = append(cases, c.forward(), c.back())
		if !c.noGamma || !c.noBeta {
			cases = append(cases, c.inPartials())
		}
	}
	for _, s := range []backend.GroupNormSpec{few, sliced, pixel, spec(3, 5, 7, 6, 2), each(1, 3, 5, 17)} {
		s.Act.Act = backend.SiLU
		c := normCase{GroupNormSpec: s}
		cases = append(cases, c.constant(), narrowed(c.forward()), narrowed(c.back()), narrowed(c.forward(), "x"), narrowed(c.forward(), "out"),
			narrowed(c.back(), "gradX"), narrowed(c.back(), "x", "gradOut"))
	}
	cases = append(cases, normCase{GroupNormSpec: each(1, 257, 256, 1), noGradX: true}.back()) // more pixels than slices that a GPU makes of them
	edge := normCase{GroupNormSpec: few}
	bench := normCase{GroupNormSpec: spec(2, 32, 32, 128, 32), bench: true}
	return append(cases, bordered(edge.forward(), "out"), bordered(edge.back(), "gradX"), bench.forward(), bench.back())
}

func (c normCase) shape() backend.GroupNormShape { return must(backend.NewGroupNorm(c.GroupNormSpec)) }

func (c normCase) base(what, op string) Case {
	s := c.shape()
	name := fmt.Sprintf("groupnorm/%s/%dx%dx%dx%d/%d-groups/%s", what, s.X.N, s.X.H, s.X.W, s.X.C, s.Groups, functionName(s.Act))
	if s.EachPixel {
		name = fmt.Sprintf("groupnorm/%s/%dx%dx%dx%d/each-pixel/%s", what, s.X.N, s.X.H, s.X.W, s.X.C, functionName(s.Act))
	}
	for _, o := range []struct {
		is   bool
		name string
	}{{c.noGamma, "no-gamma"}, {c.noBeta, "no-beta"}, {c.noGradX, "no-gradX"}, {c.values != "", c.values}, {c.images > 0, fmt.Sprint("of", c.images)}} {
		if o.is {
			name += "-" + o.name
		}
	}
	return Case{Name: name, Ops: []string{"GroupNormNeeds", op}, Bench: c.bench,
		workspace: func(b backend.Backend) int { return b.GroupNormNeeds(s).Workspace }}
}

// inputs are x, gamma and beta.
func (c normCase) inputs() []arg {
	s := c.shape()
	x := activation("x", s.X, normValues[c.values])
	x.images = c.images
	args := []arg{x}
	if !c.noGamma {
		args = append(args, param("gamma", backend.Vec(s.X.C), normal(1)))
	}
	if !c.noBeta {
		args = append(args, param("beta", backend.Vec(s.X.C), normal(1)))
	}
	return args
}

func normParams(t tensors) backend.Params { return backend.Params{W: t["gamma"], Bias: t["beta"]} }

// bound is that of what is made of a group's statistics: a mean is off by the bound of its sum, and one over a deviation by half that of the
// variance's.
func (c normCase) bound() backend.Bound {
	s := c.shape()
	b := sumBound(s.Pixels() * s.Channels())
	return backend.Bound{Rel: 2 * b.Rel}
}

func (c normCase) forward() Case {
	s := c.shape()
	k := c.base("forward", "GroupNorm")
	out := activation("out", s.X, nil).out(backend.Bound{Abs: actBound(s.Act).Abs, Rel: c.bound().Rel})
	out.images = c.images
	k.args = append(c.inputs(), out, flat("stats", s.Stats().Len(), nil).out(c.bound()))
	k.run = func(b backend.Backend, t tensors) { b.GroupNorm(s, t["out"], t["stats"], t["x"], normParams(t)) }
	k.reference = func(d data) values {
		r := refGroupNorm(s, d)
		return values{"out": r.out, "stats": r.stats}
	}
	return k
}

// constant has groups of one value each, which give what the activation makes of beta, to the bit.
func (c normCase) constant() Case {
	s := c.shape()
	k := c.forward()
	k.Name += "/constant"
	k.args[0].fill = func(_ draw, v []float32) {
		for i := range v {
			v[i] = 0.1
			if !s.EachPixel {
				v[i] *= float32(1 + i%s.X.C/s.Channels() + i/s.X.Image())
			}
		}
	}
	s.Act = backend.Function{}
	k.args = append(k.args[:len(k.args)-2], activation("out", s.X, nil).out(exact))
	k.run = func(b backend.Backend, t tensors) { b.GroupNorm(s, t["out"], backend.Tensor{}, t["x"], normParams(t)) }
	k.reference = func(d data) values {
		v := make([]float64, s.X.Len())
		for i := range v {
			v[i] = d["beta"][i%s.X.C]
		}
		return values{"out": {v: v}}
	}
	return k
}

// back has the statistics that the forward pass leaves.
func (c normCase) back() Case {
	s := c.shape()
	k := c.base("back", "GroupNormBack")
	g := activation("gradOut", s.X, normal(1))
	g.images = c.images
	ahead := activation("ahead", s.X, nil).scratch()
	ahead.images = c.images
	k.args = append(c.inputs(), g, ahead, flat("stats", s.Stats().Len(), nil).scratch())
	if !c.noGradX {
		gradX := activation("gradX", s.X, nil).out(c.bound())
		gradX.images = c.images
		k.args = append(k.args, gradX)
	}
	bound := backend.Bound{Rel: sumBound(s.Units()*s.Pixels()+1).Rel + c.bound().Rel}
	if !c.noGamma {
		k.args = append(k.args, param("gradW", backend.Vec(s.X.C), normal(1)).inout(bound))
	}
	if !c.noBeta {
		name := "gradBias"
		if c.noGamma {
			name = "gradW" // the only one
		}
		k.args = append(k.args, param(name, backend.Vec(s.X.C), normal(1)).inout(bound))
	}
	k.setup = func(b backend.Backend, t tensors) { b.GroupNorm(s, t["ahead"], t["stats"], t["x"], normParams(t)) }
	k.run = func(b backend.Backend, t tensors) {
		grad := grads(t)
		if c.noGamma {
			grad.W, grad.Bias = grad.Bias, grad.W
		}
		b.GroupNormBack(s, t["gradX"], grad, t["gradOut"], t["stats"], t["x"], normParams(t))
	}
	k.reference = func(d data) values {
		r := refGroupNorm(s, d)
		gradX, gamma, beta := r.back(s, d, d["gradOut"])
		if c.noGamma {
			return values{"gradX": gradX, "gradW": beta.onto(d["gradW"])}
		}
		return values{"gradX": gradX, "gradW": gamma.onto(d["gradW"]), "gradBias": beta.onto(d["gradBias"])}
	}
	return k
}

func (c normCase) inPartials() Case {
	s := c.shape()
	return inPartials(c.back(), func(b backend.Backend) backend.Needs { return b.GroupNormNeeds(s) }, grads)
}

// groupNorm is a normalisation of a golden file.
func (g golden) groupNorm(spec backend.GroupNormSpec) (cases []Case, err error) {
	if spec.X, err = g.shapeOf("x", 4, 2); err != nil {
		return nil, err
	}
	spec.Epsilon = g.Epsilon
	if _, err := backend.NewGroupNorm(spec); err != nil {
		return nil, err
	}
	c := normCase{GroupNormSpec: spec}
	return g.fitAll(map[string]string{"gradOut": "grad_out", "gradX": "grad_x", "gradW": "grad_gamma", "gradBias": "grad_beta"}, c.forward(), c.back())
}

// onto is what a gradient is when it is added to; nil to nothing.
func (v value) onto(to []float64) value {
	if to == nil {
		return value{}
	}
	r := addTo(to)
	for i := range v.v {
		r.v[i] += v.v[i]
		r.mag[i] += v.mag[i]
	}
	return r
}

// refNorm is a normalisation in float64. Magnitudes have what an error of the statistics makes of a value: the mean is off by a share of
// the mean magnitude, and the variance by the share that what is rounded from the differences has in it.
type refNorm struct {
	out, stats value
	normal     value // (x - mean) rstd
	before     value // the activation's input
	rstd       []float64
}

// group is the group of element i, among those of all units.
func groupOf(s *backend.GroupNormShape, i int) int {
	return i/(s.Pixels()*s.X.C)*s.Groups + i%s.X.C/s.Channels()
}

func scaleOf(v []float64, i int, without float64) float64 {
	if v == nil {
		return without
	}
	return v[i]
}

func refGroupNorm(s backend.GroupNormShape, d data) refNorm {
	x, gamma, beta := d["x"], d["gamma"], d["beta"]
	groups, count := s.Units()*s.Groups, float64(s.Pixels()*s.Channels())
	mean, size, variance, rounded := make([]float64, groups), make([]float64, groups), make([]float64, groups), make([]float64, groups)
	for i, x := range x {
		mean[groupOf(&s, i)] += x / count
		size[groupOf(&s, i)] += math.Abs(x) / count
	}
	for i, x := range x {
		g := groupOf(&s, i)
		diff := x - mean[g]
		variance[g] += diff * diff / count
		rounded[g] += math.Abs(diff) * (math.Abs(x) + math.Abs(mean[g])) / count
	}
	r := refNorm{stats: zeros(2 * groups), normal: zeros(len(x)), before: zeros(len(x)), rstd: make([]float64, groups)}
	condition := make([]float64, groups)
	for g := range groups {
		r.rstd[g] = 1 / math.Sqrt(variance[g]+float64(s.Epsilon))
		condition[g] = 1 + r.rstd[g]*r.rstd[g]*rounded[g]
		r.stats.v[2*g], r.stats.mag[2*g] = mean[g], size[g]
		r.stats.v[2*g+1], r.stats.mag[2*g+1] = r.rstd[g], r.rstd[g]*condition[g]
	}
	for i, x := range x {
		g, c := groupOf(&s, i), i%s.X.C
		n := (x - mean[g]) * r.rstd[g]
		r.normal.v[i], r.normal.mag[i] = n, (math.Abs(x)+size[g])*r.rstd[g]+math.Abs(n)*condition[g]
		scale := scaleOf(gamma, c, 1)
		r.before.add(i, scaleOf(beta, c, 0))
		r.before.v[i] += scale * n
		r.before.mag[i] += math.Abs(scale) * r.normal.mag[i]
	}
	r.out = zeros(len(x))
	for i, y := range r.before.v {
		r.out.v[i], r.out.mag[i] = function(s.Act, y), functionMag(s.Act, y)+steepest*max(1, float64(s.Act.Alpha))*r.before.mag[i]
	}
	return r
}

// steepest is what no derivative of an activation exceeds, but for its alpha, and bent what no second derivative does.
const (
	steepest = 1.2
	bent     = 2
)

// back is the gradients of x, gamma and beta; mag are the magnitudes of gradOut. The derivative of an activation is off by what its argument is, times the second derivative.
func (r *refNorm) back(s backend.GroupNormShape, d data, mag []float64) (gradX, gamma, beta value) {
	groups, count := s.Units()*s.Groups, float64(s.Pixels()*s.Channels())
	gradX, gamma, beta = zeros(s.X.Len()), zeros(s.X.C), zeros(s.X.C)
	b, g := zeros(groups), zeros(groups)
	of := r.out.v
	if !s.Act.Act.FromOutput() {
		of = r.before.v
	}
	before := refSlope(s.Act, d["gradOut"], mag, of)
	for i, grad := range d["gradOut"] {
		if s.Act.Act != backend.Linear {
			before.mag[i] += bent * math.Abs(grad) * r.before.mag[i]
		}
		c, of, scale := i%s.X.C, groupOf(&s, i), scaleOf(d["gamma"], i%s.X.C, 1)
		product, mag := before.v[i]*r.normal.v[i], before.mag[i]*r.normal.mag[i]
		beta.v[c], beta.mag[c] = beta.v[c]+before.v[i], beta.mag[c]+before.mag[i]
		gamma.v[c], gamma.mag[c] = gamma.v[c]+product, gamma.mag[c]+mag
		b.v[of], b.mag[of] = b.v[of]+scale*before.v[i]/count, b.mag[of]+math.Abs(scale)*before.mag[i]/count
		g.v[of], g.mag[of] = g.v[of]+scale*product/count, g.mag[of]+math.Abs(scale)*mag/count
	}
	for i := range gradX.v {
		of, scale := groupOf(&s, i), scaleOf(d["gamma"], i%s.X.C, 1)
		rstd, cond := r.rstd[of], r.stats.mag[2*of+1]/r.rstd[of]
		gradX.v[i] = rstd * (scale*before.v[i] - b.v[of] - r.normal.v[i]*g.v[of])
		gradX.mag[i] = rstd * cond * (math.Abs(scale)*before.mag[i] + b.mag[of] + r.normal.mag[i]*g.mag[of])
	}
	return gradX, gamma, beta
}
