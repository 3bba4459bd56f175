package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/nn/onnx/onnxpb"
)

func small(t *testing.T) *nn.Model {
	t.Helper()
	m, err := nn.New(nn.Config{Name: "small", Input: []int{6, 5, 3},
		Encoder: graph.Specs(&layer.Conv2D{Filters: 4, Kernel: layer.Square(3), Stride: 2, Activation: "relu"}, &layer.BatchNormalization{}),
		Decoder: graph.Specs(&layer.Conv2DTranspose{Filters: 3, Kernel: layer.Square(3), Stride: 2, Activation: "sigmoid"})}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lines lists the nodes of a graph, with what they read and their attributes.
func lines(g *onnxpb.GraphProto) string {
	var b strings.Builder
	for _, n := range g.Node {
		fmt.Fprintf(&b, "%s(%s)", n.OpType, strings.Join(n.Input, ", "))
		for _, a := range n.Attribute {
			fmt.Fprintf(&b, " %s=%s", a.Name, valueText(a))
		}
		fmt.Fprintf(&b, " -> %s\n", strings.Join(n.Output, ", "))
	}
	return b.String()
}

func valueText(a *onnxpb.AttributeProto) string {
	switch a.Type {
	case onnxpb.AttributeProto_INT:
		return fmt.Sprint(a.GetI())
	case onnxpb.AttributeProto_FLOAT:
		return fmt.Sprint(a.GetF())
	case onnxpb.AttributeProto_STRING:
		return string(a.GetS())
	}
	return fmt.Sprint(a.Ints)
}

func dims(v *onnxpb.ValueInfoProto) string {
	var list []string
	for _, d := range v.Type.GetTensorType().Shape.Dim {
		if p := d.GetDimParam(); p != "" {
			list = append(list, p)
		} else {
			list = append(list, fmt.Sprint(d.GetDimValue()))
		}
	}
	return v.Name + " " + strings.Join(list, " ")
}

// What is written is read back: names, versions, shapes with a free number of samples, uneven padding, and weights bit for bit.
func TestExport(t *testing.T) {
	m := small(t)
	made, err := Export(m, Options{Version: "1", Metadata: map[string]string{"key": "value"}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	var model onnxpb.ModelProto
	if err := proto.Unmarshal(data, &model); err != nil {
		t.Fatal(err)
	}
	g := model.Graph
	if model.IrVersion != 7 || len(model.OpsetImport) != 1 || model.OpsetImport[0].Domain != "" || model.OpsetImport[0].Version != 13 || model.ProducerName != "convae" ||
		g.Name != "small" || model.MetadataProps[0].Key != "key" || model.MetadataProps[0].Value != "value" {
		t.Errorf("the model is %v", &model)
	}
	if in, out := dims(g.Input[0]), dims(g.Output[0]); in != "input batch 3 6 5" || out != "output batch 3 6 6" {
		t.Errorf("it has %s and %s", in, out)
	}
	const want = `Conv(input, encoder.0.weight, encoder.0.bias) kernel_shape=[3 3] strides=[2 2] dilations=[1 1] pads=[0 1 1 1] group=1 -> conv2d/Conv
Relu(conv2d/Conv) -> conv2d/Relu
BatchNormalization(conv2d/Relu, encoder.2.weight, encoder.2.bias, encoder.2.running_mean, encoder.2.running_var) epsilon=0.001 -> batch_normalization/BatchNormalization
ConvTranspose(batch_normalization/BatchNormalization, decoder.0.weight, decoder.0.bias) kernel_shape=[3 3] strides=[2 2] pads=[0 0 1 1] output_padding=[0 0] -> conv2d_transpose/ConvTranspose
Sigmoid(conv2d_transpose/ConvTranspose) -> output
`
	if got := lines(g); got != want {
		t.Errorf("nodes are\n%s\nwant\n%s", got, want)
	}
	tensors := m.Tensors()
	for i, p := range m.Params {
		at := slices.IndexFunc(g.Initializer, func(x *onnxpb.TensorProto) bool { return x.Name == p.Name })
		if at < 0 {
			t.Fatalf("there is no %s", p.Name)
		}
		x := g.Initializer[at]
		var shape []int
		for _, d := range x.Dims {
			shape = append(shape, int(d))
		}
		if !slices.Equal(shape, tensors[i].Shape) || !slices.Equal(x.RawData, tensors[i].Data) || x.DataType != 1 {
			t.Errorf("%s is not what it was", p.Name)
		}
	}
	if again, _ := Export(m, Options{Version: "1", Metadata: map[string]string{"key": "value"}}); !proto.Equal(again, made) {
		t.Error("the same model gives another graph")
	}
}

// Dense weights are in convae's own order: what a flatten makes has channels last.
func TestExportDense(t *testing.T) {
	m, err := nn.New(nn.Config{Name: "flat", Input: []int{2, 2, 3}, Encoder: graph.Specs(&layer.Flatten{}, &layer.Dense{Units: 2}), Decoder: graph.Specs(&layer.Dense{Units: 12})}, 1)
	if err != nil {
		t.Fatal(err)
	}
	made, err := Export(m, Options{Part: Encoder, Layout: NHWC})
	if err != nil {
		t.Fatal(err)
	}
	const want = `Transpose(input) perm=[0 3 1 2] -> input/Transpose
Transpose(input/Transpose) perm=[0 2 3 1] -> flatten/Transpose
Reshape(flatten/Transpose, shape_0_12) -> flatten/Reshape
Gemm(flatten/Reshape, encoder.1.weight, encoder.1.bias) transB=1 -> code
`
	if got := lines(made.Graph); got != want {
		t.Errorf("nodes are\n%s\nwant\n%s", got, want)
	}
	if in, out := dims(made.Graph.Input[0]), dims(made.Graph.Output[0]); in != "input batch 2 2 3" || out != "code batch 2" {
		t.Errorf("it has %s and %s", in, out)
	}
	w := made.Graph.Initializer[slices.IndexFunc(made.Graph.Initializer, func(x *onnxpb.TensorProto) bool { return x.Name == "encoder.1.weight" })]
	for i, v := range m.Params[0].Data {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(w.RawData[4*i:])); got != v {
			t.Fatalf("element %d is %v, want %v", i, got, v)
		}
	}
}

func TestExportErrors(t *testing.T) {
	m := small(t)
	skips, err := nn.New(nn.Config{Name: "skips", Input: []int{4, 4, 1}, Encoder: graph.Specs(&layer.Conv2D{Filters: 1, Kernel: layer.Square(3)}),
		Decoder: []graph.Spec{{Layer: &layer.Conv2D{Filters: 1, Kernel: layer.Square(3)}, Name: "a"}, {Layer: &layer.Add{}, Inputs: []string{"a", "input"}}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for want, try := range map[string]func() error{
		`the part is "half"`:           func() error { _, err := Export(m, Options{Part: "half"}); return err },
		`the layout is "hwc"`:          func() error { _, err := Export(m, Options{Layout: "hwc"}); return err },
		"makes besides the code: expo": func() error { _, err := Export(skips, Options{Part: Decoder}); return err },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
