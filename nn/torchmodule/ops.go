package torchmodule

import (
	"fmt"
	"math"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// op adds the lines, and the module, of an op.
func (w *writer) op(o op.Op) error {
	none := backend.Shape{}
	switch o := o.(type) {
	case *op.Conv:
		s := o.Shape
		w.conv(o.Out, o.X, o.W, o.Bias, s.In, s.Conv, s.PadTop, s.PadLeft, s.KernelH, s.KernelW, s.Stride, s.Dilation, 1)
	case *op.Grouped:
		s := o.Shape
		w.conv(o.Out, o.X, o.W, o.Bias, s.X, s.Out, s.PadTop, s.PadLeft, s.KernelH, s.KernelW, s.Stride, s.Dilation, s.Groups)
	case *op.ConvTranspose:
		w.convTranspose(o)
	case *op.Dense:
		p, path, _ := w.param(o.W)
		of := none
		if s := p.OutImage; s.C != 0 {
			of = s
		}
		x := w.ordered(w.values[o.X], p.InImage)
		m := w.module(path, fmt.Sprintf("nn.Linear(%d, %d, bias=%s)", o.Shape.In, o.Shape.Out, pythonBool(o.Bias != op.None)))
		w.set(o.Out, false, of, "%s(%s)", m, x)
	case *op.Activate:
		x := w.values[o.X]
		w.set(o.Out, x.image, x.of, activation(o.Function), x.name)
	case *op.Rescale:
		x := w.values[o.X]
		w.set(o.Out, x.image, x.of, "%s * %s + %s", x.name, number(o.Scale), number(o.Offset))
	case *op.MaxPool:
		w.set(o.Out, true, none, "F.max_pool2d(%s, %d, %d)", w.padded(w.image(o.X), o.Shape, `, value=float("-inf")`), o.Shape.Size, o.Shape.Stride)
	case *op.AveragePool:
		w.averagePool(o)
	case *op.SumPixels:
		w.set(o.Out, false, none, "%s.sum((2, 3)) * %s", w.image(o.A), number(o.Scale))
	case *op.DepthToSpace:
		w.depthToSpace(o)
	case *op.Upsample:
		w.set(o.Out, true, none, "F.interpolate(%s, scale_factor=%d)", w.image(o.X), o.Shape.Factor)
	case *op.Bilinear:
		w.set(o.Out, true, none, `F.interpolate(%s, scale_factor=%d, mode="bilinear", align_corners=False)`, w.image(o.X), o.Shape.Factor)
	case *op.Plus:
		w.binary(o.Out, o.A, o.B, "+")
	case *op.Times:
		w.binary(o.Out, o.A, o.B, "*")
	case *op.CopyChannels:
		w.join(o)
	case *op.Reshape:
		w.reshape(o)
	case *op.BatchNorm:
		w.batchNorm(o)
	case *op.GroupNorm:
		w.groupNorm(o)
	case *op.Attention:
		w.attention(o)
	case *op.ClampVariance:
		w.values[o.Out] = w.values[o.Stats] // the means are as they were
	case *op.Sample:
		x := w.values[o.Stats]
		name := x.name
		if !x.image {
			name = w.own(x)
		}
		w.set(o.Code, x.image, none, "%s[:, :%d]  # the means", name, w.g.Shape(o.Code).C)
	case *op.Quantize:
		w.quantize(o)
	case *op.Concretize:
		p, path, tensor := w.param(o.Logits)
		m := w.module(path, fmt.Sprintf(`Table(parameters={%q: (%d, %d)})`, tensor, p.Shape.N, p.Shape.C))
		w.values[o.Selection] = value{name: w.line("%s.%s.argmax(1)", m, tensor), of: p.InImage}
	case *op.Pick:
		chosen := w.values[o.Selection]
		w.set(o.Out, false, none, "%s[:, %s]", w.ordered(w.values[o.X], chosen.of), chosen.name)
	default:
		return fmt.Errorf("the operation %s has no form in PyTorch here", o.Name())
	}
	return nil
}

func (w *writer) conv(out, x, weights, bias op.Value, in, to backend.Shape, top, left, kernelH, kernelW, stride, dilation, groups int) {
	_, path, _ := w.param(weights)
	bottom, right := after(in.H, to.H, kernelH, stride, dilation, top), after(in.W, to.W, kernelW, stride, dilation, left)
	name := w.image(x)
	more := ""
	switch {
	case top == bottom && left == right && top+left > 0: // what the module does itself
		more = fmt.Sprintf(", padding=(%d, %d)", top, left)
	case top+bottom+left+right > 0:
		name = fmt.Sprintf("F.pad(%s, %s)", name, pads(left, right, top, bottom))
	}
	if dilation > 1 {
		more += fmt.Sprintf(", dilation=%d", dilation)
	}
	if groups > 1 {
		more += fmt.Sprintf(", groups=%d", groups)
	}
	if p, _, _ := w.param(weights); p.Shape.H*p.Shape.W == 1 && w.linear(weights) {
		// Of attention: weights of two dimensions, for each pixel.
		m := w.module(path, fmt.Sprintf("nn.Linear(%d, %d)", in.C, to.C))
		w.set(out, true, backend.Shape{}, "%s(%s.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)", m, name)
		return
	}
	m := w.module(path, fmt.Sprintf("nn.Conv2d(%d, %d, (%d, %d), stride=%d%s, bias=%s)", in.C, to.C, kernelH, kernelW, stride, more, pythonBool(bias != op.None)))
	w.set(out, true, backend.Shape{}, "%s(%s)", m, name)
}

// convTranspose crops what the module makes, or adds what no window reaches.
func (w *writer) convTranspose(o *op.ConvTranspose) {
	s := o.Shape
	_, path, _ := w.param(o.W)
	m := w.module(path, fmt.Sprintf("nn.ConvTranspose2d(%d, %d, (%d, %d), stride=%d, bias=%s)", s.X.C, s.Filters, s.KernelH, s.KernelW, s.Stride, pythonBool(o.Bias != op.None)))
	x := fmt.Sprintf("%s(%s)", m, w.image(o.X))
	fullH, fullW := (s.X.H-1)*s.Stride+s.KernelH, (s.X.W-1)*s.Stride+s.KernelW
	if fullH < s.Out.H || fullW < s.Out.W {
		// There the output is the bias alone.
		x = fmt.Sprintf("%s(%s, output_size=(%d, %d))", m, w.image(o.X), max(fullH, s.Out.H), max(fullW, s.Out.W))
	}
	top, left := s.Dual.PadTop, s.Dual.PadLeft
	if fullH > s.Out.H || fullW > s.Out.W {
		x += fmt.Sprintf("[:, :, %d:%d, %d:%d]", top, top+s.Out.H, left, left+s.Out.W)
	}
	w.set(o.Out, true, backend.Shape{}, "%s", x)
}

// padded pads the input of a pool, if it has to be.
func (w *writer) padded(x string, s backend.PoolShape, value string) string {
	bottom, right := after(s.X.H, s.Out.H, s.Size, s.Stride, 1, s.PadTop), after(s.X.W, s.Out.W, s.Size, s.Stride, 1, s.PadLeft)
	if p := pads(s.PadLeft, right, s.PadTop, bottom); p != "" {
		return fmt.Sprintf("F.pad(%s, %s%s)", x, p, value)
	}
	return x
}

// averagePool divides by how many pixels of a window are in the image.
func (w *writer) averagePool(o *op.AveragePool) {
	x := w.image(o.X)
	s := o.Shape
	mean := func(x string) string { return fmt.Sprintf("F.avg_pool2d(%s, %d, %d)", x, s.Size, s.Stride) }
	inside := w.padded(x, s, "")
	if inside == x {
		w.set(o.Out, true, backend.Shape{}, "%s", mean(x))
		return
	}
	w.set(o.Out, true, backend.Shape{}, "%s / %s", mean(inside), mean(w.padded(fmt.Sprintf("torch.ones_like(%s)", x), s, "")))
}

func (w *writer) depthToSpace(o *op.DepthToSpace) {
	x, s := w.image(o.X), o.Shape
	if s.Order == backend.BlockFirst { // PixelShuffle has the channels in front of the block's rows and columns
		x = fmt.Sprintf("%s.unflatten(1, (%d, %d)).transpose(1, 2).flatten(1, 2)", x, s.Size*s.Size, s.Out.C)
	}
	w.set(o.Out, true, backend.Shape{}, "F.pixel_shuffle(%s, %d)", x, s.Size)
}

func activation(f backend.Function) string {
	switch f.Act {
	case backend.ReLU:
		return "F.relu(%s)"
	case backend.Sigmoid:
		return "torch.sigmoid(%s)"
	case backend.Tanh:
		return "torch.tanh(%s)"
	case backend.LeakyReLU:
		return "F.leaky_relu(%s, " + number(f.Alpha) + ")"
	case backend.ELU:
		return "F.elu(%s, " + number(f.Alpha) + ")"
	case backend.SiLU:
		return "F.silu(%s)"
	case backend.GELU:
		return "F.gelu(%s)"
	case backend.GELUTanh:
		return `F.gelu(%s, approximate="tanh")`
	case backend.Softplus:
		return "F.softplus(%s)"
	case backend.Softsign:
		return "F.softsign(%s)"
	}
	return "%s"
}

func (w *writer) binary(out, a, b op.Value, sign string) {
	x := w.values[a]
	y := w.ranked(w.values[b], x.image)
	xName, yName := x.name, y.name
	if !x.image {
		xName, yName = w.own(x), w.own(y)
	}
	w.set(out, x.image, backend.Shape{}, "%s %s %s", xName, sign, yName)
}

func (w *writer) join(o *op.CopyChannels) {
	if o.First {
		w.parts[o.Out] = nil
	}
	parts := append(w.parts[o.Out], w.values[o.X])
	if w.parts[o.Out] = parts; o.To+o.Count < w.g.Shape(o.Out).C {
		return
	}
	var names []string
	for _, v := range parts {
		v = w.ranked(v, parts[0].image)
		name := v.name
		if !v.image {
			name = w.own(v)
		}
		names = append(names, name)
	}
	w.set(o.Out, parts[0].image, backend.Shape{}, "torch.cat([%s], 1)", strings.Join(names, ", "))
}

// reshape leaves the channels of what becomes a vector first, as the weights behind it have them in files.
func (w *writer) reshape(o *op.Reshape) {
	x, to := w.values[o.X], w.g.Shape(o.Out)
	if x.image && x.shape.H*x.shape.W > 1 {
		flat := value{x.name + ".flatten(1)", false, backend.Vec(x.shape.Image()), x.shape.WithN(1)}
		if to.H*to.W == 1 {
			w.set(o.Out, false, flat.of, "%s", flat.name)
			return
		}
		x = flat
	}
	x = w.ranked(x, false)
	if to.H*to.W == 1 {
		w.values[o.Out] = value{x.name, false, to, x.of}
		return
	}
	w.set(o.Out, true, backend.Shape{}, "%s.unflatten(1, (%d, %d, %d))", w.ordered(x, to.WithN(1)), to.C, to.H, to.W)
}

func (w *writer) batchNorm(o *op.BatchNorm) {
	x := w.values[o.X]
	p, path, _ := w.param(o.Mean)
	epsilon := number(o.Shape.Epsilon)
	name := x.name
	of := backend.Shape{}
	kind := "nn.BatchNorm2d"
	if !x.image {
		kind, of = "nn.BatchNorm1d", p.OutImage
		name = w.ordered(x, of)
	}
	c := o.Shape.X.C
	if o.Gamma != op.None && o.Beta != op.None {
		w.set(o.Out, x.image, of, "%s(%s)", w.module(path, fmt.Sprintf("%s(%d, eps=%s)", kind, c, epsilon)), name)
		return
	}
	if o.Gamma == op.None && o.Beta == op.None {
		w.set(o.Out, x.image, of, "%s(%s)", w.module(path, fmt.Sprintf("%s(%d, eps=%s, affine=False)", kind, c, epsilon)), name)
		return
	}
	parameter := "weight"
	scales := [2]string{"", "None"}
	if o.Gamma == op.None {
		parameter = "bias"
		scales = [2]string{"None", ""}
	}
	m := w.module(path, fmt.Sprintf(`Table(buffers={"running_mean": %d, "running_var": %d}, parameters={%q: %d})`, c, c, parameter, c))
	for i := range scales {
		if scales[i] == "" {
			scales[i] = m + "." + parameter
		}
	}
	w.set(o.Out, x.image, of, "F.batch_norm(%s, %s.running_mean, %s.running_var, %s, %s, eps=%s)", name, m, m, scales[0], scales[1], epsilon)
}

func (w *writer) groupNorm(o *op.GroupNorm) {
	x, s := w.values[o.X], o.Shape
	var parameters, scales []string
	module := ""
	for _, p := range []op.Value{o.Gamma, o.Beta} {
		if p == op.None {
			scales = append(scales, "None")
			continue
		}
		_, path, tensor := w.param(p)
		parameters = append(parameters, fmt.Sprintf("%q: %d", tensor, s.X.C))
		module = path
		scales = append(scales, tensor)
	}
	if module != "" {
		m := w.module(module, fmt.Sprintf("Table(parameters={%s})", strings.Join(parameters, ", ")))
		for i := range scales {
			if scales[i] != "None" {
				scales[i] = m + "." + scales[i]
			}
		}
	}
	name := x.name
	if !x.image {
		name = w.own(x)
	}
	if !s.EachPixel {
		w.set(o.Out, x.image, backend.Shape{}, "F.group_norm(%s, %d, %s, %s, %s)", name, s.Groups, scales[0], scales[1], number(s.Epsilon))
		return
	}
	text := "F.layer_norm(%s, (%d,), %s, %s, %s)"
	if x.image {
		name += ".permute(0, 2, 3, 1)"
		text += ".permute(0, 3, 1, 2)"
	}
	w.set(o.Out, x.image, backend.Shape{}, text, name, s.X.C, scales[0], scales[1], number(s.Epsilon))
}

// attention is softmax(q k / sqrt(d)) v for the pixels of each head.
func (w *writer) attention(o *op.Attention) {
	s := o.Shape
	part := func(v op.Value) string {
		return w.line("%s.flatten(2).unflatten(1, (%d, %d)).transpose(2, 3)", w.image(v), s.Heads, s.Head())
	}
	q, k, v := part(o.Q), part(o.K), part(o.V)
	shares := w.line("torch.softmax(%s @ %s.transpose(2, 3) * %s, 3)", q, k, number(float32(1/math.Sqrt(float64(s.Head())))))
	w.set(o.Out, true, backend.Shape{}, "(%s @ %s).transpose(2, 3).flatten(1, 2).unflatten(2, (%d, %d))", shares, v, s.X.H, s.X.W)
}

// quantize takes the nearest vector of the codebook. The averages that the codebook follows in training are there for the state dict.
func (w *writer) quantize(o *op.Quantize) {
	p, path, tensor := w.param(o.Codebook)
	m := w.module(path, fmt.Sprintf(`Table(buffers={%q: (%d, %d), "cluster_size": %d, "embed_avg": (%d, %d)})`, tensor, p.Shape.N, p.Shape.C, p.Shape.N, p.Shape.N, p.Shape.C))
	x := w.values[o.X]
	if !x.image {
		w.set(o.Out, false, backend.Shape{}, `%s.%s[torch.cdist(%s, %s.%s, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)]`, m, tensor, w.own(x), m, tensor)
		return
	}
	flat := w.line("%s.permute(0, 2, 3, 1).flatten(0, 2)", x.name)
	nearest := w.line(`torch.cdist(%s, %s.%s, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)`, flat, m, tensor)
	w.set(o.Out, true, backend.Shape{}, "%s.%s[%s].unflatten(0, (-1, %d, %d)).permute(0, 3, 1, 2)", m, tensor, nearest, x.shape.H, x.shape.W)
}

// linear reports whether a convolution's weights have two dimensions in files.
func (w *writer) linear(weights op.Value) bool {
	p, _, _ := w.param(weights)
	return p.Role == graph.DenseWeights
}
