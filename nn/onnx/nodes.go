package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/onnx/onnxpb"
)

var errNoLayer = errors.New("no layer of convae stands for this operator")

// attrs are the attributes of a node.
type attrs map[string]*onnxpb.AttributeProto

func attributes(n *onnxpb.NodeProto) attrs {
	a := attrs{}
	for _, p := range n.Attribute {
		a[p.GetName()] = p
	}
	return a
}

func (a attrs) ints(name string) []int64 { return a[name].GetInts() }

func (a attrs) int(name string, none int64) int64 {
	if p := a[name]; p != nil {
		return p.GetI()
	}
	return none
}

func (a attrs) float(name string, none float32) float32 {
	if p := a[name]; p != nil {
		return p.GetF()
	}
	return none
}

func (a attrs) text(name, none string) string {
	if p := a[name]; p != nil {
		return string(p.GetS())
	}
	return none
}

// all returns the n numbers of an attribute, or as many of none.
func (a attrs) all(name string, n int, none int64) ([]int, error) {
	list := a.ints(name)
	if list == nil {
		list = slices.Repeat([]int64{none}, n)
	}
	if len(list) != n {
		return nil, fmt.Errorf("its attribute %s is %v, want %d numbers", name, list, n)
	}
	out := make([]int, n)
	for i, v := range list {
		if v < 0 || v > 1<<16 {
			return nil, fmt.Errorf("its attribute %s is %v, want numbers from 0 to %d", name, list, 1<<16)
		}
		out[i] = int(v)
	}
	return out, nil
}

// argument returns an input that the graph computes.
func (b *importer) argument(n *onnxpb.NodeProto, i int) (*val, error) {
	if i >= len(n.Input) {
		return nil, fmt.Errorf("it has %d inputs, want at least %d", len(n.Input), i+1)
	}
	v := b.values[n.Input[i]]
	if v == nil {
		return nil, fmt.Errorf("its input %q is a constant or is not made before it", n.Input[i])
	}
	return v, nil
}

// imageOf is argument for an image with its channels first.
func (b *importer) imageOf(n *onnxpb.NodeProto) (*val, error) {
	v, err := b.argument(n, 0)
	if err != nil {
		return nil, err
	}
	if v.rank != 4 || v.last {
		return nil, errors.New("its input is no image of (samples, channels, rows, columns)")
	}
	return v, nil
}

// constant returns an input that is a constant, or nil if there is none.
func (b *importer) constant(n *onnxpb.NodeProto, i int) *tensor {
	if i >= len(n.Input) || n.Input[i] == "" {
		return nil
	}
	return b.constants[n.Input[i]]
}

// weights returns an input of so many dimensions, of numbers.
func (b *importer) weights(n *onnxpb.NodeProto, i, rank int) (*tensor, error) {
	t := b.constant(n, i)
	if t == nil || t.whole || len(t.dims) != rank || t.len() == 0 {
		return nil, fmt.Errorf("its input %d is no constant of %d dimensions", i+1, rank)
	}
	return t, nil
}

// vector returns the elements of a constant of n numbers; nil if there is no such input.
func (b *importer) vector(n *onnxpb.NodeProto, i, size int) ([]float32, error) {
	if i >= len(n.Input) || n.Input[i] == "" {
		return nil, nil
	}
	t := b.constant(n, i)
	if t == nil || t.whole || t.len() != size || len(t.floats) != size {
		return nil, fmt.Errorf("its input %q is no constant of %d numbers", n.Input[i], size)
	}
	return slices.Clone(t.floats), nil
}

// node takes in a node of the graph.
func (b *importer) node(n *onnxpb.NodeProto) error {
	if n.GetDomain() != "" && n.GetDomain() != "ai.onnx" {
		return fmt.Errorf("its domain is %q, want ONNX's own", n.GetDomain())
	}
	if len(n.Output) == 0 {
		return errors.New("it has no output")
	}
	if out := n.Output[0]; b.values[out] != nil || b.constants[out] != nil {
		return fmt.Errorf("its output %q is there already", out)
	}
	if err := b.check(n); err != nil {
		return err
	}
	if done, err := b.fold(n); done || err != nil {
		return err
	}
	switch n.GetOpType() {
	case "Identity", "Dropout":
		if len(n.Input) > 2 && n.Input[2] != "" {
			return fmt.Errorf("its input training_mode is %q, want none: a graph that does not train", n.Input[2])
		}
		v, err := b.argument(n, 0)
		if err == nil {
			b.values[n.Output[0]] = v
		}
		return err
	case "Pad":
		return b.pad(n)
	case "Conv":
		return b.conv(n)
	case "ConvTranspose":
		return b.convTranspose(n)
	case "Gemm", "MatMul":
		return b.dense(n)
	case "BatchNormalization":
		return b.batchNorm(n)
	case "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "LeakyRelu", "Elu":
		return b.activation(n)
	case "MaxPool", "AveragePool":
		return b.pool(n)
	case "GlobalAveragePool":
		v, err := b.imageOf(n)
		if err == nil {
			b.layer(n, &layer.GlobalAveragePooling2D{}, val{shape: backend.Shape{N: 1, H: 1, W: 1, C: v.shape.C}, rank: 4}, nil, v)
		}
		return err
	case "Resize", "Upsample":
		return b.resize(n)
	case "DepthToSpace":
		return b.depthToSpace(n)
	case "Flatten", "Reshape", "Squeeze", "Unsqueeze":
		return b.reshape(n)
	case "Transpose":
		return b.transpose(n)
	case "Add", "Sub", "Mul", "Div":
		return b.arithmetic(n)
	case "Concat":
		return b.concat(n)
	}
	return errNoLayer
}

// fold computes what is of constants and shapes alone, as exporters write shapes.
func (b *importer) fold(n *onnxpb.NodeProto) (done bool, err error) {
	a := attributes(n)
	set := func(dims []int, ints []int64) (bool, error) {
		b.constants[n.Output[0]] = &tensor{dims: dims, ints: ints, whole: true}
		return true, nil
	}
	switch n.GetOpType() {
	case "Constant":
		if ints := a["value_ints"]; ints != nil {
			return set([]int{len(ints.GetInts())}, ints.GetInts())
		}
		if i := a["value_int"]; i != nil {
			return set(nil, []int64{i.GetI()})
		}
		if f := a["value_float"]; f != nil {
			b.constants[n.Output[0]] = &tensor{floats: []float32{f.GetF()}}
			return true, nil
		}
		t, err := readTensor(a["value"].GetT())
		b.constants[n.Output[0]] = t
		return true, err
	case "Shape":
		v, err := b.argument(n, 0)
		if err != nil {
			return true, err
		}
		s := v.shape
		dims := []int64{0, int64(s.C)} // 0 stands for the number of samples: in a Reshape it keeps that
		if v.rank == 4 {
			if dims = append(dims, int64(s.H), int64(s.W)); v.last {
				dims = []int64{0, int64(s.H), int64(s.W), int64(s.C)}
			}
		}
		dims = between(dims, a.int("start", 0), a.int("end", int64(len(dims))))
		return set([]int{len(dims)}, dims)
	}
	// The rest of these work on whole numbers.
	var in []*tensor
	for _, name := range n.Input {
		t := b.constants[name]
		if t == nil || !t.whole || len(t.dims) > 1 {
			return false, nil
		}
		in = append(in, t)
	}
	if len(in) == 0 {
		return false, nil
	}
	switch n.GetOpType() {
	case "Identity", "Cast":
		if to := onnxpb.TensorProto_DataType(a.int("to", int64(onnxpb.TensorProto_INT64))); to != onnxpb.TensorProto_INT64 && to != onnxpb.TensorProto_INT32 {
			return true, fmt.Errorf("its attribute to is %s, want INT64 or INT32 for whole numbers", to)
		}
		b.constants[n.Output[0]] = in[0]
		return true, nil
	case "Unsqueeze":
		if len(in[0].dims) == 0 {
			return set([]int{1}, in[0].ints)
		}
	case "Squeeze":
		if len(in[0].ints) == 1 {
			return set(nil, in[0].ints)
		}
	case "Gather":
		if axis := a.int("axis", 0); axis != 0 {
			return true, fmt.Errorf("its attribute axis is %d, want 0 for a list of numbers", axis)
		}
		if len(in) == 2 {
			var out []int64
			for _, i := range in[1].ints {
				if i < 0 {
					i += int64(len(in[0].ints))
				}
				if i < 0 || i >= int64(len(in[0].ints)) {
					return true, fmt.Errorf("it takes element %d of %d", i, len(in[0].ints))
				}
				out = append(out, in[0].ints[i])
			}
			return set(in[1].dims, out)
		}
	case "Slice":
		if len(in) >= 3 && len(in[1].ints) == 1 && len(in[2].ints) == 1 && (len(in) < 5 || slices.Equal(in[4].ints, []int64{1})) {
			out := between(in[0].ints, in[1].ints[0], in[2].ints[0])
			return set([]int{len(out)}, out)
		}
	case "Concat":
		var out []int64
		for _, t := range in {
			out = append(out, t.ints...)
		}
		if len(out) > maxRank {
			return true, fmt.Errorf("it makes a shape of %d dimensions, want at most %d", len(out), maxRank)
		}
		return set([]int{len(out)}, out)
	}
	return false, nil
}

// between returns the elements from one on, to before another; places below 0 are counted from the end.
func between(list []int64, from, to int64) []int64 {
	size := int64(len(list))
	at := func(i int64) int64 {
		if i < 0 {
			i += size
		}
		return min(max(i, 0), size)
	}
	from, to = at(from), at(to)
	return list[from:max(from, to)]
}

// window is the geometry of a convolution or a pool.
type window struct {
	kernel, strides, dilations, pads []int
	stride, dilation                 int
}

func (b *importer) window(n *onnxpb.NodeProto, kernel []int, x backend.Shape) (w window, err error) {
	a := attributes(n)
	if w.kernel = kernel; kernel == nil || a["kernel_shape"] != nil {
		if w.kernel, err = a.all("kernel_shape", 2, 0); err != nil {
			return w, err
		}
	}
	if kernel != nil && !slices.Equal(w.kernel, kernel) {
		return w, fmt.Errorf("its attribute kernel_shape is %v, and its weights have the rows and columns %v", w.kernel, kernel)
	}
	if w.strides, err = a.all("strides", 2, 1); err != nil {
		return w, err
	}
	if w.dilations, err = a.all("dilations", 2, 1); err != nil {
		return w, err
	}
	if w.pads, err = a.all("pads", 4, 0); err != nil {
		return w, err
	}
	w.stride, w.dilation = w.strides[0], w.dilations[0]
	if w.strides[1] != w.stride || w.dilations[1] != w.dilation || w.stride < 1 || w.dilation < 1 || min(w.kernel[0], w.kernel[1]) < 1 {
		return w, fmt.Errorf("its kernel is %v, its strides are %v and its dilations %v: want the same for rows and columns", w.kernel, w.strides, w.dilations)
	}
	if max(w.kernel[0], w.kernel[1]) > backend.MaxPool || w.stride > backend.MaxPool || w.dilation > backend.MaxDilation {
		return w, fmt.Errorf("its kernel is %v, its strides are %v and its dilations %v: want at most %d", w.kernel, w.strides, w.dilations, backend.MaxPool)
	}
	auto := a.text("auto_pad", "NOTSET")
	if auto != "NOTSET" && auto != "" && !slices.Equal(w.pads, []int{0, 0, 0, 0}) {
		return w, fmt.Errorf("its attribute auto_pad is %s and its attribute pads %v: want one of both", auto, w.pads)
	}
	switch auto {
	case "NOTSET", "":
	case "VALID":
		w.pads = []int{0, 0, 0, 0}
	case "SAME_UPPER":
		for i, in := range []int{x.H, x.W} {
			out := (in + w.stride - 1) / w.stride
			total := max((out-1)*w.stride+(w.kernel[i]-1)*w.dilation+1-in, 0)
			w.pads[i], w.pads[i+2] = total/2, total-total/2
		}
	default:
		return w, fmt.Errorf("its attribute auto_pad is %s, want NOTSET, VALID or SAME_UPPER", auto)
	}
	return w, nil
}

// out is how many positions a window has on so many rows or columns.
func (w *window) out(i, in int) int {
	reach := (w.kernel[i]-1)*w.dilation + 1
	if in+w.pads[i]+w.pads[i+2] < reach {
		return 0
	}
	return (in+w.pads[i]+w.pads[i+2]-reach)/w.stride + 1
}

// same looks for a kernel with which padding same gives the same windows: the one that there is, or a larger one in which it lies from offset on.
// It returns false if there is none.
func (w *window) same(i, in, most int) (kernel, offset int, ok bool) {
	out := (in + w.stride - 1) / w.stride
	if w.out(i, in) != out {
		return 0, 0, false
	}
	for kernel = w.kernel[i]; kernel <= most; kernel++ {
		before := max((out-1)*w.stride+(kernel-1)*w.dilation+1-in, 0) / 2
		if offset = before - w.pads[i]; offset >= 0 && (offset == 0 || w.dilation == 1) && kernel >= w.kernel[i]+offset {
			return kernel, offset, true
		}
		if w.dilation > 1 {
			break
		}
	}
	return 0, 0, false
}

// enlarge puts n kernels of (channels, rows, columns) into larger ones, of (rows, columns, channels).
func enlarge(data []float32, n, channels int, kernel, to, offset [2]int) []float32 {
	out := make([]float32, n*channels*to[0]*to[1])
	for i := range n {
		for c := range channels {
			for y := range kernel[0] {
				for x := range kernel[1] {
					out[((i*to[0]+y+offset[0])*to[1]+x+offset[1])*channels+c] = data[((i*channels+c)*kernel[0]+y)*kernel[1]+x]
				}
			}
		}
	}
	return out
}

func (b *importer) conv(n *onnxpb.NodeProto) error {
	x, err := b.imageOf(n)
	if err != nil {
		return err
	}
	t, err := b.weights(n, 1, 4)
	if err != nil {
		return err
	}
	filters, groups := t.dims[0], attributes(n).int("group", 1)
	if groups < 1 || int64(t.dims[1])*groups != int64(x.shape.C) {
		return fmt.Errorf("its weights are %v in %d groups, and its input has %d channels", t.dims, groups, x.shape.C)
	}
	bias, err := b.vector(n, 2, filters)
	if err != nil {
		return err
	}
	w, err := b.window(n, t.dims[2:], x.shape)
	if err != nil {
		return err
	}
	l := &layer.Conv2D{Filters: filters, Stride: w.stride, Dilation: w.dilation, Groups: int(groups), NoBias: bias == nil}
	kernel, offset := [2]int{t.dims[2], t.dims[3]}, [2]int{}
	to := kernel
	most := backend.MaxKernel
	h, offsetH, okH := w.same(0, x.shape.H, most)
	c, offsetW, okW := w.same(1, x.shape.W, most)
	switch {
	case slices.Equal(w.pads, []int{0, 0, 0, 0}) && !(okH && okW && h == kernel[0] && c == kernel[1]):
		l.Padding = "valid"
	case okH && okW:
		to, offset = [2]int{h, c}, [2]int{offsetH, offsetW}
	default:
		return fmt.Errorf("its padding %v with a kernel of %v and a stride of %d has no equal in convae for an input of %s", w.pads, w.kernel, w.stride, graph.ShapeText(x.shape))
	}
	l.Kernel = layer.Size{H: to[0], W: to[1]}
	out := backend.Shape{N: 1, H: w.out(0, x.shape.H), W: w.out(1, x.shape.W), C: filters}
	data := [][]float32{enlarge(t.floats, filters, t.dims[1], kernel, to, offset)}
	if bias != nil {
		data = append(data, bias)
	}
	b.layer(n, plain(l), val{shape: out, rank: 4}, data, x)
	return nil
}

// plain leaves out of a convolution what is its default.
func plain(l *layer.Conv2D) *layer.Conv2D {
	for _, f := range []*int{&l.Stride, &l.Dilation, &l.Groups} {
		if *f == 1 {
			*f = 0
		}
	}
	return l
}

func (b *importer) convTranspose(n *onnxpb.NodeProto) error {
	x, err := b.imageOf(n)
	if err != nil {
		return err
	}
	t, err := b.weights(n, 1, 4)
	if err != nil {
		return err
	}
	a := attributes(n)
	if a.int("group", 1) != 1 || t.dims[0] != x.shape.C {
		return fmt.Errorf("its weights are %v in %d groups, want one group, and its input's %d channels", t.dims, a.int("group", 1), x.shape.C)
	}
	w, err := b.window(n, t.dims[2:], x.shape)
	if err != nil {
		return err
	}
	more, err := a.all("output_padding", 2, 0)
	if err != nil {
		return err
	}
	if w.dilation != 1 || a["output_shape"] != nil || a.text("auto_pad", "NOTSET") != "NOTSET" {
		return errors.New("it has a dilation, an output_shape or an auto_pad: want pads and output_padding")
	}
	filters := t.dims[1]
	bias, err := b.vector(n, 2, filters)
	if err != nil {
		return err
	}
	kernel, to, offset := [2]int{t.dims[2], t.dims[3]}, [2]int{}, [2]int{}
	in, out := [2]int{x.shape.H, x.shape.W}, [2]int{}
	valid, same := true, true
	for i := range 2 {
		out[i] = (in[i]-1)*w.stride + kernel[i] - w.pads[i] - w.pads[i+2] + more[i]
		valid = valid && w.pads[i] == 0 && out[i] == (in[i]-1)*w.stride+max(kernel[i], w.stride)
		fits := false
		for k := kernel[i]; k <= backend.MaxKernel && out[i] == in[i]*w.stride && !fits; k++ {
			to[i], offset[i] = k, max(k-w.stride, 0)/2-w.pads[i]
			fits = offset[i] >= 0 && k >= kernel[i]+offset[i]
		}
		same = same && fits
	}
	l := &layer.Conv2DTranspose{Filters: filters, Stride: w.stride, NoBias: bias == nil}
	switch {
	case same:
	case valid:
		l.Padding, to, offset = "valid", kernel, [2]int{}
	default:
		return fmt.Errorf("its padding %v and output_padding %v with a kernel of %v and a stride of %d have no equal in convae", w.pads, more, w.kernel, w.stride)
	}
	l.Kernel = layer.Size{H: to[0], W: to[1]}
	data := [][]float32{enlarge(t.floats, x.shape.C, filters, kernel, to, offset)}
	if bias != nil {
		data = append(data, bias)
	}
	b.layer(n, l, val{shape: backend.Shape{N: 1, H: out[0], W: out[1], C: filters}, rank: 4}, data, x)
	return nil
}

func (b *importer) dense(n *onnxpb.NodeProto) error {
	x, err := b.argument(n, 0)
	if err != nil {
		return err
	}
	t, err := b.weights(n, 1, 2)
	if err != nil {
		return err
	}
	a := attributes(n)
	if t := a.int("transB", 0); t != 0 && t != 1 {
		return fmt.Errorf("its attribute transB is %d, want 0 or 1", t)
	}
	turned := a.int("transB", 0) == 1
	in, units := t.dims[0], t.dims[1]
	if turned {
		in, units = units, in
	}
	if x.rank != 2 || x.shape.C != in || a.int("transA", 0) != 0 || a.float("alpha", 1) != 1 || a.float("beta", 1) != 1 {
		return fmt.Errorf("its weights are %v and its input has %s: want a vector of %d numbers, an alpha and a beta of 1, and no transA", t.dims, graph.ShapeText(x.shape), in)
	}
	var bias []float32
	if n.GetOpType() == "Gemm" {
		if bias, err = b.vector(n, 2, units); err != nil {
			return err
		}
	}
	w := make([]float32, len(t.floats))
	for u := range units {
		for i := range in {
			from := i*units + u
			if turned {
				from = u*in + i
			}
			w[u*in+lastOf(i, x.image)] = t.floats[from]
		}
	}
	data := [][]float32{w}
	if bias != nil {
		data = append(data, bias)
	}
	b.layer(n, &layer.Dense{Units: units, NoBias: bias == nil}, val{shape: backend.Vec(units), rank: 2}, data, x)
	made := b.layers[len(b.layers)-1]
	made.pending = bias == nil
	b.values[n.Output[0]].rows = rowsOf(made)
	return nil
}

func rowsOf(m *made) (rows []*[]float32) {
	for i := range m.data {
		rows = append(rows, &m.data[i])
	}
	return rows
}

// lastOf returns where element i of an image with its channels first is with its channels last; the zero shape is no image.
func lastOf(i int, image backend.Shape) int {
	if image.C == 0 {
		return i
	}
	pixels := image.H * image.W
	return i%pixels*image.C + i/pixels
}

// keepsRows returns what could be put in another order of a vector that only this node reads.
func (b *importer) keepsRows(n *onnxpb.NodeProto, x *val) []*[]float32 {
	if b.readers[n.Input[0]] != 1 {
		return nil
	}
	return x.rows
}

func (b *importer) batchNorm(n *onnxpb.NodeProto) error {
	x, err := b.argument(n, 0)
	if err != nil {
		return err
	}
	if x.last {
		return errors.New("want a normalisation of channels that come first")
	}
	a := attributes(n)
	if v := a.int("training_mode", 0); v != 0 {
		return fmt.Errorf("its attribute training_mode is %d, want 0: a normalisation by averages", v)
	}
	if v := a.int("spatial", 1); v != 1 {
		return fmt.Errorf("its attribute spatial is %d, want 1: averages of each channel", v)
	}
	var data [][]float32
	for i := 1; i < 5; i++ {
		v, err := b.vector(n, i, x.shape.C)
		if err != nil {
			return err
		}
		ordered := make([]float32, len(v))
		for k := range v {
			ordered[lastOf(k, x.image)] = v[k]
		}
		data = append(data, ordered)
	}
	out := *x
	out.rows = b.keepsRows(n, x)
	b.layer(n, &layer.BatchNormalization{Epsilon: a.float("epsilon", 1e-5)}, out, data, x)
	if v := b.values[n.Output[0]]; v.rows != nil {
		v.rows = append(slices.Clone(v.rows), rowsOf(b.layers[len(b.layers)-1])...)
	}
	return nil
}

func (b *importer) activation(n *onnxpb.NodeProto) error {
	x, err := b.argument(n, 0)
	if err != nil {
		return err
	}
	var l graph.Layer
	switch kind := n.GetOpType(); kind {
	case "LeakyRelu":
		l = &layer.LeakyReLU{NegativeSlope: attributes(n).float("alpha", 0.01)}
	case "Elu":
		l = &layer.ELU{Alpha: attributes(n).float("alpha", 1)}
	default:
		l = &layer.Activation{Function: map[string]string{"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign"}[kind]}
	}
	out := *x
	out.rows = b.keepsRows(n, x)
	b.layer(n, l, out, nil, x)
	return nil
}

func (b *importer) pool(n *onnxpb.NodeProto) error {
	x, err := b.imageOf(n)
	if err != nil {
		return err
	}
	w, err := b.window(n, nil, x.shape)
	if err != nil {
		return err
	}
	a := attributes(n)
	padded := !slices.Equal(w.pads, []int{0, 0, 0, 0})
	if w.kernel[0] != w.kernel[1] || w.dilation != 1 || a.int("ceil_mode", 0) != 0 || len(n.Output) > 1 || padded && n.GetOpType() == "AveragePool" && a.int("count_include_pad", 0) != 0 {
		return errors.New("want a square window without a dilation, ceil_mode, positions and zeros that count")
	}
	padding := ""
	h, _, okH := w.same(0, x.shape.H, w.kernel[0])
	c, _, okW := w.same(1, x.shape.W, w.kernel[1])
	if !(okH && okW && h == w.kernel[0] && c == w.kernel[1]) {
		if padding = "valid"; padded {
			return fmt.Errorf("its padding %v with a window of %v and a stride of %d has no equal in convae", w.pads, w.kernel, w.stride)
		}
	}
	stride := w.stride
	if stride == w.kernel[0] {
		stride = 0
	}
	out := val{shape: backend.Shape{N: 1, H: w.out(0, x.shape.H), W: w.out(1, x.shape.W), C: x.shape.C}, rank: 4}
	if n.GetOpType() == "MaxPool" {
		b.layer(n, &layer.MaxPool2D{Size: w.kernel[0], Stride: stride, Padding: padding}, out, nil, x)
	} else {
		b.layer(n, &layer.AveragePooling2D{Size: w.kernel[0], Stride: stride, Padding: padding}, out, nil, x)
	}
	return nil
}

func (b *importer) resize(n *onnxpb.NodeProto) error {
	x, err := b.imageOf(n)
	if err != nil {
		return err
	}
	factors, err := b.factors(n, x)
	if err != nil {
		return err
	}
	if len(factors) != 4 || factors[0] != 1 || factors[1] != 1 || factors[2] != factors[3] || !(factors[2] >= 1 && factors[2] <= backend.MaxUp) || factors[2] != float32(int(factors[2])) {
		return fmt.Errorf("its factors are %v, want a constant [1 1 F F] with a whole F up to %d", factors, backend.MaxUp)
	}
	factor := int(factors[2])
	l := &layer.UpSampling2D{Size: factor}
	a := attributes(n)
	for _, name := range []string{"exclude_outside", "antialias"} {
		if v := a.int(name, 0); v != 0 {
			return fmt.Errorf("its attribute %s is %d, want 0", name, v)
		}
	}
	if v := a.text("keep_aspect_ratio_policy", "stretch"); v != "stretch" {
		return fmt.Errorf("its attribute keep_aspect_ratio_policy is %s, want stretch", v)
	}
	if axes := a["axes"]; axes != nil && !slices.Equal(axes.GetInts(), []int64{0, 1, 2, 3}) {
		return fmt.Errorf("its attribute axes is %v, want [0 1 2 3]", axes.GetInts())
	}
	mode, at, rounding := a.text("mode", "nearest"), a.text("coordinate_transformation_mode", "half_pixel"), a.text("nearest_mode", "round_prefer_floor")
	if b.opset < 11 { // which has one way alone
		at, rounding = "asymmetric", "floor"
	}
	switch {
	case mode == "nearest" && (at == "asymmetric" && rounding == "floor" || at == "half_pixel" && (rounding == "round_prefer_floor" || rounding == "round_prefer_ceil")):
	case mode == "linear" && (at == "half_pixel" || at == "pytorch_half_pixel"):
		l.Interpolation = "bilinear"
	default:
		return fmt.Errorf("its mode is %s, its coordinate_transformation_mode %s, its nearest_mode %s: want nearest by asymmetric and floor, or linear by half_pixel", mode, at, rounding)
	}
	b.layer(n, l, val{shape: backend.Shape{N: 1, H: x.shape.H * factor, W: x.shape.W * factor, C: x.shape.C}, rank: 4}, nil, x)
	return nil
}

// factors returns by how much a Resize or an Upsample stretches each dimension: by an attribute up to operator set 8, then by the second
// input, and from 11 on by the third, after the region of interest, or the fourth, which has the sizes that come out.
func (b *importer) factors(n *onnxpb.NodeProto, x *val) ([]float32, error) {
	given := func(i int) bool {
		if i >= len(n.Input) || n.Input[i] == "" {
			return false
		}
		t := b.constants[n.Input[i]]
		return t == nil || t.len() > 0 // an empty one stands for none
	}
	if b.opset < 9 {
		return attributes(n)["scales"].GetFloats(), nil
	}
	at := 1
	if b.opset >= 11 {
		at = 2
		if given(3) && given(2) {
			return nil, errors.New("it has the inputs scales and sizes, want one of them")
		}
		if given(3) {
			t := b.constant(n, 3)
			if t == nil || !t.whole || len(t.ints) != 4 {
				return nil, errors.New("its input sizes (the fourth) is no constant of 4 whole numbers")
			}
			return []float32{1, float32(t.ints[1]) / float32(x.shape.C), float32(t.ints[2]) / float32(x.shape.H), float32(t.ints[3]) / float32(x.shape.W)}, nil
		}
	}
	if !given(at) {
		return nil, fmt.Errorf("it has no input scales (the %s in operator set %d)", map[int]string{1: "second", 2: "third"}[at], b.opset)
	}
	t := b.constant(n, at)
	if t == nil || t.whole || len(t.floats) != 4 {
		return nil, errors.New("its input scales is no constant of 4 numbers")
	}
	return t.floats, nil
}

// pad takes in a padding of nothing, as PyTorch writes it before a mean.
func (b *importer) pad(n *onnxpb.NodeProto) error {
	v, err := b.argument(n, 0)
	if err != nil {
		return err
	}
	pads := attributes(n).ints("pads")
	if t := b.constant(n, 1); t != nil && t.whole {
		pads = t.ints
	}
	if len(pads) == 0 || slices.ContainsFunc(pads, func(i int64) bool { return i != 0 }) {
		return errors.New("no layer of convae pads: want the padding of a convolution or of a pool")
	}
	b.values[n.Output[0]] = v
	return nil
}

func (b *importer) depthToSpace(n *onnxpb.NodeProto) error {
	x, err := b.imageOf(n)
	if err != nil {
		return err
	}
	a := attributes(n)
	size := a.int("blocksize", 0)
	l := &layer.DepthToSpace{Size: int(size)}
	switch mode := a.text("mode", "DCR"); mode {
	case "DCR":
	case "CRD":
		l.Order = "torch"
	default:
		return fmt.Errorf("its mode is %s, want DCR or CRD", mode)
	}
	if size < 1 || size > backend.MaxUp || x.shape.C%int(size*size) != 0 {
		return fmt.Errorf("its blocksize is %d for %d channels", size, x.shape.C)
	}
	k := int(size)
	b.layer(n, l, val{shape: backend.Shape{N: 1, H: x.shape.H * k, W: x.shape.W * k, C: x.shape.C / (k * k)}, rank: 4}, nil, x)
	return nil
}

// target returns the dimensions that a node that changes a shape makes, without that of the samples.
func (b *importer) target(n *onnxpb.NodeProto, x *val) ([]int, error) {
	size := x.shape.Image()
	switch n.GetOpType() {
	case "Flatten":
		if attributes(n).int("axis", 1) != 1 {
			return nil, errors.New("want an axis of 1")
		}
		return []int{size}, nil
	case "Squeeze", "Unsqueeze":
		axes := attributes(n).ints("axes")
		if t := b.constant(n, 1); t != nil {
			axes = t.ints
		}
		pixels := slices.Equal(axes, []int64{2, 3}) || slices.Equal(axes, []int64{-2, -1}) || slices.Equal(axes, []int64{-1, -2})
		if !pixels || x.shape.H*x.shape.W != 1 {
			return nil, fmt.Errorf("its axes are %v, want those of rows and columns, of one pixel", axes)
		}
		if n.GetOpType() == "Squeeze" {
			return []int{size}, nil
		}
		return []int{size, 1, 1}, nil
	}
	t := b.constant(n, 1)
	if t == nil || !t.whole || len(t.ints) != 2 && len(t.ints) != 4 {
		return nil, errors.New("want a constant shape of 2 or 4 dimensions")
	}
	if v := attributes(n).int("allowzero", 0); v != 0 {
		return nil, fmt.Errorf("its attribute allowzero is %d, want 0: a 0 keeps a dimension", v)
	}
	var dims []int
	known, rest := 1, -1
	for i, d := range t.ints[1:] {
		switch {
		case d == -1 && rest < 0:
			rest = i
		case d == 0 && i == 0 && x.rank == 2: // as it was
			d = int64(x.shape.C)
			known *= int(d)
		case d < 1 || d > int64(size):
			return nil, fmt.Errorf("its shape is %v, for a sample of %d numbers", t.ints, size)
		default:
			known *= int(d)
		}
		dims = append(dims, int(d))
		if known > size {
			return nil, fmt.Errorf("its shape is %v, for a sample of %d numbers", t.ints, size)
		}
	}
	if rest >= 0 {
		dims[rest] = size / known
		known *= dims[rest]
	}
	if first := t.ints[0]; known != size || first == -1 && rest >= 0 {
		return nil, fmt.Errorf("its shape is %v, for a sample of %d numbers", t.ints, size)
	}
	return dims, nil
}

func (b *importer) reshape(n *onnxpb.NodeProto) error {
	x, err := b.argument(n, 0)
	if err != nil {
		return err
	}
	dims, err := b.target(n, x)
	if err != nil {
		return err
	}
	if len(dims) == 1 {
		if x.rank == 2 {
			b.values[n.Output[0]] = x
			return nil
		}
		out := val{shape: backend.Vec(dims[0]), rank: 2}
		if x.shape.H*x.shape.W == 1 { // the same in convae
			out.by = x.by
			b.values[n.Output[0]] = &out
			return nil
		}
		if !x.last && x.shape.C > 1 {
			out.image = x.shape
		}
		b.layer(n, &layer.Flatten{}, out, nil, x)
		return nil
	}
	if x.rank != 2 {
		return errors.New("it makes an image of an image: want a vector between")
	}
	// The vector becomes an image, whose channels come first unless it is turned behind this.
	last := b.turned[n.Output[0]]
	to := backend.Shape{N: 1, H: dims[1], W: dims[2], C: dims[0]}
	if last {
		to = backend.Shape{N: 1, H: dims[0], W: dims[1], C: dims[2]}
	}
	out := val{shape: to, rank: 4, last: last}
	switch {
	case to.H*to.W == 1:
		out.by = x.by
		b.values[n.Output[0]] = &out
		return nil
	case !last && to.C > 1 && x.image != to: // elements have to change places
		rows := b.keepsRows(n, x)
		if rows == nil || x.image.C != 0 {
			return errors.New("it makes an image with channels first of a vector that no dense layer makes for it alone")
		}
		for _, r := range rows {
			width := len(*r) / to.Len()
			ordered := make([]float32, len(*r))
			for i := range to.Len() {
				copy(ordered[lastOf(i, to)*width:][:width], (*r)[i*width:])
			}
			*r = ordered
		}
	case last && x.image.C != 0:
		return errors.New("it makes an image with channels last of one with channels first")
	}
	b.layer(n, &layer.Reshape{Shape: []int{to.H, to.W, to.C}}, out, nil, x)
	return nil
}

func (b *importer) transpose(n *onnxpb.NodeProto) error {
	x, err := b.argument(n, 0)
	if err != nil {
		return err
	}
	perm := attributes(n).ints("perm")
	last := slices.Equal(perm, []int64{0, 2, 3, 1})
	if x.rank != 4 || !last && !slices.Equal(perm, []int64{0, 3, 1, 2}) || last == x.last {
		return fmt.Errorf("its perm is %v: want channels of images brought to the end, or back", perm)
	}
	out := *x
	out.last = last
	b.values[n.Output[0]] = &out
	return nil
}

// arithmetic takes in sums and products of what the graph computes, or of that and a number.
func (b *importer) arithmetic(n *onnxpb.NodeProto) error {
	if len(n.Input) != 2 {
		return fmt.Errorf("it has %d inputs, want 2", len(n.Input))
	}
	kind := n.GetOpType()
	for i, name := range n.Input {
		if t := b.constants[name]; t != nil {
			return b.withConstant(n, 1-i, t)
		}
	}
	x, err := b.argument(n, 0)
	if err != nil {
		return err
	}
	y, err := b.argument(n, 1)
	if err != nil {
		return err
	}
	if kind == "Mul" && y.shape.Len() > x.shape.Len() {
		x, y = y, x
	}
	channels := kind == "Mul" && x.rank == 4 && y.rank == 4 && y.shape.H*y.shape.W == 1 && x.shape.C == y.shape.C
	if (x.shape != y.shape || x.rank != y.rank) && !channels || x.last != y.last || x.image != y.image {
		return fmt.Errorf("its inputs have the shapes %s and %s, want the same in the same order, or a factor for each channel", graph.ShapeText(x.shape), graph.ShapeText(y.shape))
	}
	out := *x
	out.rows = nil
	switch kind {
	case "Add":
		b.layer(n, &layer.Add{}, out, nil, x, y)
	case "Mul":
		b.layer(n, &layer.Multiply{}, out, nil, x, y)
	default:
		return errors.New("convae has sums and products of layers, and no differences or quotients")
	}
	return nil
}

// withConstant takes in a sum or a product of input i and a constant: a number, or the bias of the dense layer before.
func (b *importer) withConstant(n *onnxpb.NodeProto, i int, t *tensor) error {
	x, err := b.argument(n, i)
	if err != nil {
		return err
	}
	kind := n.GetOpType()
	if t.whole {
		return errors.New("its constant is of whole numbers")
	}
	before := b.layers[max(len(b.layers)-1, 0):]
	if kind == "Add" && len(before) == 1 && before[0].pending && before[0].spec.Name == x.by && b.readers[n.Input[i]] == 1 && len(t.floats) == x.shape.C && x.shape.C == t.dims[len(t.dims)-1] {
		m := before[0]
		m.spec.Layer.(*layer.Dense).NoBias, m.pending = false, false
		m.data = append(m.data, slices.Clone(t.floats))
		out := *x
		out.rows = rowsOf(m)
		b.values[n.Output[0]] = &out
		return nil
	}
	if len(t.floats) != 1 || len(t.dims) > x.rank {
		return fmt.Errorf("its constant has the dimensions %v, want one number, or the bias of a dense layer just before", t.dims)
	}
	l, v := &layer.Rescaling{Scale: 1}, t.floats[0]
	switch {
	case kind == "Mul":
		l.Scale = v
	case kind == "Add":
		l.Offset = v
	case kind == "Sub" && i == 0:
		l.Offset = -v
	case kind == "Sub":
		l.Scale, l.Offset = -1, v
	case kind == "Div" && i == 0:
		l.Scale = 1 / v
	default:
		return errors.New("it divides a number by what the graph computes")
	}
	out := *x
	out.rows = nil
	b.layer(n, l, out, nil, x)
	return nil
}

func (b *importer) concat(n *onnxpb.NodeProto) error {
	var list []*val
	var out val
	for i := range n.Input {
		v, err := b.argument(n, i)
		if err != nil {
			return err
		}
		if i == 0 {
			out = *v
			out.rows = nil
		} else {
			out.shape.C += v.shape.C
		}
		if v.rank != out.rank || v.last || v.image.C != 0 || v.shape.H != out.shape.H || v.shape.W != out.shape.W {
			return errors.New("its inputs are not all images of the same rows and columns with channels first, or vectors")
		}
		list = append(list, v)
	}
	if attributes(n).int("axis", 0) != 1 || len(list) == 0 {
		return errors.New("want an axis of 1")
	}
	if len(list) == 1 {
		b.values[n.Output[0]] = list[0]
		return nil
	}
	b.layer(n, &layer.Concatenate{}, out, nil, list...)
	return nil
}
