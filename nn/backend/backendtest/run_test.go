package backendtest_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
)

// faulty is a backend with a fault planted after an op.
type faulty struct {
	backend.Backend
	after func(b backend.Backend, out, x backend.Tensor)
	sync  error
}

func (f faulty) Activate(fn backend.Function, out, x backend.Tensor) {
	f.Backend.Activate(fn, out, x)
	f.after(f.Backend, out, x)
}

func (f faulty) Axpy(dst backend.Tensor, alpha float32, src backend.Tensor) {
	f.Backend.Axpy(dst, alpha, src)
	f.after(f.Backend, dst, src)
}

func (f faulty) Sync() error { return errors.Join(f.sync, f.Backend.Sync()) }

// memory returns the words of a tensor, and of some before and behind it.
func memory(b backend.Backend, t backend.Tensor, before, behind int) backend.Tensor {
	n := b.Bytes(t.Role, t.Type, t.Shape) / 4
	return backend.Tensor{Role: backend.Flat, Shape: backend.Vec(before + n + behind), Buffer: t.Buffer, Offset: t.Offset - 4*before}
}

// replaceZeros changes the words of a tensor that are zero: what is round and between its elements, if none is zero.
func replaceZeros(b backend.Backend, t backend.Tensor, by float32) (n int) {
	m := memory(b, t, 0, 0)
	v := make([]float32, m.Shape.Len())
	if err := b.Download(v, m); err != nil {
		panic(err)
	}
	for i, x := range v {
		if x == 0 {
			v[i] = by
			n++
		}
	}
	b.Upload(m, v)
	return n
}

// What the runner is for: each fault has to be found.
func TestRunFindsFaults(t *testing.T) {
	const act, border, axpy = "act/forward/sigmoid/3x5x7x3", "act/forward/sigmoid/3x6x5x5/border-of-out", "vector/axpy/param/5x3x3x3-at0"
	type tensor = backend.Tensor
	write := func(b backend.Backend, t tensor, i int, x float32) { b.Upload(t.Range(i, i+1), []float32{x}) }
	for _, c := range []struct {
		name, on string
		after    func(b backend.Backend, out, x tensor)
		sync     error
		want     string
	}{
		{"behind", act, func(b backend.Backend, out, _ tensor) { m := memory(b, out, 0, 1); write(b, m, m.Shape.Len()-1, 0) }, nil,
			"memory between out and the end of the buffer is overwritten, 0 bytes behind"},
		{"before", act, func(b backend.Backend, out, _ tensor) { write(b, memory(b, out, 1, 0), 0, 0) }, nil,
			"memory between x and out is overwritten"},
		{"added behind", act, func(b backend.Backend, out, _ tensor) {
			m, v := memory(b, out, 0, 1), []float32{0}
			last := m.Range(m.Shape.Len()-1, m.Shape.Len())
			if err := b.Download(v, last); err != nil {
				panic(err)
			}
			write(b, last, 0, v[0]+0.01)
		}, nil, "memory between out and the end of the buffer is overwritten, 0 bytes behind"},
		{"guard by another NaN", act, func(b backend.Backend, out, _ tensor) {
			write(b, memory(b, out, 1, 0), 0, float32(math.NaN()))
		}, nil, "memory between x and out is overwritten"},
		{"input", act, func(b backend.Backend, _, x tensor) { write(b, memory(b, x, 0, 0), 0, 5) }, nil, "x, which is only read, has changed"},
		{"value", act, func(b backend.Backend, out, _ tensor) {
			v := make([]float32, out.Shape.Len())
			if err := b.Download(v, out); err != nil {
				panic(err)
			}
			v[7] += 1e-5
			b.Upload(out, v)
		}, nil, "of the bound at out[7]"},
		{"nothing written", act, func(b backend.Backend, out, _ tensor) {
			m := memory(b, out, 0, 0)
			v := make([]float32, m.Shape.Len())
			for i := range v {
				v[i] = float32(math.NaN())
			}
			b.Upload(m, v)
		}, nil, "got NaN"},
		{"border", border, func(b backend.Backend, out, _ tensor) {
			if replaceZeros(b, out, float32(math.NaN())) == 0 {
				panic("no border here: got NaN")
			}
		}, nil, "got NaN"},
		{"unused channel", axpy, func(b backend.Backend, out, _ tensor) {
			if replaceZeros(b, out, 1) == 0 {
				panic("there is no unused channel that is not zero here")
			}
		}, nil, "unused channel that is not zero"},
		{"panic", act, func(backend.Backend, tensor, tensor) { panic("cpu: planted") }, nil, "panic: cpu: planted"},
		{"runtime panic", act, func(backend.Backend, tensor, tensor) { clear([]int{}[:len(t.Name())]) }, nil, "run_test.go:"},
		{"device", act, func(backend.Backend, tensor, tensor) {}, errors.New("planted: Activate: gone"), "on Sync: planted: Activate: gone"},
		{"no fault", act, func(backend.Backend, tensor, tensor) {}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cases, err := backendtest.Select(backendtest.Cases(), c.on)
			if err != nil || cases[0].Name != c.on {
				t.Fatalf("no case %s: %v", c.on, err)
			}
			r := backendtest.Run(faulty{open(t, true), c.after, c.sync}, cases[0])
			if c.want == "" {
				if !r.OK() {
					t.Error(r)
				}
				return
			}
			if r.OK() || !strings.Contains(r.String(), c.want) {
				t.Errorf("%v, want %s", r, c.want)
			}
		})
	}
}
