package onnx

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/onnx/onnxpb"
)

// ErrNotOwn says that a graph is not what Export makes of a model.
var ErrNotOwn = errors.New("the graph is not the one that convae exports of that model")

// Take gives a model the weights of a graph that Export has made of it, of the whole. If the graph is not that, node by node, the error is ErrNotOwn,
// and the model's weights are not to be used.
func Take(m *nn.Model, file *onnxpb.ModelProto) error {
	if _, err := opsetOf(file); err != nil {
		return err
	}
	byName := map[string]*onnxpb.TensorProto{}
	for _, t := range file.Graph.Initializer {
		byName[t.Name] = t
	}
	for i := range m.Params {
		p := &m.Params[i]
		t, ok := byName[p.Name]
		if !ok {
			if p.Role == graph.State || p.Role == graph.Codebook {
				continue // of training alone, such as the averages that a codebook follows
			}
			return fmt.Errorf("%w: it has no %s", ErrNotOwn, p.Name)
		}
		data, err := readTensor(t)
		if err != nil {
			return fmt.Errorf("initialiser %s: %w", p.Name, err)
		}
		if len(data.floats) != len(p.Data) {
			return fmt.Errorf("%w: %s has %d numbers, want %d", ErrNotOwn, p.Name, len(data.floats), len(p.Data))
		}
		p.Data = data.floats
		if p.Role == graph.ConvWeights {
			s := p.Shape
			p.Data = channelsLast(data.floats, s.N, s.C, s.H*s.W)
		}
	}
	for _, layout := range Layouts() {
		made, err := Export(m, Options{Layout: layout})
		if err != nil {
			return err
		}
		if len(file.OpsetImport) == 1 && proto.Equal(made.OpsetImport[0], file.OpsetImport[0]) && sameGraph(made.Graph, file.Graph) {
			return nil
		}
	}
	return ErrNotOwn
}

// sameGraph compares graphs but for what does not matter: the order of initialisers, and texts for people.
func sameGraph(a, b *onnxpb.GraphProto) bool {
	if len(a.Node) != len(b.Node) || len(a.Initializer) != len(b.Initializer) || len(a.Input) != len(b.Input) || len(a.Output) != len(b.Output) {
		return false
	}
	for i := range a.Node {
		if !proto.Equal(a.Node[i], b.Node[i]) {
			return false
		}
	}
	byName := map[string]*onnxpb.TensorProto{}
	for _, t := range b.Initializer {
		byName[t.Name] = t
	}
	for _, t := range a.Initializer {
		if u := byName[t.Name]; u == nil || !proto.Equal(t, u) {
			return false
		}
	}
	return proto.Equal(a.Input[0], b.Input[0]) && proto.Equal(a.Output[0], b.Output[0])
}

// channelsLast turns n blocks of (channels, pixels) to (pixels, channels).
func channelsLast(data []float32, n, channels, pixels int) []float32 {
	out := make([]float32, len(data))
	for i := range n {
		for c := range channels {
			for p := range pixels {
				out[(i*pixels+p)*channels+c] = data[(i*channels+c)*pixels+p]
			}
		}
	}
	return out
}
