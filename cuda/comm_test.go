package cuda

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/cuda/nccl/ncclsim"
	"github.com/convae/convae/nn/backend"
)

// connected opens a simulator whose launches are kept, and connects it with itself alone.
func connected(t *testing.T) (*lane, *communicator, func() []string) {
	t.Helper()
	l, launches := openBranches(t, false)
	l.dev.SetNCCL(func(int) (nccl.Library, error) { return new(ncclsim.Library), nil }, 0)
	c := must(l.dev.Connect(must(l.dev.NewID(1)), 0, 1))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, c.(*communicator), func() (names []string) {
		for _, k := range *launches {
			names = append(names, k.Kernel)
		}
		*launches = nil
		return names
	}
}

// What is put aside runs beside what follows, is there after Meet, and leaves the workspace as it was: what the gradient of an upsampled layer's
// weights has spread serves that of its input.
func TestAside(t *testing.T) {
	l, c, launched := connected(t)
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 3, H: 9, W: 10, C: 8}, Filters: 12, KernelH: 3, KernelW: 3, Up: 2, Pool: 2}))
	a := newConvArgs(t, l, s)
	l.SetWorkspace(must(l.Alloc(2 * backend.AlignUp(l.ConvNeeds(s).Workspace))))
	a.forward(l, s)
	x, y := tensor(t, l, backend.Flat, backend.Vec(100)), tensor(t, l, backend.Flat, backend.Vec(100))
	start := slices.Repeat([]float32{1.5}, 100)
	launched()
	a.backWeights(l, s)
	a.backInput(l, s)
	want := launched()
	run := func() {
		a.backWeights(l, s)
		c.Aside(func() {
			l.Sum(x, []backend.Tensor{x, y})
			c.Reduce(x)
		})
		a.backInput(l, s)
		c.Meet()
		c.Meet() // which has nothing to wait for
		l.Axpy(x, 1, y)
	}
	graph := l.Record(run)
	defer graph.Close()
	for name, do := range map[string]func(){"in order": run, "a graph": func() { l.Replay(graph) }} {
		l.Upload(x, start)
		l.Upload(y, start)
		launched()
		do()
		got := floats(t, l, x)
		if got[0] != 4.5 || got[99] != 4.5 {
			t.Errorf("%s: the sum is %v and %v, want 4.5", name, got[0], got[99])
		}
		names := launched()
		if rest := slices.DeleteFunc(slices.Clone(names), func(k string) bool { return strings.HasPrefix(k, "vector_") }); !slices.Equal(rest, want) || len(names) != len(want)+2 {
			t.Errorf("%s: the launches are %v, want those of %v and two", name, names, want)
		}
	}
}

// A caller's mistakes, and those who wait, hear of a failure once.
func TestCommunicatorMistakes(t *testing.T) {
	l, c, _ := connected(t)
	x := tensor(t, l, backend.Flat, backend.Vec(10))
	func() {
		defer func() {
			if r := recover(); r != errAside {
				t.Errorf("panic %v, want %s", r, errAside)
			}
		}()
		c.Reduce(x)
	}()
	if _, err := l.dev.Connect([]byte("short"), 0, 1); err == nil || !strings.Contains(err.Error(), "sim: an ID of 5 bytes, want 128") {
		t.Errorf("error %v", err)
	}
	var heard []error
	c.OnFailure(func(err error) { heard = append(heard, err) })
	l.check("Sum", errors.New("it is hot"))
	l.check("Sum", errors.New("it is hotter"))
	if len(heard) != 1 || fmt.Sprint(heard[0]) != "sim: Sum: it is hot" {
		t.Errorf("heard %v", heard)
	}
	l.err = nil
	c.Aside(func() { c.Exchange(x, 0, backend.Tensor{}, 0) })
	c.Meet()
	if err := l.Sync(); err == nil || !strings.Contains(err.Error(), "sim: Exchange: ncclsim: rank 0: Send of 10 float32 to rank 0: that is the rank itself") {
		t.Errorf("error %v", err)
	}
	l.err = nil
	l.dev.SetNCCL(nil, 0)
	if err := l.dev.Connects(); err == nil || !strings.Contains(err.Error(), "sim: there is nothing to connect it by") {
		t.Errorf("error %v", err)
	}
}
