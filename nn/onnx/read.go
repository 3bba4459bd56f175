package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/convae/convae/nn/onnx/onnxpb"
	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/nn/safetensors"
)

// maxRank is the most dimensions that a tensor may have.
const maxRank = 8

// ReadFile reads an ONNX file.
func ReadFile(path string) (*onnxpb.ModelProto, error) {
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Parse reads the bytes of an ONNX file.
func Parse(data []byte) (*onnxpb.ModelProto, error) {
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("it is no ONNX file: %w", err)
	}
	if m.Graph == nil || len(m.Graph.Input) == 0 || len(m.Graph.Output) == 0 {
		return nil, errors.New("it is no ONNX file: it has no graph with an input and an output")
	}
	return m, nil
}

// Metadata returns a text of a file's metadata.
func Metadata(m *onnxpb.ModelProto, key string) (string, bool) {
	for _, p := range m.MetadataProps {
		if p.GetKey() == key {
			return p.GetValue(), true
		}
	}
	return "", false
}

// tensor is a constant of a graph: numbers, or whole numbers.
type tensor struct {
	dims   []int
	floats []float32
	ints   []int64
	whole  bool
}

func (t *tensor) len() int {
	n := 1
	for _, d := range t.dims {
		n *= d
	}
	return n
}

// readTensor takes in a constant. Half precision, bfloat16 and float64 become float32; all are finite.
func readTensor(p *onnxpb.TensorProto) (*tensor, error) {
	if p == nil {
		return nil, errors.New("it has no value")
	}
	if p.DataLocation == onnxpb.TensorProto_EXTERNAL {
		return nil, errors.New("its numbers are in another file: want them in the ONNX file itself")
	}
	t := &tensor{}
	n := 1
	if len(p.Dims) > maxRank {
		return nil, fmt.Errorf("it has %d dimensions, want at most %d", len(p.Dims), maxRank)
	}
	for _, d := range p.Dims {
		if d < 0 || d > math.MaxInt32 || d > 0 && n > math.MaxInt32/int(d) {
			return nil, fmt.Errorf("its dimensions are %v", p.Dims)
		}
		t.dims = append(t.dims, int(d))
		n *= int(d)
	}
	var dtype safetensors.DType
	switch onnxpb.TensorProto_DataType(p.DataType) {
	case onnxpb.TensorProto_FLOAT:
		dtype, t.floats = safetensors.F32, p.FloatData
	case onnxpb.TensorProto_DOUBLE:
		dtype = safetensors.F64
		for _, v := range p.DoubleData {
			t.floats = append(t.floats, float32(v))
		}
	case onnxpb.TensorProto_FLOAT16:
		dtype = safetensors.F16
	case onnxpb.TensorProto_BFLOAT16:
		dtype = safetensors.BF16
	case onnxpb.TensorProto_INT64:
		t.whole, t.ints = true, p.Int64Data
	case onnxpb.TensorProto_INT32:
		t.whole = true
		for _, v := range p.Int32Data {
			t.ints = append(t.ints, int64(v))
		}
	default:
		return nil, fmt.Errorf("its type is %s, want FLOAT, DOUBLE, FLOAT16, BFLOAT16, INT32 or INT64", onnxpb.TensorProto_DataType(p.DataType))
	}
	if raw := p.RawData; len(raw) > 0 {
		switch {
		case !t.whole:
			if len(raw) != n*dtype.Size() {
				return nil, fmt.Errorf("it has %d bytes and the dimensions %v", len(raw), p.Dims)
			}
			s := safetensors.Tensor{DType: dtype, Shape: t.dims, Data: raw}
			wide, err := s.ToFloat32()
			if err != nil {
				return nil, err
			}
			if t.floats, err = wide.Float32s(); err != nil {
				return nil, err
			}
		case onnxpb.TensorProto_DataType(p.DataType) == onnxpb.TensorProto_INT64:
			t.ints = nil
			for ; len(raw) >= 8; raw = raw[8:] {
				t.ints = append(t.ints, int64(binary.LittleEndian.Uint64(raw)))
			}
		default:
			t.ints = nil
			for ; len(raw) >= 4; raw = raw[4:] {
				t.ints = append(t.ints, int64(int32(binary.LittleEndian.Uint32(raw))))
			}
		}
	}
	if have := len(t.floats) + len(t.ints); have != n {
		return nil, fmt.Errorf("it has %d numbers and the dimensions %v", have, p.Dims)
	}
	for i, v := range t.floats {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("value %d is %v, want finite numbers", i+1, v)
		}
	}
	return t, nil
}
