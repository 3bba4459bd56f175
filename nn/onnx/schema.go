package onnx

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/convae/convae/nn/onnx/onnxpb"
)

// The versions that Import reads. Set 7 is the first with broadcasting as it is today and with operators that need not be told that they do
// not train; up to 23 the definitions of what is read here differ as schemas say. Versions of the format are those of these sets.
const (
	oldestOpset, newestOpset         = 7, 23
	oldestIRVersion, newestIRVersion = 3, 11
)

// opsetOf returns the version of ONNX's own operator set that a file is of. It is an error if it, or the version of the format, is not read here.
func opsetOf(file *onnxpb.ModelProto) (int, error) {
	if v := file.IrVersion; v < oldestIRVersion || v > newestIRVersion {
		return 0, fmt.Errorf("it is of version %d of the ONNX format (ir_version), want %d to %d", v, oldestIRVersion, newestIRVersion)
	}
	var versions []int64
	var others []string
	for _, s := range file.OpsetImport {
		if s.GetDomain() == "" || s.GetDomain() == "ai.onnx" {
			versions = append(versions, s.GetVersion())
		} else {
			others = append(others, fmt.Sprintf("%q", s.GetDomain()))
		}
	}
	if len(versions) == 0 {
		found := "no operator set"
		if len(others) > 0 {
			found = "the operator sets of " + strings.Join(others, " and ") + " alone"
		}
		return 0, fmt.Errorf("it names %s (opset_import): want ONNX's own, of version %d to %d", found, oldestOpset, newestOpset)
	}
	if v := versions[0]; len(versions) > 1 || v < oldestOpset || v > newestOpset {
		text := fmt.Sprint(v)
		if len(versions) > 1 {
			text = fmt.Sprint(versions)
		}
		return 0, fmt.Errorf("it is of operator set %s (opset_import), want one of %d to %d", text, oldestOpset, newestOpset)
	}
	return int(versions[0]), nil
}

const (
	aFloat  = onnxpb.AttributeProto_FLOAT
	anInt   = onnxpb.AttributeProto_INT
	aString = onnxpb.AttributeProto_STRING
	aTensor = onnxpb.AttributeProto_TENSOR
	floats  = onnxpb.AttributeProto_FLOATS
	manyInt = onnxpb.AttributeProto_INTS
)

// attribute is one that an operator has from one operator set on, to another.
type attribute struct {
	kind         onnxpb.AttributeProto_AttributeType
	since, until int // until 0: still
}

// schema says of an operator how many inputs it has, and which attributes.
type schema struct {
	since, until   int // operator sets; 0: all
	inputs, atMost int
	attributes     map[string]attribute
}

// schemas are the operators that Import knows, as https://onnx.ai/onnx/operators defines them in the sets that it reads.
var schemas = map[string]schema{
	"Identity":           {inputs: 1, atMost: 1},
	"Dropout":            {inputs: 1, atMost: 3, attributes: map[string]attribute{"ratio": {aFloat, 0, 11}, "seed": {anInt, 12, 0}}},
	"Pad":                {inputs: 1, atMost: 4, attributes: map[string]attribute{"mode": {aString, 0, 0}, "pads": {manyInt, 0, 10}, "value": {aFloat, 0, 10}}},
	"Conv":               {inputs: 2, atMost: 3, attributes: windowAttributes(map[string]attribute{"dilations": {manyInt, 0, 0}, "group": {anInt, 0, 0}})},
	"ConvTranspose":      {inputs: 2, atMost: 3, attributes: windowAttributes(map[string]attribute{"dilations": {manyInt, 0, 0}, "group": {anInt, 0, 0}, "output_padding": {manyInt, 0, 0}, "output_shape": {manyInt, 0, 0}})},
	"Gemm":               {inputs: 2, atMost: 3, attributes: map[string]attribute{"alpha": {aFloat, 0, 0}, "beta": {aFloat, 0, 0}, "transA": {anInt, 0, 0}, "transB": {anInt, 0, 0}}},
	"MatMul":             {inputs: 2, atMost: 2},
	"BatchNormalization": {inputs: 5, atMost: 5, attributes: map[string]attribute{"epsilon": {aFloat, 0, 0}, "momentum": {aFloat, 0, 0}, "spatial": {anInt, 0, 8}, "training_mode": {anInt, 14, 0}}},
	"Relu":               {inputs: 1, atMost: 1},
	"Sigmoid":            {inputs: 1, atMost: 1},
	"Tanh":               {inputs: 1, atMost: 1},
	"Softplus":           {inputs: 1, atMost: 1},
	"Softsign":           {inputs: 1, atMost: 1},
	"LeakyRelu":          {inputs: 1, atMost: 1, attributes: map[string]attribute{"alpha": {aFloat, 0, 0}}},
	"Elu":                {inputs: 1, atMost: 1, attributes: map[string]attribute{"alpha": {aFloat, 0, 0}}},
	"MaxPool":            {inputs: 1, atMost: 1, attributes: windowAttributes(map[string]attribute{"dilations": {manyInt, 10, 0}, "ceil_mode": {anInt, 10, 0}, "storage_order": {anInt, 8, 0}})},
	"AveragePool":        {inputs: 1, atMost: 1, attributes: windowAttributes(map[string]attribute{"dilations": {manyInt, 19, 0}, "ceil_mode": {anInt, 10, 0}, "count_include_pad": {anInt, 0, 0}})},
	"GlobalAveragePool":  {inputs: 1, atMost: 1},
	"Upsample":           {until: 9, inputs: 1, atMost: 2, attributes: map[string]attribute{"mode": {aString, 0, 0}, "scales": {floats, 0, 8}}},
	"Resize": {since: 10, inputs: 1, atMost: 4, attributes: map[string]attribute{"mode": {aString, 0, 0}, "coordinate_transformation_mode": {aString, 11, 0}, "nearest_mode": {aString, 11, 0},
		"cubic_coeff_a": {aFloat, 11, 0}, "exclude_outside": {anInt, 11, 0}, "extrapolation_value": {aFloat, 11, 0}, "antialias": {anInt, 18, 0}, "axes": {manyInt, 18, 0}, "keep_aspect_ratio_policy": {aString, 18, 0}}},
	"DepthToSpace": {inputs: 1, atMost: 1, attributes: map[string]attribute{"blocksize": {anInt, 0, 0}, "mode": {aString, 11, 0}}},
	"Flatten":      {inputs: 1, atMost: 1, attributes: map[string]attribute{"axis": {anInt, 0, 0}}},
	"Reshape":      {inputs: 2, atMost: 2, attributes: map[string]attribute{"allowzero": {anInt, 14, 0}}},
	"Squeeze":      {inputs: 1, atMost: 2, attributes: map[string]attribute{"axes": {manyInt, 0, 12}}},
	"Unsqueeze":    {inputs: 1, atMost: 2, attributes: map[string]attribute{"axes": {manyInt, 0, 12}}},
	"Transpose":    {inputs: 1, atMost: 1, attributes: map[string]attribute{"perm": {manyInt, 0, 0}}},
	"Add":          {inputs: 2, atMost: 2},
	"Sub":          {inputs: 2, atMost: 2},
	"Mul":          {inputs: 2, atMost: 2},
	"Div":          {inputs: 2, atMost: 2},
	"Concat":       {inputs: 1, atMost: math.MaxInt, attributes: map[string]attribute{"axis": {anInt, 0, 0}}},
	// Of constants and shapes alone.
	"Constant": {attributes: map[string]attribute{"value": {aTensor, 0, 0}, "value_float": {aFloat, 12, 0}, "value_int": {anInt, 12, 0}, "value_ints": {manyInt, 12, 0}}},
	"Shape":    {inputs: 1, atMost: 1, attributes: map[string]attribute{"start": {anInt, 15, 0}, "end": {anInt, 15, 0}}},
	"Cast":     {inputs: 1, atMost: 1, attributes: map[string]attribute{"to": {anInt, 0, 0}, "saturate": {anInt, 19, 0}}},
	"Gather":   {inputs: 2, atMost: 2, attributes: map[string]attribute{"axis": {anInt, 0, 0}}},
	"Slice":    {inputs: 1, atMost: 5, attributes: map[string]attribute{"axes": {manyInt, 0, 9}, "starts": {manyInt, 0, 9}, "ends": {manyInt, 0, 9}}},
}

// windowAttributes adds those that all windows have.
func windowAttributes(more map[string]attribute) map[string]attribute {
	more["auto_pad"] = attribute{aString, 0, 0}
	for _, name := range []string{"kernel_shape", "pads", "strides"} {
		more[name] = attribute{manyInt, 0, 0}
	}
	return more
}

// check wants a node to be as the operator set defines its operator.
func (b *importer) check(n *onnxpb.NodeProto) error {
	s, ok := schemas[n.GetOpType()]
	if !ok {
		return errNoLayer
	}
	if s.since > b.opset || s.until > 0 && s.until < b.opset {
		text := fmt.Sprintf("up to %d", s.until)
		if s.since > 0 {
			text = fmt.Sprintf("from %d on", s.since)
		}
		return fmt.Errorf("operator set %d does not have it, it is of the sets %s", b.opset, text)
	}
	if k := len(n.Input); k < s.inputs || k > s.atMost {
		text := fmt.Sprint(s.inputs)
		switch {
		case s.atMost == math.MaxInt:
			text = fmt.Sprintf("at least %d", s.inputs)
		case s.atMost > s.inputs:
			text = fmt.Sprintf("%d to %d", s.inputs, s.atMost)
		}
		return fmt.Errorf("it has %d inputs, want %s", k, text)
	}
	seen := map[string]bool{}
	for _, p := range n.Attribute {
		name := p.GetName()
		a, ok := s.attributes[name]
		if !ok || a.since > b.opset || a.until > 0 && a.until < b.opset {
			var known []string
			for _, k := range slices.Sorted(maps.Keys(s.attributes)) {
				if a := s.attributes[k]; a.since <= b.opset && (a.until == 0 || a.until >= b.opset) {
					known = append(known, k)
				}
			}
			text := "none"
			if len(known) > 0 {
				text = "one of " + strings.Join(known, ", ")
			}
			return fmt.Errorf("it has the attribute %q, which it does not have in operator set %d or which is not read: want %s", name, b.opset, text)
		}
		if p.GetType() != a.kind {
			return fmt.Errorf("its attribute %s is of the type %s, want %s", name, p.GetType(), a.kind)
		}
		if seen[name] {
			return fmt.Errorf("its attribute %s is there twice", name)
		}
		seen[name] = true
	}
	return nil
}

// isFloat reports whether a tensor of an element type is of numbers that become float32.
func isFloat(t int32) bool {
	switch onnxpb.TensorProto_DataType(t) {
	case onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_DOUBLE, onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16:
		return true
	}
	return false
}

// checkFloat wants an input or an output of the graph to be of such numbers.
func checkFloat(what string, v *onnxpb.ValueInfoProto) error {
	if t := v.GetType().GetTensorType().GetElemType(); !isFloat(t) {
		return fmt.Errorf("the %s %s is of the type %s, want FLOAT, DOUBLE, FLOAT16 or BFLOAT16", what, v.GetName(), onnxpb.TensorProto_DataType(t))
	}
	return nil
}

// checkOutput wants what the graph makes to have the shape that it is declared to have, but for the number of samples and for what is left free.
func checkOutput(declared *onnxpb.ValueInfoProto, v *val) error {
	if err := checkFloat("output", declared); err != nil {
		return err
	}
	shape := declared.GetType().GetTensorType().GetShape()
	if shape == nil {
		return nil
	}
	s := v.shape
	dims := []int{s.C}
	switch {
	case v.rank == 4 && v.last:
		dims = []int{s.H, s.W, s.C}
	case v.rank == 4:
		dims = []int{s.C, s.H, s.W}
	}
	same := len(shape.Dim) == v.rank
	texts := []string{}
	for i, d := range shape.Dim {
		text := d.GetDimParam()
		if fixed, ok := d.Value.(*onnxpb.TensorShapeProto_Dimension_DimValue); ok {
			text = fmt.Sprint(fixed.DimValue)
			same = same && (i == 0 || fixed.DimValue == int64(dims[i-1]))
		} else if text == "" {
			text = "?"
		}
		texts = append(texts, text)
	}
	if !same {
		made := strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", ", "), "[]")
		return fmt.Errorf("the output %s is declared as (%s), and the graph makes (samples, %s)", declared.GetName(), strings.Join(texts, ", "), made)
	}
	return nil
}
