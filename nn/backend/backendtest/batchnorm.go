package backendtest

import (
	"fmt"
	"maps"
	"math"

	"github.com/convae/convae/nn/backend"
)

// norms is a normalisation by the statistics of a batch, whose passes leave so many rows.
type norms struct {
	backend.BatchNormSpec
	rows     int
	noGamma  bool
	noBeta   bool
	unbiased bool
	mean     float32 // of the values, whose standard deviation is 1
}

func batchNormCases() []Case {
	var cases []Case
	for i, x := range []shape{
		{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 1, H: 31, W: 33, C: 8}, {N: 7, H: 2, W: 3, C: 31},
		{N: 5, H: 3, W: 3, C: 1028}, {N: 2, H: 12, W: 12, C: 16}, {N: 33, H: 1, W: 1, C: 4}, {N: 2, H: 41, W: 37, C: 2},
	} {
		n := norms{BatchNormSpec: backend.BatchNormSpec{X: x, Epsilon: []float32{1e-3, 1e-5}[i%2], Act: functions()[2*i%len(functions())]}, rows: []int{1, 3, 40}[i%3],
			noGamma: i%4 == 1, noBeta: i%4 == 2, unbiased: i%2 == 1}
		cases = append(cases, n.all()...)
	}
	x := shape{N: 2, H: 9, W: 11, C: 5}
	for _, wide := range []bool{false, true} {
		if wide {
			x.C = 12
		}
		n := norms{BatchNormSpec: backend.BatchNormSpec{X: x, Epsilon: 1e-3, Act: backend.Function{Act: backend.ReLU}}, rows: 4}
		far := n
		far.mean = 10000 // what is left of a difference of squares is noise
		cases = append(cases, far.statistics("/far", normal(1)), far.forward("/far", normal(1)), far.sums("/far", normal(1)), far.back("/far", normal(1)),
			n.statistics("/same", given(0.1)), n.statistics("/special", mixed(normal(1), nan)), n.forward("/special", mixed(normal(1), nan, inf, -inf)))
		views := n.all()
		for i := range views {
			views[i].Name += "-of4"
			for j := range views[i].args {
				if views[i].args[j].role == backend.Activation {
					views[i].args[j].images = 4
				}
			}
		}
		cases = append(cases, views...)
		for _, c := range []Case{n.statistics("", normal(1)), n.forward("", normal(1)), n.sums("", normal(1)), n.back("", normal(1))} {
			cases = append(cases, narrowed(c))
		}
		cases = append(cases, narrowed(n.forward("", normal(1)), "x"), narrowed(n.forward("", normal(1)), "out"), narrowed(n.sums("", normal(1)), "gradOut"),
			narrowed(n.sums("", normal(1)), "x"), narrowed(n.back("", normal(1)), "gradX"), narrowed(n.back("", normal(1)), "gradOut"), narrowed(n.back("", normal(1)), "x"),
			bordered(n.forward("", normal(1)), "out"), bordered(n.back("", normal(1)), "gradX"))
	}
	bench := norms{BatchNormSpec: backend.BatchNormSpec{X: shape{N: 8, H: 28, W: 28, C: 32}, Epsilon: 1e-3, Act: backend.Function{Act: backend.ReLU}}, rows: 1}.all()
	for i := range bench {
		bench[i].Bench = true
	}
	return append(cases, bench...)
}

func (n norms) shape() backend.BatchNormShape { return must(backend.NewBatchNorm(n.BatchNormSpec)) }

// all are the cases of each op.
func (n norms) all() []Case {
	return []Case{n.statistics("", normal(1)), n.moments(), n.forward("", normal(1)), n.sums("", normal(1)), n.totals(), n.back("", normal(1))}
}

// name is that of a case of an op.
func (n norms) name(op, suffix string) string {
	s := fmt.Sprintf("batchnorm/%s/%dx%dx%dx%d-%s-%g-in%d", op, n.X.N, n.X.H, n.X.W, n.X.C, functionName(n.Act), n.Epsilon, n.rows)
	if n.noGamma {
		s += "-nogamma"
	}
	if n.noBeta {
		s += "-nobeta"
	}
	if n.unbiased {
		s += "-unbiased"
	}
	return s + suffix
}

func (n norms) workspace(b backend.Backend) int { return b.BatchNormNeeds(n.shape()).Workspace }

// rowsArg is a Flat tensor of the rows.
func (n norms) rowsArg(size int, f fill) arg {
	return arg{name: "rows", role: backend.Flat, shape: shape{N: n.rows, H: 1, W: 1, C: size}, fill: f}
}

// x are the values.
func (n norms) x(f fill) arg {
	return activation("x", n.X, func(d draw, v []float32) {
		f(d, v)
		for i := range v {
			v[i] += n.mean
		}
	})
}

// params are the tensors that values are normalised by.
func (n norms) params() []arg {
	list := []arg{flat("mean", n.X.C, uniform(n.mean-0.5, n.mean+0.5)), flat("variance", n.X.C, uniform(0.01, 3))}
	if !n.noGamma {
		list = append(list, param("gamma", backend.Vec(n.X.C), normal(1)))
	}
	if !n.noBeta {
		list = append(list, param("beta", backend.Vec(n.X.C), normal(1)))
	}
	return list
}

func batchNormParams(t tensors) backend.BatchNormParams {
	return backend.BatchNormParams{Mean: t["mean"], Variance: t["variance"], Gamma: t["gamma"], Beta: t["beta"]}
}

// stretch calls f for each pixel's channel of a row's stretch.
func (n norms) stretch(row int, f func(i, c int)) {
	s := n.shape()
	for p := row * s.Stretch(n.rows); p < min((row+1)*s.Stretch(n.rows), s.Pixels()); p++ {
		for c := range n.X.C {
			f(p*n.X.C+c, c)
		}
	}
}

func (n norms) statistics(suffix string, f fill) Case {
	s := n.shape()
	size := s.Moments()
	return Case{
		Name: n.name("statistics", suffix), Ops: []string{"BatchNormNeeds", "BatchNormStatistics"}, workspace: n.workspace,
		args: []arg{n.x(f), n.rowsArg(size, nil).out(sumBound(s.Stretch(n.rows)))},
		run:  func(b backend.Backend, t tensors) { b.BatchNormStatistics(s, t["rows"], t["x"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, n.rows*size), mag: make([]float64, n.rows*size)}
			for k := range n.rows {
				row, mag := r.v[k*size:][:size], r.mag[k*size:][:size]
				n.stretch(k, func(i, c int) {
					row[c] += d["x"][i]
					mag[c] += math.Abs(d["x"][i])
					row[size-1] += 1 / float64(n.X.C)
				})
				row[size-1] = math.Round(row[size-1])
				count := max(row[size-1], 1)
				for c := range n.X.C {
					row[c], mag[c] = row[c]/count, mag[c]/count
				}
				// An error of the mean, of up to eps of it, is squared.
				n.stretch(k, func(i, c int) {
					e := d["x"][i] - row[c]
					row[n.X.C+c] += e * e
					mag[n.X.C+c] += e*e + eps*row[c]*row[c]
				})
			}
			return values{"rows": r}
		},
	}
}

func (n norms) moments() Case {
	s := n.shape()
	channels, size := n.X.C, s.Moments()
	o := backend.Moving{Momentum: 0.9, Unbiased: n.unbiased}
	fill := func(d draw, v []float32) {
		d.normals(v)
		for i := range v {
			if at := i % size; at >= channels { // squares, and numbers of pixels, of which some are 0, but not the last
				v[i] *= v[i]
			}
			if i%size == size-1 {
				v[i] = float32(int(10 * v[i]))
			}
		}
		v[len(v)-1]++
	}
	keep := float64(o.Momentum)
	return Case{
		Name: n.name("moments", ""), Ops: []string{"BatchNormMoments"},
		args: []arg{n.rowsArg(size, fill), flat("moments", 2*channels, nil).out(sumBound(9 * n.rows)),
			param("movingMean", backend.Vec(channels), normal(1)).inout(sumBound(9 * n.rows)), param("movingVariance", backend.Vec(channels), uniform(0, 2)).inout(sumBound(9 * n.rows))},
		run: func(b backend.Backend, t tensors) {
			b.BatchNormMoments(o, t["moments"], t["movingMean"], t["movingVariance"], t["rows"])
		},
		reference: func(d data) values {
			m := value{v: make([]float64, 2*channels), mag: make([]float64, 2*channels)}
			mean, variance := value{v: make([]float64, channels), mag: make([]float64, channels)}, value{v: make([]float64, channels), mag: make([]float64, channels)}
			for c := range channels {
				var count, sum, mag, m2 float64
				each := func(f func(count, mean, m2 float64)) {
					for k := range n.rows {
						row := d["rows"][k*size:][:size]
						f(row[size-1], row[c], row[channels+c])
					}
				}
				each(func(k, mean, _ float64) { count, sum, mag = count+k, sum+k*mean, mag+k*math.Abs(mean) })
				each(func(k, mean, squares float64) {
					if k > 0 {
						m2 += squares + k*(mean-sum/count)*(mean-sum/count)
					}
				})
				unbiased := m2 / count
				if o.Unbiased && count > 1 {
					unbiased = m2 / (count - 1)
				}
				m.v[c], m.mag[c] = sum/count, mag/count
				m.v[channels+c], m.mag[channels+c] = m2/count, m2/count
				mean.v[c], mean.mag[c] = keep*d["movingMean"][c]+(1-keep)*sum/count, math.Abs(d["movingMean"][c])+mag/count
				variance.v[c], variance.mag[c] = keep*d["movingVariance"][c]+(1-keep)*unbiased, d["movingVariance"][c]+unbiased
			}
			return values{"moments": m, "movingMean": mean, "movingVariance": variance}
		},
	}
}

// at returns a channel's constants: mean, 1 / sqrt(variance + epsilon), gamma and beta.
func (n norms) at(d data, c int) (mean, rstd, gamma, beta float64) {
	gamma = 1
	if g := d["gamma"]; g != nil {
		gamma = g[c]
	}
	if b := d["beta"]; b != nil {
		beta = b[c]
	}
	return d["mean"][c], 1 / math.Sqrt(d["variance"][c]+float64(n.Epsilon)), gamma, beta
}

// before returns the values before the activation, and the magnitudes of their terms.
func (n norms) before(d data) (v, mag []float64) {
	v, mag = make([]float64, n.X.Len()), make([]float64, n.X.Len())
	for i, x := range d["x"] {
		mean, rstd, gamma, beta := n.at(d, i%n.X.C)
		v[i] = (x-mean)*rstd*gamma + beta
		mag[i] = math.Abs((x-mean)*rstd*gamma) + math.Abs(beta)
	}
	return v, mag
}

// steepestSlope is more than the largest slope of the functions, that of leaky_relu with a parameter over 1, which is also that of their derivatives.
const steepestSlope = 2

func (n norms) forward(suffix string, f fill) Case {
	s := n.shape()
	return Case{
		Name: n.name("forward", suffix), Ops: []string{"BatchNorm"}, workspace: n.workspace,
		args: append(n.params(), n.x(f), activation("out", n.X, nil).out(backend.Bound{Abs: actBound(n.Act).Abs, Rel: 8 * eps})),
		run:  func(b backend.Backend, t tensors) { b.BatchNorm(s, t["out"], t["x"], batchNormParams(t)) },
		reference: func(d data) values {
			v, mag := n.before(d)
			for i, x := range v {
				v[i], mag[i] = function(n.Act, x), steepestSlope*mag[i]+functionMag(n.Act, x)
			}
			return values{"out": {v: v, mag: mag}}
		},
	}
}

// grads returns the gradients before the activation. An error of the value before it, of some eps of its terms, changes a derivative by no
// more than twice that.
func (n norms) grads(d data) value {
	v, mag := n.before(d)
	if n.Act.Act.FromOutput() {
		for i, x := range v {
			v[i] = function(n.Act, x)
		}
	}
	g := refSlope(n.Act, d["gradOut"], d["gradOut"], v)
	if n.Act.Act != backend.Linear {
		for i := range g.mag {
			g.mag[i] += steepestSlope * math.Abs(d["gradOut"][i]) * mag[i]
		}
	}
	return g
}

func (n norms) sums(suffix string, f fill) Case {
	s := n.shape()
	size := s.Sums()
	return Case{
		Name: n.name("sums", suffix), Ops: []string{"BatchNormSums"}, workspace: n.workspace,
		args: append(n.params(), n.x(f), activation("gradOut", n.X, normal(1)), n.rowsArg(size, nil).out(sumBound(s.Stretch(n.rows)+16))),
		run: func(b backend.Backend, t tensors) {
			b.BatchNormSums(s, t["rows"], t["gradOut"], t["x"], batchNormParams(t))
		},
		reference: func(d data) values {
			g := n.grads(d)
			r := value{v: make([]float64, n.rows*size), mag: make([]float64, n.rows*size)}
			for k := range n.rows {
				row, mag := r.v[k*size:][:size], r.mag[k*size:][:size]
				n.stretch(k, func(i, c int) {
					mean, rstd, _, _ := n.at(d, c)
					h := (d["x"][i] - mean) * rstd
					row[c] += g.v[i]
					mag[c] += g.mag[i]
					row[n.X.C+c] += g.v[i] * h
					mag[n.X.C+c] += g.mag[i] * math.Abs(h)
				})
			}
			return values{"rows": r}
		},
	}
}

func (n norms) totals() Case {
	s := n.shape()
	channels, size := n.X.C, s.Sums()
	args := []arg{n.rowsArg(size, normal(1)), flat("totals", size, nil).out(sumBound(n.rows))}
	if !n.noGamma {
		args = append(args, param("gradGamma", backend.Vec(channels), normal(1)).inout(sumBound(n.rows+1)))
	}
	if !n.noBeta {
		args = append(args, param("gradBeta", backend.Vec(channels), normal(1)).inout(sumBound(n.rows+1)))
	}
	return Case{
		Name: n.name("totals", ""), Ops: []string{"BatchNormTotals"}, args: args,
		run: func(b backend.Backend, t tensors) {
			b.BatchNormTotals(t["totals"], t["gradGamma"], t["gradBeta"], t["rows"])
		},
		reference: func(d data) values {
			totals := value{v: make([]float64, size), mag: make([]float64, size)}
			r := values{"totals": totals}
			for name, first := range map[string]int{"gradBeta": 0, "gradGamma": channels} {
				if d[name] == nil {
					continue
				}
				g := addTo(d[name])
				for i, x := range d["rows"] {
					if c := i%size - first; c >= 0 && c < channels {
						g.add(c, x)
					}
				}
				r[name] = g
			}
			for i, x := range d["rows"] {
				totals.add(i%size, x)
			}
			return r
		},
	}
}

func (n norms) back(suffix string, f fill) Case {
	s := n.shape()
	pixels := 3 * s.Pixels() // of the batch
	return Case{
		Name: n.name("back", suffix), Ops: []string{"BatchNormBack"}, workspace: n.workspace,
		args: append(n.params(), n.x(f), activation("gradOut", n.X, normal(1)), flat("totals", s.Sums(), normal(float64(s.Pixels()))),
			activation("gradX", n.X, nil).out(backend.Bound{Rel: 16 * eps})),
		run: func(b backend.Backend, t tensors) {
			b.BatchNormBack(s, pixels, t["gradX"], t["gradOut"], t["x"], t["totals"], batchNormParams(t))
		},
		reference: func(d data) values { return values{"gradX": n.backOf(pixels, d)} },
	}
}

// backOf is the gradient of a batch of so many pixels.
func (n norms) backOf(pixels int, d data) value {
	g := n.grads(d)
	r := value{v: make([]float64, n.X.Len()), mag: make([]float64, n.X.Len())}
	for i, x := range d["x"] {
		c := i % n.X.C
		mean, rstd, gamma, _ := n.at(d, c)
		h, t, u := (x-mean)*rstd, d["totals"][c]/float64(pixels), d["totals"][n.X.C+c]/float64(pixels)
		r.v[i] = gamma * rstd * (g.v[i] - (t + h*u))
		r.mag[i] = math.Abs(gamma*rstd) * (g.mag[i] + math.Abs(t) + math.Abs(h*u))
	}
	return r
}

// training is all that a normalisation does of a batch that is one micro-batch: from mean0 and variance0 the averages move on.
func (n norms) training(momentum float32) Case {
	s := n.shape()
	o := backend.Moving{Momentum: momentum, Unbiased: n.unbiased}
	vector, bound := backend.Vec(n.X.C), sumBound(s.Pixels()+16)
	sums := n.rowsArg(s.Sums(), nil).scratch()
	sums.name = "sums"
	return Case{
		Ops: []string{"BatchNormStatistics", "BatchNormMoments", "BatchNorm", "BatchNormSums", "BatchNormTotals", "BatchNormBack"}, workspace: n.workspace,
		args: []arg{n.x(nil), activation("gradOut", n.X, nil), param("gamma", vector, nil), param("beta", vector, nil),
			param("mean0", vector, nil), param("variance0", vector, nil), n.rowsArg(s.Moments(), nil).scratch(), sums,
			flat("moments", 2*n.X.C, nil).scratch(), flat("totals", 2*n.X.C, nil).scratch(),
			param("movingMean", vector, nil).out(bound), param("movingVariance", vector, nil).out(bound), activation("out", n.X, nil).out(bound),
			activation("gradX", n.X, nil).out(bound), param("gradGamma", vector, nil).inout(bound), param("gradBeta", vector, nil).inout(bound)},
		run: func(b backend.Backend, t tensors) {
			b.Copy(t["movingMean"], t["mean0"])
			b.Copy(t["movingVariance"], t["variance0"])
			b.BatchNormStatistics(s, t["rows"], t["x"])
			b.BatchNormMoments(o, t["moments"], t["movingMean"], t["movingVariance"], t["rows"])
			p := backend.BatchNormParams{Mean: t["moments"].Range(0, n.X.C), Variance: t["moments"].Range(n.X.C, 2*n.X.C), Gamma: t["gamma"], Beta: t["beta"]}
			b.BatchNorm(s, t["out"], t["x"], p)
			b.BatchNormSums(s, t["sums"], t["gradOut"], t["x"], p)
			b.BatchNormTotals(t["totals"], t["gradGamma"], t["gradBeta"], t["sums"])
			b.BatchNormBack(s, s.Pixels(), t["gradX"], t["gradOut"], t["x"], t["totals"], p)
		},
		reference: func(d data) values {
			all := n
			all.rows = 1
			d = maps.Clone(d)
			rows := all.statistics("", nil).reference(d)["rows"].v
			d["mean"], d["variance"] = rows[:n.X.C], make([]float64, n.X.C)
			count := float64(s.Pixels())
			r := values{"movingMean": {v: make([]float64, n.X.C)}, "movingVariance": {v: make([]float64, n.X.C)}}
			for c := range n.X.C {
				d["variance"][c] = rows[n.X.C+c] / count
				unbiased := d["variance"][c]
				if o.Unbiased {
					unbiased *= count / (count - 1)
				}
				keep := float64(momentum)
				r["movingMean"].v[c] = keep*d["mean0"][c] + (1-keep)*d["mean"][c]
				r["movingVariance"].v[c] = keep*d["variance0"][c] + (1-keep)*unbiased
			}
			sums := all.sums("", nil).reference(d)["rows"]
			d["totals"] = sums.v
			r["gradBeta"], r["gradGamma"] = value{v: sums.v[:n.X.C], mag: sums.mag[:n.X.C]}, value{v: sums.v[n.X.C:], mag: sums.mag[n.X.C:]}
			r["out"], r["gradX"] = all.forward("", nil).reference(d)["out"], all.backOf(s.Pixels(), d)
			return r
		},
	}
}
