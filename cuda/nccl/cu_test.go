//go:build cuda && linux

package nccl_test

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/cuda/nccl/libsim"
	"github.com/convae/convae/cuda/ptxsim"
)

// install puts simulated libraries of the driver and of NCCL in place.
func install(t *testing.T, l *libsim.Library) (*cusim.Library, *libsim.Library) {
	t.Helper()
	cuda := cusim.Install(ptxsim.New(ptxsim.Options{Memory: 1 << 20}, ptxsim.Options{Memory: 1 << 20}))
	libsim.Install(l, cuda)
	t.Cleanup(func() {
		l.Remove()
		cuda.Remove()
	})
	return cuda, l
}

// use calls every function on two ranks, checks what is computed and returns the first error of each.
func use(t *testing.T) (errs [2]error) {
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	lib, err := nccl.System()
	if err != nil {
		return [2]error{err}
	}
	id, err := lib.UniqueID()
	if err != nil {
		return [2]error{err}
	}
	var all sync.WaitGroup
	for rank := range errs {
		all.Go(func() { errs[rank] = useRank(t, sys, lib, id, rank) })
	}
	all.Wait()
	return errs
}

func useRank(t *testing.T, sys driver.Driver, lib nccl.Library, id nccl.ID, rank int) (err error) {
	d, err := sys.Open(rank)
	if err != nil {
		return err
	}
	defer d.Close()
	c, err := lib.Init(d, 2, id, rank)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Abort()) // so that the other does not wait
			return
		}
		err = c.Destroy()
	}()
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	p, err := d.Alloc(40)
	if err != nil {
		return err
	}
	at := func(i int) driver.Ptr { return p + driver.Ptr(4*i) }
	host := make([]byte, 40)
	for i := range 10 {
		binary.LittleEndian.PutUint32(host[4*i:], math.Float32bits(float32(i+100*rank)))
	}
	peer := 1 - rank
	const f = nccl.Float32
	var g driver.Graph
	for _, step := range []func() error{
		func() error { return s.ToDevice(p, host) },
		func() error { return c.AllReduce(at(0), at(0), 1, f, s) },     // 0: 100
		func() error { return c.ReduceScatter(at(1), at(3), 1, f, s) }, // 3: 102, 104
		func() error { return c.AllGather(at(3), at(4), 1, f, s) },     // 4, 5: 102, 104
		func() error { return c.Broadcast(at(6), at(7), 1, f, 1, s) },  // 7: 106
		s.BeginCapture,
		func() error {
			return c.Group(func() error { // 9: 108, 8
				return errors.Join(c.Send(at(8), 1, f, peer, s), c.Recv(at(9), 1, f, peer, s))
			})
		},
		func() (err error) { g, err = s.EndCapture(); return err },
		func() error { return s.Replay(g) },
		func() error { return s.ToHost(host, p) },
		s.Synchronize,
		c.AsyncError,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	want := []float32{100, 1, 2, 102, 102, 104, 6, 106, 8, 108}
	if rank == 1 {
		want = []float32{100, 101, 102, 104, 102, 104, 106, 106, 108, 8}
	}
	got := make([]float32, 10)
	for i := range got {
		got[i] = math.Float32frombits(binary.LittleEndian.Uint32(host[4*i:]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("rank %d has %v, want %v", rank, got, want)
	}
	return nil
}

func TestBindings(t *testing.T) {
	cuda, lib := install(t, &libsim.Library{})
	for rank, err := range use(t) {
		if err != nil {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	for _, err := range cuda.Errors() {
		t.Error(err)
	}
	if n := lib.Remove(); n != 0 {
		t.Errorf("%d communicators have not ended", n)
	}
}

// Whatever call fails, the error names it and has NCCL's words.
func TestEveryCallFails(t *testing.T) {
	_, lib := install(t, &libsim.Library{})
	calls := map[string]bool{}
	lib.Fail = func(call string) int { calls[call] = true; return 0 }
	use(t)
	calls["ncclCommAbort"] = true
	if len(calls) != 14 {
		t.Errorf("the calls are %v, want all 14 that return a result", calls)
	}
	delete(calls, "ncclCommAbort")
	for call := range calls {
		t.Run(call, func(t *testing.T) {
			lib.Fail = func(c string) int {
				if c == call {
					return 2
				}
				return 0
			}
			for _, err := range use(t) {
				var e *nccl.Error
				if !errors.As(err, &e) {
					if err != nil {
						t.Errorf("error %v", err)
					}
					continue
				}
				if e.Call != call || !strings.Contains(e.Error(), call+": unhandled system error") || !strings.Contains(e.Error(), "with NCCL_DEBUG=WARN") {
					t.Errorf("error %v", err)
				}
				return
			}
			t.Error("no error")
		})
	}
}

// A mistake has NCCL's last words.
func TestLastWords(t *testing.T) {
	install(t, &libsim.Library{})
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	lib, err := nccl.System()
	if err != nil {
		t.Fatal(err)
	}
	id, err := lib.UniqueID()
	if err != nil {
		t.Fatal(err)
	}
	d, err := sys.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := lib.Init(d, 1, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(256, 1, nccl.Float32, 0, s); err == nil || !strings.Contains(err.Error(), "ncclSend: invalid usage (run with NCCL_DEBUG=WARN for details) (ncclResult_t 5): ncclsim: rank 0: Send of 1 float32 to rank 0: that is the rank itself") {
		t.Errorf("error %v", err)
	}
	if err := errors.Join(c.Destroy(), c.Destroy()); err != nil {
		t.Error(err)
	}
	if err := c.Send(256, 1, nccl.Float32, 0, s); err == nil || !strings.Contains(err.Error(), "the communicator has ended") {
		t.Errorf("error %v", err)
	}
}

func TestOldLibrary(t *testing.T) {
	for _, c := range []struct {
		lib  *libsim.Library
		want string
	}{
		{&libsim.Library{Version: 2804}, "libnccl.so.2 is version 2.8.4, which cannot be part of a CUDA graph: install NCCL 2.9 or later (the package libnccl2 of NVIDIA's repositories"},
		{&libsim.Library{Without: []string{"ncclSend", "ncclRecv"}}, "libnccl.so.2 lacks ncclSend, ncclRecv: install NCCL 2.9 or later"},
		{&libsim.Library{Without: []string{"ncclGetLastError"}}, ""},
	} {
		t.Run(c.want, func(t *testing.T) {
			install(t, c.lib)
			if _, err := nccl.System(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
