package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/onnx/onnxpb"
)

// ImportOptions are the choices of Import.
type ImportOptions struct {
	Name string // of the model
	Code string // the tensor that is the code; "" for the smallest that all paths go through
	Size int    // rows and columns of the input, where the graph leaves them free
}

// Import makes a model of a graph of convolutions, pools, upsampling, dense layers, normalisations by averages, activations, sums, products and
// concatenations, with one input and one output, in either layout. It computes the same. What it cannot take is an error that names the node and its operator.
// Convolutions whose padding is not one of convae's become such with a larger kernel, of which the rest is zeros.
func Import(file *onnxpb.ModelProto, o ImportOptions) (*nn.Model, error) {
	opset, err := opsetOf(file)
	if err != nil {
		return nil, err
	}
	b := &importer{opset: opset, values: map[string]*val{}, constants: map[string]*tensor{}, readers: map[string]int{}, turned: map[string]bool{}}
	c, err := b.config(file, o)
	if err != nil {
		return nil, err
	}
	m, err := nn.New(c, 1)
	if err != nil {
		return nil, fmt.Errorf("the graph makes no model: %w", err)
	}
	var data [][]float32
	for _, l := range b.layers {
		data = append(data, l.data...)
	}
	if len(data) != len(m.Params) {
		return nil, fmt.Errorf("the graph has %d parameters, its model has %d", len(data), len(m.Params))
	}
	for i := range data {
		if len(data[i]) != len(m.Params[i].Data) {
			return nil, fmt.Errorf("parameter %s has %d numbers, its model wants %d", m.Params[i].Name, len(data[i]), len(m.Params[i].Data))
		}
		m.Params[i].Data = data[i]
	}
	return m, nil
}

// val is a tensor of the graph for each sample.
type val struct {
	by    string // the layer that makes it, or the input
	shape backend.Shape
	// rank is 4 for images, 2 for vectors. last says that the channels of an image are last in the graph.
	rank int
	last bool
	// Of a vector that was an image with its channels first: that image, whose elements convae has in another order.
	image backend.Shape
	// Of a vector: the vectors and the rows of weights that could be put in another order, because nothing else reads what they make; nil if there are none.
	rows []*[]float32
}

// made is a layer of the model that is being made.
type made struct {
	spec    graph.Spec
	data    [][]float32 // of its parameters, in convae's order
	out     backend.Shape
	tensor  string // of the graph that it makes
	pending bool   // a dense layer without a bias, which an Add may bring
}

type importer struct {
	opset     int
	values    map[string]*val
	constants map[string]*tensor
	readers   map[string]int  // of each tensor
	turned    map[string]bool // tensors that are read with their channels last: a node turns them before they are used
	layers    []*made
}

func (b *importer) config(file *onnxpb.ModelProto, o ImportOptions) (nn.Config, error) {
	g := file.Graph
	for _, t := range g.Initializer {
		c, err := readTensor(t)
		if err != nil {
			return nn.Config{}, fmt.Errorf("initialiser %s: %w", t.GetName(), err)
		}
		b.constants[t.GetName()] = c
	}
	for _, n := range g.Node {
		for _, in := range n.Input {
			if n.GetOpType() != "Shape" { // which does not look at elements
				b.readers[in]++
			}
			if n.GetOpType() == "Transpose" && slices.Equal(attributes(n).ints("perm"), []int64{0, 3, 1, 2}) {
				b.turned[in] = true
			}
		}
	}
	c := nn.Config{Name: o.Name}
	if c.Name == "" {
		c.Name = "imported"
	}
	var err error
	if c.Input, err = b.input(g, o.Size); err != nil {
		return c, err
	}
	for _, n := range g.Node {
		if err := b.node(n); err != nil {
			name := n.GetName()
			if name == "" && len(n.Output) > 0 { // names are for people: what it makes has one always
				name = n.Output[0]
			}
			return c, fmt.Errorf("node %q (%s): %w", name, n.GetOpType(), err)
		}
	}
	if len(g.Output) != 1 {
		return c, fmt.Errorf("the graph has %d outputs, want 1", len(g.Output))
	}
	out := b.values[g.Output[0].GetName()]
	if out == nil || len(b.layers) < 2 {
		return c, fmt.Errorf("the graph makes %s of fewer than 2 layers", g.Output[0].GetName())
	}
	if out.by != b.layers[len(b.layers)-1].spec.Name {
		return c, fmt.Errorf("the output %s is not what the last layer makes", g.Output[0].GetName())
	}
	if out.image.H*out.image.W > 1 && out.image.C > 1 {
		return c, fmt.Errorf("the output %s is an image with channels first that is flattened: its order is not convae's", g.Output[0].GetName())
	}
	if err := checkOutput(g.Output[0], out); err != nil {
		return c, err
	}
	cut, err := b.code(o.Code)
	if err != nil {
		return c, err
	}
	specs := b.specs()
	c.Encoder, c.Decoder = specs[:cut], specs[cut:]
	return c, nil
}

// input takes the one input that is no initialiser.
func (b *importer) input(g *onnxpb.GraphProto, size int) ([]int, error) {
	var in *onnxpb.ValueInfoProto
	for _, v := range g.Input {
		if b.constants[v.GetName()] != nil {
			continue // older files list weights here too
		}
		if in != nil {
			return nil, fmt.Errorf("the graph has the inputs %s and %s, want one", in.GetName(), v.GetName())
		}
		in = v
	}
	if in == nil {
		return nil, errors.New("the graph has no input")
	}
	if err := checkFloat("input", in); err != nil {
		return nil, err
	}
	var dims []int
	for i, d := range in.GetType().GetTensorType().GetShape().GetDim() {
		n := d.GetDimValue()
		if n == 0 && i > 1 {
			n = int64(size)
		}
		if i > 0 && (n < 1 || n > 1<<20) {
			return nil, fmt.Errorf("the input %s has no fixed size in dimension %d: want one, or --size for rows and columns", in.GetName(), i)
		}
		dims = append(dims, int(n))
	}
	v := &val{by: graph.InputName, rank: len(dims)}
	b.values[in.GetName()] = v
	switch len(dims) {
	case 2:
		v.shape = backend.Vec(dims[1])
		return dims[1:], nil
	case 4:
		v.last = b.turned[in.GetName()]
		if dims = dims[1:]; !v.last {
			dims = []int{dims[1], dims[2], dims[0]}
		}
		v.shape = backend.Shape{N: 1, H: dims[0], W: dims[1], C: dims[2]}
		return dims, nil
	}
	return nil, fmt.Errorf("the input %s has %d dimensions, want 4 (samples and images) or 2 (samples and numbers)", in.GetName(), len(dims))
}

// layer adds a layer that makes a tensor of a node.
func (b *importer) layer(n *onnxpb.NodeProto, l graph.Layer, out val, data [][]float32, inputs ...*val) {
	m := &made{data: data, out: out.shape, tensor: n.Output[0]}
	m.spec = graph.Spec{Layer: l, Name: fmt.Sprintf("layer_%d", len(b.layers)+1)}
	for _, v := range inputs {
		m.spec.Inputs = append(m.spec.Inputs, v.by)
	}
	out.by = m.spec.Name
	b.layers = append(b.layers, m)
	b.values[n.Output[0]] = &out
}

// specs are the layers, with names and inputs only where the order does not say them.
func (b *importer) specs() []graph.Spec {
	named := map[string]bool{}
	specs := make([]graph.Spec, len(b.layers))
	for i, l := range b.layers {
		specs[i] = l.spec
		before := graph.InputName
		if i > 0 {
			before = b.layers[i-1].spec.Name
		}
		if slices.Equal(l.spec.Inputs, []string{before}) {
			specs[i].Inputs = nil
		}
		for _, name := range specs[i].Inputs {
			named[name] = true
		}
	}
	for i := range specs {
		if !named[specs[i].Name] {
			specs[i].Name = ""
		}
	}
	return specs
}

// code returns how many layers are the encoder.
func (b *importer) code(tensor string) (int, error) {
	if tensor != "" {
		v := b.values[tensor]
		for i, l := range b.layers[:len(b.layers)-1] {
			if v != nil && v.by == l.spec.Name {
				return i + 1, nil
			}
		}
		return 0, fmt.Errorf("there is no layer that makes the tensor %q and has others after it", tensor)
	}
	best, least, through := 1, 0, false
	separates := b.separates()
	for i, l := range b.layers[:len(b.layers)-1] {
		all := separates[i]
		if n := l.out.Image(); i == 0 || all && !through || all == through && n < least {
			best, least, through = i+1, n, all
		}
	}
	// What is done with each element belongs to the layer.
	for best < len(b.layers)-1 && elementwise(b.layers[best].spec.Layer) && slices.Equal(b.layers[best].spec.Inputs, []string{b.layers[best-1].spec.Name}) {
		best++
	}
	return best, nil
}

func elementwise(l graph.Layer) bool {
	switch l.(type) {
	case *layer.Activation, *layer.LeakyReLU, *layer.ELU, *layer.BatchNormalization:
		return true
	}
	return false
}

// separates reports for each layer whether all later layers take no more than what it and they make.
func (b *importer) separates() []bool {
	place := map[string]int{graph.InputName: -1}
	for i, l := range b.layers {
		place[l.spec.Name] = i
	}
	list := make([]bool, len(b.layers))
	earliest := len(b.layers) // of what the layers from i+1 on take
	for i := len(b.layers) - 1; i >= 0; i-- {
		list[i] = earliest >= i
		for _, in := range b.layers[i].spec.Inputs {
			earliest = min(earliest, place[in])
		}
	}
	return list
}
