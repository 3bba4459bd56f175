//go:build cuda && linux

package driver_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/ptxsim"
)

// scalePTX multiplies n floats by a factor, through dynamic shared memory.
const scalePTX = `.version 7.0
.target sm_75
.address_size 64
.extern .shared .align 16 .b8 room[];
.visible .entry scale(
	.param .u64 p,
	.param .u32 n,
	.param .f32 factor
)
{
	.reg .pred %q;
	.reg .b32 %r<6>;
	.reg .f32 %f<4>;
	.reg .b64 %d<4>;
	ld.param.u64 %d0, [p];
	ld.param.u32 %r0, [n];
	ld.param.f32 %f0, [factor];
	cvta.to.global.u64 %d0, %d0;
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %ntid.x;
	mad.lo.s32 %r2, %r2, %r3, %r1;
	setp.ge.u32 %q, %r2, %r0;
	@%q bra done;
	mul.wide.u32 %d1, %r2, 4;
	add.s64 %d1, %d0, %d1;
	ld.global.f32 %f1, [%d1];
	shl.b32 %r4, %r1, 2;
	mov.u32 %r5, room;
	add.s32 %r4, %r5, %r4;
	mul.rn.f32 %f1, %f1, %f0;
	st.shared.f32 [%r4], %f1;
	ld.shared.f32 %f2, [%r4];
	st.global.f32 [%d1], %f2;
done:
	ret;
}
`

// waitPTX is scale for a launch that may begin early.
var waitPTX = strings.NewReplacer(".version 7.0", ".version 7.8", "sm_75", "sm_90", "\tld.param.u64 %d0", "\tgriddepcontrol.wait;\n\tld.param.u64 %d0").Replace(scalePTX)

// boxPTX copies a box of 8 by 4 elements of 2 bytes, from (8, -1) on, to p.
const boxPTX = `.version 8.0
.target sm_90
.address_size 64
.visible .entry box(
	.param .u64 p,
	.param .align 64 .b8 map[128]
)
{
	.reg .pred %q<2>;
	.reg .b32 %r<8>;
	.reg .b64 %d<4>;
	.shared .align 128 .b8 room[64];
	.shared .align 8 .b64 bar;
	ld.param.u64 %d0, [p];
	mov.b64 %d1, map;
	cvta.param.u64 %d1, %d1;
	mov.u32 %r0, %tid.x;
	mov.u32 %r1, room;
	mov.u32 %r2, bar;
	mov.u32 %r3, 8;
	mov.u32 %r4, -1;
	setp.ne.u32 %q0, %r0, 0;
	@%q0 bra wait;
	mbarrier.init.shared::cta.b64 [%r2], 1;
	fence.mbarrier_init.release.cluster;
	mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 64;
	cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%d1, {%r3, %r4}], [%r2];
wait:
	bar.sync 0;
again:
	mbarrier.try_wait.parity.shared::cta.b64 %q1, [%r2], 0;
	@!%q1 bra again;
	shl.b32 %r5, %r0, 2;
	add.s32 %r6, %r1, %r5;
	ld.shared.u32 %r7, [%r6];
	cvt.u64.u32 %d2, %r5;
	add.s64 %d2, %d0, %d2;
	st.global.u32 [%d2], %r7;
	ret;
}
`

// useBox copies a box of a tensor, and returns the first error.
func useBox(t *testing.T, d driver.Device, s driver.Stream) error {
	in := make([]byte, 2*16*3)
	for i := range in {
		in[i] = byte(i + 1)
	}
	p, err := d.Alloc(64)
	if err != nil {
		return err
	}
	q, err := d.Alloc(len(in))
	if err != nil {
		return err
	}
	m, err := d.Load(boxPTX)
	if err != nil {
		return err
	}
	f, err := m.Function("box")
	if err != nil {
		return err
	}
	tensor := driver.Tiled{Type: driver.ElementBFloat16, Base: q, Sizes: []int{16, 3}, Strides: []int{32}, Box: []int{8, 4}}
	box, err := d.EncodeTiled(&tensor)
	if err != nil {
		return err
	}
	tensor.Base++
	if _, err := d.EncodeTiled(&tensor); err == nil || !strings.Contains(err.Error(), "multiple of 16") {
		t.Errorf("a tensor at an odd address: %v", err)
	}
	out := make([]byte, 64)
	for _, step := range []func() error{
		func() error { return s.ToDevice(q, in) },
		func() error {
			return s.Launch(&driver.Launch{Function: f, Grid: driver.Dim3{X: 1}, Block: driver.Dim3{X: 16}, Args: []uint64{uint64(p)}, Maps: []driver.TensorMap{box}})
		},
		func() error { return s.ToHost(out, p) },
		s.Synchronize,
		m.Unload,
		func() error { return d.Free(p) },
		func() error { return d.Free(q) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for i, v := range out {
		want := byte(0) // of the row above the tensor
		if row := i / 16; row > 0 {
			want = in[(row-1)*32+16+i%16]
		}
		if v != want {
			t.Fatalf("byte %d of the box is %d, want %d", i, v, want)
		}
	}
	return nil
}

// use calls every method of a driver, checks what it computes and returns the first error.
func use(t *testing.T) (err error) {
	t.Helper()
	sys, err := driver.System()
	if err != nil {
		return err
	}
	infos, err := sys.Devices()
	if err != nil {
		return err
	}
	if i := infos[0]; i.Name != "Test GPU" || i.Major != 9 || i.SMs != 3 || i.Memory != 1<<20 || i.Driver != 12040 {
		t.Errorf("the device is %+v", i)
	}
	d, err := sys.Open(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	const n = 100
	p, err := d.Alloc(4 * n)
	if err != nil {
		return err
	}
	free, total, err := d.Memory()
	if err != nil {
		return err
	}
	if total != 1<<20 || free > total-4*n {
		t.Errorf("%d of %d bytes are free", free, total)
	}
	host, err := d.AllocHost(4 * n)
	if err != nil {
		return err
	}
	m, err := d.Load(waitPTX)
	if err != nil {
		return err
	}
	f, err := m.Function("scale")
	if err != nil {
		return err
	}
	if f.Name() != "scale" || f.Attributes().MaxThreads == 0 {
		t.Errorf("%s has attributes %+v", f.Name(), f.Attributes())
	}
	if err := f.SetDynamicShared(50 << 10); err != nil {
		return err
	}
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	var events [2]driver.Event
	for i := range events {
		if events[i], err = d.NewEvent(); err != nil {
			return err
		}
	}
	for i := range n {
		binary.LittleEndian.PutUint32(host[4*i:], math.Float32bits(float32(i)))
	}
	q, err := d.Alloc(4 * n)
	if err != nil {
		return err
	}
	launch := &driver.Launch{Function: f, Grid: driver.Dim3{X: 2}, Block: driver.Dim3{X: 64}, Shared: 50 << 10,
		Args: []uint64{uint64(p), n - 1, uint64(math.Float32bits(3))}, Waits: true}
	var graph driver.Graph
	var reached bool
	var ms float64
	back := make([]byte, 4*n)
	for _, step := range []func() error{
		func() error { return s.Record(events[0]) },
		func() error { return s.ToDevice(p, host) },
		func() error { return s.Fill(p+4*(n-1), math.Float32bits(7), 1) },
		func() error { return s.Launch(launch) },
		func() error { return s.Launch(launch) }, // early: i*9, but the last is 7
		s.BeginCapture,
		func() error { return s.Launch(launch) },
		func() error { return s.Copy(q, p, 4*n) },
		func() (err error) { graph, err = s.EndCapture(); return err },
		func() error { return s.Replay(graph) }, // i*27
		func() error { return s.Replay(graph) }, // i*81
		func() error { return s.Record(events[1]) },
		func() error { return s.Wait(events[1]) },
		events[1].Synchronize,
		func() (err error) { reached, err = events[1].Reached(); return err },
		func() (err error) { ms, err = events[1].Since(events[0]); return err },
		func() error { return s.ToHost(back, q) },
		s.Synchronize,
		func() error { return graph.Close() },
		func() error { return events[0].Close() },
		func() error { return events[1].Close() },
		m.Unload,
		func() error { return d.Free(p) },
		func() error { return d.Free(q) },
		func() error { return d.FreeHost(host) },
		func() error { return useBox(t, d, s) },
		s.Close,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if !reached || ms < 0 {
		t.Errorf("the event was reached: %v, after %v ms", reached, ms)
	}
	for i := range n {
		want := float32(81 * i)
		if i == n-1 {
			want = 7
		}
		if got := math.Float32frombits(binary.LittleEndian.Uint32(back[4*i:])); got != want {
			t.Fatalf("element %d is %v, want %v", i, got, want)
		}
	}
	return nil
}

func testGPU() driver.Driver {
	return ptxsim.New(ptxsim.Options{Name: "Test GPU", Major: 9, Minor: 0, SMs: 3, Memory: 1 << 20})
}

// install puts a library with the test's GPU in place.
func install(t *testing.T, d driver.Driver) *cusim.Library {
	t.Helper()
	lib := cusim.Install(d)
	t.Cleanup(func() {
		if n := lib.Remove(); n != 0 {
			t.Errorf("%d contexts were not destroyed", n)
		}
	})
	return lib
}

func TestBindings(t *testing.T) {
	lib := install(t, testGPU())
	if err := use(t); err != nil {
		t.Fatal(err)
	}
	for _, err := range lib.Errors() {
		t.Error(err)
	}
}

// Whatever call fails, the error names it and has the driver's words.
func TestEveryCallFails(t *testing.T) {
	lib := cusim.Install(testGPU())
	defer func() {
		if n := lib.Remove(); n != 1 {
			t.Errorf("%d contexts were not destroyed, want the one whose cuDevicePrimaryCtxRelease failed", n)
		}
	}()
	var calls []string
	seen := make(map[string]bool)
	lib.Fail = func(call string) int {
		if !seen[call] && call != "cuDriverGetVersion" { // gorgonia.org/cu does not tell of its failure
			seen[call] = true
			calls = append(calls, call)
		}
		return 0
	}
	if err := use(t); err != nil {
		t.Fatal(err)
	}
	if len(calls) < 40 {
		t.Errorf("only %d calls: %v", len(calls), calls)
	}
	for _, call := range calls {
		t.Run(call, func(t *testing.T) {
			armed := true
			lib.Fail = func(c string) int {
				if armed && c == call {
					armed = false
					return 700
				}
				return 0
			}
			err := use(t)
			var e *driver.Error
			if !errors.As(err, &e) || e.Code != 700 || !strings.HasPrefix(call, e.Call) || e.Text != "an illegal memory access was encountered" {
				t.Errorf("error %v (%+v), want result 700 of %s", err, e, call)
			}
			lib.Fail = nil
		})
	}
}

// The compiler's log is in the error.
func TestLoadShowsLog(t *testing.T) {
	install(t, testGPU())
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	d, err := sys.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = d.Load(strings.Replace(scalePTX, "shl.b32", "shl.b33", 1))
	if err == nil || !strings.Contains(err.Error(), "a PTX JIT compilation failed") || !strings.Contains(err.Error(), "shl.b33") {
		t.Errorf("error %v, want the driver's words and the instruction", err)
	}
	if bytes.IndexByte([]byte(err.Error()), 0) >= 0 {
		t.Error("the log is not cut at its end")
	}
}

// none is a driver without devices.
type none struct{ driver.Driver }

func (none) Devices() ([]driver.Info, error) { return nil, nil }

func TestNoDevice(t *testing.T) {
	install(t, none{})
	t.Setenv("CUDA_VISIBLE_DEVICES", "")
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	_, err = sys.Devices()
	if err == nil || !strings.Contains(err.Error(), `CUDA_VISIBLE_DEVICES is ""`) || !strings.Contains(err.Error(), "lists no device") {
		t.Errorf("error %v", err)
	}
}

func TestInitFails(t *testing.T) {
	for _, c := range []struct {
		result int
		want   string
	}{
		{100, `CUDA_VISIBLE_DEVICES is "7", which may hide them: cuInit: no CUDA-capable device is detected (CUDA_ERROR_NO_DEVICE): see what nvidia-smi lists`},
		{34, "cuInit: CUDA driver is a stub library (CUDA_ERROR_STUB_LIBRARY): the libcuda.so.1 that was found is the toolkit's stub"},
		{803, "restart the machine"},
		{304, "/dev/nvidia-uvm"},
		{802, "fabric manager"},
		{805, "nvidia-cuda-mps-control -d"},
		{807, "CUDA_MPS_PIPE_DIRECTORY"},
		{808, "wait for one to end"},
		{999, "modprobe nvidia_uvm"},
		{12345, "cuInit: the driver returned 12345"},
	} {
		lib := cusim.Install(testGPU())
		lib.Fail = func(string) int { return c.result }
		t.Setenv("CUDA_VISIBLE_DEVICES", "7")
		if _, err := driver.System(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		lib.Remove()
	}
}

// What cuInit cannot do is another matter than a device that fails at work.
func TestUnknownLater(t *testing.T) {
	lib := cusim.Install(testGPU())
	defer lib.Remove()
	lib.Fail = func(call string) int {
		if call == "cuDeviceGetCount" {
			return 999
		}
		return 0
	}
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sys.Devices(); err == nil || !strings.Contains(err.Error(), "--resume") || strings.Contains(err.Error(), "modprobe") {
		t.Errorf("error %v, want advice for a device that was lost", err)
	}
}

// A driver for a CUDA below 12.0 has no tensor maps, and is not asked for one.
func TestDriverWithoutTensorMaps(t *testing.T) {
	lib := install(t, testGPU())
	lib.Version = 11080
	lib.Fail = func(call string) int {
		if call == "cuTensorMapEncodeTiled" {
			t.Error("cuTensorMapEncodeTiled is called")
		}
		return 0
	}
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	d, err := sys.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.EncodeTiled(&driver.Tiled{}); !errors.Is(err, driver.ErrNoTensorMaps) {
		t.Errorf("error %v, want that there are no tensor maps", err)
	}
}

func TestOldDriver(t *testing.T) {
	lib := install(t, testGPU())
	lib.Version = 10020
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sys.Open(0); err == nil || !strings.Contains(err.Error(), "the NVIDIA driver supports CUDA 10.2 and convae needs 11.4 or later: install a newer NVIDIA driver") {
		t.Errorf("error %v", err)
	}
}
