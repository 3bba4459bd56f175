package nn

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
)

// paramLayout says where a model's parameters lie in an arena. Weights, gradients and optimiser state share it, so
// that an optimiser runs over one flat range.
type paramLayout struct {
	offsets []int // bytes
	bytes   int
}

func newParamLayout(m *Model, b backend.Backend) paramLayout {
	var l paramLayout
	for _, p := range m.Params {
		l.offsets = append(l.offsets, l.bytes)
		l.bytes += backend.AlignUp(b.Bytes(backend.Param, p.Shape))
	}
	return l
}

// floats is the length of an arena as a flat tensor. Gaps between parameters are zero and stay so.
func (l paramLayout) floats() int { return l.bytes / 4 }

// weights returns the parts of the stretch lo to hi, in floats, that weights take, not biases.
func (l paramLayout) weights(m *Model, b backend.Backend, lo, hi int) (parts [][2]int) {
	for i, p := range m.Params {
		first := l.offsets[i] / 4
		end := first + b.Bytes(backend.Param, p.Shape)/4
		if first, end = max(first, lo), min(end, hi); first < end && !p.isBias {
			parts = append(parts, [2]int{first, end})
		}
	}
	return parts
}

// tensors places the parameters in a buffer.
func (l paramLayout) tensors(m *Model, buf backend.Buffer) []backend.Tensor {
	t := make([]backend.Tensor, len(m.Params))
	for i, p := range m.Params {
		t[i] = backend.Tensor{Shape: p.Shape, Kind: backend.Param, Buffer: buf, Offset: l.offsets[i]}
	}
	return t
}

// byNode picks each node's parameters.
func byNode(nodes []node, t []backend.Tensor) []backend.Params {
	p := make([]backend.Params, len(nodes))
	for i, n := range nodes {
		if n.w >= 0 {
			p[i].W = t[n.w]
		}
		if n.b >= 0 {
			p[i].Bias = t[n.b]
		}
	}
	return p
}

func flat(buf backend.Buffer, floats int) backend.Tensor {
	return backend.Tensor{Shape: backend.Vec(floats), Kind: backend.Flat, Buffer: buf}
}

// arena allocates buffers and remembers them, so that a failure or Close gives all of them back.
type arena struct {
	b       backend.Backend
	buffers []backend.Buffer
	bytes   int
}

func (a *arena) alloc(bytes int, what string) (backend.Buffer, error) {
	if bytes == 0 {
		return nil, nil
	}
	buf, err := a.b.Alloc(bytes)
	if err != nil {
		return nil, fmt.Errorf("nn: %s: %w", what, err)
	}
	a.buffers = append(a.buffers, buf)
	a.bytes += bytes
	return buf, nil
}

func (a *arena) free() {
	for _, b := range a.buffers {
		a.b.Free(b)
	}
	a.buffers, a.bytes = nil, 0
}

// packs holds the backend's packed forms of the weights of a list of nodes.
type packs struct {
	params []backend.Params // by node
	tasks  []packTask
}

type packTask struct {
	run func(b backend.Backend, p backend.Params)
	at  int // node
}

// packedBytes returns the bytes of each node's packed weights.
func packedBytes(nodes []node, b backend.Backend) (each []int, total int) {
	each = make([]int, len(nodes))
	for i, n := range nodes {
		n = n.withN(1)
		switch n.op {
		case opConv:
			each[i] = b.ConvNeeds(must(backend.NewConv(n.conv))).Packed
		case opConvTranspose:
			each[i] = b.ConvTransposeNeeds(must(backend.NewConvTranspose(n.convT))).Packed
		case opDense:
			each[i] = b.DenseNeeds(must(backend.NewDense(n.dense))).Packed
		}
		total += backend.AlignUp(each[i])
	}
	return each, total
}

// newPacks allocates the packed weights of nodes whose plain ones are in weights.
func newPacks(nodes []node, a *arena, weights []backend.Tensor) (*packs, error) {
	p := &packs{params: byNode(nodes, weights)}
	each, total := packedBytes(nodes, a.b)
	buf, err := a.alloc(total, "packed weights")
	if err != nil {
		return nil, err
	}
	offset := 0
	for i, n := range nodes {
		if each[i] == 0 {
			continue
		}
		p.params[i].Packed = backend.Tensor{Shape: backend.Vec(each[i]), Kind: backend.Packed, Buffer: buf, Offset: offset}
		offset += backend.AlignUp(each[i])
		n = n.withN(1)
		t := packTask{at: i}
		switch n.op {
		case opConv:
			s := must(backend.NewConv(n.conv))
			t.run = func(b backend.Backend, p backend.Params) { b.ConvPack(s, p.Packed, p.W) }
		case opConvTranspose:
			s := must(backend.NewConvTranspose(n.convT))
			t.run = func(b backend.Backend, p backend.Params) { b.ConvTransposePack(s, p.Packed, p.W) }
		case opDense:
			s := must(backend.NewDense(n.dense))
			t.run = func(b backend.Backend, p backend.Params) { b.DensePack(s, p.Packed, p.W) }
		}
		p.tasks = append(p.tasks, t)
	}
	return p, nil
}

// of returns the parameters of nodes, which have the same ops with weights as those that p was made for, but may lack what
// comes after.
func (p *packs) of(nodes, made []node) []backend.Params {
	params := make([]backend.Params, len(nodes))
	for i, n := range nodes {
		if k := slices.IndexFunc(made, func(o node) bool { return n.w >= 0 && o.w == n.w }); k >= 0 {
			params[i] = p.params[k]
		}
	}
	return params
}

func (p *packs) pack(b backend.Backend, task int) {
	t := p.tasks[task]
	t.run(b, p.params[t.at])
}

// BytesText prints a number of bytes for people, as 34.1 MiB.
func BytesText(n int) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 10<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
