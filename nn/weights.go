package nn

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/safetensors"
)

// Tensors returns the model's weights as PyTorch's equivalent torch.nn.Sequential holds them: convolutions (out, in,
// rows, columns), transposed ones (in, out, rows, columns), dense (out, in), with the elements of a flattened image in
// channels-first order. The names count every activation, pool, upsampling, flatten and reshape as a module of its
// own: encoder.0.weight, encoder.0.bias, encoder.3.weight ...
func (m *Model) Tensors() []safetensors.Tensor {
	return m.TensorsNamed(m.tensorNames())
}

// TensorsNamed is Tensors with other names, one for each of Params.
func (m *Model) TensorsNamed(names []string) []safetensors.Tensor {
	t := make([]safetensors.Tensor, len(m.Params))
	for i := range m.Params {
		t[i] = m.Params[i].toTorch("", m.Params[i].Data)
		t[i].Name = names[i]
	}
	return t
}

// tensorNames are those of the model's own files.
func (m *Model) tensorNames() []string {
	names := make([]string, len(m.Params))
	for i := range m.Params {
		names[i] = m.Params[i].Name
	}
	return names
}

// SetTensors takes the weights from a file's tensors. It wants every parameter once, in its shape, and nothing else;
// on an error the model is as before.
func (m *Model) SetTensors(f *safetensors.File) error {
	data, err := m.fromTorch("", f, false)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range m.Params {
		known[p.Name] = true
	}
	for _, t := range f.Tensors {
		if !known[t.Name] {
			return fmt.Errorf("nn: the file has a tensor %q that model %q does not have", t.Name, m.Config.Name)
		}
	}
	for i := range m.Params {
		m.Params[i].Data = data[i]
	}
	return nil
}

// Misfits names what of a file of tensors does not fit a model.
type Misfits []string

// String lists the first few.
func (m Misfits) String() string {
	const most = 8
	if len(m) > most {
		return fmt.Sprintf("%s; and %d more", strings.Join(m[:most], "; "), len(m)-most)
	}
	return strings.Join(m, "; ")
}

// TakeTensors takes from a file's tensors those that have the name and the shape of a parameter, and returns their number.
// What does not fit is named in misfits: parameters that stay as they are, and tensors that no parameter is for. On an
// error, of a tensor that cannot be read, the model is as before.
func (m *Model) TakeTensors(f *safetensors.File) (taken int, misfits Misfits, err error) {
	data, misfits, err := m.fitting(f, m.tensorNames())
	if err != nil {
		return 0, nil, err
	}
	return m.take(data), misfits, nil
}

// SetTensorsNamed is SetTensors for tensors with other names, one for each of Params. If any do not fit, they are named in misfits, and the
// model is as before.
func (m *Model) SetTensorsNamed(f *safetensors.File, names []string) (misfits Misfits, err error) {
	data, misfits, err := m.fitting(f, names)
	if err == nil && len(misfits) == 0 {
		m.take(data)
	}
	return misfits, err
}

// fitting reads the tensors that have the names and the shapes of parameters.
func (m *Model) fitting(f *safetensors.File, names []string) (data [][]float32, misfits Misfits, err error) {
	data = make([][]float32, len(m.Params))
	known := map[string]bool{}
	for i := range m.Params {
		p, name := &m.Params[i], names[i]
		known[name] = true
		t, ok := f.Tensor(name)
		if want := p.torchShape(); !ok {
			misfits = append(misfits, fmt.Sprintf("%s is not in the file", name))
		} else if !slices.Equal(t.Shape, want) {
			misfits = append(misfits, fmt.Sprintf("%s has shape %v, the model's has %v", name, t.Shape, want))
		} else if data[i], err = p.fromTorch(t); err != nil {
			return nil, nil, err
		}
	}
	for _, t := range f.Tensors {
		if !known[t.Name] {
			misfits = append(misfits, fmt.Sprintf("%s is not in the model", t.Name))
		}
	}
	return data, misfits, nil
}

// take takes the values of those parameters that have some, and returns their number.
func (m *Model) take(data [][]float32) (taken int) {
	for i := range data {
		if data[i] != nil {
			m.Params[i].Data = data[i]
			taken++
		}
	}
	return taken
}

// fromTorch reads a value for each parameter, or each that is trained, from the tensors named prefix+name.
func (m *Model) fromTorch(prefix string, f *safetensors.File, trained bool) ([][]float32, error) {
	data := make([][]float32, len(m.Params))
	for i := range m.Params {
		p := &m.Params[i]
		if trained && !p.Trained() {
			continue
		}
		t, ok := f.Tensor(prefix + p.Name)
		if !ok {
			return nil, fmt.Errorf("nn: the file lacks the tensor %q of model %q", prefix+p.Name, m.Config.Name)
		}
		var err error
		if data[i], err = m.valueOf(p, t); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// valueOf reads the value of a parameter, of whose shape a tensor must be.
func (m *Model) valueOf(p *Param, t *safetensors.Tensor) ([]float32, error) {
	if want := p.torchShape(); !slices.Equal(t.Shape, want) {
		return nil, fmt.Errorf("nn: tensor %q has shape %v, model %q wants %v", t.Name, t.Shape, m.Config.Name, want)
	}
	return p.fromTorch(t)
}

// fromTorch returns the values of a tensor of the parameter's torchShape in the parameter's own order.
func (p *Param) fromTorch(t *safetensors.Tensor) ([]float32, error) {
	v, err := t.Float32s()
	if err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	data := make([]float32, len(v))
	p.eachTorch(func(ours, theirs int) { data[ours] = v[theirs] })
	return data, nil
}

// toTorch returns values in the parameter's own order as a tensor in PyTorch's.
func (p *Param) toTorch(prefix string, data []float32) safetensors.Tensor {
	t := safetensors.Tensor{Name: prefix + p.Name, DType: safetensors.F32, Shape: p.torchShape(), Data: make([]byte, 4*len(data))}
	p.eachTorch(func(ours, theirs int) {
		binary.LittleEndian.PutUint32(t.Data[4*theirs:], math.Float32bits(data[ours]))
	})
	return t
}

func (p *Param) torchShape() []int {
	s := p.Shape
	switch p.Role {
	case graph.ConvWeights:
		return []int{s.N, s.C, s.H, s.W}
	case graph.DenseWeights, graph.Codebook:
		return []int{s.N, s.C}
	}
	return []int{s.C}
}

// eachTorch calls f for every element with its position in our order and in PyTorch's.
func (p *Param) eachTorch(f func(ours, theirs int)) {
	s := p.Shape
	if p.Role == graph.ConvWeights {
		for n := range s.N {
			for k := range s.H * s.W {
				for c := range s.C {
					f((n*s.H*s.W+k)*s.C+c, (n*s.C+c)*s.H*s.W+k)
				}
			}
		}
		return
	}
	rows, columns := s.N, s.C
	if p.Role != graph.DenseWeights && p.Role != graph.Codebook {
		rows, columns = s.C, 1
	}
	for r := range rows {
		for c := range columns {
			f(r*columns+c, channelsFirst(r, p.OutImage)*columns+channelsFirst(c, p.InImage))
		}
	}
}

// channelsFirst returns the position in CHW order of element i of an image in HWC order; the zero shape is no image.
func channelsFirst(i int, image backend.Shape) int {
	if image.C == 0 {
		return i
	}
	return i%image.C*(image.H*image.W) + i/image.C
}
