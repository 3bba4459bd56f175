package tensorboard

import (
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/trainer/tensorboard/eventpb"
)

// Graph is a model as nodes that take one another's outputs.
type Graph struct{ def *eventpb.GraphDef }

// The nodes of a graph besides its layers.
const (
	inputNode      = "input"
	corruptionNode = "corruption"
	lossNode       = "loss"
)

// GraphOf returns the graph of a training: the input, how it is made worse unless that is "", the layers in groups of encoder and decoder, and the loss.
func GraphOf(m *nn.Model, corruption, loss string) Graph {
	b := Graph{&eventpb.GraphDef{Versions: &eventpb.VersionDef{Producer: 1}}}
	b.add(inputNode, "Placeholder", m.Input, nil)
	last := inputNode
	if corruption != "" {
		b.text(b.add(corruptionNode, "Corruption", m.Input, []string{last}), "how", corruption)
		last = corruptionNode
	}
	named := map[string]string{graph.InputName: last}
	for i, l := range m.Layers {
		spec := layerSpec(m.Config, i)
		in := []string{last}
		if spec.Inputs != nil {
			in = nil
			for _, name := range spec.Inputs {
				in = append(in, named[name])
			}
		}
		last = l.Part + "/" + l.Name
		n := b.add(last, l.Layer.Kind(), l.Out, in)
		if text, err := yaml.Marshal(spec); err == nil { // a layer of another module may not be written: then its node says less
			b.text(n, "configuration", strings.TrimSpace(string(text)))
		}
		if count := l.Trainable + l.State; count > 0 {
			n.Attr["parameters"] = &eventpb.AttrValue{Value: &eventpb.AttrValue_I{I: int64(count)}}
		}
		if spec.Name != "" {
			named[spec.Name] = last
		}
	}
	b.text(b.add(lossNode, "Loss", backend.Shape{}, []string{last, inputNode}), "loss", loss)
	return b
}

// layerSpec is what the configuration says of the model's layer number i.
func layerSpec(c nn.Config, i int) graph.Spec {
	if i < len(c.Encoder) {
		return c.Encoder[i]
	}
	return c.Decoder[i-len(c.Encoder)]
}

// add adds a node. The zero Shape is that of a number.
func (b Graph) add(name, op string, out backend.Shape, in []string) *eventpb.NodeDef {
	shape := &eventpb.TensorShapeProto{}
	dims := []int{-1, out.H, out.W, out.C}
	if out.H == 1 && out.W == 1 {
		dims = []int{-1, out.C}
	}
	if out != (backend.Shape{}) {
		for _, d := range dims {
			shape.Dim = append(shape.Dim, &eventpb.TensorShapeProto_Dim{Size: int64(d)})
		}
	}
	n := &eventpb.NodeDef{Name: name, Op: op, Input: in, Attr: map[string]*eventpb.AttrValue{
		"_output_shapes": {Value: &eventpb.AttrValue_List{List: &eventpb.AttrValue_ListValue{Shape: []*eventpb.TensorShapeProto{shape}}}},
		"dtype":          {Value: &eventpb.AttrValue_Type{Type: eventpb.DataType_DT_FLOAT}},
	}}
	b.def.Node = append(b.def.Node, n)
	return n
}

func (b Graph) text(n *eventpb.NodeDef, name, text string) {
	n.Attr[name] = &eventpb.AttrValue{Value: &eventpb.AttrValue_S{S: []byte(text)}}
}
