package cuda

import (
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
)

// openBranches opens a simulator that keeps its launches.
func openBranches(t *testing.T, late bool) (*lane, *[]ptxsim.Launching) {
	t.Helper()
	var launches []ptxsim.Launching
	d := ptxsim.New(ptxsim.Options{BeforeLaunch: func(l *ptxsim.Launching) { launches = append(launches, *l) }})
	if late {
		d = &driver.Late{Driver: d}
	}
	dev, err := Open(d, 0, "sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev.lane, &launches
}

func floats(t *testing.T, l *lane, x backend.Tensor) []float32 {
	t.Helper()
	v := make([]float32, x.Shape.Len())
	if err := l.Download(v, x); err != nil {
		t.Fatal(err)
	}
	return v
}

// The two gradients of a layer have the same bits as branches, in a graph or not, and run side by side. They share what they
// spread.
func TestBranchesOfGradients(t *testing.T) {
	x := backend.Shape{N: 3, H: 9, W: 10, C: 8}
	for name, spec := range map[string]backend.ConvSpec{
		"plain":     {X: x, Filters: 12, KernelH: 3, KernelW: 3, InAct: backend.ReLU},
		"upsampled": {X: x, Filters: 12, KernelH: 3, KernelW: 3, Up: 2, Pool: 2, InAct: backend.Tanh},
	} {
		s := must(backend.NewConv(spec))
		weights := s
		weights.InAct = backend.Linear
		for _, late := range []bool{false, true} {
			l, launches := openBranches(t, late)
			a := newConvArgs(t, l, s)
			l.SetWorkspace(must(l.Alloc(2 * backend.AlignUp(l.ConvNeeds(s).Workspace))))
			a.forward(l, s)
			start := floats(t, l, a.grad.W)
			apart := func() { a.backWeights(l, weights); a.backInput(l, s) }
			beside := func() { l.Fork(); a.backWeights(l, weights); l.Branch(); a.backInput(l, s); l.Join() }
			gradients := func(run func()) (w, x []float32) {
				l.Zero(a.gradX)
				l.Upload(a.grad.W, start)
				*launches = nil
				run()
				return floats(t, l, a.grad.W), floats(t, l, a.gradX)
			}
			wantW, wantX := gradients(apart)
			count := len(*launches)
			graph := l.Record(beside)
			for how, run := range map[string]func(){"in order": apart, "branches": beside, "a graph": func() { l.Replay(graph) }} {
				w, x := gradients(run)
				if !slices.Equal(w, wantW) || !slices.Equal(x, wantX) {
					t.Errorf("%s, late %v, %s: the gradients differ from those in order", name, late, how)
				}
				if len(*launches) != count {
					t.Errorf("%s, late %v, %s: %d launches, want %d", name, late, how, len(*launches), count)
				}
				last := (*launches)[count-1]
				if alone := how == "in order"; strings.HasPrefix(last.Kernel, "conv_back_input") && (len(last.Beside) == 0) != alone {
					t.Errorf("%s, late %v, %s: the gradient of the input is beside %d launches", name, late, how, len(last.Beside))
				}
			}
			graph.Close()
		}
	}
}

// Branches that both need scratch memory do not meet in it.
func TestBranchesOfScratch(t *testing.T) {
	l, _ := openBranches(t, false)
	s := must(backend.NewConv(backend.ConvSpec{X: backend.Shape{N: 4, H: 9, W: 10, C: 4}, Filters: 8, KernelH: 3, KernelW: 3, Up: 2}))
	a, b := newConvArgs(t, l, s), newConvArgs(t, l, s)
	v := floats(t, l, b.gradOut)
	slices.Reverse(v)
	l.Upload(b.gradOut, v)
	l.SetWorkspace(must(l.Alloc(2 * backend.AlignUp(l.ConvNeeds(s).Workspace))))
	x, squares := tensor(t, l, backend.Flat, backend.Vec(3000)), tensor(t, l, backend.Flat, backend.Vec(2))
	l.Upload(x, make([]float32, 3000))
	one, two := squares.Range(0, 1), squares.Range(1, 2)
	start := floats(t, l, a.grad.W)
	run := func(between ...func()) (all []float32) {
		for _, g := range []backend.Tensor{a.grad.W, b.grad.W} {
			l.Upload(g, start)
		}
		between[0]()
		a.backWeights(l, s)
		l.SumSquares(one, x)
		between[1]()
		b.backWeights(l, s)
		l.SumSquares(two, x)
		between[2]()
		return slices.Concat(floats(t, l, a.grad.W), floats(t, l, b.grad.W), floats(t, l, squares))
	}
	nothing := func() {}
	if want := run(nothing, nothing, nothing); !slices.Equal(run(l.Fork, l.Branch, l.Join), want) {
		t.Error("branches that use scratch memory have other results than ops in order")
	}
}

// The simulator sees it when branches are not independent, and when a join is missing.
func TestBranchRace(t *testing.T) {
	for name, run := range map[string]func(l *lane, x, y backend.Tensor){
		"the second reads what the first writes": func(l *lane, x, y backend.Tensor) {
			l.Fork()
			l.Axpy(x, 1, y)
			l.Branch()
			l.Axpy(y, 1, x)
			l.Join()
		},
		"no join": func(l *lane, x, y backend.Tensor) {
			l.Fork()
			l.Axpy(x, 1, x)
			l.Branch()
			l.Axpy(y, 1, y)
			l.Axpy(y, 1, x)
		},
	} {
		l, _ := openBranches(t, false)
		v := tensor(t, l, backend.Flat, backend.Vec(64))
		run(l, v.Range(0, 32), v.Range(32, 64))
		if err := l.Sync(); err == nil || !strings.Contains(err.Error(), string(ptxsim.StreamRace)) {
			t.Errorf("%s: error %v, want a race of streams", name, err)
		}
	}
}
