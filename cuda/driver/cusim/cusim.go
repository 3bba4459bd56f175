//go:build cuda && linux

// Package cusim answers the CUDA driver API by a driver.Driver written in Go, usually the simulator, in the place of
// libcuda.so.1. So the real bindings are tested on a machine that has no GPU, and any call can be made to fail. It is
// stricter than the real library: a call without a current context, and a handle that was never made or was destroyed,
// are errors.
package cusim

// #include <stdlib.h>
// void *cusim_function(const char *name);
import "C"

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/driver/internal/libcuda"
)

// Library is a CUDA driver library in Go.
type Library struct {
	// Fail, unless nil, is asked before each call by its name without version, such as "cuMemAlloc". A result that is not 0 is
	// the call's CUresult. Set it before the calls, and do not call CUDA in it.
	Fail func(call string) int
	// Version is the CUDA version that the driver supports; 0 stands for that of the driver.Driver.
	Version int

	drv     driver.Driver
	mu      sync.Mutex
	handles map[unsafe.Pointer]any
	current map[int]*context // by thread
	primary map[int]*primary // by device
	errs    []error
}

// installed is what the exported functions work on.
var installed *Library

// Install puts a library in the place of libcuda.so.1 until Remove is called. There can be one at a time.
func Install(d driver.Driver) *Library {
	if installed != nil {
		panic("cusim: a library is installed already")
	}
	installed = &Library{drv: d, handles: make(map[unsafe.Pointer]any), current: make(map[int]*context), primary: make(map[int]*primary)}
	libcuda.Fill(func(symbol string) unsafe.Pointer {
		name := C.CString(symbol)
		defer C.free(unsafe.Pointer(name))
		return C.cusim_function(name)
	})
	return installed
}

// Remove leaves the program without a CUDA driver library, and returns the number of contexts that were not released.
func (l *Library) Remove() (contexts int) {
	libcuda.Clear()
	installed = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.handles {
		if _, ok := v.(*context); ok {
			contexts++
		}
	}
	return contexts
}

// Errors returns what the driver.Driver reported; CUDA passes on only a number.
func (l *Library) Errors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errs
}

type context struct{ dev driver.Device }

// primary is a device's primary context, which lives as long as it has users.
type primary struct {
	*context
	handle unsafe.Pointer
	users  int
}

// owned is a handle's object with the context that it belongs to.
type owned[T any] struct {
	ctx *context
	v   T
}

// Results of calls, as in cuda.h.
const (
	success        = 0
	invalidValue   = 1
	outOfMemory    = 2
	invalidDevice  = 101
	invalidContext = 201
	invalidPTX     = 218
	invalidHandle  = 400
	notFound       = 500
	launchFailed   = 719
)

// begin starts a call: a failure that was asked for is its result.
func begin(call string) (*Library, int) {
	l := installed
	if l == nil {
		return nil, 3 // CUDA_ERROR_NOT_INITIALIZED
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Fail != nil {
		return l, l.Fail(call)
	}
	return l, success
}

// enter is begin for a call that needs a context.
func enter(call string) (*Library, *context, int) {
	l, rc := begin(call)
	if rc != success {
		return l, nil, rc
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx := l.current[syscall.Gettid()]
	if ctx == nil {
		return l, nil, invalidContext
	}
	return l, ctx, success
}

// done turns an error into a result.
func (l *Library) done(err error, rc int) int {
	if err == nil {
		return success
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
	return rc
}

// add makes a handle.
func (l *Library) add(v any) unsafe.Pointer {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := C.malloc(1)
	l.handles[h] = v
	return h
}

func (l *Library) remove(h unsafe.Pointer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.handles, h)
	C.free(h)
}

// get returns a handle's object of the current context.
func get[T any](l *Library, ctx *context, h unsafe.Pointer) (v T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.handles[h].(owned[T])
	return o.v, ok && o.ctx == ctx
}

// Device returns the device of the thread's current context, or nil.
func (l *Library) Device() driver.Device {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.current[syscall.Gettid()]; c != nil {
		return c.dev
	}
	return nil
}

// Stream returns the stream of a CUstream, whatever its context, or nil.
func (l *Library) Stream(handle unsafe.Pointer) driver.Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, _ := l.handles[handle].(owned[driver.Stream])
	return s.v
}
