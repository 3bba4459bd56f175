package onnx

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/convae/convae/nn/onnx/onnxpb"
)

// info declares a tensor of so many numbers or of an image for one sample.
func info(name string, dims ...int64) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range append([]int64{1}, dims...) {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	return &onnxpb.ValueInfoProto{Name: name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
		ElemType: int32(onnxpb.TensorProto_FLOAT), Shape: shape}}}}
}

// chain is a graph of nodes one behind another, from x to y.
func chain(opset int64, in, out *onnxpb.ValueInfoProto, nodes ...*onnxpb.NodeProto) *onnxpb.ModelProto {
	last := in.Name
	for i, n := range nodes {
		n.Name = fmt.Sprintf("node_%d", i)
		n.Input = append([]string{last}, n.Input...)
		last = fmt.Sprintf("t%d", i)
		n.Output = []string{last}
	}
	nodes[len(nodes)-1].Output = []string{out.Name}
	return &onnxpb.ModelProto{IrVersion: irVersion, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: opset}},
		Graph: &onnxpb.GraphProto{Node: nodes, Input: []*onnxpb.ValueInfoProto{in}, Output: []*onnxpb.ValueInfoProto{out}}}
}

func relus(n int) *onnxpb.ModelProto {
	var nodes []*onnxpb.NodeProto
	for range n {
		nodes = append(nodes, &onnxpb.NodeProto{OpType: "Relu"})
	}
	return chain(13, info("x", 4), info("y", 4), nodes...)
}

// wantRefused wants an error that has all of the texts.
func wantRefused(t *testing.T, file *onnxpb.ModelProto, texts ...string) {
	t.Helper()
	_, err := Import(file, ImportOptions{})
	if err == nil {
		t.Errorf("no error, want one with %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
}

// A graph is of an operator set and of a version of the format that are read, or the error has what was found and what is read.
func TestImportVersions(t *testing.T) {
	for opset := int64(7); opset <= 23; opset++ {
		file := relus(2)
		file.OpsetImport = []*onnxpb.OperatorSetIdProto{{Domain: "ai.onnx.ml", Version: 3}, {Version: opset}}
		if _, err := Import(file, ImportOptions{}); err != nil {
			t.Errorf("operator set %d: %v", opset, err)
		}
	}
	for want, list := range map[string][]*onnxpb.OperatorSetIdProto{
		"it is of operator set 9999 (opset_import), want one of 7 to 23":           {{Version: 9999}},
		"it is of operator set 0 (opset_import), want one of 7 to 23":              {{}},
		"it is of operator set -5 (opset_import), want one of 7 to 23":             {{Version: -5}},
		"it is of operator set 6 (opset_import), want one of 7 to 23":              {{Domain: "ai.onnx", Version: 6}},
		"it is of operator set [13 9] (opset_import), want one of 7 to 23":         {{Version: 13}, {Domain: "ai.onnx", Version: 9}},
		"it names no operator set (opset_import): want ONNX's own":                 nil,
		`it names the operator sets of "ai.onnx.ml" alone (opset_import): want ON`: {{Domain: "ai.onnx.ml", Version: 3}},
	} {
		file := relus(2)
		file.OpsetImport = list
		wantRefused(t, file, want)
	}
	for _, v := range []int64{-1, 0, 2, 12, 9999} {
		file := relus(2)
		file.IrVersion = v
		wantRefused(t, file, fmt.Sprintf("it is of version %d of the ONNX format (ir_version), want 3 to 11", v))
	}
}

// What a node says and what the graph has, or the operator set defines, is the same, or the error has the node, the operator and the attribute.
func TestImportContradictions(t *testing.T) {
	image, half := info("x", 2, 4, 4), info("y", 2, 8, 8)
	weights := floatTensor("w", []int64{2, 2, 3, 3}, make([]float32, 36))
	four := func(name string, v ...float32) *onnxpb.TensorProto {
		return floatTensor(name, []int64{int64(len(v))}, v)
	}
	with := func(file *onnxpb.ModelProto, t ...*onnxpb.TensorProto) *onnxpb.ModelProto {
		file.Graph.Initializer = t
		return file
	}
	node := func(kind string, inputs []string, a ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{OpType: kind, Input: inputs, Attribute: a}
	}
	conv := func(a ...*onnxpb.AttributeProto) *onnxpb.ModelProto {
		return with(chain(13, image, info("y", 2, 4, 4), node("Conv", []string{"w"}, append(a, ints("pads", 1, 1, 1, 1))...), node("Relu", nil)), weights)
	}
	if _, err := Import(conv(sizes("kernel_shape", 3, 3)), ImportOptions{}); err != nil {
		t.Error(err)
	}
	wantRefused(t, conv(sizes("kernel_shape", 5, 5)), `node "node_0" (Conv)`, "attribute kernel_shape is [5 5]", "its weights have the rows and columns [3 3]")
	wantRefused(t, conv(integer("foo", 1)), `node "node_0" (Conv)`, `the attribute "foo"`, "want one of auto_pad, dilations, group, kernel_shape, pads, strides")
	wantRefused(t, conv(integer("strides", 1)), "attribute strides is of the type INT, want INTS")
	wantRefused(t, conv(ints("strides", 1, 1), ints("strides", 2, 2)), "attribute strides is there twice")
	wantRefused(t, conv(text("auto_pad", "SAME_UPPER")), "attribute auto_pad is SAME_UPPER and its attribute pads [1 1 1 1]")

	averages := []*onnxpb.TensorProto{four("a", 1, 1), four("b", 1, 1), four("c", 1, 1), four("d", 1, 1)}
	normal := func(opset int64, a ...*onnxpb.AttributeProto) *onnxpb.ModelProto {
		return with(chain(opset, image, info("y", 2, 4, 4), node("BatchNormalization", []string{"a", "b", "c", "d"}, a...), node("Relu", nil)), averages...)
	}
	if _, err := Import(normal(8, integer("spatial", 1)), ImportOptions{}); err != nil {
		t.Error(err)
	}
	wantRefused(t, normal(8, integer("spatial", 0)), "(BatchNormalization)", "attribute spatial is 0, want 1")
	wantRefused(t, normal(13, integer("spatial", 1)), `the attribute "spatial", which it does not have in operator set 13`)
	wantRefused(t, normal(13, integer("training_mode", 0)), `the attribute "training_mode", which it does not have in operator set 13`)
	wantRefused(t, normal(15, integer("training_mode", 1)), "attribute training_mode is 1, want 0")

	up := func(opset int64, kind string, inputs []string, a ...*onnxpb.AttributeProto) *onnxpb.ModelProto {
		return with(chain(opset, image, half, node(kind, inputs, a...), node("Relu", nil)), four("scales", 1, 1, 2, 2), four("none"), intTensor("sizes", 1, 2, 8, 8))
	}
	scales := &onnxpb.AttributeProto{Name: "scales", Type: onnxpb.AttributeProto_FLOATS, Floats: []float32{1, 1, 2, 2}}
	for _, file := range []*onnxpb.ModelProto{up(7, "Upsample", nil, scales), up(9, "Upsample", []string{"scales"}), up(10, "Resize", []string{"scales"}),
		up(11, "Resize", []string{"none", "scales"}), up(13, "Resize", []string{"", "scales"}), up(13, "Resize", []string{"", "", "sizes"}), up(11, "Resize", []string{"none", "none", "sizes"})} {
		if m, err := Import(file, ImportOptions{}); err != nil || m.Output.H != 8 {
			t.Errorf("operator set %d: %v", file.OpsetImport[0].Version, err)
		}
	}
	wantRefused(t, up(13, "Resize", []string{"scales"}), `node "node_0" (Resize): it has no input scales (the third in operator set 13)`)
	wantRefused(t, up(13, "Resize", []string{"", "scales", "sizes"}), "the inputs scales and sizes, want one")
	wantRefused(t, up(13, "Upsample", []string{"scales"}), "operator set 13 does not have it, it is of the sets up to 9")
	wantRefused(t, up(9, "Resize", []string{"scales"}), "operator set 9 does not have it, it is of the sets from 10 on")
	wantRefused(t, up(9, "Upsample", nil, scales), `the attribute "scales", which it does not have in operator set 9`)
	wantRefused(t, up(10, "Resize", []string{"scales"}, text("mode", "linear")), "its coordinate_transformation_mode asymmetric")
	wantRefused(t, up(18, "Resize", []string{"", "scales"}, integer("antialias", 1)), "attribute antialias is 1, want 0")

	// What the graph is declared to take and to make.
	file := relus(2)
	file.Graph.Output[0] = info("y", 5)
	wantRefused(t, file, "the output y is declared as (1, 5), and the graph makes (samples, 4)")
	file.Graph.Output[0] = info("y", 4, 1, 1)
	wantRefused(t, file, "the output y is declared as (1, 4, 1, 1), and the graph makes (samples, 4)")
	file = proto.Clone(conv()).(*onnxpb.ModelProto)
	file.Graph.Input[0].Type.GetTensorType().ElemType = int32(onnxpb.TensorProto_INT64)
	wantRefused(t, file, "the input x is of the type INT64, want FLOAT")
	file = relus(2)
	file.Graph.Output[0].Type.GetTensorType().ElemType = int32(onnxpb.TensorProto_INT64)
	wantRefused(t, file, "the output y is of the type INT64, want FLOAT")
	file = relus(2)
	file.Graph.Node[1].Output[0] = "x"
	wantRefused(t, file, `node "node_1" (Relu): its output "x" is there already`)
	file = relus(2)
	file.Graph.Node[1].Name = ""
	file.Graph.Node[1].Input = append(file.Graph.Node[1].Input, "x")
	wantRefused(t, file, `node "y" (Relu): it has 2 inputs, want 1`)
}

// What an import allocates is in proportion to the nodes: twice as many take twice as much, and not four times.
func TestImportLinear(t *testing.T) {
	allocated := func(n int) uint64 {
		file := relus(n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Import(file, ImportOptions{}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if few, many := allocated(1000), allocated(4000); many > 6*few {
		t.Errorf("1000 nodes take %d bytes and 4000 nodes %d, want about four times as much", few, many)
	}
}

// No file makes the importer panic.
func FuzzImport(f *testing.F) {
	for _, name := range []string{"torch_strides", "torch_pools"} {
		data, err := os.ReadFile("../../trainer/exchange/testdata/" + name + ".onnx")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := Parse(data); err == nil {
			if m, err := Import(file, ImportOptions{Size: 8}); err == nil && m.Config.Check() != nil {
				t.Error("a model that cannot be")
			}
		}
	})
}
