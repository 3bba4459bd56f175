package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

func ssimCases() []Case {
	var cases []Case
	for i, x := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 2, H: 13, W: 9, C: 3}, {N: 1, H: 11, W: 31, C: 2}, {N: 1, H: 33, W: 27, C: 1}, {N: 3, H: 6, W: 4, C: 5}} {
		spec := backend.SSIMSpec{X: x, Window: 11, Sigma: 1.5, K1: 0.01, K2: 0.03, Structure: i%2 == 1}
		cases = append(cases, ssimForward(spec, "", uniform(0, 1), uniform(0, 1), true), ssimForward(spec, "/index-only", uniform(0, 1), uniform(0, 1), false), ssimBack(spec))
	}
	spec := backend.SSIMSpec{X: shape{N: 2, H: 9, W: 20, C: 2}, Window: 7, Sigma: 2, K1: 0.01, K2: 0.03}
	for _, x := range []shape{{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 1, W: 1, C: 3}, {N: 2, H: 1, W: 1, C: 257}} {
		cases = append(cases, ssimLoss(x, backend.ScaleWeights{Scales: 1, Of: [5]float32{1}}, uniform(-1, 1)),
			ssimLoss(x, backend.ScaleWeights{Scales: 5, Of: [5]float32{0.0448, 0.2856, 0.3001, 0.2363, 0.1333}}, mixed(uniform(0.01, 1), 0, -1)))
	}
	bench := ssimForward(backend.SSIMSpec{X: shape{N: 8, H: 28, W: 28, C: 1}, Window: 11, Sigma: 1.5, K1: 0.01, K2: 0.03}, "", uniform(0, 1), uniform(0, 1), true)
	bench.Bench = true
	return append(cases, ssimForward(spec, "/constant", given(0.5), given(0.5), true), ssimForward(spec, "/black", given(0), given(0), true),
		ssimForward(spec, "/nan", mixed(uniform(0, 1), nan), uniform(0, 1), false), bordered(ssimForward(spec, "", uniform(0, 1), uniform(0, 1), true), "index"),
		bordered(ssimBack(spec), "gradX"), bench)
}

func ssimName(op string, s backend.SSIMSpec) string {
	name := fmt.Sprintf("ssim/%s/%dx%dx%dx%d-window%d", op, s.X.N, s.X.H, s.X.W, s.X.C, s.Window)
	if s.Structure {
		name += "-structure"
	}
	return name
}

// ssimBound is that of sums over a window, whose weights are computed, and of what is made of them.
func ssimBound(s backend.SSIMShape) backend.Bound {
	return backend.Bound{Rel: float64(s.Rows+s.Columns+16) * eps}
}

func ssimForward(spec backend.SSIMSpec, suffix string, x, y fill, slopes bool) Case {
	s := must(backend.NewSSIM(spec))
	c := Case{
		Name: ssimName("forward", spec) + suffix, Ops: []string{"SSIMNeeds", "SSIM"}, workspace: func(b backend.Backend) int { return b.SSIMNeeds(s).Workspace },
		args: []arg{activation("x", s.X, x), activation("y", s.X, y), activation("index", s.Out, nil).out(ssimBound(s))},
		run:  func(b backend.Backend, t tensors) { b.SSIM(s, t["index"], t["slopes"], t["x"], t["y"]) },
		reference: func(d data) values {
			index, slopes := refSSIM(s, d["x"], d["y"])
			return values{"index": index, "slopes": slopes}
		},
	}
	if slopes {
		c.args = append(c.args, activation("slopes", s.Slopes(), nil).out(ssimBound(s)))
	}
	return c
}

// window calls f for each element under the window at a position, with its weight.
func window(s backend.SSIMShape, n, row, column, c int, f func(at int, weight float64)) {
	down, along := make([]float64, s.Rows), make([]float64, s.Columns)
	s.Weights(down)
	s.Weights(along)
	for i, w := range down {
		for j, v := range along {
			f(((n*s.X.H+row+i)*s.X.W+column+j)*s.X.C+c, w*v)
		}
	}
}

// eachPosition calls f for each position of the window in each channel, with its number, and that of the first of its slopes.
func eachPosition(s backend.SSIMShape, f func(n, row, column, c, at, slope int)) {
	for at := range s.Out.Len() {
		c, pixel := at%s.Out.C, at/s.Out.C
		f(pixel/s.Positions(), pixel/s.Out.W%s.Out.H, pixel%s.Out.W, c, at, 3*s.Out.C*pixel+c)
	}
}

// refSSIM is the index and its derivatives. Variances are differences of means of squares, which is where the magnitudes come from.
func refSSIM(s backend.SSIMShape, x, y []float64) (index, slopes value) {
	index = value{v: make([]float64, s.Out.Len()), mag: make([]float64, s.Out.Len())}
	slopes = value{v: make([]float64, 3*s.Out.Len()), mag: make([]float64, 3*s.Out.Len())}
	k1, k2 := float64(s.K1), float64(s.K2)
	c1, c2 := k1*k1, k2*k2
	eachPosition(s, func(n, row, column, c, at, slope int) {
		var mx, my, xx, yy, xy, absXY float64
		window(s, n, row, column, c, func(i int, w float64) {
			mx += w * x[i]
			my += w * y[i]
			xx += w * x[i] * x[i]
			yy += w * y[i] * y[i]
			xy += w * x[i] * y[i]
			absXY += w * math.Abs(x[i]*y[i])
		})
		spread := xx - mx*mx + yy - my*my + c2
		structure := (2*(xy-mx*my) + c2) / spread
		cancelled := (xx + mx*mx + yy + my*my + c2) / spread
		rough := (2*(absXY+math.Abs(mx*my))+c2)/spread + math.Abs(structure)*cancelled
		l, by, smooth := 1.0, 0.0, 0.0
		if !s.Structure {
			sum := mx*mx + my*my + c1
			l = (2*mx*my + c1) / sum
			by, smooth = 2*(my-l*mx)/sum, 2*(math.Abs(my)+math.Abs(l*mx))/sum
		}
		index.v[at], index.mag[at] = l*structure, math.Abs(l)*rough+math.Abs(l*structure)
		set := func(i int, v, mag float64) { slopes.v[slope+i*s.X.C], slopes.mag[slope+i*s.X.C] = v, mag }
		inner := 2 * (structure*mx - my) / spread
		set(0, structure*by+l*inner, math.Abs(structure)*smooth+rough*math.Abs(by)+math.Abs(l)*(2*(rough*math.Abs(mx)+math.Abs(my))/spread+math.Abs(inner)*cancelled))
		set(1, -l*structure/spread, math.Abs(l)*(rough+math.Abs(structure)*cancelled)/spread)
		set(2, 2*l/spread, 2*math.Abs(l)*(1+cancelled)/spread)
	})
	return index, slopes
}

func ssimBack(spec backend.SSIMSpec) Case {
	const scale = 0.375
	s := must(backend.NewSSIM(spec))
	sums := shape{N: s.X.N, H: 1, W: 1, C: s.X.C}
	return Case{
		Name: ssimName("back", spec), Ops: []string{"SSIMBack"}, workspace: func(b backend.Backend) int { return b.SSIMNeeds(s).Workspace },
		args: []arg{activation("x", s.X, uniform(0, 1)), activation("y", s.X, uniform(0, 1)), activation("slopes", s.Slopes(), normal(1)), activation("gradSums", sums, normal(1)),
			activation("gradX", s.X, nil).out(ssimBound(s))},
		run: func(b backend.Backend, t tensors) {
			b.SSIMBack(s, scale, t["gradX"], t["slopes"], t["gradSums"], t["x"], t["y"])
		},
		reference: func(d data) values {
			return values{"gradX": refSSIMBack(s, scale, d["slopes"], d["gradSums"], d["x"], d["y"])}
		},
	}
}

func refSSIMBack(s backend.SSIMShape, scale float64, slopes, gradSums, x, y []float64) value {
	g := value{v: make([]float64, s.X.Len()), mag: make([]float64, s.X.Len())}
	eachPosition(s, func(n, row, column, c, _, slope int) {
		by := scale * gradSums[n*s.X.C+c]
		window(s, n, row, column, c, func(i int, w float64) {
			g.add(i, by*w*slopes[slope])
			g.add(i, by*w*2*x[i]*slopes[slope+s.X.C])
			g.add(i, by*w*y[i]*slopes[slope+2*s.X.C])
		})
	})
	return g
}

func ssimLoss(x shape, o backend.ScaleWeights, means fill) Case {
	const scale = 0.125
	x.C *= o.Scales
	return Case{
		Name: fmt.Sprintf("ssim/loss/%dx%d-of%d", x.N, x.C, o.Scales), Ops: []string{"SSIMLoss"},
		args: []arg{activation("means", x, means), flat("loss", 1, given(0.75)).inout(sumBound(x.N * x.C)), activation("gradMeans", x, nil).out(backend.Bound{Rel: 8 * eps})},
		run:  func(b backend.Backend, t tensors) { b.SSIMLoss(o, scale, t["loss"], t["gradMeans"], t["means"]) },
		reference: func(d data) values {
			loss, grad := refSSIMLoss(o, scale, x.C, d["loss"], d["means"])
			return values{"loss": loss, "gradMeans": grad}
		},
	}
}

// refSSIMLoss has magnitudes by the logarithms, whose sum a power may be computed of.
func refSSIMLoss(o backend.ScaleWeights, scale float64, channels int, loss, means []float64) (total, grad value) {
	total, grad = addTo(loss), value{v: make([]float64, len(means)), mag: make([]float64, len(means))}
	c := channels / o.Scales
	for i := range len(means) / o.Scales {
		at := i/c*channels + i%c
		p, logs := means[at], 0.0
		if o.Scales > 1 {
			p = 1
			for j, w := range o.Of[:o.Scales] {
				v := max(means[at+j*c], 1e-6)
				p *= math.Pow(v, float64(w))
				logs += float64(w) * (1 + math.Abs(math.Log(v)))
			}
		}
		total.add(0, scale)
		total.v[0] -= scale * p
		total.mag[0] += scale * math.Abs(p) * (1 + logs)
		for j, w := range o.Of[:o.Scales] {
			v := means[at+j*c]
			slope := float64(w) * p / v
			if o.Scales == 1 {
				slope = 1
			} else if v < 1e-6 {
				slope = 0
			}
			grad.v[at+j*c], grad.mag[at+j*c] = -scale*slope, scale*math.Abs(slope)*(1+logs)
		}
	}
	return total, grad
}

// similarity is the golden case of a similarity of one or of several scales, by all ops that there are for it.
func (g golden) similarity() ([]Case, error) {
	x, err := g.shapeOf("pred", 4)
	if err != nil {
		return nil, err
	}
	o := backend.ScaleWeights{Scales: 1, Of: [5]float32{1}}
	if g.Op == "ms_ssim" {
		if o.Scales = len(g.Weights); o.Scales < 1 || o.Scales > len(o.Of) || g.Scales != 0 && g.Scales != o.Scales {
			return nil, fmt.Errorf("there are %d weights for %d scales, want 1 to %d of both", len(g.Weights), g.Scales, len(o.Of))
		}
		copy(o.Of[:], g.Weights)
	}
	if g.Padding != "" && g.Padding != "valid" {
		return nil, fmt.Errorf("the padding is %q, want valid", g.Padding)
	}
	spec := backend.SSIMSpec{X: x, Window: 11, Sigma: or(g.Sigma, 1.5), K1: or(g.K1, 0.01), K2: or(g.K2, 0.03)}
	if g.Window != 0 {
		spec.Window = g.Window
	}
	var scales []backend.SSIMShape
	var pools []backend.PoolShape
	for j := range o.Scales {
		spec.Structure = j < o.Scales-1
		s, err := backend.NewSSIM(spec)
		if err != nil {
			return nil, err
		}
		p, err := backend.NewPool(backend.PoolSpec{X: spec.X, Size: 2, Stride: 2, Padding: backend.Valid})
		if err != nil && j < o.Scales-1 {
			return nil, err
		}
		scales, pools = append(scales, s), append(pools, p)
		spec.X = p.Out
	}
	vectors, all := shape{N: x.N, H: 1, W: 1, C: x.C}, shape{N: x.N, H: 1, W: 1, C: x.C * o.Scales}
	scale := 1 / float32(x.N*x.C)
	c := Case{Ops: []string{"SSIM", "SSIMBack", "SSIMLoss"}, workspace: func(b backend.Backend) int { return b.SSIMNeeds(scales[0]).Workspace }}
	c.args = []arg{activation("x0", x, nil), activation("y0", x, nil), flat("loss", 1, given(0)).inout(sumBound(1)), activation("grad0", x, nil).out(ssimBound(scales[0])),
		activation("means", all, nil).scratch(), activation("gradMeans", all, nil).scratch(), activation("vector", vectors, nil).scratch()}
	name := func(of string, j int) string { return fmt.Sprintf("%s%d", of, j) }
	for j, s := range scales {
		c.args = append(c.args, activation(name("index", j), s.Out, nil).scratch(), activation(name("slopes", j), s.Slopes(), nil).scratch())
		if j > 0 {
			c.args = append(c.args, activation(name("x", j), s.X, nil).scratch(), activation(name("y", j), s.X, nil).scratch(), activation(name("grad", j), s.X, nil).scratch(),
				activation(name("from", j), scales[j-1].X, nil).scratch())
		}
	}
	c.run = func(b backend.Backend, t tensors) {
		for j, s := range scales {
			if j > 0 {
				b.AveragePool(pools[j-1], t[name("x", j)], t[name("x", j-1)])
				b.AveragePool(pools[j-1], t[name("y", j)], t[name("y", j-1)])
			}
			b.SSIM(s, t[name("index", j)], t[name("slopes", j)], t[name("x", j)], t[name("y", j)])
			b.SumPixels(1/float32(s.Positions()), t["vector"], t[name("index", j)], backend.Tensor{})
			b.CopyChannels(t["means"], j*x.C, t["vector"], 0, x.C)
		}
		b.SSIMLoss(o, scale, t["loss"], t["gradMeans"], t["means"])
		for j := o.Scales - 1; j >= 0; j-- {
			b.CopyChannels(t["vector"], 0, t["gradMeans"], j*x.C, x.C)
			b.SSIMBack(scales[j], 1/float32(scales[j].Positions()), t[name("grad", j)], t[name("slopes", j)], t["vector"], t[name("x", j)], t[name("y", j)])
			if j < o.Scales-1 {
				b.AveragePoolBack(pools[j], t[name("from", j+1)], t[name("grad", j+1)])
				b.Accumulate(t[name("grad", j)], 1, t[name("from", j+1)])
			}
		}
	}
	c.reference = func(d data) values { return refSimilarity(scales, o, float64(scale), d["loss"], d["x0"], d["y0"]) }
	c, err = g.fit(c, "loss", map[string]string{"x0": "pred", "y0": "target", "grad0": "grad_pred"})
	return []Case{c}, err
}

// refSimilarity is a loss of all scales, with its gradient.
func refSimilarity(scales []backend.SSIMShape, o backend.ScaleWeights, scale float64, loss, x, y []float64) values {
	type level struct{ x, y, slopes []float64 }
	c := scales[0].X.C
	means := make([]float64, scales[0].X.N*c*o.Scales)
	var levels []level
	for j, s := range scales {
		index, slopes := refSSIM(s, x, y)
		levels = append(levels, level{x, y, slopes.v})
		for at, v := range index.v {
			means[at/(s.Positions()*c)*c*o.Scales+j*c+at%c] += v / float64(s.Positions())
		}
		if j < o.Scales-1 {
			x, y = halved(s.X, x), halved(s.X, y)
		}
	}
	total, gradMeans := refSSIMLoss(o, scale, c*o.Scales, loss, means)
	var grad, mag []float64
	for j := o.Scales - 1; j >= 0; j-- {
		s := scales[j]
		sums := make([]float64, s.X.N*c)
		for i := range sums {
			sums[i] = gradMeans.v[i/c*c*o.Scales+j*c+i%c]
		}
		g := refSSIMBack(s, 1/float64(s.Positions()), levels[j].slopes, sums, levels[j].x, levels[j].y)
		if grad != nil {
			spread(s.X, g.v, grad)
			spread(s.X, g.mag, mag)
		}
		grad, mag = g.v, g.mag
	}
	return values{"loss": total, "grad0": {v: grad, mag: mag}}
}

// halved is an image of means of four; the last of an odd number of rows or columns is left out.
func halved(x shape, v []float64) []float64 {
	out := make([]float64, x.N*(x.H/2)*(x.W/2)*x.C)
	spread(x, v, out, true)
	return out
}

// spread adds to each element of images of shape x a quarter of that of the images half as large, or with back the other way.
func spread(x shape, large, small []float64, back ...bool) {
	for i := range large {
		c, column, row, n := i%x.C, i/x.C%x.W/2, i/(x.C*x.W)%x.H/2, i/x.Image()
		if column == x.W/2 || row == x.H/2 {
			continue
		}
		at := ((n*(x.H/2)+row)*(x.W/2)+column)*x.C + c
		if back != nil {
			small[at] += large[i] / 4
		} else {
			large[i] += small[at] / 4
		}
	}
}
