package cpu

import (
	"fmt"
	"math"
	"math/rand"
	"slices"
	"testing"

	"convae/nn/backend"
	"convae/nn/rng"
)

func open(tb testing.TB, plain bool) backend.Backend {
	tb.Helper()
	d, err := Open(Options{Lanes: 1, Plain: plain})
	if err != nil {
		tb.Fatal(err)
	}
	return d.Lanes()[0]
}

// tensor returns a new tensor of random values: normal numbers, or bytes below 4, or an index of zeros.
func tensor(tb testing.TB, l backend.Backend, k backend.Kind, s backend.Shape, seed int64) backend.Tensor {
	tb.Helper()
	b, err := l.Alloc(l.Bytes(k, s))
	if err != nil {
		tb.Fatal(err)
	}
	t := backend.Tensor{Shape: s, Kind: k, Buffer: b}
	r := rand.New(rand.NewSource(seed))
	switch k {
	case backend.Byte:
		v := make([]byte, s.Len())
		for i := range v {
			v[i] = byte(r.Intn(4))
		}
		l.UploadBytes(t, v)
	case backend.Activation, backend.Param, backend.Flat:
		v := make([]float32, s.Len())
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		l.Upload(t, v)
	}
	return t
}

func values(tb testing.TB, l backend.Backend, t backend.Tensor) []float32 {
	tb.Helper()
	v := make([]float32, t.Shape.Len())
	if err := l.Download(v, t); err != nil {
		tb.Fatal(err)
	}
	return v
}

// layer is a layer with its tensors and its ops.
type layer struct {
	l                                      backend.Backend
	ws                                     backend.Buffer
	out, x, gradOut, gradX                 backend.Tensor
	p, grad                                backend.Params
	pack, forward, backInput, backWeights func()
}

type convCase struct {
	layer
	s      backend.ConvShape
	argmax backend.Tensor
}

func (c *layer) alloc(tb testing.TB, l backend.Backend, n backend.Needs, x, w, out backend.Shape, filters int, seed int64) {
	tb.Helper()
	c.l = l
	c.x, c.out = tensor(tb, l, backend.Activation, x, seed), tensor(tb, l, backend.Activation, out, seed+1)
	c.gradX, c.gradOut = tensor(tb, l, backend.Activation, x, seed+2), tensor(tb, l, backend.Activation, out, seed+3)
	c.p.W, c.p.Bias = tensor(tb, l, backend.Param, w, seed+4), tensor(tb, l, backend.Param, backend.Vec(filters), seed+5)
	c.grad.W, c.grad.Bias = tensor(tb, l, backend.Param, w, seed+6), tensor(tb, l, backend.Param, backend.Vec(filters), seed+7)
	if n.Packed > 0 {
		c.p.Packed = tensor(tb, l, backend.Packed, backend.Vec(n.Packed), 0)
	}
	var err error
	if c.ws, err = l.Alloc(n.Workspace); err != nil {
		tb.Fatal(err)
	}
	l.SetWorkspace(c.ws)
}

func newConvCase(tb testing.TB, l backend.Backend, spec backend.ConvSpec, seed int64) *convCase {
	tb.Helper()
	s, err := backend.NewConv(spec)
	if err != nil {
		tb.Fatal(err)
	}
	c := &convCase{s: s}
	c.alloc(tb, l, l.ConvNeeds(s), s.X, s.Weights(), s.Out, s.Filters, seed)
	c.argmax = tensor(tb, l, backend.Byte, s.Out, seed+8)
	c.pack = func() { l.ConvPack(s, c.p.Packed, c.p.W) }
	c.forward = func() { l.Conv(s, c.out, c.argmax, c.x, c.p) }
	c.backInput = func() { l.ConvBackInput(s, c.gradX, c.gradOut, c.argmax, c.p, c.x) }
	c.backWeights = func() { l.ConvBackWeights(s, c.grad, c.gradOut, c.argmax, c.x) }
	if c.p.Packed.IsZero() {
		c.pack = func() {}
	}
	c.pack()
	return c
}
var _ = fmt.Sprint
var _ = math.Abs
var _ = slices.Equal[[]int]
var _ rng.Source
