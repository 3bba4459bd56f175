package ptxsim

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// scale multiplies n words at p0 by p1.
var scale = kernel("sm_75", "u64 u32 u32", `
setp.ge.u32 %p1, %g, %n2;
@%p1 bra L;
mul.wide.u32 %d0, %g, 4;
add.s64 %d0, %a0, %d0;
ld.global.u32 %r0, [%d0];
mul.lo.u32 %r0, %r0, %n1;
st.global.u32 [%d0], %r0;
L:
`)

func TestGraph(t *testing.T) {
	r := newRig(t, Options{})
	f := r.load(scale, "k")
	other, err := r.d.NewStream()
	r.ok(err)
	fork, err := r.d.NewEvent()
	r.ok(err)
	join, err := r.d.NewEvent()
	r.ok(err)
	p, q := upload(r, []uint32{1, 2, 3}), r.alloc(12)
	host := make([]byte, 12)
	launch := func(s driver.Stream, p driver.Ptr, by uint64) {
		t.Helper()
		r.ok(s.Launch(&driver.Launch{Function: f, Block: driver.Dim3{X: 32}, Args: []uint64{uint64(p), by, 3}}))
	}

	r.ok(r.s.BeginCapture())
	launch(r.s, p, 3)
	r.ok(r.s.Copy(q, p, 12))
	r.ok(r.s.Record(fork))
	r.ok(other.Wait(fork))
	launch(other, q, 5)
	r.ok(other.Record(join))
	r.ok(r.s.Wait(join))
	r.ok(r.s.ToHost(host, q))
	if _, err := r.d.Alloc(4); err == nil {
		t.Error("Alloc during a capture")
	}
	if r.d.Free(p) == nil || join.Synchronize() == nil {
		t.Error("Free or Synchronize of an event during a capture")
	}
	g, err := r.s.EndCapture()
	r.ok(err)
	if v := download[uint32](r, p, 3); v[0] != 1 {
		t.Error("the capture ran")
	}
	for range 2 {
		r.ok(r.s.Replay(g))
	}
	r.ok(r.s.Synchronize())
	if v := download[uint32](r, p, 3); v[1] != 2*9 {
		t.Error(v)
	}
	if host[8] != 3*9*5 {
		t.Error(host)
	}
	launch(other, q, 1) // the other stream works on its own again
	r.ok(other.Synchronize())
	r.ok(g.Close())
	if r.s.Replay(g) == nil {
		t.Error("replay of a closed graph")
	}

	r.ok(r.s.BeginCapture())
	if r.s.Synchronize() == nil {
		t.Error("Synchronize during a capture")
	}
	if _, err := r.s.EndCapture(); err == nil {
		t.Error("a broken capture ended well")
	}

	r.ok(r.s.BeginCapture())
	r.ok(r.s.Record(fork))
	r.ok(other.Wait(fork))
	launch(other, q, 1)
	if _, err := r.s.EndCapture(); err == nil {
		t.Error("a capture ended that does not wait for its other stream")
	}
	if _, err := r.s.EndCapture(); err == nil {
		t.Error("a capture ended twice")
	}
}

func TestCopies(t *testing.T) {
	r := newRig(t, Options{})
	p := r.alloc(1000)
	r.ok(r.s.Fill(p, 0x01020304, 100))
	r.ok(r.s.ToDevice(p+401, []byte{9, 8, 7}))
	r.ok(r.s.Copy(p+500, p+399, 7))
	if b := download[byte](r, p+500, 7); b[0] != 1 || b[2] != 9 || b[4] != 7 || b[5] != 0xff {
		t.Errorf("%x", b)
	}
	read := r.load(kernel("sm_75", "u64", "ld.global.u8 %r0, [%a0];"), "k")
	for off, ok := range map[driver.Ptr]bool{0: true, 399: true, 400: false, 401: true, 403: true, 404: false, 500: true, 501: false, 502: true, 504: true, 505: false} {
		s, err := r.d.NewStream()
		r.ok(err)
		r.ok(s.Launch(&driver.Launch{Function: read, Args: []uint64{uint64(p + off)}}))
		if err := s.Synchronize(); (err == nil) != ok {
			t.Errorf("offset %d: %v", off, err)
		}
	}
	for name, f := range map[string]func(s driver.Stream) error{
		"past the end": func(s driver.Stream) error { return s.ToDevice(p+999, []byte{1, 2}) },
		"nowhere":      func(s driver.Stream) error { return s.ToHost(make([]byte, 1), 12) },
		"copy":         func(s driver.Stream) error { return s.Copy(p, p+1, 1000) },
		"fill":         func(s driver.Stream) error { return s.Fill(p+4, 1, 250) },
		"odd fill":     func(s driver.Stream) error { return s.Fill(p+2, 1, 1) },
	} {
		s, err := r.d.NewStream()
		r.ok(err)
		if err := f(s); err == nil {
			err = s.Synchronize()
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

func TestMemory(t *testing.T) {
	r := newRig(t, Options{Memory: 1 << 20, Major: 7, Minor: 5})
	if i := r.d.Info(); i.Target() != "sm_75" || i.Memory != 1<<20 {
		t.Errorf("%+v", i)
	}
	p := r.alloc(1 << 19)
	if _, err := r.d.Alloc(1<<19 + 1); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("%v", err)
	}
	free, total, err := r.d.Memory()
	r.ok(err)
	if free != 1<<19 || total != 1<<20 {
		t.Error(free, total)
	}
	r.ok(r.d.Free(p))
	r.alloc(1 << 20)
	if p%256 != 0 {
		t.Error("not aligned")
	}
	if _, err := r.d.Alloc(0); err == nil {
		t.Error("an allocation of nothing")
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t, Options{})
	a, err := r.d.NewEvent()
	r.ok(err)
	b, err := r.d.NewEvent()
	r.ok(err)
	if _, err := b.Since(a); err == nil {
		t.Error("time between events that were not recorded")
	}
	r.ok(r.s.Record(a))
	r.ok(r.s.Record(b))
	ms, err := b.Since(a)
	r.ok(err)
	if ms < 0 {
		t.Error(ms)
	}
	// What waits for a failed stream fails.
	f := r.load(kernel("sm_75", "", "trap;"), "k")
	_ = r.run(f, 1, 1)
	_ = r.s.Record(a)
	s, err := r.d.NewStream()
	r.ok(err)
	r.ok(s.Wait(a))
	var fault *Fault
	if !errors.As(s.Synchronize(), &fault) {
		t.Error("no fault")
	}
}

func TestLaunchErrors(t *testing.T) {
	r := newRig(t, Options{Major: 7, Minor: 5})
	f := r.load(strings.Replace(scale, ")\n{", ")\n.maxntid 128, 1, 1\n{\n.shared .b8 s[1000];", 1), "k")
	if a := f.Attributes(); a.MaxThreads != 128 || a.Shared != 1000 || a.Params != 3 || a.Binary != 75 || a.Registers == 0 {
		t.Errorf("%+v", a)
	}
	args := []uint64{uint64(upload(r, make([]uint32, 8))), 1, 1}
	for name, l := range map[string]*driver.Launch{
		"too few arguments":  {Args: args[:2]},
		"too many arguments": {Args: append([]uint64{1}, args...)},
		"large block":        {Block: driver.Dim3{X: 129}, Args: args},
		"deep block":         {Block: driver.Dim3{Z: 65}, Args: args},
		"high grid":          {Grid: driver.Dim3{Y: 65536}, Args: args},
		"negative":           {Grid: driver.Dim3{X: -1}, Args: args},
		"shared":             {Shared: 48 << 10, Args: args},
	} {
		l.Function = f
		if r.s.Launch(l) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if r.s.Launch(&driver.Launch{Args: args}) == nil {
		t.Error("launch of nothing")
	}
	if f.SetDynamicShared(64<<10) == nil {
		t.Error("more shared memory than there is")
	}
	r.ok(f.SetDynamicShared(60 << 10))
	r.ok(r.s.Launch(&driver.Launch{Function: f, Shared: 60 << 10, Args: args}))
	r.ok(r.s.Synchronize())
	r.ok(r.d.Close())
	if r.s.Launch(&driver.Launch{Function: f, Args: args}) == nil || r.s.Synchronize() == nil {
		t.Error("a closed device works")
	}
	if _, err := New(Options{}).Open(1); err == nil {
		t.Error("a second device")
	}
}

// Devices share what they know of a text, but not the addresses of its variables nor the sizes that a function is allowed.
func TestTwoDevices(t *testing.T) {
	plain := kernel("sm_75", "", "")
	variable := strings.Replace(kernel("sm_75", "", "ld.global.u32 %r0, [v];"), ".visible", ".global .u32 v;\n.visible", 1)
	for i := range 2 {
		r := newRig(t, Options{})
		r.alloc(1 + 1000*i)
		r.ok(r.run(r.load(variable, "k"), 1, 32))
		f := r.load(plain, "k")
		if r.launch(f, driver.Dim3{}, driver.Dim3{}, 60<<10) == nil {
			t.Error("more shared memory than allowed")
		}
		r.ok(f.SetDynamicShared(60 << 10))
		r.ok(r.launch(f, driver.Dim3{}, driver.Dim3{}, 60<<10))
	}
}

// Of a launch only those blocks are executed that are wanted, and memory is 0 where the others would have written.
func TestBlocks(t *testing.T) {
	r := newRig(t, Options{Blocks: func(i int) bool { return i%2 == 1 }})
	f, p := r.load(scale, "k"), r.alloc(4*96)
	if v := download[uint32](r, p, 96); slices.Max(v) != 0 {
		t.Errorf("memory is %v at first", v)
	}
	q := upload(r, slices.Repeat([]uint32{5}, 96))
	r.ok(r.s.Launch(&driver.Launch{Function: f, Grid: driver.Dim3{X: 3}, Block: driver.Dim3{X: 32}, Args: []uint64{uint64(q), 3, 96}}))
	if v := download[uint32](r, q, 96); v[31] != 5 || v[32] != 15 || v[63] != 15 || v[64] != 5 {
		t.Errorf("after blocks 1 of 0 to 2: %v", v)
	}
}

func TestUnload(t *testing.T) {
	r := newRig(t, Options{})
	before, _, _ := r.d.Memory()
	m, err := r.d.Load(header("sm_75") + ".global .u32 v;\n.visible .entry k() { ret; }")
	r.ok(err)
	f, err := m.Function("k")
	r.ok(err)
	if _, err := m.Function("none"); err == nil {
		t.Error("a function that is not there")
	}
	r.ok(m.Unload())
	if after, _, _ := r.d.Memory(); after != before {
		t.Error("variables stay")
	}
	if r.s.Launch(&driver.Launch{Function: f}) == nil {
		t.Error("launch of unloaded code")
	}
}

// A launch that may begin early has to wait before it does anything, whatever it is that it does.
func TestEarlyLaunchWaits(t *testing.T) {
	const entry = ".version 7.8\n.target sm_90\n.address_size 64\n.visible .entry k()\n{\n\t.reg .pred %p<2>;\n\t.reg .b32 %r<2>;\n"
	for body, ok := range map[string]bool{
		"griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n\tret;": true,
		"griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;\n\tret;": false,
		"mov.u32 %r1, 0;\n\tgriddepcontrol.wait;\n\tret;":                   false,
		"ret;": false,
	} {
		r := newRig(t, Options{Major: 9})
		l := &driver.Launch{Function: r.load(entry+"\t"+body+"\n}\n", "k"), Grid: driver.Dim3{X: 1}, Block: driver.Dim3{X: 32}}
		if err := r.s.Launch(l); err != nil {
			t.Errorf("%q in its turn: %v", body, err)
		}
		l.Waits = true
		if err := r.s.Launch(l); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "griddepcontrol.wait is not its first instruction") {
			t.Errorf("%q early: error %v", body, err)
		}
	}
	r := newRig(t, Options{})
	if _, err := r.d.Load(strings.NewReplacer("sm_90", "sm_80").Replace(entry) + "\tgriddepcontrol.wait;\n\tret;\n}\n"); err == nil ||
		!strings.Contains(err.Error(), "griddepcontrol.wait needs sm_90") {
		t.Errorf("error %v, want that the target is too old", err)
	}
}
