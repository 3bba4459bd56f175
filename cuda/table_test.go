package cuda

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/backend/backendtest"
)

// openSim returns a simulated device of that compute capability, which runs its blocks one after another.
func openSim(tb testing.TB, major, minor int) *Device {
	tb.Helper()
	d, err := Open(ptxsim.New(ptxsim.Options{Major: major, Minor: minor, Workers: 1}), 0, "sim")
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// selections returns a compute capability for every choice of kernels that there is.
func selections(t *testing.T) [][2]int {
	t.Helper()
	var found [][2]int
	seen := make(map[string]bool)
	for _, cc := range [][2]int{{7, 5}, {8, 0}, {8, 9}, {10, 0}, {9, 0}} {
		modules, err := kernels.Select(cc[0], cc[1])
		if err != nil {
			t.Fatal(err)
		}
		key := ""
		for _, m := range modules {
			key += m.File + " "
		}
		if !seen[key] {
			seen[key] = true
			found = append(found, cc)
		}
	}
	return found
}

// tableCases returns the table, or with -short a tenth of it, which is enough for the race detector: that slows the
// simulator down.
func tableCases() (cases []backendtest.Case) {
	for i, c := range backendtest.Cases() {
		if !testing.Short() || i%10 == 0 {
			cases = append(cases, c)
		}
	}
	return cases
}

// goldenCases returns the cases of the golden vectors.
func goldenCases(t *testing.T) []backendtest.Case {
	t.Helper()
	dir, err := backendtest.GoldenDir()
	if err != nil {
		t.Fatal(err)
	}
	cases, notRun, err := backendtest.LoadGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(notRun) > 0 {
		t.Logf("not run, for there are no such ops: %s", strings.Join(notRun, "; "))
	}
	return cases
}

// launchesOf returns what a device launches for a case: kernels, grids, blocks and shared memory.
func launchesOf(t *testing.T, d *Device, f *driver.Fake, c backendtest.Case) (launches string) {
	t.Helper()
	defer func() {
		if _, refused := recover().(string); refused {
			launches = "none: it is refused"
		}
	}()
	f.Calls = nil
	if err := backendtest.Record(d.Lanes()[0], c); err != nil {
		t.Fatal(err)
	}
	for _, l := range f.Launches() {
		launches += fmt.Sprintln(l.Name, l.Launch.Grid, l.Launch.Block, l.Launch.Shared)
	}
	return launches
}

// largeMACs is how many products a case must have to be run for one choice of kernels alone.
const largeMACs = 64 << 20

// TestTable runs the table on the simulator, for every choice of kernels the cases that are launched there as for no choice before it; a large one
// is there for the last choice that launches it in a way of its own.
func TestTable(t *testing.T) {
	table, all := tableCases(), selections(t)
	seen := make(map[string][]string) // by case
	last := make(map[string][2]int)
	cases := make(map[[2]int][]backendtest.Case)
	for _, cc := range all {
		d, f := openFake(t, cc[0], cc[1])
		for _, c := range table {
			if l := launchesOf(t, d, f, c); !slices.Contains(seen[c.Name], l) {
				seen[c.Name] = append(seen[c.Name], l)
				cases[cc], last[c.Name] = append(cases[cc], c), cc
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cc := range all {
		list := slices.DeleteFunc(cases[cc], func(c backendtest.Case) bool { return c.MACs > largeMACs && last[c.Name] != cc })
		t.Run(fmt.Sprintf("%d.%d", cc[0], cc[1]), func(t *testing.T) {
			open := func() *Device { return openSim(t, cc[0], cc[1]) }
			runTable(t, list, open, runForms(t, open))
		})
	}
}

// TestGoldenSim runs the golden cases on the simulator, once for every choice of kernels.
func TestGoldenSim(t *testing.T) {
	cases := goldenCases(t)
	for _, cc := range selections(t) {
		t.Run(fmt.Sprintf("%d.%d", cc[0], cc[1]), func(t *testing.T) {
			runTable(t, cases, func() *Device { return openSim(t, cc[0], cc[1]) }, runCase)
		})
	}
}

// runCase runs a case, in which products run in forms for their shapes.
func runCase(t *testing.T, b backend.Backend, c backendtest.Case) backendtest.Result {
	t.Helper()
	r := backendtest.Run(b, c)
	if !r.OK() {
		t.Error(r)
	}
	return r
}

// unprepared is a backend that runs all kernels in their general form, because nothing is prepared on its device.
type unprepared struct{ backend.Backend }

// runForms returns runCase for cases whose products are run in the general form too, on devices of their own: it gives the same bits.
func runForms(t *testing.T, open func() *Device) func(*testing.T, backend.Backend, backendtest.Case) backendtest.Result {
	free := make(chan *Device, runtime.GOMAXPROCS(0))
	for range cap(free) {
		d := open()
		t.Cleanup(func() {
			if n := d.specials(); n > 0 {
				t.Errorf("%d special forms were run for the general one", n)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		free <- d
	}
	return func(t *testing.T, b backend.Backend, c backendtest.Case) backendtest.Result {
		t.Helper()
		if c.MACs == 0 {
			return runCase(t, b, c)
		}
		d := <-free
		defer func() { free <- d }()
		r, differences := backendtest.Compare(b, unprepared{d.Lanes()[0]}, c, backend.Bound{})
		if !r.OK() {
			t.Error(r)
		}
		for _, d := range differences {
			t.Errorf("the general form differs: %v", d)
		}
		return r
	}
}

// specials is the number of special forms that a device holds.
func (d *Device) specials() (n int) {
	for v := range d.functions {
		if v.fixed != 0 {
			n++
		}
	}
	return n
}

// runTable has run run cases on as many opened devices as there are processors, each as a test of its name, and logs the worst share of
// each family.
func runTable(t *testing.T, cases []backendtest.Case, open func() *Device, run func(*testing.T, backend.Backend, backendtest.Case) backendtest.Result) {
	free := make(chan *Device, runtime.GOMAXPROCS(0))
	for range cap(free) {
		free <- open()
	}
	var mu sync.Mutex
	var families []string
	worst := make(map[string]backendtest.Result)
	t.Run("cases", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				d := <-free
				defer func() { free <- d }()
				r := run(t, d.Lanes()[0], c)
				if d.Lanes()[0].Sync() != nil { // it would refuse all that follows
					d = open()
				}
				const most = 16                          // forms that a case takes
				if len(d.functions) > maxVariants-most { // what follows would run in the general form
					if err := d.Close(); err != nil {
						t.Error(err)
					}
					d = open()
				}
				mu.Lock()
				defer mu.Unlock()
				family := strings.Join(strings.SplitN(c.Name, "/", 3)[:2], "/")
				if _, ok := worst[family]; !ok {
					families = append(families, family)
				}
				if r.Worst >= worst[family].Worst {
					worst[family] = r
				}
			})
		}
	})
	for range cap(free) {
		if err := (<-free).Close(); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(families)
	for _, f := range families {
		t.Logf("%-24s worst %.3f: %v", f, worst[f].Worst, worst[f])
	}
	t.Logf("%d cases, seed %d", len(cases), backendtest.Seed)
}
