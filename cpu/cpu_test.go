package cpu

import (
	"math/rand"
	"testing"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/rng"
)

var src = rng.Source{Seed: 1, Stream: rng.StreamTest}

func open(tb testing.TB, plain bool) backend.Backend {
	tb.Helper()
	d, err := Open(Options{Lanes: 1, Plain: plain})
	if err != nil {
		tb.Fatal(err)
	}
	return d.Lanes()[0]
}

// levels runs a test at every SIMD level of this machine.
func levels(t *testing.T, test func(t *testing.T)) {
	for _, l := range simd.Supported() {
		t.Run(l.String(), func(t *testing.T) {
			defer simd.Use(l)()
			test(t)
		})
	}
	t.Run("pairs", func(t *testing.T) { // which plain loops multiply where no instructions do
		defer func(was func() bool) { pairing = was }(pairing)
		pairing = func() bool { return true }
		test(t)
	})
}

// tensor returns a new tensor of random values: whole numbers from -3 to 3, or bytes below 4, or else zeros.
func tensor(tb testing.TB, l backend.Backend, k backend.Role, s backend.Shape, seed int64) backend.Tensor {
	tb.Helper()
	b, err := l.Alloc(l.Bytes(k, k.DType(), s))
	if err != nil {
		tb.Fatal(err)
	}
	t := backend.NewTensor(k, s)
	t.Buffer = b
	r := rand.New(rand.NewSource(seed))
	switch k {
	case backend.Pixels, backend.Argmax:
		v := make([]byte, s.Len())
		for i := range v {
			v[i] = byte(r.Intn(4))
		}
		l.UploadBytes(t, v)
	case backend.Activation, backend.Param, backend.Flat:
		v := make([]float32, s.Len())
		for i := range v {
			// Small whole numbers, so that sums are exact and do not depend on their order.
			v[i] = float32(r.Intn(7) - 3)
		}
		l.Upload(t, v)
	}
	return t
}

func values(tb testing.TB, l backend.Backend, t backend.Tensor) []float32 {
	tb.Helper()
	v := make([]float32, t.Shape.Len())
	if err := l.Download(v, t); err != nil {
		tb.Fatal(err)
	}
	return v
}

// layer is a layer with its tensors and its ops.
type layer struct {
	l                                     backend.Backend
	ws                                    backend.Buffer
	out, x, gradOut, gradX                backend.Tensor
	p, grad                               backend.Params
	pack, forward, backInput, backWeights func()
}

// blur moves the factors off the whole numbers, by so little that rounding to tf32 or bfloat16 brings them back. Not those that are 0: sums of
// factors, and of products of what these are rounded to, are still exact.
func (c *layer) blur(tb testing.TB, seed int64) {
	tb.Helper()
	r := rand.New(rand.NewSource(seed))
	for _, t := range []backend.Tensor{c.x, c.gradOut, c.p.W} {
		v := values(tb, c.l, t)
		for i := range v {
			if v[i] != 0 {
				v[i] += float32(r.Intn(3)-1) / 4096
			}
		}
		c.l.Upload(t, v)
	}
	c.pack()
}

type convCase struct {
	layer
	s      backend.ConvShape
	argmax backend.Tensor
}

func (c *layer) alloc(tb testing.TB, l backend.Backend, n backend.Needs, x, w, out backend.Shape, filters int, seed int64) {
	tb.Helper()
	c.l = l
	c.x, c.out = tensor(tb, l, backend.Activation, x, seed), tensor(tb, l, backend.Activation, out, seed+1)
	c.gradX, c.gradOut = tensor(tb, l, backend.Activation, x, seed+2), tensor(tb, l, backend.Activation, out, seed+3)
	c.p.W, c.p.Bias = tensor(tb, l, backend.Param, w, seed+4), tensor(tb, l, backend.Param, backend.Vec(filters), seed+5)
	c.grad.W, c.grad.Bias = tensor(tb, l, backend.Param, w, seed+6), tensor(tb, l, backend.Param, backend.Vec(filters), seed+7)
	if n.Packed > 0 {
		c.p.Packed = tensor(tb, l, backend.Packed, backend.Vec(n.Packed), 0)
	}
	var err error
	if c.ws, err = l.Alloc(n.Workspace); err != nil {
		tb.Fatal(err)
	}
	l.SetWorkspace(c.ws)
}

func newConvCase(tb testing.TB, l backend.Backend, spec backend.ConvSpec, seed int64) *convCase {
	tb.Helper()
	s, err := backend.NewConv(spec)
	if err != nil {
		tb.Fatal(err)
	}
	c := &convCase{s: s}
	c.alloc(tb, l, l.ConvNeeds(s), s.X, s.Weights(), s.Out, s.Filters, seed)
	c.argmax = tensor(tb, l, backend.Argmax, s.Out, seed+8)
	c.pack = func() { l.ConvPack(s, c.p.Packed, c.p.W) }
	c.forward = func() { l.Conv(s, c.out, c.argmax, c.x, c.p) }
	c.backInput = func() { l.ConvBackInput(s, c.gradX, c.gradOut, c.argmax, c.p, c.x) }
	c.backWeights = func() { l.ConvBackWeights(s, c.grad, c.gradOut, c.argmax, c.x) }
	if c.p.Packed.IsZero() {
		c.pack = func() {}
	}
	c.pack()
	return c
}

func newTransposeCase(tb testing.TB, l backend.Backend, spec backend.ConvTransposeSpec, seed int64) *layer {
	tb.Helper()
	s, err := backend.NewConvTranspose(spec)
	if err != nil {
		tb.Fatal(err)
	}
	c := &layer{}
	c.alloc(tb, l, l.ConvTransposeNeeds(s), s.X, s.Weights(), s.Out, s.Filters, seed)
	c.pack = func() { l.ConvTransposePack(s, c.p.Packed, c.p.W) }
	c.forward = func() { l.ConvTranspose(s, c.out, c.x, c.p) }
	c.backInput = func() { l.ConvTransposeBackInput(s, c.gradX, c.gradOut, c.p, c.x) }
	c.backWeights = func() { l.ConvTransposeBackWeights(s, c.grad, c.gradOut, c.x) }
	if c.p.Packed.IsZero() {
		c.pack = func() {}
	}
	c.pack()
	return c
}

func newDenseCase(tb testing.TB, l backend.Backend, spec backend.DenseSpec, seed int64) *layer {
	tb.Helper()
	s, err := backend.NewDense(spec)
	if err != nil {
		tb.Fatal(err)
	}
	c := &layer{}
	c.alloc(tb, l, l.DenseNeeds(s), s.XShape(), s.Weights(), s.OutShape(), spec.Out, seed)
	c.pack = func() { l.DensePack(s, c.p.Packed, c.p.W) }
	c.forward = func() { l.Dense(s, c.out, c.x, c.p) }
	c.backInput = func() { l.DenseBackInput(s, c.gradX, c.gradOut, c.p, c.x) }
	c.backWeights = func() { l.DenseBackWeights(s, c.grad, c.gradOut, c.x) }
	if c.p.Packed.IsZero() {
		c.pack = func() {}
	}
	c.pack()
	return c
}

// ops returns every op of a lane, by name, on small tensors.
func ops(tb testing.TB, l backend.Backend) map[string]func() {
	tb.Helper()
	shape := backend.Shape{N: 2, H: 6, W: 6, C: 3}
	conv := newConvCase(tb, l, backend.ConvSpec{X: shape, Filters: 5, KernelH: 3, KernelW: 3, Up: 2, Pool: 2, Act: backend.Tanh, InAct: backend.ReLU}, 1)
	transpose := newTransposeCase(tb, l, backend.ConvTransposeSpec{X: shape, Filters: 4, KernelH: 3, KernelW: 3, Stride: 2, Act: backend.Sigmoid, InAct: backend.Tanh}, 2)
	dense := newDenseCase(tb, l, backend.DenseSpec{N: 3, In: 33, Out: 7, InAct: backend.Sigmoid}, 3)
	pool, _ := backend.NewPool(backend.PoolSpec{X: shape, Size: 3, Stride: 2})
	up, _ := backend.NewUpsample(shape, 2)
	grouped, _ := backend.NewGrouped(backend.GroupedSpec{X: shape, Filters: shape.C, Groups: shape.C, KernelH: 3, KernelW: 3})
	filters := backend.Params{W: tensor(tb, l, backend.Param, grouped.Weights(), 8), Bias: tensor(tb, l, backend.Param, backend.Vec(shape.C), 9)}
	depth, _ := backend.NewDepth(backend.Shape{N: 2, H: 3, W: 2, C: 8}, 2, backend.BlockFirst)
	act := func(s backend.Shape) backend.Tensor { return tensor(tb, l, backend.Activation, s, 4) }
	flat := func(n int) backend.Tensor { return tensor(tb, l, backend.Flat, backend.Vec(n), 5) }
	x, y, pooled, upped := act(shape), act(shape), act(pool.Out), act(up.Out)
	spaced, deep, single := act(depth.Out), act(depth.X), act(backend.Shape{N: 2, H: 1, W: 1, C: shape.C})
	places := tensor(tb, l, backend.Argmax, pool.Out, 6)
	p, q, r, g, one := flat(9), flat(9), flat(9), flat(9), flat(1)
	number, book, averages := act(shape.WithN(2)), tensor(tb, l, backend.Param, backend.Shape{N: 4, H: 1, W: 1, C: 3}, 10), tensor(tb, l, backend.Param, backend.Shape{N: 4, H: 1, W: 1, C: 3}, 11)
	number.Shape.C = 1
	l.Zero(number)
	counts, sums := tensor(tb, l, backend.Param, backend.Vec(4), 12), flat(backend.QuantizeRow(book.Shape))
	ssim, _ := backend.NewSSIM(backend.SSIMSpec{X: shape, Window: 5, Sigma: 1, K1: 1, K2: 1})
	indices, slopes := act(ssim.Out), act(ssim.Slopes())
	ssimWS, err := l.Alloc(l.SSIMNeeds(ssim).Workspace)
	if err != nil {
		tb.Fatal(err)
	}
	spectrum := act(backend.Spectrum(shape))
	sum := []backend.Tensor{p, q, r}
	stepParams := tensor(tb, l, backend.PerStep, backend.Vec(1), 0)
	l.SetStepParams(stepParams, backend.StepParams{Step: 1, LearningRate: 0.01, BiasCorrection1: 0.1, BiasCorrection2: 0.001})
	pixels, order := tensor(tb, l, backend.Pixels, shape, 7), tensor(tb, l, backend.Index, backend.Vec(2), 0)
	wide, joined := act(backend.Shape{N: 2, H: 1, W: 1, C: 108}), act(backend.Shape{N: 2, H: 6, W: 6, C: 7})
	in := func(ws backend.Buffer, op func()) func() { return func() { l.SetWorkspace(ws); op() } }
	return map[string]func(){
		"Zero": func() { l.Zero(r) }, "Copy": func() { l.Copy(x, y) }, "Axpy": func() { l.Axpy(p, 2, q) },
		"Sum": func() { l.Sum(p, sum) }, "Reshape": func() { l.Reshape(wide, x) },
		"ConvPack": conv.pack, "Conv": in(conv.ws, conv.forward),
		"ConvBackInput": in(conv.ws, conv.backInput), "ConvBackWeights": in(conv.ws, conv.backWeights),
		"ConvTransposePack": transpose.pack, "ConvTranspose": in(transpose.ws, transpose.forward),
		"ConvTransposeBackInput":   in(transpose.ws, transpose.backInput),
		"ConvTransposeBackWeights": in(transpose.ws, transpose.backWeights),
		"DensePack":                dense.pack, "Dense": in(dense.ws, dense.forward),
		"DenseBackInput": in(dense.ws, dense.backInput), "DenseBackWeights": in(dense.ws, dense.backWeights),
		"MaxPool": func() { l.MaxPool(pool, pooled, places, x) }, "MaxPoolBack": func() { l.MaxPoolBack(pool, x, pooled, places) },
		"Upsample": func() { l.Upsample(up, upped, x) }, "UpsampleBack": func() { l.UpsampleBack(up, x, upped) },
		"Grouped": func() { l.Grouped(grouped, x, y, filters) }, "GroupedBackInput": func() { l.GroupedBackInput(grouped, x, y, filters.W) },
		"GroupedBackWeights": func() { l.GroupedBackWeights(grouped, filters, x, y) },
		"AveragePool":        func() { l.AveragePool(pool, pooled, x) }, "AveragePoolBack": func() { l.AveragePoolBack(pool, x, pooled) },
		"Bilinear": func() { l.Bilinear(up, upped, x) }, "BilinearBack": func() { l.BilinearBack(up, x, upped) },
		"DepthToSpace": func() { l.DepthToSpace(depth, spaced, deep) }, "SpaceToDepth": func() { l.SpaceToDepth(depth, deep, spaced) },
		"Fourier": func() { l.Fourier(spectrum, x) }, "FourierBack": func() { l.FourierBack(x, spectrum) },
		"SpectrumMost": func() { l.SpectrumMost(single, spectrum) }, "Focal": func() { l.Focal(1, one, backend.Tensor{}, backend.Tensor{}, spectrum, single) },
		"UnitNorm": func() { l.UnitNorm(y, x, backend.Tensor{}) }, "UnitNormBack": func() { l.UnitNormBack(y, x, x, backend.Tensor{}) },
		"Times": func() { l.Times(y, x, single) }, "SumPixels": func() { l.SumPixels(1, single, x, y) }, "SpreadPixels": func() { l.SpreadPixels(1, x, single) },
		"Plus": func() { l.Plus(y, y, x) }, "CopyChannels": func() { l.CopyChannels(joined, 3, x, 1, 2) },
		"Activate":     func() { l.Activate(backend.Function{Act: backend.Tanh}, y, x) },
		"ActivateBack": func() { l.ActivateBack(backend.Function{Act: backend.Tanh}, x, x, y) },
		"Rescale":      func() { l.Rescale(2, -1, y, x) },
		"SigmoidBCE":   func() { l.SigmoidBCE(1, one, backend.Tensor{}, x, y, y) }, "MSE": func() { l.MSE(1, one, backend.Tensor{}, x, y, y) },
		"Quantize": func() { l.Quantize(y, number, x, book) }, "QuantizeSums": func() { l.QuantizeSums(src, sums, number, x, stepParams, 0, 9) },
		"QuantizeMove": func() { l.QuantizeMove(backend.Moves{Decay: 0.5, Epsilon: 1, Revive: 1}, book, counts, averages, sums) },
		"SSIM":         in(ssimWS, func() { l.SSIM(ssim, indices, slopes, x, y) }), "SSIMBack": in(ssimWS, func() { l.SSIMBack(ssim, 1, x, slopes, single, y, x) }),
		"SSIMLoss": func() { l.SSIMLoss(backend.ScaleWeights{Scales: 1, Of: [5]float32{1}}, 1, one, single, single) },
		"L1":       func() { l.L1(1, one, backend.Tensor{}, x, y, y) }, "Huber": func() { l.Huber(1, 1, one, backend.Tensor{}, x, y, y) },
		"Charbonnier": func() { l.Charbonnier(1, 1, one, backend.Tensor{}, x, y, y) }, "TotalVariation": func() { l.TotalVariation(1, one, backend.Tensor{}, x, y) },
		"SGD": func() {
			l.SGD(backend.SGD{Momentum: 0.9, Nesterov: true}, backend.Update{Param: p, State: [2]backend.Tensor{q}, Grad: g, StepParams: stepParams, Rate: 1})
		},
		"Adam": func() {
			l.Adam(backend.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-7}, backend.Update{Param: p, State: [2]backend.Tensor{q, r}, Grad: g, StepParams: stepParams, Rate: 1})
		},
		"Lamb": func() {
			l.Lamb(backend.Lamb{Beta1: 0.9, Beta2: 0.999, Eps: 1e-6}, backend.Update{Param: p, State: [2]backend.Tensor{q, r}, Grad: g, StepParams: stepParams, Rate: 1})
		},
		"Adadelta": func() {
			l.Adadelta(backend.Adadelta{Rho: 0.95, Eps: 1e-7}, backend.Update{Param: p, State: [2]backend.Tensor{r, r}, Grad: g, StepParams: stepParams, Rate: 1})
		},
		"Corrupt": func() {
			l.Corrupt(corrupt.Corruption{Kind: corrupt.Downscale, Size: 2}, src, y, x, order, stepParams, 0)
		},
		"Normal": func() { l.Normal(src, x, stepParams, 1) }, "Dropout": func() { l.Dropout(0.5, src, x, y, stepParams, 1) },
		"GatherPixels": func() { l.GatherPixels(0.5, src, x, y, pixels, order, stepParams, 0) },
	}
}

func TestNoOpAllocates(t *testing.T) { levels(t, noOpAllocates) }

func noOpAllocates(t *testing.T) {
	for _, plain := range []bool{false, true} {
		l := open(t, plain)
		all := ops(t, l)
		tiled := newConvCase(t, l, backend.ConvSpec{X: backend.Shape{N: 2, H: 15, W: 16, C: 16}, Filters: 17, KernelH: 3, KernelW: 3, Winograd: true}, 3)
		for name, op := range map[string]func(){"ConvPack": tiled.pack, "Conv": tiled.forward, "ConvBackInput": tiled.backInput, "ConvBackWeights": tiled.backWeights} {
			all[name+" by Winograd"] = func() { l.SetWorkspace(tiled.ws); op() }
		}
		for name, op := range all {
			if n := testing.AllocsPerRun(5, op); n != 0 {
				t.Errorf("%s (plain %v) allocates %v times", name, plain, n)
			}
		}
	}
}
