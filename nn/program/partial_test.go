package program

import (
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// summing is a backend that leaves the gradients of a dense layer in as many partial sums as the layer has rows, of one row in none.
type summing struct{ backend.Backend }

func (summing) DenseNeeds(s backend.DenseShape) backend.Needs {
	n := s.N
	if n == 1 {
		n = 0
	}
	bytes := 4 * n * (s.Weights().Len() + s.DenseSpec.Out)
	return backend.Needs{Partials: n, PartialBytes: bytes, Workspace: 100 + bytes}
}

// deferred is a program of gradients of dense layers of n rows each; layers are named by their weights.
func deferred(t *testing.T, n int, layers ...int) *Program {
	t.Helper()
	p := &Program{Tape: op.NewTape()}
	for _, layer := range layers {
		s, err := backend.NewDense(backend.DenseSpec{N: n, In: 3, Out: 2})
		if err != nil {
			t.Fatal(err)
		}
		grad := func(shape backend.Shape, index int) op.Value {
			return p.Outside(op.Info{Space: op.Gradients, Role: backend.Param, Shape: shape, Index: index})
		}
		p.Emit(&op.DenseBackWeights{Shape: s, GradW: grad(s.Weights(), 2*layer), GradBias: grad(backend.Vec(2), 2*layer+1)})
	}
	p.DeferSums(summing{})
	p.Finish(summing{}, true)
	return p
}

// sums lists how many gradients each SumPartials adds up.
func sums(p *Program) (list []int) {
	for _, c := range p.Calls {
		if s, ok := c.Op.(*op.SumPartials); ok {
			list = append(list, len(s.List))
		}
	}
	return list
}

// The partial sums of up to eight layers are added up at once, but never two of one gradient.
func TestDeferSums(t *testing.T) {
	for _, c := range []struct {
		layers []int
		want   []int
	}{
		{[]int{1}, []int{1}},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8}, []int{8}},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, []int{8, 1}},
		{[]int{1, 2, 1, 3}, []int{2, 2}},
		{[]int{1, 1, 1}, []int{1, 1, 1}},
	} {
		p := deferred(t, 5, c.layers...)
		if got := sums(p); !slices.Equal(got, c.want) {
			t.Errorf("layers %v: sums of %v, want %v", c.layers, got, c.want)
		}
		if _, ok := p.Calls[len(p.Calls)-1].Op.(*op.SumPartials); !ok || p.Workspace != 100 {
			t.Errorf("layers %v: ends in %s, workspace of %d bytes, want 100 beside the partial sums", c.layers, p.Calls[len(p.Calls)-1].Op.Name(), p.Workspace)
		}
	}
	g := deferred(t, 5, 1, 2).Calls[2].Op.(*op.SumPartials).List[1]
	if s := deferred(t, 5, 1, 2).Shape(g.Partials); s != (backend.Shape{N: 5, H: 1, W: 1, C: 8}) {
		t.Errorf("partial sums of shape %v", s)
	}
}

// A program for fewer samples lies where that for more does: it has the same tensors, alive for as long.
func TestDeferSumsOfFewer(t *testing.T) {
	layers := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 9}
	more, fewer, one := deferred(t, 5, layers...), deferred(t, 3, layers...), deferred(t, 1, layers...)
	if len(more.Values) != len(fewer.Values) || len(more.Values) != len(one.Values) {
		t.Errorf("%d, %d and %d tensors", len(more.Values), len(fewer.Values), len(one.Values))
	}
	if a, b := sums(more), sums(fewer); !slices.Equal(a, b) || len(sums(one)) != 0 {
		t.Errorf("sums of %v, %v and %v", a, b, sums(one))
	}
}
