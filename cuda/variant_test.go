package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// layers are convolutions that take all families of kernels with special forms, and their arguments.
func layers(t *testing.T, b backend.Backend, n int) (run func()) {
	t.Helper()
	var all []func()
	for _, spec := range []backend.ConvSpec{
		{X: backend.Shape{N: n, H: 14, W: 14, C: 8}, Filters: 32, KernelH: 3, KernelW: 3, Pool: 2, InAct: backend.ReLU},
		{X: backend.Shape{N: n, H: 7, W: 7, C: 32}, Filters: 32, KernelH: 3, KernelW: 3, Up: 2, InAct: backend.ReLU},
		{X: backend.Shape{N: n, H: 14, W: 14, C: 1}, Filters: 5, KernelH: 3, KernelW: 3},
	} {
		s := must(backend.NewConv(spec))
		a := newConvArgs(t, b, s)
		w := must(b.Alloc(max(b.ConvNeeds(s).Workspace, 1)))
		all = append(all, func() {
			b.SetWorkspace(w)
			a.forward(b, s)
			a.backInput(b, s)
			a.backWeights(b, s)
		})
	}
	return func() {
		for _, f := range all {
			f()
		}
	}
}

func count(calls []driver.FakeCall, name string) int {
	n := 0
	for _, c := range calls {
		if c.Name == name {
			n++
		}
	}
	return n
}

// Prepare loads the forms for the shapes, and does nothing else. The ops then run in these forms and load nothing; neither
// does another number of samples.
func TestPrepare(t *testing.T) {
	d, f := openFake(t, 8, 0)
	l := d.lane
	run, more := layers(t, l, 100), layers(t, l, 90)
	host, flat := make([]float32, 9), tensor(t, l, backend.Flat, backend.Vec(9))
	f.Calls = nil
	l.Prepare(func() { run(); l.Upload(flat, host); l.Zero(flat) })
	loads := count(f.Calls, "Load")
	if loads != len(f.Calls) || loads < 9 {
		t.Errorf("Prepare calls %v, want loads of at least 9 kernels alone", names(f.Calls))
	}
	if n, took := l.Prepared(); n != 1+loads || took <= 0 { // one when the device was opened
		t.Errorf("%d kernels were compiled in %v, want %d", n, took, 1+loads)
	}
	special := map[kernels.Entry]int{}
	for v := range d.functions {
		if v.fixed != 0 {
			special[v.entry]++
		}
	}
	for e := range kernels.Entry(kernels.Count) {
		if !e.Specialised() && special[e] > 0 {
			t.Errorf("%s has a special form", e.Name())
		}
	}
	for _, e := range []kernels.Entry{kernels.ConvForwardTensorSplit, kernels.ConvBackInputTensorSplit, kernels.ConvBackWeightsTensorSplitSmall, kernels.ConvSpread4, kernels.ConvForwardFew} {
		if special[e] == 0 {
			t.Errorf("%s has no special form", e.Name())
		}
	}
	for name, ops := range map[string]func(){"the same samples": run, "fewer samples": func() { l.Prepare(more); more() }} {
		f.Calls = nil
		ops()
		if n := count(f.Calls, "Load"); n > 0 {
			t.Errorf("%s: %d kernels are loaded again", name, n)
		}
		for _, c := range f.Launches() {
			e := entryOf(c.Name)
			if v := d.special(e, c.Launch.Args); e.Specialised() && c.Launch.Function != d.functions[v].Function {
				t.Errorf("%s: %s is not run in its special form", name, c.Name)
			}
		}
	}
	if err := l.Sync(); err != nil {
		t.Error(err)
	}
}

// entryOf finds an entry by its name.
func entryOf(name string) kernels.Entry {
	for e := range kernels.Entry(kernels.Count) {
		if e.Name() == name {
			return e
		}
	}
	panic("no entry " + name)
}

// What was not prepared, and what is beyond the bound, runs in the general form, which is loaded once.
func TestGeneralForm(t *testing.T) {
	for _, full := range []bool{false, true} {
		d, f := openFake(t, 8, 0)
		run := layers(t, d.lane, 3)
		if full {
			for i := range maxVariants {
				d.functions[variant{entry: kernels.ConvForward, fixed: 1, values: [kernels.MaxParams]uint64{uint64(i)}}] = &function{}
			}
			d.lane.Prepare(run)
		}
		f.Calls = nil
		run()
		run()
		loaded := count(f.Calls, "Load")
		kinds := map[string]bool{}
		for _, c := range f.Launches() {
			kinds[c.Name] = true
			if e := entryOf(c.Name); c.Launch.Function != d.functions[variant{entry: e}].Function {
				t.Errorf("full %v: %s is not run in its general form", full, c.Name)
			}
		}
		if want := map[bool]int{false: len(kinds), true: 0}[full]; loaded != want || len(kinds) < 9 {
			t.Errorf("full %v: %d modules are loaded for %d kernels, want %d", full, loaded, len(kinds), want)
		}
	}
}

// Nothing is loaded while a graph is captured.
func TestRecordPrepares(t *testing.T) {
	d, f := openFake(t, 8, 0)
	run := layers(t, d.lane, 3)
	f.Calls = nil
	d.lane.Record(run).Close()
	got := names(f.Calls)
	begin := slices.Index(got, "BeginCapture")
	if begin < 9 || slices.Contains(got[:begin], "conv_forward") || slices.Contains(got[begin:], "Load") {
		t.Errorf("calls %v, want all loads before the capture and all launches within", got)
	}
}

// A kernel that cannot be compiled is a failure of the device, and a caller's mistake leaves the device as it was.
func TestPrepareFails(t *testing.T) {
	d, f := openFake(t, 8, 0)
	l := d.lane
	run := layers(t, l, 3)
	func() {
		defer func() { _ = recover() }()
		l.Prepare(func() { panic("a mistake") })
	}()
	f.Calls = nil
	if l.Zero(tensor(t, l, backend.Flat, backend.Vec(9))); count(f.Calls, "Fill") != 2 { // of new memory, and of the tensor
		t.Errorf("after a panic within Prepare: calls %v, want two Fills", names(f.Calls))
	}
	f.Fail = func(c driver.FakeCall) error {
		if c.Name == "Load" {
			return errors.New("planted")
		}
		return nil
	}
	l.Prepare(run)
	if err := l.Sync(); err == nil || !strings.HasPrefix(err.Error(), "cuda:0: Prepare: loading conv_") || !strings.Contains(err.Error(), ": planted") {
		t.Errorf("error %v, want one that names Prepare and the kernel", err)
	}
}

// Where kernels can wait for the launch before them, all do, in the general form as in special ones, and their launches say so.
func TestKernelsWait(t *testing.T) {
	for _, c := range []struct {
		info driver.Info
		want bool
	}{
		{driver.Info{Major: 9, Driver: waitDriver}, true},
		{driver.Info{Major: 12, Driver: 13000}, true},
		{driver.Info{Major: 9, Driver: waitDriver - 10}, false},
		{driver.Info{Major: 8, Minor: 9, Driver: waitDriver}, false},
	} {
		c.info.Memory, c.info.SMs = 1<<50, 4
		f := driver.NewFake(c.info)
		d, err := Open(f, 0, "fake")
		if err != nil {
			t.Fatal(err)
		}
		run := layers(t, d.lane, 2)
		run()
		d.lane.Prepare(run)
		run()
		launches := f.Launches()
		if len(launches) < 18 {
			t.Fatalf("%d launches, want two of each op", len(launches))
		}
		for _, l := range launches {
			if l.Launch.Waits != c.want {
				t.Errorf("compute capability %d.%d, CUDA %d: %s says that it waits: %v", c.info.Major, c.info.Minor, c.info.Driver, l.Name, l.Launch.Waits)
			}
		}
		for v := range d.functions {
			text, err := d.text(v)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "griddepcontrol.wait;") != c.want {
				t.Errorf("compute capability %d.%d, CUDA %d: %s waits: %v", c.info.Major, c.info.Minor, c.info.Driver, v.entry.Name(), !c.want)
			}
		}
	}
}
