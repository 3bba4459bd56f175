package backendtest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
)

// layerNames are the files' names of a layer's tensors.
var layerNames = map[string]string{"bias": "b", "gradOut": "grad_out", "gradX": "grad_x", "gradW": "grad_w", "gradBias": "grad_b"}

func (g golden) padding() (backend.Padding, error) {
	switch strings.ToLower(g.Padding) {
	case "same":
		return backend.Same, nil
	case "valid", "":
		return backend.Valid, nil
	}
	return 0, fmt.Errorf("the padding is %q, want same or valid", g.Padding)
}

// kernel is what defines a convolution of either direction.
type kernel struct {
	x, w    shape
	stride  int
	padding backend.Padding
	noBias  bool
}

func (g golden) kernel() (k kernel, err error) {
	if k.x, err = g.shapeOf("x", 4); err != nil {
		return k, err
	}
	if k.w, err = g.shapeOf("w", 4); err != nil {
		return k, err
	}
	if g.Kernel != (pair{}) && g.Kernel != (pair{k.w.H, k.w.W}) {
		return k, fmt.Errorf("the kernel is %v, but the weights are %v", [2]int(g.Kernel), k.w)
	}
	if k.stride, err = g.Stride.square("stride", 1); err != nil {
		return k, err
	}
	if k.padding, err = g.padding(); err != nil {
		return k, err
	}
	b, _, err := g.tensor("b")
	k.noBias = b == nil
	return k, err
}

func (g golden) conv() ([]Case, error) {
	k, err := g.kernel()
	if err != nil {
		return nil, err
	}
	dilation, err := g.Dilation.square("dilation", 1)
	if err != nil {
		return nil, err
	}
	if g.Groups > 1 {
		return g.grouped(k, dilation)
	}
	c := convCase{noBias: k.noBias, ConvSpec: backend.ConvSpec{X: k.x, Filters: k.w.N, KernelH: k.w.H, KernelW: k.w.W,
		Stride: k.stride, Dilation: dilation, Padding: k.padding, Multiply: g.multiply}}
	s, err := backend.NewConv(c.ConvSpec)
	if err == nil && s.Weights() != k.w {
		err = fmt.Errorf("the weights are %v, want %v", k.w, s.Weights())
	}
	if err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

func (g golden) grouped(k kernel, dilation int) ([]Case, error) {
	c := groupedCase{noBias: k.noBias, GroupedSpec: backend.GroupedSpec{X: k.x, Filters: k.w.N, Groups: g.Groups, KernelH: k.w.H, KernelW: k.w.W,
		Stride: k.stride, Dilation: dilation, Padding: k.padding}}
	s, err := backend.NewGrouped(c.GroupedSpec)
	if err == nil && s.Weights() != k.w {
		err = fmt.Errorf("the weights are %v, want %v", k.w, s.Weights())
	}
	if err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

func (g golden) convTranspose() ([]Case, error) {
	k, err := g.kernel()
	if err != nil {
		return nil, err
	}
	c := convTransposeCase{noBias: k.noBias, ConvTransposeSpec: backend.ConvTransposeSpec{X: k.x, Filters: k.w.C,
		KernelH: k.w.H, KernelW: k.w.W, Stride: k.stride, Padding: k.padding, Multiply: g.multiply}}
	s, err := backend.NewConvTranspose(c.ConvTransposeSpec)
	if err == nil && s.Weights() != k.w {
		err = fmt.Errorf("the weights are %v, want %v", k.w, s.Weights())
	}
	if err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

func (g golden) dense() ([]Case, error) {
	x, err := g.shapeOf("x", 2)
	if err != nil {
		return nil, err
	}
	w, err := g.shapeOf("w", 2)
	if err != nil {
		return nil, err
	}
	b, _, err := g.tensor("b")
	if err != nil {
		return nil, err
	}
	if w.C != x.C {
		return nil, fmt.Errorf("the weights have %d inputs, the input %d", w.C, x.C)
	}
	c := denseCase{noBias: b == nil, DenseSpec: backend.DenseSpec{N: x.N, In: x.C, Out: w.N, Multiply: g.multiply}}
	return g.fitAll(layerNames, c.forward(), c.backInput(), c.backWeights())
}

// windows is the geometry of a pool, whose size the file names so.
func (g golden) windows(what string, of pair) (spec backend.PoolSpec, s backend.PoolShape, err error) {
	if spec.X, err = g.shapeOf("x", 4); err != nil {
		return spec, s, err
	}
	if spec.Size, err = of.square(what, 0); err != nil {
		return spec, s, err
	}
	if spec.Stride, err = g.Stride.square("stride", spec.Size); err != nil {
		return spec, s, err
	}
	if spec.Padding, err = g.padding(); err != nil {
		return spec, s, err
	}
	s, err = backend.NewPool(spec)
	return spec, s, err
}

func (g golden) pool() ([]Case, error) {
	spec, s, err := g.windows("pool", g.Pool)
	if err != nil {
		return nil, err
	}
	// The files have no arg-max: the forward pass makes it for the backward pass.
	forward, back := poolForward(spec, "", nil), poolBack(spec)
	both := back
	both.args = slices.Clone(forward.args)
	for _, a := range back.args {
		if a.name != "argmax" {
			both.args = append(both.args, a)
		}
	}
	both.run = func(b backend.Backend, t tensors) {
		forward.run(b, t)
		back.run(b, t)
	}
	both.reference = func(d data) values {
		r := forward.reference(d)
		v, mag := refMaxPoolBack(s, d["gradOut"], r["argmax"].v)
		r["gradX"] = value{v: v, mag: mag}
		return r
	}
	return g.fitAll(layerNames, forward, both)
}

func (g golden) upsample() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	if g.Op == "upsample" {
		g.Scale = g.Size
	}
	factor, err := g.Scale.square("scale", 0)
	if err != nil {
		return nil, err
	}
	if _, err := backend.NewUpsample(x, factor); err != nil {
		return nil, err
	}
	switch g.Mode {
	case "", "nearest":
	case "bilinear":
		return g.fitAll(layerNames, bilinearForward(x, factor), bilinearBack(x, factor))
	default:
		return nil, fmt.Errorf("the mode is %q, want nearest or bilinear", g.Mode)
	}
	return g.fitAll(layerNames, upsampleForward(x, factor), upsampleBack(x, factor))
}

func (g golden) act() ([]Case, error) {
	name := g.Function
	if g.Op != "activation" {
		name = g.Op
	}
	f, ok := backend.ParseFunction(name)
	if !ok {
		return nil, fmt.Errorf("the function is %q, want one of %v", name, backend.ActNames())
	}
	if f.Act.Parametric() {
		if f.Alpha = or(g.Alpha, f.Alpha); !(f.Alpha > 0) || math.IsInf(float64(f.Alpha), 0) {
			return nil, fmt.Errorf("alpha is %v, want more than 0", f.Alpha)
		}
	}
	x, err := g.shapeOf("x", 1, 2, 3, 4)
	if err != nil {
		return nil, err
	}
	back := actBack(f, x, "", nil)
	names := maps.Clone(layerNames)
	if names["of"] = "out"; !f.Act.FromOutput() {
		names["of"] = "x"
	}
	return g.fitAll(names, actForward(f, x, "", nil), back)
}

// depth is in the channel order of PyTorch's PixelShuffle.
func (g golden) depth() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	size, err := g.Size.square("size", 0)
	if err != nil {
		return nil, err
	}
	if _, err := backend.NewDepth(x, size, backend.ChannelFirst); err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, depthForward(x, size, backend.ChannelFirst), depthBack(x, size, backend.ChannelFirst))
}

func (g golden) average() ([]Case, error) {
	spec, _, err := g.windows("size", g.Size)
	if err != nil {
		return nil, err
	}
	return g.fitAll(layerNames, averageForward(spec), averageBack(spec))
}

func (g golden) globalAverage() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	back := spreadPixelsCase(x)
	share := 1 / float32(x.H*x.W)
	back.run = func(b backend.Backend, t tensors) { b.SpreadPixels(share, t["out"], t["x"]) }
	back.reference = func(d data) values {
		r := value{v: make([]float64, x.Len())}
		for i := range r.v {
			r.v[i] = float64(share) * d["x"][i/x.Image()*x.C+i%x.C]
		}
		return values{"out": r}
	}
	forward, err := g.fitAll(map[string]string{"a": "x"}, sumPixelsCase(x, true))
	if err != nil {
		return nil, err
	}
	if v, _, err := g.tensor("grad_out"); v == nil {
		return forward, err
	}
	c, err := g.fit(back, "spreadpixels", map[string]string{"x": "grad_out", "out": "grad_x"})
	return append(forward, c), err
}

// multiplication is a product of two, the second one of a pixel for each image perhaps.
func (g golden) multiplication() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	y, err := g.shapeOf("y", 4)
	if err != nil {
		return nil, err
	}
	if one := (shape{N: x.N, H: 1, W: 1, C: x.C}); y != x && y != one {
		return nil, fmt.Errorf("the second input is %v, want %v or %v", y, x, one)
	}
	cases, err := g.fitAll(pairNames, timesCase(x, y == x))
	if err != nil {
		return nil, err
	}
	if v, _, err := g.tensor("grad_out"); v == nil {
		return cases, err
	}
	gradX, err := g.fit(timesCase(x, y == x), "times-grad-x", map[string]string{"a": "grad_out", "b": "y", "out": "grad_x"})
	if err != nil {
		return nil, err
	}
	back := timesCase(x, true)
	if y != x {
		back = sumPixelsCase(x, false)
	}
	gradY, err := g.fit(back, "grad-y", map[string]string{"a": "grad_out", "b": "x", "out": "grad_y"})
	return append(cases, gradX, gradY), err
}

// add is a sum of two. The gradients of both are copies of that of the sum.
func (g golden) add() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	copies := Case{
		Ops:  []string{"Copy"},
		args: []arg{activation("gradOut", x, nil), activation("gradX", x, nil).out(exact), activation("gradY", x, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.Copy(t["gradX"], t["gradOut"])
			b.Copy(t["gradY"], t["gradOut"])
		},
		reference: func(d data) values { return values{"gradX": {v: d["gradOut"]}, "gradY": {v: d["gradOut"]}} },
	}
	return g.fitAll(pairNames, plusCase(x), copies)
}

// batchNorm is a normalisation in training, whose averages move by Keras's rule and by PyTorch's, and in use.
func (g golden) batchNorm() ([]Case, error) {
	x, err := g.shapeOf("x", 2, 4)
	if err != nil {
		return nil, err
	}
	n := norms{BatchNormSpec: backend.BatchNormSpec{X: x, Epsilon: g.Epsilon}, rows: 3}
	if _, err := backend.NewBatchNorm(n.BatchNormSpec); err != nil {
		return nil, err
	}
	names := map[string]string{"mean0": "running_mean", "variance0": "running_var", "mean": "running_mean", "variance": "running_var", "gradOut": "grad_out",
		"gradX": "grad_x", "gradGamma": "grad_gamma", "gradBeta": "grad_beta", "movingMean": "running_mean_after"}
	var cases []Case
	for _, rule := range []string{"keras", "torch"} {
		n.unbiased = rule == "torch"
		names["movingVariance"] = "running_var_after_" + rule
		c, err := g.fit(n.training(or(g.Keep, 0.99)), "training-"+rule, names)
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	names["out"] = "out_eval"
	c, err := g.fit(n.forward("", nil), "forward", names)
	return append(cases, c), err
}

// pairNames are the files' names of the tensors of an op with two inputs.
var pairNames = map[string]string{"a": "x", "b": "y", "gradOut": "grad_out", "gradX": "grad_x", "gradY": "grad_y"}

// concatenate joins the channels of two, and parts their gradients.
func (g golden) concatenate() ([]Case, error) {
	x, err := g.shapeOf("x", 4)
	if err != nil {
		return nil, err
	}
	y, err := g.shapeOf("y", 4)
	if err != nil {
		return nil, err
	}
	if y.N != x.N || y.H != x.H || y.W != x.W {
		return nil, fmt.Errorf("the inputs are %v and %v, want the same images, rows and columns", x, y)
	}
	both := x
	both.C += y.C
	parts := func(joined []float64, from, count int) (v []float64) {
		for p := range both.N * both.H * both.W {
			v = append(v, joined[p*both.C+from:][:count]...)
		}
		return v
	}
	join := Case{
		Ops:  []string{"CopyChannels"},
		args: []arg{activation("a", x, nil), activation("b", y, nil), activation("out", both, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.CopyChannels(t["out"], 0, t["a"], 0, x.C)
			b.CopyChannels(t["out"], x.C, t["b"], 0, y.C)
		},
		reference: func(d data) values {
			var v []float64
			for p := range both.N * both.H * both.W {
				v = append(append(v, d["a"][p*x.C:][:x.C]...), d["b"][p*y.C:][:y.C]...)
			}
			return values{"out": {v: v}}
		},
	}
	part := Case{
		Ops:  []string{"CopyChannels"},
		args: []arg{activation("gradOut", both, nil), activation("gradX", x, nil).out(exact), activation("gradY", y, nil).out(exact)},
		run: func(b backend.Backend, t tensors) {
			b.CopyChannels(t["gradX"], 0, t["gradOut"], 0, x.C)
			b.CopyChannels(t["gradY"], 0, t["gradOut"], x.C, y.C)
		},
		reference: func(d data) values {
			return values{"gradX": {v: parts(d["gradOut"], 0, x.C)}, "gradY": {v: parts(d["gradOut"], x.C, y.C)}}
		},
	}
	return g.fitAll(pairNames, join, part)
}

func (g golden) loss() ([]Case, error) {
	l, pred, grad := bce, "logits", "grad_in"
	switch g.Op {
	case "mse":
		l, pred = mse, "pred"
	case "l1":
		l, pred, grad = l1, "pred", "grad_pred"
	case "huber":
		l, pred, grad = huber(or(g.Delta, 1)), "pred", "grad_pred"
	case "charbonnier":
		l, pred, grad = charbonnier(g.Epsilon), "pred", "grad_pred"
	}
	x, err := g.shapeOf(pred, 1, 2, 3, 4)
	if err != nil {
		return nil, err
	}
	scale := 1 / float32(x.Len())
	if r := strings.ToLower(g.Reduction); strings.HasPrefix(r, "sum") {
		scale = 1
	} else if r != "" && !strings.HasPrefix(r, "mean") {
		return nil, fmt.Errorf("the reduction is %q, want mean or sum", g.Reduction)
	}
	c := l.on(x, "", nil, nil, true).scaled(l, scale)
	c, err = g.fit(c, "loss", map[string]string{"pred": pred, "grad": grad})
	return []Case{c}, err
}

func or(v *float32, ifNone float32) float32 {
	if v == nil {
		return ifNone
	}
	return *v
}

func (g golden) optimiser() ([]Case, error) {
	kind := g.Optimizer
	if kind == "" {
		kind = strings.TrimRight(strings.TrimRight(g.Name, "0123456789"), "_")
	}
	betas := g.Betas
	if betas == [2]float32{} {
		betas = [2]float32{0.9, 0.999}
	}
	var o optimiser
	lr := float32(1e-3)
	switch kind {
	case "sgd":
		lr, o = 0.1, sgd(kind, backend.SGD{Momentum: or(g.Momentum, 0), Nesterov: g.Nesterov})
	case "sgd_momentum":
		lr, o = 0.1, sgd(kind, backend.SGD{Momentum: or(g.Momentum, 0.9), Nesterov: g.Nesterov})
	case "sgd_nesterov":
		lr, o = 0.1, sgd(kind, backend.SGD{Momentum: or(g.Momentum, 0.9), Nesterov: true})
	case "adam":
		o = adam(kind, backend.Adam{Beta1: betas[0], Beta2: betas[1], Eps: or(g.Eps, 1e-7)})
	case "adamw":
		o = adam(kind, backend.Adam{Beta1: betas[0], Beta2: betas[1], Eps: or(g.Eps, 1e-7), WeightDecay: or(g.WeightDecay, 0.01)})
	case "adadelta":
		lr, o = 1, adadelta(kind, backend.Adadelta{Rho: or(g.Rho, 0.95), Eps: or(g.Eps, 1e-7)})
	default:
		return nil, fmt.Errorf("unknown optimizer %q", kind)
	}
	lr = or(g.LR, lr)

	x, err := g.shapeOf("param0", 1)
	if err != nil {
		return nil, err
	}
	grads, d, err := g.tensor("grads")
	if err != nil {
		return nil, err
	}
	if g.Steps < 1 || len(d) != 2 || d[0] != g.Steps || d[1] != x.C {
		return nil, fmt.Errorf("tensor %s/grads has the shape %v, want %d steps of %d", g.Name, d, g.Steps, x.C)
	}
	final, _, err := g.tensor(fmt.Sprintf("param%d", g.Steps))
	if err != nil {
		return nil, err
	}
	if len(final) != x.C {
		return nil, fmt.Errorf("tensor %s/param%d has %d elements, want %d", g.Name, g.Steps, len(final), x.C)
	}
	param0, _, err := g.tensor("param0")
	if err != nil {
		return nil, err
	}

	c := o.on(x.C, 0, g.Steps, func(int) float32 { return lr }, 1, true)
	c.Name = "golden/" + g.Name
	inputs := map[string][]float32{"param": param0}
	for i := range g.Steps {
		inputs[fmt.Sprintf("grad%d", i+1)] = grads[i*x.C : (i+1)*x.C]
	}
	c = c.with(inputs)
	for i := range c.args {
		if c.args[i].name == "param" {
			c.args[i].bound = goldenBound
		}
	}
	c.golden = map[string][]float32{"param": final}
	return []Case{c}, nil
}
