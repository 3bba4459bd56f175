// Package onnx writes models as ONNX graphs and makes models of ONNX graphs.
//
// Exported graphs are of operator set 13 and version 7 of the format, which everything that reads ONNX has known since 2020. The number of
// samples is a dimension by name, batch; all others are the model's own. Inside images are (batch, channels, rows, columns), as
// ONNX's operators have them; which order the images have that go in and come out is the caller's choice. Vectors that were images have
// the order that they have in convae: rows, columns, channels.
package onnx

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/onnx/onnxpb"
	"github.com/convae/convae/nn/op"
)

const (
	Opset     = 13 // version of the operators of exported graphs
	irVersion = 7  // of the format, to which that belongs
	batchName = "batch"
	producer  = "convae"
)

// Part says how much of a model a graph is.
type Part string

const (
	Whole   Part = "whole"   // from input to output
	Encoder Part = "encoder" // from input to code; that of a variational model is the means
	Decoder Part = "decoder" // from code to output
)

// Parts lists the parts.
func Parts() []Part { return []Part{Whole, Encoder, Decoder} }

// Layout is the order of the dimensions of images that go in and come out.
type Layout string

const (
	NCHW Layout = "nchw" // samples, channels, rows, columns, as PyTorch and most ONNX models have them
	NHWC Layout = "nhwc" // samples, rows, columns, channels, as convae, Keras and pictures have them
)

// Layouts lists the layouts.
func Layouts() []Layout { return []Layout{NCHW, NHWC} }

// Options are the choices of Export. The zero value is the whole model, of NCHW.
type Options struct {
	Part     Part
	Layout   Layout
	Version  string            // of the program that writes
	Metadata map[string]string // is added to the file
}

func (o *Options) check() error {
	if o.Part == "" {
		o.Part = Whole
	}
	if o.Layout == "" {
		o.Layout = NCHW
	}
	if o.Part != Whole && o.Part != Encoder && o.Part != Decoder {
		return fmt.Errorf("onnx: the part is %q, want one of %q", o.Part, Parts())
	}
	if o.Layout != NCHW && o.Layout != NHWC {
		return fmt.Errorf("onnx: the layout is %q, want one of %q", o.Layout, Layouts())
	}
	return nil
}

// Marshal returns the bytes of a file, the same for the same model.
func Marshal(m *onnxpb.ModelProto) ([]byte, error) {
	if n := proto.Size(m); n > math.MaxInt32 {
		return nil, fmt.Errorf("onnx: the file would have %d bytes, and a message has at most 2 GiB", n)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return data, nil
}

// Export makes a graph of a model, as it is outside of training: normalisations by their averages, no dropout, the means of a variational model as
// its code. Weights are float32, bit for bit; initialisers have the names of the model's parameters. The input is named input, or code for
// a decoder, and the output is named output, or code for an encoder.
func Export(m *nn.Model, o Options) (*onnxpb.ModelProto, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	g, err := graph.Build(m.Input, graph.Part{Name: "encoder", Layers: m.Config.Encoder}, graph.Part{Name: "decoder", Layers: m.Config.Decoder}, graph.Options{Samples: 1})
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	if o.Part == Decoder && !m.Separable() {
		return nil, fmt.Errorf("onnx: the decoder of model %q takes what its encoder makes besides the code: export the whole", m.Config.Name)
	}
	from, to := g.Input, g.Output
	in, out := "input", "output"
	inDims, code := m.Config.Input, m.CodeDims()
	switch o.Part {
	case Encoder:
		to, out = g.Code, "code"
	case Decoder:
		from, in, inDims = g.Code, "code", code
	}
	e := &exporter{m: m, g: g, graph: &onnxpb.GraphProto{Name: m.Config.Name}, values: map[op.Value]value{}, names: map[string]int{}, done: map[string]bool{},
		joins: map[op.Value][]value{}, layout: o.Layout}
	for _, name := range []string{in, out} {
		e.names[name] = 1
	}
	e.input(from, in, inDims)
	for _, c := range cut(g, from, to) {
		e.layer = c.Layer
		if err := e.op(c.Op); err != nil {
			return nil, fmt.Errorf("onnx: %s: %w", c.Layer, err)
		}
	}
	result := e.values[to]
	if o.Part == Encoder {
		result = e.ranked(result, len(code) == 3)
	}
	e.output(result, out)
	model := &onnxpb.ModelProto{IrVersion: irVersion, ProducerName: producer, ProducerVersion: o.Version, Graph: e.graph,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: Opset}}}
	for _, key := range sortedKeys(o.Metadata) {
		model.MetadataProps = append(model.MetadataProps, &onnxpb.StringStringEntryProto{Key: key, Value: o.Metadata[key]})
	}
	return model, nil
}

// cut returns the calls that to needs from from on.
func cut(g *graph.Graph, from, to op.Value) []op.Call {
	needed := map[op.Value]bool{to: true}
	keep := make([]bool, len(g.Calls))
	for i := len(g.Calls) - 1; i >= 0; i-- {
		for _, v := range op.Writes(g.Calls[i].Op) {
			keep[i] = keep[i] || needed[v] && v != from
		}
		if keep[i] {
			for _, v := range op.Reads(g.Calls[i].Op) {
				needed[v] = true
			}
		}
	}
	var calls []op.Call
	for i, c := range g.Calls {
		if keep[i] {
			calls = append(calls, c)
		}
	}
	return calls
}

// value is a tensor of the exported graph: an image (batch, channels, rows, columns), or a vector (batch, channels).
type value struct {
	name  string
	image bool
	shape backend.Shape
}

type exporter struct {
	m      *nn.Model
	g      *graph.Graph
	graph  *onnxpb.GraphProto
	layout Layout
	layer  string
	values map[op.Value]value
	joins  map[op.Value][]value // the parts of a concatenation that is not complete
	names  map[string]int
	done   map[string]bool // initialisers that are there
}

// unique returns a name for what a node makes.
func (e *exporter) unique(base string) string {
	n := e.names[base]
	e.names[base]++
	if n == 0 {
		return base
	}
	return e.unique(fmt.Sprintf("%s_%d", base, n))
}

// node adds a node with one output, named after the layer and the operator, and returns that.
func (e *exporter) node(kind string, inputs []string, attributes ...*onnxpb.AttributeProto) string {
	name := e.unique(e.layer + "/" + kind)
	e.graph.Node = append(e.graph.Node, &onnxpb.NodeProto{Name: name, OpType: kind, Input: inputs, Output: []string{name}, Attribute: attributes})
	return name
}

func (e *exporter) input(v op.Value, name string, dims []int) {
	e.graph.Input = append(e.graph.Input, e.info(name, dims))
	e.layer = name
	x := value{name: name, image: len(dims) == 3, shape: e.g.Shape(v)}
	if x.image && e.layout == NHWC {
		x.name = e.transpose(name, 0, 3, 1, 2)
	}
	e.values[v] = x
}

// info describes an input or an output of so many rows, columns and channels, or elements.
func (e *exporter) info(name string, dims []int) *onnxpb.ValueInfoProto {
	if len(dims) == 3 && e.layout == NCHW {
		dims = []int{dims[2], dims[0], dims[1]}
	}
	shape := &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: batchName}}}}
	for _, d := range dims {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
	}
	return &onnxpb.ValueInfoProto{Name: name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
		ElemType: int32(onnxpb.TensorProto_FLOAT), Shape: shape}}}}
}

// output names a value as the graph's output.
func (e *exporter) output(v value, name string) {
	dims := []int{v.shape.C}
	e.layer = name
	if v.image {
		dims = []int{v.shape.H, v.shape.W, v.shape.C}
		if e.layout == NHWC {
			v.name = e.transpose(v.name, 0, 2, 3, 1)
		}
	}
	e.graph.Output = append(e.graph.Output, e.info(name, dims))
	last := len(e.graph.Node) - 1
	if last >= 0 && e.graph.Node[last].Output[0] == v.name && !e.reads(v.name) {
		e.graph.Node[last].Output[0] = name
		return
	}
	e.graph.Node = append(e.graph.Node, &onnxpb.NodeProto{Name: e.unique(name + "/Identity"), OpType: "Identity", Input: []string{v.name}, Output: []string{name}})
}

func (e *exporter) reads(name string) bool {
	for _, n := range e.graph.Node {
		for _, in := range n.Input {
			if in == name {
				return true
			}
		}
	}
	return false
}

func (e *exporter) transpose(name string, order ...int64) string {
	return e.node("Transpose", []string{name}, ints("perm", order...))
}

// ranked returns a value of one pixel as an image or as a vector; others it returns as they are.
func (e *exporter) ranked(v value, image bool) value {
	if v.image == image || v.shape.H*v.shape.W != 1 {
		return v
	}
	dims := []int64{0, int64(v.shape.C)}
	if image {
		dims = append(dims, 1, 1)
	}
	return value{e.node("Reshape", []string{v.name, e.shape(dims...)}), image, v.shape}
}

func (e *exporter) image(v op.Value) string  { return e.ranked(e.values[v], true).name }
func (e *exporter) vector(v op.Value) string { return e.ranked(e.values[v], false).name }

// set says what a value of the model is called.
func (e *exporter) set(v op.Value, name string, image bool) {
	e.values[v] = value{name, image, e.g.Shape(v)}
}

// param adds a parameter of the model, and returns its name. Weights of convolutions have PyTorch's and ONNX's order of dimensions.
func (e *exporter) param(v op.Value) string { return e.initialiser(v, false) }

// initialiser adds a parameter. What a convolution multiplies by has four dimensions, also where it is dense weights, of attention.
func (e *exporter) initialiser(v op.Value, kernel bool) string {
	i := e.g.Values[v].Index
	p := &e.m.Params[i]
	if e.done[p.Name] {
		return p.Name
	}
	e.done[p.Name] = true
	dims, data := []int64{int64(p.Shape.C)}, p.Data
	switch p.Role {
	case graph.ConvWeights:
		s := p.Shape
		dims, data = []int64{int64(s.N), int64(s.C), int64(s.H), int64(s.W)}, make([]float32, len(p.Data))
		for n := range s.N {
			for k := range s.H * s.W {
				for c := range s.C {
					data[(n*s.C+c)*s.H*s.W+k] = p.Data[(n*s.H*s.W+k)*s.C+c]
				}
			}
		}
	case graph.DenseWeights, graph.Codebook:
		if dims = []int64{int64(p.Shape.N), int64(p.Shape.C)}; kernel {
			dims = append(dims, 1, 1)
		}
	}
	e.graph.Initializer = append(e.graph.Initializer, floatTensor(p.Name, dims, data))
	return p.Name
}

// constant adds an initialiser that is not a parameter, and returns its name.
func (e *exporter) constant(dims []int64, data ...float32) string {
	name := e.unique(e.layer + "/constant")
	e.graph.Initializer = append(e.graph.Initializer, floatTensor(name, dims, data))
	return name
}

func (e *exporter) scalar(v float32) string { return e.constant(nil, v) }

// repeated is a constant vector of n equal elements.
func (e *exporter) repeated(n int, v float32) string {
	data := make([]float32, n)
	for i := range data {
		data[i] = v
	}
	return e.constant([]int64{int64(n)}, data...)
}

// shape adds an initialiser with the dimensions of a reshape, of which 0 keeps the input's, and returns its name. The same are there once.
func (e *exporter) shape(dims ...int64) string {
	name := "shape"
	for _, d := range dims {
		name += fmt.Sprintf("_%d", d)
	}
	if name = strings.ReplaceAll(name, "-1", "rest"); !e.done[name] {
		e.done[name] = true
		e.graph.Initializer = append(e.graph.Initializer, intTensor(name, dims...))
	}
	return name
}

// optional returns the name of a parameter, or a vector of n numbers v in its place.
func (e *exporter) optional(p op.Value, n int, v float32) string {
	if p == op.None {
		return e.repeated(n, v)
	}
	return e.param(p)
}

// weighted lists the input, the weights and, if there is one, the bias of a product or of a convolution.
func (e *exporter) weighted(x string, w, bias op.Value, kernel bool) []string {
	inputs := []string{x, e.initialiser(w, kernel)}
	if bias != op.None {
		inputs = append(inputs, e.param(bias))
	}
	return inputs
}
