package backendtest

import (
	"math"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// numbers draws n values; its own stream row for each tensor of a test.
func numbers(f fill, row uint32, n int) []float64 {
	v := make([]float32, n)
	f(draw{rng.Source{Seed: Seed, Stream: rng.StreamTest}, row}, v)
	return floats(v)
}

// checkGradient compares the gradient of f at x with central differences. A forward pass is not differentiable at
// kinks: inputs must keep away from them by more than the step.
func checkGradient(t *testing.T, what string, f func() float64, x, gradient []float64) {
	t.Helper()
	const h = 1e-5
	if len(x) != len(gradient) {
		t.Fatalf("%s: %d values have %d gradients", what, len(x), len(gradient))
	}
	for i := range x {
		old := x[i]
		x[i] = old + h
		up := f()
		x[i] = old - h
		down := f()
		x[i] = old
		want := (up - down) / (2 * h)
		if math.Abs(gradient[i]-want) > 1e-7*(1+math.Abs(want)) {
			t.Errorf("%s[%d]: gradient %g, central difference %g", what, i, gradient[i], want)
			return
		}
	}
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func TestConvGradient(t *testing.T) {
	same, valid := backend.Same, backend.Valid
	for i, c := range []backend.ConvSpec{
		{X: shape{N: 2, H: 4, W: 5, C: 2}, Filters: 3, KernelH: 3, KernelW: 3, Padding: same},
		{X: shape{N: 1, H: 5, W: 4, C: 3}, Filters: 2, KernelH: 4, KernelW: 2, Stride: 2, Padding: same},
		{X: shape{N: 2, H: 5, W: 6, C: 1}, Filters: 2, KernelH: 3, KernelW: 5, Stride: 2, Padding: valid},
		{X: shape{N: 1, H: 3, W: 2, C: 2}, Filters: 2, KernelH: 3, KernelW: 3, Up: 2, Padding: same, Pool: 2},
		{X: shape{N: 2, H: 6, W: 3, C: 2}, Filters: 3, KernelH: 2, KernelW: 3, Padding: same, Pool: 3},
		{X: shape{N: 1, H: 3, W: 3, C: 2}, Filters: 1, KernelH: 4, KernelW: 4, Stride: 2, Up: 3, Padding: valid},
		{X: shape{N: 1, H: 5, W: 4, C: 2}, Filters: 2, KernelH: 3, KernelW: 2, Dilation: 2, Padding: same},
		{X: shape{N: 1, H: 1, W: 1, C: 1}, Filters: 1, KernelH: 7, KernelW: 7, Padding: same},
	} {
		for a := range backend.Tanh + 1 {
			// u -> x = inAct(u) -> conv -> act -> pool. gradOut of the contract is the gradient before the activation.
			c.Act, c.InAct = a, (a+1)%4
			s := must(backend.NewConv(c))
			row := uint32(100 * i)
			u, w, bias := numbers(normal(1), row, s.X.Len()), numbers(normal(0.5), row+1, s.Weights().Len()), numbers(normal(0.5), row+2, s.Filters)
			g := numbers(normal(1), row+3, s.Out.Len())
			input := func() []float64 { x, _ := refAct(s.InAct, u, u); return x }
			forward := func() values {
				v, mag := refConv(s, input(), w, bias)
				v, mag = refAct(s.Act, v, mag)
				return refConvPool(s, v, mag, exact)
			}
			loss := func() float64 { return dot(g, forward()["out"].v) }
			r, x := forward(), input()
			before := refActBack(s.Act, g, g, r["out"].v).v
			v, mag := refConvBackInput(s, before, r["argmax"].v, w)
			gradX := refActBack(s.InAct, v, mag, x)
			grads := refConvBackWeights(s, make([]float64, len(w)), make([]float64, len(bias)), before, r["argmax"].v, x)
			name := convCase{ConvSpec: c}.name()
			checkGradient(t, name+" gradX", loss, u, gradX.v)
			checkGradient(t, name+" gradW", loss, w, grads["gradW"].v)
			checkGradient(t, name+" gradBias", loss, bias, grads["gradBias"].v)
		}
	}
}

func TestConvTransposeGradient(t *testing.T) {
	for i, c := range []backend.ConvTransposeSpec{
		{X: shape{N: 2, H: 3, W: 4, C: 2}, Filters: 3, KernelH: 3, KernelW: 3, Stride: 2, Padding: backend.Same},
		{X: shape{N: 1, H: 3, W: 2, C: 3}, Filters: 2, KernelH: 2, KernelW: 5, Stride: 1, Padding: backend.Same},
		{X: shape{N: 2, H: 2, W: 3, C: 1}, Filters: 2, KernelH: 4, KernelW: 1, Stride: 2, Padding: backend.Valid},
	} {
		for a := range backend.Tanh + 1 {
			c.Act, c.InAct = a, (a+1)%4
			s := must(backend.NewConvTranspose(c))
			row := uint32(2000 + 100*i)
			u, w, bias := numbers(normal(1), row, s.X.Len()), numbers(normal(0.5), row+1, s.Weights().Len()), numbers(normal(0.5), row+2, s.Filters)
			g := numbers(normal(1), row+3, s.Out.Len())
			input := func() []float64 { x, _ := refAct(s.InAct, u, u); return x }
			forward := func() []float64 {
				v, mag := refConvTranspose(s, input(), w, bias)
				v, _ = refAct(s.Act, v, mag)
				return v
			}
			loss := func() float64 { return dot(g, forward()) }
			x := input()
			before := refActBack(s.Act, g, g, forward()).v
			v, mag := refConvTransposeBackInput(s, before, w)
			grads := refConvTransposeBackWeights(s, make([]float64, len(w)), make([]float64, len(bias)), before, x)
			checkGradient(t, "gradX", loss, u, refActBack(s.InAct, v, mag, x).v)
			checkGradient(t, "gradW", loss, w, grads["gradW"].v)
			checkGradient(t, "gradBias", loss, bias, grads["gradBias"].v)
		}
	}
}

// A transposed convolution is the gradient of its dual: the two references, written apart, have to agree.
func TestConvTransposeIsTheGradientOfItsDual(t *testing.T) {
	for i, c := range []backend.ConvTransposeSpec{
		{X: shape{N: 2, H: 3, W: 4, C: 2}, Filters: 3, KernelH: 3, KernelW: 4, Stride: 2, Padding: backend.Same},
		{X: shape{N: 1, H: 5, W: 2, C: 3}, Filters: 2, KernelH: 5, KernelW: 2, Stride: 1, Padding: backend.Same},
		{X: shape{N: 2, H: 2, W: 3, C: 2}, Filters: 4, KernelH: 3, KernelW: 1, Stride: 2, Padding: backend.Valid},
	} {
		s := must(backend.NewConvTranspose(c))
		x, w := numbers(normal(1), uint32(3000+i), s.X.Len()), numbers(normal(1), uint32(3100+i), s.Weights().Len())
		v, _ := refConvTranspose(s, x, w, nil)
		want, _ := refConvBackInput(s.Dual, x, nil, w)
		for i := range want {
			if math.Abs(v[i]-want[i]) > 1e-12 {
				t.Fatalf("%v: element %d is %g, the dual's gradient %g", s.X, i, v[i], want[i])
			}
		}
	}
}

func TestDenseGradient(t *testing.T) {
	for a := range backend.Tanh + 1 {
		s := must(backend.NewDense(backend.DenseSpec{N: 3, In: 5, Out: 4, Act: a, InAct: (a + 1) % 4}))
		u, w, bias := numbers(normal(1), 4000, 15), numbers(normal(0.5), 4001, 20), numbers(normal(0.5), 4002, 4)
		g := numbers(normal(1), 4003, 12)
		input := func() []float64 { x, _ := refAct(s.InAct, u, u); return x }
		forward := func() []float64 {
			v, mag := refDense(s, input(), w, bias)
			v, _ = refAct(s.Act, v, mag)
			return v
		}
		loss := func() float64 { return dot(g, forward()) }
		x := input()
		before := refActBack(s.Act, g, g, forward()).v
		v, mag := refDenseBackInput(s, before, w)
		grads := refDenseBackWeights(s, make([]float64, 20), make([]float64, 4), before, x)
		checkGradient(t, "gradX", loss, u, refActBack(s.InAct, v, mag, x).v)
		checkGradient(t, "gradW", loss, w, grads["gradW"].v)
		checkGradient(t, "gradBias", loss, bias, grads["gradBias"].v)
	}
}

func TestPoolGradient(t *testing.T) {
	for i, c := range []backend.PoolSpec{
		{X: shape{N: 2, H: 5, W: 4, C: 2}, Size: 2, Padding: backend.Same},
		{X: shape{N: 1, H: 7, W: 6, C: 3}, Size: 3, Stride: 2, Padding: backend.Same},
		{X: shape{N: 2, H: 5, W: 7, C: 1}, Size: 3, Stride: 1, Padding: backend.Valid},
		{X: shape{N: 1, H: 6, W: 7, C: 2}, Size: 2, Stride: 3, Padding: backend.Valid},
	} {
		s := must(backend.NewPool(c))
		x, g := numbers(normal(1), uint32(5000+i), s.X.Len()), numbers(normal(1), uint32(5100+i), s.Out.Len())
		loss := func() float64 { v, _ := refMaxPool(s, x); return dot(g, v) }
		_, argmax := refMaxPool(s, x)
		v, _ := refMaxPoolBack(s, g, argmax)
		checkGradient(t, "gradX", loss, x, v)
	}
}

func TestUpsampleGradient(t *testing.T) {
	s := must(backend.NewUpsample(shape{N: 2, H: 2, W: 3, C: 3}, 3))
	x, g := numbers(normal(1), 6000, s.X.Len()), numbers(normal(1), 6001, s.Out.Len())
	v, _ := refUpsampleBack(s, g)
	checkGradient(t, "gradX", func() float64 { return dot(g, refUpsample(s, x)) }, x, v)
}

// The references of linear ops whose gradient stands beside them: it has to be that of a product with the output.
func TestLinearGradients(t *testing.T) {
	x := shape{N: 2, H: 3, W: 4, C: 4}
	pool := backend.PoolSpec{X: x, Size: 3, Stride: 2, Padding: backend.Same}
	for _, c := range []struct {
		what          string
		forward, back Case
	}{
		{"average pool", averageForward(pool), averageBack(pool)},
		{"bilinear", bilinearForward(x, 3), bilinearBack(x, 3)},
		{"depth", depthForward(x, 2, backend.BlockFirst), depthBack(x, 2, backend.BlockFirst)},
		{"depth, channels first", depthForward(x, 2, backend.ChannelFirst), depthBack(x, 2, backend.ChannelFirst)},
	} {
		n := 0
		for _, a := range c.back.args {
			if a.name == "gradOut" {
				n = a.shape.Len()
			}
		}
		v, g := numbers(normal(1), 6500, x.Len()), numbers(normal(1), 6501, n)
		checkGradient(t, c.what, func() float64 { return dot(g, c.forward.reference(data{"x": v})["out"].v) }, v, c.back.reference(data{"gradOut": g})["gradX"].v)
	}
}

func TestGroupedGradient(t *testing.T) {
	for _, spec := range []backend.GroupedSpec{
		{X: shape{N: 2, H: 4, W: 5, C: 3}, Filters: 3, Groups: 3, KernelH: 3, KernelW: 3},
		{X: shape{N: 1, H: 7, W: 6, C: 4}, Filters: 6, Groups: 2, KernelH: 2, KernelW: 3, Stride: 3, Dilation: 2, Padding: backend.Valid},
	} {
		c, s := groupedCase{GroupedSpec: spec}, must(backend.NewGrouped(spec))
		d := data{"x": numbers(normal(1), 6600, s.X.Len()), "w": numbers(normal(1), 6601, s.Weights().Len()), "bias": numbers(normal(1), 6602, s.Out.C),
			"gradOut": numbers(normal(1), 6603, s.Out.Len()), "gradW": make([]float64, s.Weights().Len()), "gradBias": make([]float64, s.Out.C)}
		loss := func() float64 { return dot(d["gradOut"], c.forward().reference(d)["out"].v) }
		grads := c.backWeights().reference(d)
		checkGradient(t, "gradX", loss, d["x"], c.backInput().reference(d)["gradX"].v)
		checkGradient(t, "gradW", loss, d["w"], grads["gradW"].v)
		checkGradient(t, "gradBias", loss, d["bias"], grads["gradBias"].v)
	}
}

func TestActGradient(t *testing.T) {
	for _, f := range functions() {
		x, g := numbers(normal(2), 7000, 50), numbers(normal(1), 7001, 50)
		output := func() []float64 {
			y := make([]float64, len(x))
			for i := range x {
				y[i] = function(f, x[i])
			}
			return y
		}
		of := x
		if f.Act.FromOutput() {
			of = output()
		}
		checkGradient(t, functionName(f), func() float64 { return dot(g, output()) }, x, refSlope(f, g, g, of).v)
	}
}

func TestLossGradient(t *testing.T) {
	for _, l := range []lossFunc{bce, mse} {
		p, target := numbers(normal(2), 8000, 60), numbers(mixed(uniform(0, 1), 0, 1), 8001, 60)
		total := func() float64 {
			v, _ := refLoss(l, 0.25, []float64{0}, p, target)
			return v.v[0]
		}
		_, grad := refLoss(l, 0.25, []float64{0}, p, target)
		checkGradient(t, l.name, total, p, grad.v)
	}
}

// Dropout is linear with the mask of its draw, so applied to a gradient it has to be its own derivative.
func TestDropoutGradient(t *testing.T) {
	s := shape{N: 2, H: 3, W: 1, C: 5}
	c := dropoutCase(0.5, rng.Source{Seed: 5, Stream: rng.StreamLayer}, s, backend.StepParams{Step: 3}, 1, false)
	x, g := numbers(uniform(1, 2), 9000, s.Len()), numbers(uniform(1, 2), 9001, s.Len())
	y := c.reference(data{"x": x})["out"].v
	gx := c.reference(data{"x": g})["out"].v
	kept := 0
	for i := range x {
		if y[i] != 0 {
			kept++
		}
		// With rate 1/2 the kept ones are doubled, exactly.
		if want := g[i] * y[i] / x[i]; math.Abs(gx[i]-want) > 1e-15 {
			t.Errorf("gradient %d is %g, want %g", i, gx[i], want)
		}
	}
	if kept == 0 || kept == len(x) {
		t.Errorf("%d of %d are kept", kept, len(x))
	}
}

// The gradient of the penalty on a Jacobian, with respect to weights and, through h = act(z), to z, which gradH leads to.
func TestContractGradient(t *testing.T) {
	const n, in, out = 3, 4, 5
	for a := range backend.Tanh + 1 {
		z, w := numbers(normal(1), 9000, n*out), numbers(normal(1), 9001, out*in)
		d := func() data {
			h, _ := refAct(a, z, z)
			return data{"h": h, "w": w, "loss": {0}, "gradH": make([]float64, n*out), "gradW": make([]float64, out*in)}
		}
		loss := func() float64 { return refContract(a, 0.5, n, in, out, d())["loss"].v[0] }
		r := refContract(a, 0.5, n, in, out, d())
		checkGradient(t, "gradW", loss, w, r["gradW"].v)
		checkGradient(t, "gradH", loss, z, refActBack(a, r["gradH"].v, r["gradH"].v, d()["h"]).v)
	}
}

func TestGroupNormGradient(t *testing.T) {
	for i, c := range []backend.GroupNormSpec{
		{X: shape{N: 2, H: 2, W: 3, C: 4}, Groups: 2}, {X: shape{N: 1, H: 1, W: 1, C: 3}, Groups: 3}, {X: shape{N: 2, H: 1, W: 2, C: 5}, Groups: 1, EachPixel: true},
	} {
		for _, f := range functions() {
			c.Act, c.Epsilon = f, 1e-3
			s, row := must(backend.NewGroupNorm(c)), uint32(10000+10*i)
			d := data{"x": numbers(normal(1), row, c.X.Len()), "gamma": numbers(normal(1), row+1, c.X.C), "beta": numbers(normal(1), row+2, c.X.C),
				"gradOut": numbers(normal(1), row+3, c.X.Len())}
			loss := func() float64 { return dot(d["gradOut"], refGroupNorm(s, d).out.v) }
			r := refGroupNorm(s, d)
			gradX, gamma, beta := r.back(s, d, d["gradOut"])
			checkGradient(t, "gradX", loss, d["x"], gradX.v)
			checkGradient(t, "gradGamma", loss, d["gamma"], gamma.v)
			checkGradient(t, "gradBeta", loss, d["beta"], beta.v)
		}
	}
}

func TestAttentionGradient(t *testing.T) {
	for i, c := range []backend.AttentionSpec{{X: shape{N: 2, H: 2, W: 2, C: 6}, Heads: 2}, {X: shape{N: 1, H: 1, W: 5, C: 3}, Heads: 1}} {
		s, row := must(backend.NewAttention(c)), uint32(11000+10*i)
		d := data{}
		for j, name := range []string{"q", "k", "v", "gradOut"} {
			d[name] = numbers(normal(1), row+uint32(j), c.X.Len())
		}
		loss := func() float64 { return dot(d["gradOut"], refAttention(s, d, nil).out.v) }
		r := refAttention(s, d, nil)
		q, k, v := r.back(s, d, nil)
		checkGradient(t, "gradQ", loss, d["q"], q.v)
		checkGradient(t, "gradK", loss, d["k"], k.v)
		checkGradient(t, "gradV", loss, d["v"], v.v)
	}
}
