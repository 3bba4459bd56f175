package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// Model is a checked model with its weights on the host.
type Model struct {
	Config Config
	Input  backend.Shape // of one sample
	Code   backend.Shape // output of the encoder
	Output backend.Shape
	Layers []LayerInfo
	Params []Param

	nodes []node
	split int // nodes[:split] are the encoder
}

// LayerInfo is what is known of a layer after shape inference.
type LayerInfo struct {
	Layer   Layer
	Name    string // unique, as Keras names layers: conv2d, conv2d_1
	Part    string // encoder or decoder
	In, Out backend.Shape
	Params  int // trainable numbers
}

// Param is a trainable tensor.
type Param struct {
	Name  string        // as in a PyTorch state dict: encoder.0.weight
	Shape backend.Shape // weights (out, rows, columns, in), bias (1, 1, 1, n)
	Data  []float32     // in the order of Shape

	init     distribution
	isBias   bool
	dense    bool          // two dimensions in files
	inImage  backend.Shape // dense weights whose input is a flattened image: its shape, else zero
	outImage backend.Shape // dense weights and bias whose output becomes an image
}

// node is one op of a model: what a layer lowers to, or several after fusion.
type node struct {
	op    op
	layer int // index into Layers
	in    backend.Shape
	out   backend.Shape

	conv  backend.ConvSpec
	convT backend.ConvTransposeSpec
	dense backend.DenseSpec
	pool  backend.PoolSpec
	up    int
	act   backend.Act // of opAct; weighted nodes keep theirs in the spec
	rate  float32
	w, b  int // indices into Params, -1 for none
}

type op uint8

const (
	opConv op = iota
	opConvTranspose
	opDense
	opPool
	opUpsample
	opAct
	opReshape
	opDropout
	opSample
	opConcrete
)

// maxParams bounds a model: 1 GiB of weights.
const maxParams = 1 << 28

// New checks a configuration, infers all shapes and draws the initial weights from seed.
func New(c Config, seed uint64) (*Model, error) {
	m, err := build(c)
	if err != nil {
		return nil, err
	}
	m.initialize(seed)
	return m, nil
}

// Check returns the error that New would return.
func (c Config) Check() error {
	_, err := build(c)
	return err
}

// build makes a model without weights.
func build(c Config) (*Model, error) {
	in, err := parseShape(c.Input)
	if err != nil {
		return nil, fmt.Errorf("nn: model %q: input %w", c.Name, err)
	}
	if len(c.Encoder) == 0 || len(c.Decoder) == 0 {
		return nil, fmt.Errorf("nn: model %q: the encoder has %d layers and the decoder %d, want at least 1 in each", c.Name, len(c.Encoder), len(c.Decoder))
	}
	b := &builder{model: &Model{Config: c, Input: in}, shape: in, names: map[string]int{}}
	if err := b.part("encoder", c.Encoder); err != nil {
		return nil, err
	}
	b.model.split, b.model.Code = len(b.model.nodes), b.shape
	if err := b.part("decoder", c.Decoder); err != nil {
		return nil, err
	}
	b.model.Output = b.shape
	if err := b.model.checkSampling(); err != nil {
		return nil, err
	}
	if err := b.model.checkFused(); err != nil {
		return nil, err
	}
	if n := b.model.Size(); n > maxParams {
		return nil, fmt.Errorf("nn: model %q has %d parameters, want at most %d", c.Name, n, maxParams)
	}
	return b.model, nil
}

// checkSampling wants a sampling layer, if there is one, at the end of the encoder.
func (m *Model) checkSampling() error {
	for i, n := range m.nodes {
		if n.op == opSample && i != m.split-1 {
			return fmt.Errorf("nn: %s of model %q is not the encoder's last layer: want it there, after the layer that makes means and variances", m.Layers[n.layer].Name, m.Config.Name)
		}
	}
	return nil
}

// checkFused wants ops that fusion makes to be such as a backend can run: they see more of an image than the layers that
// were merged.
func (m *Model) checkFused() error {
	for _, n := range m.fuse(m.nodes) {
		if n.op != opConv {
			continue
		}
		if _, err := backend.NewConv(n.withN(1).conv); err != nil {
			return fmt.Errorf("nn: %s of model %q: %w", m.Layers[n.layer].Name, m.Config.Name, err)
		}
	}
	return nil
}

// Variational reports whether the model's code is Gaussian: its encoder ends in a sampling layer.
func (m *Model) Variational() bool { return m.split > 0 && m.nodes[m.split-1].op == opSample }

// Concrete reports whether the model selects inputs: its encoder begins with a concrete layer.
func (m *Model) Concrete() bool { return m.concrete() >= 0 }

// concrete returns the index of the concrete layer's parameters, or -1.
func (m *Model) concrete() int {
	for _, n := range m.nodes {
		if n.op == opConcrete {
			return n.w
		}
	}
	return -1
}

// Selected returns the inputs that a concrete model selects, by output of its concrete layer; several may select the same.
func (m *Model) Selected() []int {
	i := m.concrete()
	if i < 0 {
		return nil
	}
	p := m.Params[i]
	size := p.Shape.C
	selected := make([]int, p.Shape.N)
	for j := range selected {
		for k, v := range p.Data[j*size:][:size] {
			if v > p.Data[j*size+selected[j]] {
				selected[j] = k
			}
		}
	}
	return selected
}

// Size returns the number of trainable numbers.
func (m *Model) Size() int {
	n := 0
	for _, p := range m.Params {
		n += p.Shape.Len()
	}
	return n
}

// builder lowers layers to nodes one after another.
type builder struct {
	model   *Model
	shape   backend.Shape // output so far
	names   map[string]int
	partKey string
	modules int           // modules of the equivalent torch.nn.Sequential, in this part
	flat    backend.Shape // image that the last reshape flattened, as long as only element-wise layers followed
}

func (b *builder) part(name string, specs []LayerSpec) error {
	b.partKey, b.modules = name, 0
	for i, spec := range specs {
		l, err := spec.Layer()
		if err != nil {
			return fmt.Errorf("nn: %s layer %d: %w", name, i+1, err)
		}
		info := LayerInfo{Layer: l, Name: b.unique(l.Kind()), Part: name, In: b.shape}
		b.model.Layers = append(b.model.Layers, info)
		if err := l.lower(b); err != nil {
			return fmt.Errorf("nn: %s layer %d (%s, input %s): %w", name, i+1, info.Name, shapeText(info.In), err)
		}
		b.model.Layers[len(b.model.Layers)-1].Out = b.shape
	}
	return nil
}

// unique names layers as Keras does: conv2d, conv2d_1, conv2d_2.
func (b *builder) unique(kind string) string {
	base := map[string]string{"Conv2D": "conv2d", "Conv2DTranspose": "conv2d_transpose", "MaxPooling2D": "max_pooling2d",
		"UpSampling2D": "up_sampling2d", "Dense": "dense", "Activation": "activation", "Flatten": "flatten",
		"Reshape": "reshape", "Dropout": "dropout", "Sampling": "sampling", "Concrete": "concrete"}[kind]
	n := b.names[base]
	b.names[base]++
	if n == 0 {
		return base
	}
	return fmt.Sprintf("%s_%d", base, n)
}

func (b *builder) add(n node) {
	n.layer = len(b.model.Layers) - 1
	n.in = b.shape
	if n.op != opConv && n.op != opConvTranspose && n.op != opDense && n.op != opConcrete {
		n.w, n.b = -1, -1
	}
	if n.op != opAct && n.op != opDropout && n.op != opReshape {
		b.flat = backend.Shape{}
	}
	b.model.nodes = append(b.model.nodes, n)
	b.shape = n.out
}

func (b *builder) module() { b.modules++ }

// weighted adds a node with weights, and its activation as a node of its own.
func (b *builder) weighted(n node, w backend.Shape, units, fanIn, fanOut int, noBias bool, init Initializer, act string) error {
	in, err := init.distribution(fanIn, fanOut)
	if err != nil {
		return err
	}
	m := b.model
	key := fmt.Sprintf("%s.%d.", b.partKey, b.modules)
	p := Param{Name: key + "weight", Shape: w, init: in, dense: n.op == opDense || n.op == opConcrete}
	if p.dense && b.flat.H*b.flat.W > 1 {
		p.inImage = b.flat
	}
	n.w, n.b = len(m.Params), -1
	m.Params = append(m.Params, p)
	if !noBias {
		n.b = len(m.Params)
		m.Params = append(m.Params, Param{Name: key + "bias", Shape: backend.Vec(units), isBias: true})
	}
	b.add(n)
	b.module()
	info := &m.Layers[len(m.Layers)-1]
	info.Params = w.Len()
	if !noBias {
		info.Params += units
	}
	if act == "" {
		return nil
	}
	return b.activation(act)
}

func (b *builder) activation(name string) error {
	a, ok := backend.ParseAct(name)
	if !ok {
		return fmt.Errorf("activation is %q, want one of %v", name, backend.ActNames())
	}
	if a != backend.Linear {
		b.add(node{op: opAct, act: a, out: b.shape})
		b.module()
	}
	return nil
}

// reshape remembers what order the elements of a vector stand for: files hold dense weights in PyTorch's order
// (channels first), so that the equivalent torch.nn.Sequential computes the same.
func (b *builder) reshape(to backend.Shape) {
	from := b.shape
	if from == to {
		return
	}
	b.flat = backend.Shape{}
	switch {
	case to.H*to.W == 1:
		b.flat = from
	case from.H*from.W == 1:
		b.unflatten(to)
	}
	b.add(node{op: opReshape, out: to})
}

// unflatten marks the dense layer whose output becomes an image, with only element-wise nodes in between.
func (b *builder) unflatten(to backend.Shape) {
	nodes := b.model.nodes
	for i := len(nodes) - 1; i >= 0; i-- {
		switch nodes[i].op {
		case opAct, opDropout:
			continue
		case opDense:
			b.model.Params[nodes[i].w].outImage = to
			if nodes[i].b >= 0 {
				b.model.Params[nodes[i].b].outImage = to
			}
		}
		return
	}
}
