package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// residentCase is the step of a chain of convolutions. What is multiplied are whole numbers, so small that sums are exact up to the last ones: all
// backends round the same factors. In float32 those of one layer may be multiples of a
// number with more bits than a TF32 has.
type residentCase struct {
	name     string
	x        shape
	last     float32 // what the weights of the last layer are multiples of: of enough that the sigmoid of a logit that is not 0 is 0 or 1
	bce      bool
	layers   []backend.ConvSpec // without inputs
	multiply backend.DType
	fine     bool // in float32 there are such multiples: sums stay exact
	largest  bool // some values are the largest float32, which no TF32 is near, where they meet only zeros, or no sum grows too large
}

func residentCases() []Case {
	conv := func(filters, kernel int, act backend.Act) backend.ConvSpec {
		return backend.ConvSpec{Filters: filters, KernelH: kernel, KernelW: kernel, Act: act}
	}
	with := func(c backend.ConvSpec, up, pool int) backend.ConvSpec { c.Up, c.Pool = up, pool; return c }
	inside := func(c backend.ConvSpec) backend.ConvSpec { c.Padding = valid; return c }
	const relu, linear = backend.ReLU, backend.Linear
	list := []residentCase{
		{name: "plain", fine: true, x: shape{N: 3, H: 5, W: 7, C: 1}, last: 1, bce: false, layers: []backend.ConvSpec{conv(8, 3, relu), conv(16, 1, linear), conv(1, 3, linear)}},
		{name: "rounds", x: shape{N: 133, H: 4, W: 3, C: 2}, last: 1, bce: false, layers: []backend.ConvSpec{conv(8, 2, relu), conv(8, 3, relu), conv(2, 1, linear)}},
		{name: "pooled", fine: true, x: shape{N: 2, H: 8, W: 12, C: 1}, last: 1, bce: false, layers: []backend.ConvSpec{with(conv(16, 3, relu), 1, 2), conv(8, 3, relu), with(conv(1, 3, linear), 2, 1)}},
		{name: "upsampled", x: shape{N: 2, H: 6, W: 4, C: 3}, last: 1, bce: false, layers: []backend.ConvSpec{conv(8, 3, relu), with(conv(8, 3, relu), 1, 2), with(conv(8, 3, relu), 2, 1), conv(3, 3, linear)}},
		{name: "columns", fine: true, x: shape{N: 1, H: 6, W: 6, C: 1}, last: 1, bce: false, layers: []backend.ConvSpec{conv(40, 3, relu), conv(72, 1, relu), conv(1, 3, linear)}},
		{name: "inside", fine: true, x: shape{N: 2, H: 8, W: 8, C: 1}, last: 128, bce: true, layers: []backend.ConvSpec{inside(with(conv(8, 3, relu), 1, 2)), inside(with(conv(16, 3, relu), 2, 1)), with(conv(1, 3, linear), 2, 1)}},
	}
	var cases []Case
	for _, multiply := range []backend.DType{backend.TF32, backend.Float32} {
		for _, c := range list {
			c.multiply = multiply
			cases = append(cases, c.step())
		}
	}
	largest := residentCase{name: "largest", x: shape{N: 2, H: 2, W: 2, C: 2}, last: 1.0 / 16, layers: []backend.ConvSpec{conv(8, 3, relu), conv(8, 3, linear), conv(2, 3, linear)}, largest: true}
	return append(cases, largest.step())
}

// shapes are those of the layers.
func (c residentCase) shapes() []backend.ConvShape {
	var list []backend.ConvShape
	x := c.x
	for _, l := range c.layers {
		l.X, l.Multiply = x, c.multiply
		s := must(backend.NewConv(l))
		list, x = append(list, s), s.Out
	}
	return list
}

// step is the case. A backend that does not do the step does its ops one by one.
func (c residentCase) step() Case {
	const scale, drawn, first = 1.0 / 64, 4, 1
	layers := c.shapes()
	out := layers[len(layers)-1].Conv
	s := &backend.ResidentStep{Layers: layers, BCE: c.bce}
	k := Case{Name: fmt.Sprintf("resident/%s%s/%dx%dx%dx%d", c.name, suffix(c.multiply), c.x.N, c.x.H, c.x.W, c.x.C), Ops: []string{"ResidentStep", "SumPartials"}}
	name := func(what string, i int) string { return fmt.Sprint(what, i) }
	count := func(b backend.Backend) int {
		if r, ok := b.(backend.Resident); ok {
			return r.ResidentPartials(s)
		}
		return 0
	}
	partials := func(name string, columns int) {
		k.args = append(k.args, arg{name: name, role: backend.Flat, shape: shape{N: 1, H: 1, W: 1, C: columns}, use: scratch, partials: count})
	}
	target := shape{N: drawn, H: out.H, W: out.W, C: out.C}
	pixels := mixed(given(0), 255)
	if c.largest {
		pixels = given(255, 0, 0, 0) // of two channels the second is nothing
	}
	k.args = []arg{pixelsArg("pixels", target, pixels), {name: "order", role: backend.Index, shape: backend.Vec(first + c.x.N), fill: grid(0, drawn-1, 1)},
		stepParamsArg(backend.StepParams{Step: 1}), flat("loss", 1, given(0.5)).inout(sumBound(out.Len() + 1)), activation("x0", c.x, nil).scratch(),
		activation("grad", out, nil).scratch()}
	partials("lossPartials", 1)
	for i, l := range layers {
		weights, bias := c.fills(i)
		bound := productBound(c.multiply, l.X.N*l.Conv.H*l.Conv.W+1)
		k.args = append(k.args, param(name("w", i), l.Weights(), weights), convPacked(name("packed", i), l), param(name("bias", i), backend.Vec(l.Filters), bias),
			param(name("gradW", i), l.Weights(), grid(-2, 2, 1)).inout(bound), param(name("gradBias", i), backend.Vec(l.Filters), grid(-2, 2, 1)).inout(bound),
			activation(name("x", i+1), l.Out, nil).scratch(), activation(name("gradX", i), l.X, nil).scratch())
		if l.Pool > 1 {
			k.args = append(k.args, argmaxArg(name("argmax", i), l.Out, nil).scratch())
		}
		partials(name("partials", i), l.Weights().Len()+l.Filters)
	}
	k.workspace = func(b backend.Backend) (bytes int) {
		for _, l := range layers {
			bytes = max(bytes, b.ConvNeeds(l).Workspace)
		}
		return max(bytes, b.LossNeeds(out).Workspace)
	}
	weights := func(t tensors, i int) backend.Params {
		return backend.Params{W: t[name("w", i)], Bias: t[name("bias", i)]}
	}
	k.run = func(b backend.Backend, t tensors) {
		if count(b) == 0 {
			c.apart(b, t, scale, first)
			return
		}
		a := &backend.ResidentArgs{Samples: t["pixels"], Order: t["order"], StepParams: t["stepParams"], First: first, Scale: scale, Loss: t["lossPartials"]}
		sums := []backend.Params{{W: t["loss"], Partials: t["lossPartials"]}}
		for i := range layers {
			p := weights(t, i)
			p.Partials = t[name("partials", i)]
			a.Layers = append(a.Layers, p)
			sums = append(sums, backend.Params{W: t[name("gradW", i)], Bias: t[name("gradBias", i)], Partials: p.Partials})
		}
		b.(backend.Resident).ResidentStep(s, a)
		b.SumPartials(sums)
	}
	k.reference = func(d data) values { return c.expected(d, scale, first) }
	return k
}

// fills are those of a layer's weights and biases.
func (c residentCase) fills(i int) (weights, bias fill) {
	step, last := float32(1), i == len(c.layers)-1
	if last {
		step = c.last
	}
	if c.fine && c.multiply == backend.Float32 && (last && c.bce || i == 0 && !c.bce) {
		step *= 1 + 1.0/4096
	}
	few := grid(-1, 1, step)
	if !c.largest {
		return few, few
	}
	const none, large = 3, 5 // channels of the first and of the second layer's output: of zeros, and of the largest numbers
	every := func(f fill, channels, channel int, x float32) fill {
		return func(d draw, v []float32) {
			f(d, v)
			for i := channel; i < len(v); i += channels {
				v[i] = x
			}
		}
	}
	switch i {
	case 0:
		return every(few, c.x.C, 1, math.MaxFloat32), every(few, 8, none, -1000)
	case 1:
		alone := func(d draw, v []float32) {
			few(d, v)
			clear(v[large*9*8 : (large+1)*9*8])
		}
		return every(alone, 8, none, math.MaxFloat32), every(few, 8, large, math.MaxFloat32)
	}
	return every(few, 8, large, 0), few
}

// apart does the ops of the step one by one.
func (c residentCase) apart(b backend.Backend, t tensors, scale float32, first int) {
	layers := c.shapes()
	last := len(layers) - 1
	of := func(what string, i int) backend.Tensor { return t[fmt.Sprint(what, i)] }
	b.GatherPixels(0, rng.Source{}, t["x0"], backend.Tensor{}, t["pixels"], t["order"], t["stepParams"], first)
	weights := func(i int) backend.Params {
		return backend.Params{W: of("w", i), Bias: of("bias", i), Packed: of("packed", i)}
	}
	for i, l := range layers {
		convPack(b, l, weights(i))
		b.Conv(l, of("x", i+1), of("argmax", i), of("x", i), weights(i))
	}
	lossOf := b.MSE
	if c.bce {
		lossOf = b.SigmoidBCE
	}
	lossOf(scale, t["loss"], backend.Tensor{}, t["grad"], of("x", last+1), t["x0"])
	grad := t["grad"]
	for i := last; i >= 0; i-- {
		l := layers[i]
		b.ConvBackWeights(l, backend.Params{W: of("gradW", i), Bias: of("gradBias", i)}, grad, of("argmax", i), of("x", i))
		if i > 0 {
			l.InAct = layers[i-1].Act
			b.ConvBackInput(l, of("gradX", i), grad, of("argmax", i), weights(i), of("x", i))
			grad = of("gradX", i)
		}
	}
}

// expected are the loss and the gradients of the step.
func (c residentCase) expected(d data, scale float64, first int) values {
	layers := c.shapes()
	last, image := len(layers)-1, c.x.Image()
	of := func(what string, i int) []float64 { return d[fmt.Sprint(what, i)] }
	var target []float64
	for _, sample := range d["order"][first:][:c.x.N] {
		for _, p := range d["pixels"][int(sample)*image:][:image] {
			target = append(target, p/255)
		}
	}
	xs, argmax := [][]float64{target}, make([][]float64, len(layers))
	for i, l := range layers {
		v, mag := refConv(l, xs[i], of("w", i), of("bias", i))
		v, mag = refAct(l.Act, v, mag)
		out := refConvPool(l, v, mag, exact)
		xs, argmax[i] = append(xs, out["out"].v), out["argmax"].v
	}
	loss := mse
	if c.bce {
		loss = bce
	}
	total, grad := refLoss(loss, scale, d["loss"], xs[last+1], target)
	r, g := values{"loss": total}, grad.v
	for i, l := range slices.Backward(layers) {
		back := refConvBackWeights(l, of("gradW", i), of("gradBias", i), g, argmax[i], xs[i])
		r[fmt.Sprint("gradW", i)], r[fmt.Sprint("gradBias", i)] = back["gradW"], back["gradBias"]
		if i > 0 {
			v, mag := refConvBackInput(l, g, argmax[i], of("w", i))
			g = refActBack(layers[i-1].Act, v, mag, xs[i]).v
		}
	}
	return r
}
