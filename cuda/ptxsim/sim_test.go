package ptxsim

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
)

// rig is an open device with a stream, for tests.
type rig struct {
	t      testing.TB
	d      *Device
	s      driver.Stream
	counts []LaunchCount
}

func newRig(t testing.TB, o Options) *rig {
	r := &rig{t: t}
	hook := o.OnLaunch
	o.OnLaunch = func(c *LaunchCount) {
		r.counts = append(r.counts, *c)
		if hook != nil {
			hook(c)
		}
	}
	d, err := New(o).Open(0)
	r.ok(err)
	r.d = d.(*Device)
	r.s, err = d.NewStream()
	r.ok(err)
	return r
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) load(ptx, name string) driver.Function {
	r.t.Helper()
	assemble(r.t, ptx)
	m, err := r.d.Load(ptx)
	r.ok(err)
	f, err := m.Function(name)
	r.ok(err)
	return f
}

func (r *rig) alloc(n int) driver.Ptr {
	r.t.Helper()
	p, err := r.d.Alloc(n)
	r.ok(err)
	return p
}

func bytesOf[T any](s []T) []byte {
	var z T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(z)))
}

func upload[T any](r *rig, s []T) driver.Ptr {
	r.t.Helper()
	p := r.alloc(max(len(bytesOf(s)), 1))
	r.ok(r.s.ToDevice(p, bytesOf(s)))
	return p
}

func download[T any](r *rig, p driver.Ptr, n int) []T {
	r.t.Helper()
	s := make([]T, n)
	r.ok(r.s.ToHost(bytesOf(s), p))
	return s
}

// run launches and waits; arguments are Ptr, int, uint32 and float32.
func (r *rig) run(f driver.Function, grid, block int, args ...any) error {
	r.t.Helper()
	return r.launch(f, driver.Dim3{X: grid}, driver.Dim3{X: block}, 0, args...)
}

func (r *rig) launch(f driver.Function, grid, block driver.Dim3, shared int, args ...any) error {
	r.t.Helper()
	l := &driver.Launch{Function: f, Grid: grid, Block: block, Shared: shared}
	for _, a := range args {
		switch v := a.(type) {
		case driver.Ptr:
			l.Args = append(l.Args, uint64(v))
		case int:
			l.Args = append(l.Args, uint64(v))
		case uint32:
			l.Args = append(l.Args, uint64(v))
		case float32:
			l.Args = append(l.Args, uint64(math.Float32bits(v)))
		default:
			r.t.Fatalf("argument %T", a)
		}
	}
	if err := r.s.Launch(l); err != nil {
		return err
	}
	return r.s.Synchronize()
}

// wantFault checks that a run ended with a fault of the kind, at a line that holds text.
func wantFault(t testing.TB, err error, kind Kind, text string) *Fault {
	t.Helper()
	var f *Fault
	if !errors.As(err, &f) {
		t.Fatalf("no fault but %v, want %s", err, kind)
	}
	if f.Kind != kind || !strings.Contains(f.Text, text) || f.Line == 0 || f.Kernel == "" {
		t.Fatalf("%v\nwant %s at %s", f, kind, text)
	}
	return f
}

// header begins a module for tests.
func header(target string) string { return ".version 7.8\n.target " + target + "\n.address_size 64\n" }

// kernel is a module with one entry k of the given parameters, such as "u64 u64 u32", named p0, p1 and so on. Pointers are
// loaded into %a0, %a1..., numbers into %n0...; %t is the thread in the block and %g in the grid.
func kernel(target, params, body string) string {
	var decl, loads []string
	for i, p := range strings.Fields(params) {
		n := string('0' + byte(i))
		decl = append(decl, ".param ."+p+" p"+n)
		if p == "u64" {
			loads = append(loads, "ld.param.u64 %a"+n+", [p"+n+"];\n")
		} else {
			loads = append(loads, "ld.param.u32 %n"+n+", [p"+n+"];\n")
		}
	}
	return header(target) + ".visible .entry k(" + strings.Join(decl, ", ") + ")\n{\n" +
		".reg .pred %p<16>;\n.reg .b16 %h<32>;\n.reg .b32 %r<64>;\n.reg .f32 %f<64>;\n.reg .b64 %d<64>;\n.reg .f64 %e<64>;\n" +
		".reg .b64 %a<10>;\n.reg .b32 %n<10>;\n.reg .b32 %t;\n.reg .b32 %g;\n" +
		strings.Join(loads, "") +
		"mov.u32 %t, %tid.x;\nmov.u32 %g, %ctaid.x;\nmov.u32 %r63, %ntid.x;\nmad.lo.s32 %g, %g, %r63, %t;\n" +
		body + "\nret;\n}\n"
}
