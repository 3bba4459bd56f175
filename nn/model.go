package nn

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/op"
)

// Model is a checked model with its weights on the host.
type Model struct {
	Config Config
	Input  backend.Shape // of one sample
	Code   backend.Shape // output of the encoder
	Output backend.Shape
	Layers []graph.Info
	Params []Param

	variational bool // the encoder ends in sampling
	quantized   bool // the encoder ends in a vector quantiser
	concrete    int  // index of a concrete layer's parameters, or -1
	separable   bool // the decoder needs no more of the encoder than the code
}

// Param is a parameter of a model with its values, in the order of its shape.
type Param struct {
	graph.Param
	Data []float32
}

// maxParams bounds a model: 1 GiB of weights.
const maxParams = 1 << 28

// New checks a configuration, infers all shapes and draws the initial weights from seed.
func New(c Config, seed uint64) (*Model, error) {
	m, err := build(c)
	if err != nil {
		return nil, err
	}
	for i := range m.Params {
		p := &m.Params[i]
		p.Data = p.Init.Draw(seed, i, p.Shape.Len())
	}
	return m, nil
}

// Check returns the error that New would return. One of a layer is a *graph.LayerError.
func (c Config) Check() error {
	_, err := build(c)
	return err
}

// build makes a model without weights.
func build(c Config) (*Model, error) {
	in, err := layer.ParseShape(c.Input)
	if err != nil {
		return nil, fmt.Errorf("nn: model %q: input %w", c.Name, err)
	}
	if len(c.Encoder) == 0 || len(c.Decoder) == 0 {
		return nil, fmt.Errorf("nn: model %q: the encoder has %d layers and the decoder %d, want at least 1 in each", c.Name, len(c.Encoder), len(c.Decoder))
	}
	m := &Model{Config: c, Input: in, concrete: -1}
	g, err := m.graph(graph.Options{Samples: 1})
	if err != nil {
		return nil, err
	}
	m.Code, m.Output, m.Layers = g.Shape(g.Code), g.Shape(g.Output), g.Layers
	for _, p := range g.Params {
		m.Params = append(m.Params, Param{Param: p})
	}
	if err := m.checkSampling(g); err != nil {
		return nil, err
	}
	for _, s := range g.Calls {
		if c, ok := s.Op.(*op.Concretize); ok {
			m.concrete = g.Values[c.Logits].Index
		}
		if q, ok := s.Op.(*op.Quantize); ok && q.Out == g.Code {
			m.quantized = true
		}
	}
	m.separable = separable(g)
	if n := m.Size() + m.StateSize(); n > maxParams {
		return nil, fmt.Errorf("nn: model %q has %d parameters, want at most %d", c.Name, n, maxParams)
	}
	return m, nil
}

// graph makes the model's graph for a number of samples.
func (m *Model) graph(o graph.Options) (*graph.Graph, error) {
	g, err := graph.Build(m.Input, graph.Part{Name: "encoder", Layers: m.Config.Encoder}, graph.Part{Name: "decoder", Layers: m.Config.Decoder}, o)
	if err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	return g, nil
}

// sampling returns the op that draws the code of a variational model, or nil.
func sampling(g *graph.Graph) *op.Sample {
	for _, s := range g.Calls {
		if o, ok := s.Op.(*op.Sample); ok {
			return o
		}
	}
	return nil
}

// checkSampling wants a sampling layer, if there is one, at the end of the encoder.
func (m *Model) checkSampling(g *graph.Graph) error {
	for _, s := range g.Calls {
		o, ok := s.Op.(*op.Sample)
		if !ok {
			continue
		}
		if m.variational = o.Code == g.Code; !m.variational {
			return fmt.Errorf("nn: %s of model %q is not the encoder's last layer: want it there, after the layer that makes means and variances", s.Layer, m.Config.Name)
		}
	}
	return nil
}

// CodeDims returns the dimensions of a code as Keras has them: [n] of a vector, [rows, columns, channels] of an image, even
// if it is of one pixel.
func (m *Model) CodeDims() []int {
	vector := len(m.Config.Input) == 1
	for _, s := range m.Config.Encoder {
		switch l := s.Layer.(type) {
		case *layer.Dense, *layer.Flatten, *layer.Concrete:
			vector = true
		case *layer.Reshape:
			vector = len(l.Shape) == 1
		}
	}
	if vector && m.Code.H*m.Code.W == 1 { // a vector beside an image, such as weights of its channels, makes no vector of it
		return []int{m.Code.C}
	}
	return []int{m.Code.H, m.Code.W, m.Code.C}
}

// Variational reports whether the model's code is Gaussian: its encoder ends in a sampling layer.
func (m *Model) Variational() bool { return m.variational }

// Quantized reports whether the pixels of the model's code are vectors of a codebook: its encoder ends in a vector quantiser.
func (m *Model) Quantized() bool { return m.quantized }

// Separable reports whether the decoder runs on codes alone: no connection leads past the code.
func (m *Model) Separable() bool { return m.separable }

// separable looks for what the output needs besides the code.
func separable(g *graph.Graph) bool {
	needed := map[op.Value]bool{g.Output: true}
	for _, c := range slices.Backward(g.Calls) {
		if !slices.ContainsFunc(op.Writes(c.Op), func(v op.Value) bool { return needed[v] && v != g.Code }) {
			continue
		}
		for _, v := range op.Reads(c.Op) {
			needed[v] = true
		}
	}
	return g.Code == g.Input || !needed[g.Input]
}

// Concrete reports whether the model selects inputs: its encoder begins with a concrete layer.
func (m *Model) Concrete() bool { return m.concrete >= 0 }

// Selected returns the inputs that a concrete model selects, by output of its concrete layer; several may select the same.
func (m *Model) Selected() []int {
	if m.concrete < 0 {
		return nil
	}
	p := m.Params[m.concrete]
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
func (m *Model) Size() int { return m.numbers(true) }

// StateSize returns the number of numbers that are part of the model and not trained, such as running statistics.
func (m *Model) StateSize() int { return m.numbers(false) }

func (m *Model) numbers(trained bool) int {
	n := 0
	for i := range m.Params {
		if p := &m.Params[i]; p.Trained() == trained {
			n += p.Shape.Len()
		}
	}
	return n
}
