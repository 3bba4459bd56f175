//go:build cuda && linux

// Package libsim answers the functions of libnccl.so.2 by package ncclsim, on the devices and streams of a cusim.Library: so the real
// bindings are tested on a machine that has no GPU, and any call can be made to fail.
package libsim

// #include <stdlib.h>
// #include <stdint.h>
// typedef struct { char internal[128]; } libsim_id;
// void *libsim_function(const char *name);
import "C"

import (
	"errors"
	"sync"
	"syscall"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/cuda/nccl/internal/libnccl"
	"github.com/convae/convae/cuda/nccl/ncclsim"
)

// Library is NCCL in Go.
type Library struct {
	ncclsim.Library
	// Fail, unless nil, is asked before each call by its name. A result that is not 0 is the call's ncclResult_t.
	Fail    func(call string) int
	Version int      // that it has; 0 stands for 2.21.5
	Without []string // functions that it lacks

	cuda    *cusim.Library
	mu      sync.Mutex
	handles map[unsafe.Pointer]nccl.Comm
	groups  map[int]*group // by thread
	last    string         // the last error
	texts   map[string]*C.char
}

// group is the calls between ncclGroupStart and ncclGroupEnd, by communicator.
type group struct {
	comms []nccl.Comm
	calls map[nccl.Comm][]func() error
}

var installed *Library

// Install puts a library in the place of libnccl.so.2, for the devices of a cusim.Library, until Remove is called.
func Install(l *Library, cuda *cusim.Library) *Library {
	if installed != nil {
		panic("libsim: a library is installed already")
	}
	l.cuda, l.handles, l.groups, l.texts = cuda, map[unsafe.Pointer]nccl.Comm{}, map[int]*group{}, map[string]*C.char{}
	installed = l
	libnccl.Fill(func(symbol string) unsafe.Pointer {
		for _, s := range l.Without {
			if s == symbol {
				return nil
			}
		}
		name := C.CString(symbol)
		defer C.free(unsafe.Pointer(name))
		return C.libsim_function(name)
	})
	return l
}

// Remove leaves the program without NCCL, and returns the number of communicators that have not ended.
func (l *Library) Remove() (comms int) {
	libnccl.Clear()
	installed = nil
	return len(l.handles)
}

// Results of calls, as in nccl.h.
const (
	success         = 0
	invalidArgument = 4
	invalidUsage    = 5
	remoteError     = 6
)

// begin starts a call.
func begin(call string) (*Library, C.int) {
	l := installed
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Fail != nil {
		return l, C.int(l.Fail(call))
	}
	return l, success
}

// done turns an error into a result.
func (l *Library) done(err error, rc C.int) C.int {
	if err == nil {
		return success
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = err.Error()
	return rc
}

// text is a C string that lives as long as the program.
func (l *Library) text(s string) *C.char {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.texts[s] == nil {
		l.texts[s] = C.CString(s)
	}
	return l.texts[s]
}

//export libsim_GetVersion
func libsim_GetVersion(v *C.int) C.int {
	l, rc := begin("ncclGetVersion")
	if *v = 22105; l.Version != 0 {
		*v = C.int(l.Version)
	}
	return rc
}

//export libsim_GetErrorString
func libsim_GetErrorString(code C.int) *C.char {
	return installed.text(map[C.int]string{0: "no error", 1: "unhandled cuda error (run with NCCL_DEBUG=INFO for details)", 2: "unhandled system error (run with NCCL_DEBUG=INFO for details)",
		3: "internal error - please report this issue to the NCCL developers", 4: "invalid argument (run with NCCL_DEBUG=WARN for details)",
		5: "invalid usage (run with NCCL_DEBUG=WARN for details)", 6: "remote process exited or there was a network error"}[code])
}

//export libsim_GetLastError
func libsim_GetLastError(unsafe.Pointer) *C.char {
	l := installed
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	return l.text(last)
}

//export libsim_GetUniqueId
func libsim_GetUniqueId(p *C.libsim_id) C.int {
	l, rc := begin("ncclGetUniqueId")
	if rc != success {
		return rc
	}
	id, err := l.UniqueID()
	*(*nccl.ID)(unsafe.Pointer(p)) = id
	return l.done(err, invalidUsage)
}

//export libsim_CommInitRank
func libsim_CommInitRank(comm *unsafe.Pointer, size C.int, id C.libsim_id, rank C.int) C.int {
	l, rc := begin("ncclCommInitRank")
	if rc != success {
		return rc
	}
	dev := l.cuda.Device()
	if dev == nil {
		return l.done(errors.New("no context is current"), invalidUsage)
	}
	c, err := l.Init(dev, int(size), *(*nccl.ID)(unsafe.Pointer(&id)), int(rank))
	if err == nil {
		h := C.malloc(1)
		l.mu.Lock()
		l.handles[h] = c
		l.mu.Unlock()
		*comm = h
	}
	return l.done(err, invalidUsage)
}

// with does a call on a communicator.
func with(call string, comm unsafe.Pointer, f func(l *Library, c nccl.Comm) C.int) C.int {
	l, rc := begin(call)
	if rc != success {
		return rc
	}
	l.mu.Lock()
	c := l.handles[comm]
	l.mu.Unlock()
	if c == nil {
		return l.done(errors.New("no communicator"), invalidArgument)
	}
	return f(l, c)
}

//export libsim_CommDestroy
func libsim_CommDestroy(comm unsafe.Pointer) C.int {
	return with("ncclCommDestroy", comm, func(l *Library, c nccl.Comm) C.int {
		l.forget(comm)
		return l.done(c.Destroy(), invalidUsage)
	})
}

//export libsim_CommAbort
func libsim_CommAbort(comm unsafe.Pointer) C.int {
	return with("ncclCommAbort", comm, func(l *Library, c nccl.Comm) C.int {
		l.forget(comm)
		return l.done(c.Abort(), invalidUsage)
	})
}

func (l *Library) forget(comm unsafe.Pointer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.handles, comm)
	C.free(comm)
}

//export libsim_CommGetAsyncError
func libsim_CommGetAsyncError(comm unsafe.Pointer, failure *C.int) C.int {
	return with("ncclCommGetAsyncError", comm, func(l *Library, c nccl.Comm) C.int {
		*failure = l.done(c.AsyncError(), remoteError)
		return success
	})
}

// on does a call on a stream, or keeps it for the end of the thread's group.
func on(call string, comm, stream unsafe.Pointer, f func(c nccl.Comm, s driver.Stream) error) C.int {
	return with(call, comm, func(l *Library, c nccl.Comm) C.int {
		s := l.cuda.Stream(stream)
		if s == nil {
			return l.done(errors.New("no stream"), invalidArgument)
		}
		l.mu.Lock()
		g := l.groups[syscall.Gettid()]
		if g != nil {
			if g.calls[c] == nil {
				g.comms = append(g.comms, c)
			}
			g.calls[c] = append(g.calls[c], func() error { return f(c, s) })
		}
		l.mu.Unlock()
		if g != nil {
			return success
		}
		return l.done(f(c, s), invalidUsage)
	})
}

func ptr(p unsafe.Pointer) driver.Ptr { return driver.Ptr(uintptr(p)) }

//export libsim_AllReduce
func libsim_AllReduce(send, recv unsafe.Pointer, count C.size_t, t, op C.int, comm, stream unsafe.Pointer) C.int {
	return on("ncclAllReduce", comm, stream, func(c nccl.Comm, s driver.Stream) error {
		return sum(op, c.AllReduce, send, recv, count, t, s)
	})
}

//export libsim_ReduceScatter
func libsim_ReduceScatter(send, recv unsafe.Pointer, count C.size_t, t, op C.int, comm, stream unsafe.Pointer) C.int {
	return on("ncclReduceScatter", comm, stream, func(c nccl.Comm, s driver.Stream) error {
		return sum(op, c.ReduceScatter, send, recv, count, t, s)
	})
}

// sum does a reduction, which is to be a sum.
func sum(op C.int, f func(send, recv driver.Ptr, count int, t nccl.Type, s driver.Stream) error, send, recv unsafe.Pointer, count C.size_t, t C.int, s driver.Stream) error {
	if op != 0 {
		return errors.New("the reduction is no sum")
	}
	return f(ptr(send), ptr(recv), int(count), nccl.Type(t), s)
}

//export libsim_AllGather
func libsim_AllGather(send, recv unsafe.Pointer, count C.size_t, t C.int, comm, stream unsafe.Pointer) C.int {
	return on("ncclAllGather", comm, stream, func(c nccl.Comm, s driver.Stream) error {
		return c.AllGather(ptr(send), ptr(recv), int(count), nccl.Type(t), s)
	})
}

//export libsim_Broadcast
func libsim_Broadcast(send, recv unsafe.Pointer, count C.size_t, t, root C.int, comm, stream unsafe.Pointer) C.int {
	return on("ncclBroadcast", comm, stream, func(c nccl.Comm, s driver.Stream) error {
		return c.Broadcast(ptr(send), ptr(recv), int(count), nccl.Type(t), int(root), s)
	})
}

//export libsim_Send
func libsim_Send(p unsafe.Pointer, count C.size_t, t, peer C.int, comm, stream unsafe.Pointer) C.int {
	return on("ncclSend", comm, stream, func(c nccl.Comm, s driver.Stream) error {
		return c.Send(ptr(p), int(count), nccl.Type(t), int(peer), s)
	})
}

//export libsim_Recv
func libsim_Recv(p unsafe.Pointer, count C.size_t, t, peer C.int, comm, stream unsafe.Pointer) C.int {
	return on("ncclRecv", comm, stream, func(c nccl.Comm, s driver.Stream) error {
		return c.Recv(ptr(p), int(count), nccl.Type(t), int(peer), s)
	})
}

//export libsim_GroupStart
func libsim_GroupStart() C.int {
	l, rc := begin("ncclGroupStart")
	if rc == success {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.groups[syscall.Gettid()] = &group{calls: map[nccl.Comm][]func() error{}}
	}
	return rc
}

//export libsim_GroupEnd
func libsim_GroupEnd() C.int {
	l, rc := begin("ncclGroupEnd")
	l.mu.Lock()
	g := l.groups[syscall.Gettid()]
	delete(l.groups, syscall.Gettid()) // also after a failure
	l.mu.Unlock()
	if rc != success {
		return rc
	}
	if g == nil {
		return l.done(errors.New("the thread has begun no group"), invalidUsage)
	}
	for _, c := range g.comms {
		err := c.Group(func() error {
			for _, call := range g.calls[c] {
				if err := call(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return l.done(err, invalidUsage)
		}
	}
	return success
}
