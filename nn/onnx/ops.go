package onnx

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/onnx/onnxpb"
	"github.com/convae/convae/nn/op"
)

// op adds the nodes of an op of the model's forward pass.
func (e *exporter) op(o op.Op) error {
	switch o := o.(type) {
	case *op.Conv:
		s := o.Shape
		e.set(o.Out, e.conv(e.weighted(e.image(o.X), o.W, o.Bias, true), s.In, s.Conv, s.PadTop, s.PadLeft, s.KernelH, s.KernelW, s.Stride, s.Dilation, 1), true)
	case *op.Grouped:
		s := o.Shape
		e.set(o.Out, e.conv(e.weighted(e.image(o.X), o.W, o.Bias, true), s.X, s.Out, s.PadTop, s.PadLeft, s.KernelH, s.KernelW, s.Stride, s.Dilation, s.Groups), true)
	case *op.ConvTranspose:
		e.set(o.Out, e.convTranspose(o), true)
	case *op.Dense:
		e.set(o.Out, e.node("Gemm", e.weighted(e.vector(o.X), o.W, o.Bias, false), integer("transB", 1)), false)
	case *op.Activate:
		x := e.values[o.X]
		e.set(o.Out, e.activation(o.Function, x.name), x.image)
	case *op.Rescale:
		x := e.values[o.X]
		name := e.node("Mul", []string{x.name, e.scalar(o.Scale)})
		e.set(o.Out, e.node("Add", []string{name, e.scalar(o.Offset)}), x.image)
	case *op.MaxPool:
		e.set(o.Out, e.node("MaxPool", []string{e.image(o.X)}, poolAttributes(o.Shape)...), true)
	case *op.AveragePool:
		e.set(o.Out, e.node("AveragePool", []string{e.image(o.X)}, append(poolAttributes(o.Shape), integer("count_include_pad", 0))...), true)
	case *op.SumPixels:
		s := e.g.Shape(o.A)
		if o.B != op.None || o.Scale != 1/float32(s.H*s.W) {
			return fmt.Errorf("sums of pixels are exported as means alone")
		}
		name := e.node("GlobalAveragePool", []string{e.image(o.A)})
		e.set(o.Out, e.node("Reshape", []string{name, e.shape(0, int64(s.C))}), false)
	case *op.DepthToSpace:
		mode := "DCR"
		if o.Shape.Order == backend.ChannelFirst {
			mode = "CRD"
		}
		e.set(o.Out, e.node("DepthToSpace", []string{e.image(o.X)}, integer("blocksize", o.Shape.Size), text("mode", mode)), true)
	case *op.Upsample:
		e.set(o.Out, e.resize(o.X, o.Shape, text("mode", "nearest"), text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor")), true)
	case *op.Bilinear:
		e.set(o.Out, e.resize(o.X, o.Shape, text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")), true)
	case *op.Plus:
		e.binary("Add", o.Out, o.A, o.B)
	case *op.Times:
		e.binary("Mul", o.Out, o.A, o.B)
	case *op.CopyChannels:
		e.join(o)
	case *op.Reshape:
		e.reshape(o)
	case *op.BatchNorm:
		x, n := e.values[o.X], e.g.Shape(o.X).C
		inputs := []string{x.name, e.optional(o.Gamma, n, 1), e.optional(o.Beta, n, 0), e.param(o.Mean), e.param(o.Variance)}
		e.set(o.Out, e.node("BatchNormalization", inputs, number("epsilon", o.Shape.Epsilon)), x.image)
	case *op.GroupNorm:
		e.groupNorm(o)
	case *op.Attention:
		e.attention(o)
	case *op.ClampVariance:
		// Means are as they were, and outside of training nothing else is read.
		e.values[o.Out] = e.values[o.Stats]
	case *op.Sample:
		x := e.values[o.Stats]
		s := e.g.Shape(o.Code)
		e.set(o.Code, e.node("Slice", []string{x.name, e.shape(0), e.shape(int64(s.C)), e.shape(1)}), x.image)
	case *op.Quantize:
		e.quantize(o)
	case *op.Concretize:
		// Outside of training the selection is the likeliest input, which Pick takes.
		e.values[o.Selection] = value{name: e.node("ArgMax", []string{e.param(o.Logits)}, integer("axis", 1), integer("keepdims", 0))}
	case *op.Pick:
		e.set(o.Out, e.node("Gather", []string{e.vector(o.X), e.values[o.Selection].name}, integer("axis", 1)), false)
	default:
		return fmt.Errorf("the operation %s has no form in ONNX here", o.Name())
	}
	return nil
}

// conv adds a convolution of an input that is padded so that it has so many outputs: an odd pixel goes to the bottom and right.
func (e *exporter) conv(inputs []string, x, out backend.Shape, top, left, kernelH, kernelW, stride, dilation, groups int) string {
	bottom := after(x.H, out.H, kernelH, stride, dilation, top)
	right := after(x.W, out.W, kernelW, stride, dilation, left)
	return e.node("Conv", inputs, sizes("kernel_shape", kernelH, kernelW), sizes("strides", stride, stride), sizes("dilations", dilation, dilation),
		sizes("pads", top, left, bottom, right), integer("group", groups))
}

// after returns the padding behind so many rows or columns, of which before is in front.
func after(in, out, kernel, stride, dilation, before int) int {
	return max((out-1)*stride+(kernel-1)*dilation+1-in-before, 0)
}

// convTranspose adds a transposed convolution. ONNX crops what it makes by pads, and adds what no window reaches by output_padding.
func (e *exporter) convTranspose(o *op.ConvTranspose) string {
	s := o.Shape
	crop := func(in, out, kernel, before int) (end, more int) {
		end = (in-1)*s.Stride + kernel - before - out
		return max(end, 0), max(-end, 0)
	}
	bottom, moreH := crop(s.X.H, s.Out.H, s.KernelH, s.Dual.PadTop)
	right, moreW := crop(s.X.W, s.Out.W, s.KernelW, s.Dual.PadLeft)
	return e.node("ConvTranspose", e.weighted(e.image(o.X), o.W, o.Bias, true), sizes("kernel_shape", s.KernelH, s.KernelW), sizes("strides", s.Stride, s.Stride),
		sizes("pads", s.Dual.PadTop, s.Dual.PadLeft, bottom, right), sizes("output_padding", moreH, moreW))
}

func poolAttributes(s backend.PoolShape) []*onnxpb.AttributeProto {
	return []*onnxpb.AttributeProto{sizes("kernel_shape", s.Size, s.Size), sizes("strides", s.Stride, s.Stride), sizes("pads", s.PadTop, s.PadLeft,
		after(s.X.H, s.Out.H, s.Size, s.Stride, 1, s.PadTop), after(s.X.W, s.Out.W, s.Size, s.Stride, 1, s.PadLeft))}
}

func (e *exporter) resize(x op.Value, s backend.UpsampleShape, attributes ...*onnxpb.AttributeProto) string {
	name := e.image(x)
	f := float32(s.Factor)
	return e.node("Resize", []string{name, "", e.constant([]int64{4}, 1, 1, f, f)}, attributes...)
}

// activation adds an activation function.
func (e *exporter) activation(f backend.Function, x string) string {
	one := func(kind string, attributes ...*onnxpb.AttributeProto) string {
		return e.node(kind, []string{x}, attributes...)
	}
	two := func(kind, a, b string) string { return e.node(kind, []string{a, b}) }
	switch f.Act {
	case backend.ReLU:
		return one("Relu")
	case backend.Sigmoid:
		return one("Sigmoid")
	case backend.Tanh:
		return one("Tanh")
	case backend.LeakyReLU:
		return one("LeakyRelu", number("alpha", f.Alpha))
	case backend.ELU:
		return one("Elu", number("alpha", f.Alpha))
	case backend.SiLU:
		return two("Mul", x, one("Sigmoid"))
	case backend.GELU:
		share := e.node("Erf", []string{two("Mul", x, e.scalar(math.Sqrt2/2))})
		return two("Mul", two("Mul", x, two("Add", share, e.scalar(1))), e.scalar(0.5))
	case backend.GELUTanh:
		cube := two("Mul", two("Mul", x, x), two("Mul", x, e.scalar(0.044715)))
		share := e.node("Tanh", []string{two("Mul", two("Add", x, cube), e.scalar(float32(math.Sqrt(2/math.Pi))))})
		return two("Mul", two("Mul", x, two("Add", share, e.scalar(1))), e.scalar(0.5))
	case backend.Softplus:
		return one("Softplus")
	case backend.Softsign:
		return one("Softsign")
	}
	return one("Identity") // linear
}

// binary adds a sum or a product. The second factor may be a vector of the channels of the first.
func (e *exporter) binary(kind string, out, a, b op.Value) {
	x := e.values[a]
	y := e.ranked(e.values[b], x.image)
	e.set(out, e.node(kind, []string{x.name, y.name}), x.image)
}

// join adds a concatenation with its last part.
func (e *exporter) join(o *op.CopyChannels) {
	if o.First {
		e.joins[o.Out] = nil
	}
	parts := append(e.joins[o.Out], e.values[o.X])
	if e.joins[o.Out] = parts; o.To+o.Count < e.g.Shape(o.Out).C {
		return
	}
	var names []string
	for _, v := range parts {
		names = append(names, e.ranked(v, parts[0].image).name)
	}
	e.set(o.Out, e.node("Concat", names, integer("axis", 1)), parts[0].image)
}

// reshape goes through the order of elements that convae has: rows, columns, channels.
func (e *exporter) reshape(o *op.Reshape) {
	x, to := e.values[o.X], e.g.Shape(o.Out)
	name := x.name
	if x.image && x.shape.H*x.shape.W > 1 && x.shape.C > 1 {
		name = e.transpose(name, 0, 2, 3, 1)
	}
	if to.H*to.W == 1 {
		e.set(o.Out, e.node("Reshape", []string{name, e.shape(0, int64(to.C))}), false)
		return
	}
	if to.C == 1 {
		e.set(o.Out, e.node("Reshape", []string{name, e.shape(0, 1, int64(to.H), int64(to.W))}), true)
		return
	}
	name = e.node("Reshape", []string{name, e.shape(0, int64(to.H), int64(to.W), int64(to.C))})
	e.set(o.Out, e.transpose(name, 0, 3, 1, 2), true)
}

// groupNorm normalises groups as the channels of an InstanceNormalization, and each pixel by means over its channels.
func (e *exporter) groupNorm(o *op.GroupNorm) {
	x, s := e.values[o.X], o.Shape
	name := x.name
	if s.EachPixel {
		name = e.standardise(name, s.Epsilon)
	} else {
		flat := e.node("Reshape", []string{name, e.shape(0, int64(s.Groups), -1)})
		flat = e.node("InstanceNormalization", []string{flat, e.repeated(s.Groups, 1), e.repeated(s.Groups, 0)}, number("epsilon", s.Epsilon))
		dims := []int64{-1, int64(s.X.C)}
		if x.image {
			dims = append(dims, int64(s.X.H), int64(s.X.W))
		}
		name = e.node("Reshape", []string{flat, e.shape(dims...)})
	}
	// A vector of channels becomes (channels, 1, 1) beside images.
	channels := func(p op.Value) string {
		if !x.image {
			return e.param(p)
		}
		return e.node("Reshape", []string{e.param(p), e.shape(int64(s.X.C), 1, 1)})
	}
	if o.Gamma != op.None {
		name = e.node("Mul", []string{name, channels(o.Gamma)})
	}
	if o.Beta != op.None {
		name = e.node("Add", []string{name, channels(o.Beta)})
	}
	e.set(o.Out, name, x.image)
}

// standardise subtracts the mean over axis 1 and divides by the root of variance and epsilon.
func (e *exporter) standardise(x string, epsilon float32) string {
	mean := func(of string) string {
		return e.node("ReduceMean", []string{of}, ints("axes", 1), integer("keepdims", 1))
	}
	apart := e.node("Sub", []string{x, mean(x)})
	variance := mean(e.node("Mul", []string{apart, apart}))
	root := e.node("Sqrt", []string{e.node("Add", []string{variance, e.scalar(epsilon)})})
	return e.node("Div", []string{apart, root})
}

// attention spells out softmax(q k / sqrt(d)) v for the pixels of each head. Positions are rows, then columns.
func (e *exporter) attention(o *op.Attention) {
	s := o.Shape
	heads, size := int64(s.Heads), int64(s.Head())
	split := func(v op.Value, order ...int64) string {
		return e.transpose(e.node("Reshape", []string{e.image(v), e.shape(0, heads, size, -1)}), order...)
	}
	scores := e.node("MatMul", []string{split(o.Q, 0, 1, 3, 2), e.node("Reshape", []string{e.image(o.K), e.shape(0, heads, size, -1)})})
	scores = e.node("Mul", []string{scores, e.scalar(float32(1 / math.Sqrt(float64(size))))})
	weights := e.node("Softmax", []string{scores}, integer("axis", 3))
	mixed := e.transpose(e.node("MatMul", []string{weights, split(o.V, 0, 1, 3, 2)}), 0, 1, 3, 2)
	e.set(o.Out, e.node("Reshape", []string{mixed, e.shape(0, int64(s.X.C), int64(s.X.H), int64(s.X.W))}), true)
}

// quantize takes the row of the codebook with the least squared distance, less the pixel's own square, which is the same for all rows.
func (e *exporter) quantize(o *op.Quantize) {
	x, book := e.values[o.X], e.param(o.Codebook)
	s := x.shape
	name := x.name
	if x.image {
		name = e.transpose(name, 0, 2, 3, 1)
		name = e.node("Reshape", []string{name, e.shape(-1, int64(s.C))})
	}
	squares := e.node("ReduceSum", []string{e.node("Mul", []string{book, book}), e.shape(1)}, integer("keepdims", 0))
	distances := e.node("Gemm", []string{name, book, squares}, number("alpha", -2), integer("transB", 1))
	nearest := e.node("ArgMin", []string{distances}, integer("axis", 1), integer("keepdims", 0))
	name = e.node("Gather", []string{book, nearest}, integer("axis", 0))
	if x.image {
		name = e.node("Reshape", []string{name, e.shape(-1, int64(s.H), int64(s.W), int64(s.C))})
		name = e.transpose(name, 0, 3, 1, 2)
	}
	e.set(o.Out, name, x.image)
}
