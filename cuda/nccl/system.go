//go:build cuda && linux

package nccl

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/nccl/internal/libnccl"
)

// library is the name by which NCCL is opened when it is first asked for.
var library = "libnccl.so.2"

// minVersion is the version that the library must have: 2.7 brought ncclSend and ncclRecv, 2.9 calls within a captured graph.
const minVersion = 20900

// versionText writes a version as NCCL counts it: up to 2.8 with two digits less.
func versionText(v int) string {
	if v < 10000 {
		return fmt.Sprintf("%d.%d.%d", v/1000, v%1000/100, v%100)
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
}

const installAdvice = "install NCCL 2.9 or later (the package libnccl2 of NVIDIA's repositories, or the Python package nvidia-nccl-cu12), and have LD_LIBRARY_PATH name the folder of its libnccl.so.2"

var opening sync.Mutex

// System returns the machine's NCCL, for devices of driver.System. The error says why there is none, and what to do about it.
func System() (Library, error) {
	opening.Lock()
	defer opening.Unlock()
	if !libnccl.Filled() {
		if err := libnccl.Open(library); err != nil {
			return nil, fmt.Errorf("no NCCL (%w): %s", err, installAdvice)
		}
	}
	missing := libnccl.Missing()
	if len(missing) == 0 {
		v, code := libnccl.Version()
		if err := failed("ncclGetVersion", code, nil); err != nil {
			return nil, err
		}
		if v >= minVersion {
			return system{}, nil
		}
		return nil, fmt.Errorf("%s is version %s, which cannot be part of a CUDA graph: %s", library, versionText(v), installAdvice)
	}
	return nil, fmt.Errorf("%s lacks %s: %s", library, strings.Join(missing, ", "), installAdvice)
}

// failed describes an ncclResult_t.
func failed(call string, code int, c *comm) error {
	if code == 0 {
		return nil
	}
	e := &Error{Call: call, Code: code, Text: libnccl.ErrorString(code)}
	if c != nil {
		if now := c.comm.Load(); now != nil {
			e.Last = libnccl.LastError(*now)
		}
	}
	return e
}

type system struct{}

func (system) UniqueID() (id ID, err error) {
	return id, failed("ncclGetUniqueId", libnccl.UniqueID((*[128]byte)(&id)), nil)
}

func (system) Init(dev driver.Device, size int, id ID, rank int) (Comm, error) {
	d, ok := dev.(driver.Contextual)
	if !ok {
		return nil, errors.New("nccl: the device is not of the CUDA driver")
	}
	c := &comm{dev: d}
	err := d.InContext(func() error {
		made, code := libnccl.CommInitRank(size, (*[128]byte)(&id), rank)
		c.comm.Store(&made)
		return failed("ncclCommInitRank", code, nil)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// comm is a communicator of the library. The library allows one call at a time.
type comm struct {
	dev  driver.Contextual
	mu   sync.Mutex
	comm atomic.Pointer[libnccl.Comm] // nil when it has ended
}

var errEnded = errors.New("nccl: the communicator has ended")

// do makes a call with the device's context current.
func (c *comm) do(call string, f func(now libnccl.Comm) int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.comm.Load()
	if now == nil {
		return errEnded
	}
	return c.dev.InContext(func() error { return failed(call, f(*now), c) })
}

// on is do for a call on a stream.
func (c *comm) on(call string, s driver.Stream, f func(now libnccl.Comm, stream uintptr) int) error {
	h, ok := s.(driver.Handled)
	if !ok {
		return errors.New("nccl: the stream is not of the CUDA driver")
	}
	return c.do(call, func(now libnccl.Comm) int { return f(now, h.Handle()) })
}

func (c *comm) AllReduce(send, recv driver.Ptr, count int, t Type, s driver.Stream) error {
	return c.on("ncclAllReduce", s, func(now libnccl.Comm, stream uintptr) int {
		return libnccl.AllReduce(uint64(send), uint64(recv), count, int(t), now, stream)
	})
}

func (c *comm) ReduceScatter(send, recv driver.Ptr, count int, t Type, s driver.Stream) error {
	return c.on("ncclReduceScatter", s, func(now libnccl.Comm, stream uintptr) int {
		return libnccl.ReduceScatter(uint64(send), uint64(recv), count, int(t), now, stream)
	})
}

func (c *comm) AllGather(send, recv driver.Ptr, count int, t Type, s driver.Stream) error {
	return c.on("ncclAllGather", s, func(now libnccl.Comm, stream uintptr) int {
		return libnccl.AllGather(uint64(send), uint64(recv), count, int(t), now, stream)
	})
}

func (c *comm) Broadcast(send, recv driver.Ptr, count int, t Type, root int, s driver.Stream) error {
	return c.on("ncclBroadcast", s, func(now libnccl.Comm, stream uintptr) int {
		return libnccl.Broadcast(uint64(send), uint64(recv), count, int(t), root, now, stream)
	})
}

func (c *comm) Send(p driver.Ptr, count int, t Type, peer int, s driver.Stream) error {
	return c.on("ncclSend", s, func(now libnccl.Comm, stream uintptr) int {
		return libnccl.Send(uint64(p), count, int(t), peer, now, stream)
	})
}

func (c *comm) Recv(p driver.Ptr, count int, t Type, peer int, s driver.Stream) error {
	return c.on("ncclRecv", s, func(now libnccl.Comm, stream uintptr) int {
		return libnccl.Recv(uint64(p), count, int(t), peer, now, stream)
	})
}

// Group keeps the thread: the library counts groups by it.
func (c *comm) Group(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.do("ncclGroupStart", func(libnccl.Comm) int { return libnccl.GroupStart() }); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, c.do("ncclGroupEnd", func(libnccl.Comm) int { return libnccl.GroupEnd() }))
}

func (c *comm) AsyncError() error {
	failure := 0
	if err := c.do("ncclCommGetAsyncError", func(now libnccl.Comm) (code int) {
		failure, code = libnccl.CommGetAsyncError(now)
		return code
	}); err != nil {
		return err
	}
	return failed("a collective", failure, c)
}

// Abort also ends a call that is under way: the library waits in some for other ranks. Others are let come to their end, for a moment.
func (c *comm) Abort() error {
	for range 100 {
		if c.mu.TryLock() {
			defer c.mu.Unlock()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return c.end("ncclCommAbort", libnccl.CommAbort)
}

func (c *comm) Destroy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end("ncclCommDestroy", libnccl.CommDestroy)
}

// end ends the communicator, if it has not.
func (c *comm) end(call string, f func(libnccl.Comm) int) error {
	ended := c.comm.Swap(nil)
	if ended == nil {
		return nil
	}
	return c.dev.InContext(func() error { return failed(call, f(*ended), nil) })
}
