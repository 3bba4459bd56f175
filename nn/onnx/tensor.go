package onnx

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/convae/convae/nn/onnx/onnxpb"
)

func floatTensor(name string, dims []int64, data []float32) *onnxpb.TensorProto {
	raw := make([]byte, 0, 4*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return &onnxpb.TensorProto{Name: name, Dims: dims, DataType: int32(onnxpb.TensorProto_FLOAT), RawData: raw}
}

func intTensor(name string, data ...int64) *onnxpb.TensorProto {
	var raw []byte
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return &onnxpb.TensorProto{Name: name, Dims: []int64{int64(len(data))}, DataType: int32(onnxpb.TensorProto_INT64), RawData: raw}
}

func integer(name string, v int) *onnxpb.AttributeProto {
	i := int64(v)
	return &onnxpb.AttributeProto{Name: name, Type: onnxpb.AttributeProto_INT, I: &i}
}

func number(name string, v float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: name, Type: onnxpb.AttributeProto_FLOAT, F: &v}
}

func text(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: name, Type: onnxpb.AttributeProto_STRING, S: []byte(v)}
}

func ints(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: name, Type: onnxpb.AttributeProto_INTS, Ints: v}
}

func sizes(name string, v ...int) *onnxpb.AttributeProto {
	list := make([]int64, len(v))
	for i, n := range v {
		list[i] = int64(n)
	}
	return ints(name, list...)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
