package check

import (
	"strings"
	"testing"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
)

// mutant is a driver that changes the code that it loads.
type mutant struct {
	driver.Driver
	edit func(ptx string) string
}

type mutantDevice struct {
	driver.Device
	edit func(ptx string) string
}

func (m mutant) Open(i int) (driver.Device, error) {
	d, err := m.Driver.Open(i)
	return mutantDevice{d, m.edit}, err
}

func (m mutantDevice) Load(ptx string) (driver.Module, error) { return m.Device.Load(m.edit(ptx)) }

func openSim(t *testing.T, edit func(ptx string) string) backend.Device {
	t.Helper()
	d, err := cuda.Open(mutant{ptxsim.New(ptxsim.Options{}), edit}, 0, "sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() }) // a device on which a fault was found says so again
	return d
}

// replaceIn replaces the first old behind the entry of a kernel.
func replaceIn(t *testing.T, kernel, old, new string) func(string) string {
	return func(ptx string) string {
		before, after, found := strings.Cut(ptx, ".entry "+kernel+"(")
		if !found {
			return ptx
		}
		if !strings.Contains(after, old) {
			t.Fatalf("%s has no %q", kernel, old)
		}
		return before + ".entry " + kernel + "(" + strings.Replace(after, old, new, 1)
	}
}

func TestSimPasses(t *testing.T) {
	r, err := Run(t.Context(), openSim(t, func(s string) string { return s }), open(t, cpu.Options{}), Options{Words: []string{"upsample/", "dense/"}, Every: 5, Steps: 2, Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed {
		t.Errorf("%+v", r)
	}
}

// A kernel that computes something else, and one without a barrier, fail the check, which names the op.
func TestWrongKernelFails(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(string) string
		op   string
		want string
	}{
		{"wrong sign", replaceIn(t, "upsample_back", "add.rn.f32", "sub.rn.f32"), "UpsampleBack", "of the bound"},
		{"no barrier", replaceIn(t, "loss_bce", "bar.sync", "// bar.sync"), "SigmoidBCE", "uninitialised memory: loss_bce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Run(t.Context(), openSim(t, c.edit), open(t, cpu.Options{}), Options{Words: []string{"upsample/", "loss/"}})
			if err != nil {
				t.Fatal(err)
			}
			fails := r.op(c.op).Failures
			if r.Passed || len(fails) == 0 || !strings.Contains(strings.Join(fails, "\n"), c.want) {
				t.Errorf("passed %v, failures of %s: %.300q", r.Passed, c.op, fails)
			}
		})
	}
}
