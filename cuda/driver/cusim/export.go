//go:build cuda && linux

package cusim

// The functions that take the place of the library's; cusim.c has their table.

// #include <stdlib.h>
// #include <string.h>
// #include <cuda.h>
// void cusim_log(unsigned options, CUjit_option *option, void **value, const char *text);
import "C"

import (
	"syscall"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
)

//export cusim_cuInit
func cusim_cuInit(flags C.uint) C.CUresult {
	_, rc := begin("cuInit")
	return C.CUresult(rc)
}

//export cusim_cuGetErrorName
func cusim_cuGetErrorName(code C.CUresult, s **C.char) C.CUresult {
	return errorText(s, words[int(code)].name)
}

//export cusim_cuGetErrorString
func cusim_cuGetErrorString(code C.CUresult, s **C.char) C.CUresult {
	return errorText(s, words[int(code)].text)
}

func errorText(s **C.char, text string) C.CUresult {
	if text == "" {
		return invalidValue
	}
	*s = cString(text)
	return success
}

//export cusim_cuDriverGetVersion
func cusim_cuDriverGetVersion(v *C.int) C.CUresult {
	l, rc := begin("cuDriverGetVersion")
	if rc == success {
		version := l.Version
		if infos, err := l.drv.Devices(); version == 0 && err == nil {
			version = infos[0].Driver
		}
		*v = C.int(version)
	}
	return C.CUresult(rc)
}

//export cusim_cuDeviceGetCount
func cusim_cuDeviceGetCount(n *C.int) C.CUresult {
	l, rc := begin("cuDeviceGetCount")
	if rc == success {
		infos, err := l.drv.Devices()
		*n = C.int(len(infos))
		rc = l.done(err, invalidDevice)
	}
	return C.CUresult(rc)
}

//export cusim_cuDeviceGet
func cusim_cuDeviceGet(dev *C.CUdevice, i C.int) C.CUresult {
	_, _, rc := device("cuDeviceGet", int(i))
	*dev = C.CUdevice(i)
	return C.CUresult(rc)
}

// device starts a call about a device.
func device(call string, i int) (*Library, driver.Info, int) {
	l, rc := begin(call)
	if rc != success {
		return l, driver.Info{}, rc
	}
	infos, err := l.drv.Devices()
	if err != nil || i < 0 || i >= len(infos) {
		return l, driver.Info{}, invalidDevice
	}
	return l, infos[i], success
}

//export cusim_cuDeviceGetName
func cusim_cuDeviceGetName(name *C.char, n C.int, dev C.CUdevice) C.CUresult {
	_, info, rc := device("cuDeviceGetName", int(dev))
	if rc == success {
		text := cString(info.Name)
		C.strncpy(name, text, C.size_t(n-1))
	}
	return C.CUresult(rc)
}

//export cusim_cuDeviceTotalMem
func cusim_cuDeviceTotalMem(n *C.size_t, dev C.CUdevice) C.CUresult {
	_, info, rc := device("cuDeviceTotalMem", int(dev))
	*n = C.size_t(info.Memory)
	return C.CUresult(rc)
}

//export cusim_cuDeviceGetAttribute
func cusim_cuDeviceGetAttribute(v *C.int, a C.CUdevice_attribute, dev C.CUdevice) C.CUresult {
	_, info, rc := device("cuDeviceGetAttribute", int(dev))
	if rc != success {
		return C.CUresult(rc)
	}
	switch a {
	case C.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
		*v = C.int(info.Major)
	case C.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
		*v = C.int(info.Minor)
	case C.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
		*v = C.int(info.SMs)
	default:
		return invalidValue
	}
	return success
}

//export cusim_cuDevicePrimaryCtxRetain
func cusim_cuDevicePrimaryCtxRetain(ctx *C.CUcontext, dev C.CUdevice) C.CUresult {
	l, rc := begin("cuDevicePrimaryCtxRetain")
	if rc != success {
		return C.CUresult(rc)
	}
	l.mu.Lock()
	p := l.primary[int(dev)]
	if p != nil {
		p.users++
	}
	l.mu.Unlock()
	if p == nil {
		d, err := l.drv.Open(int(dev))
		if err != nil {
			return C.CUresult(l.done(err, invalidDevice))
		}
		c := &context{d}
		p = &primary{context: c, handle: l.add(c), users: 1}
		l.mu.Lock()
		l.primary[int(dev)] = p
		l.mu.Unlock()
	}
	*ctx = C.CUcontext(p.handle)
	return success
}

//export cusim_cuDevicePrimaryCtxRelease
func cusim_cuDevicePrimaryCtxRelease(dev C.CUdevice) C.CUresult {
	l, rc := begin("cuDevicePrimaryCtxRelease")
	if rc != success {
		return C.CUresult(rc)
	}
	l.mu.Lock()
	p := l.primary[int(dev)]
	if p == nil {
		l.mu.Unlock()
		return invalidContext
	}
	p.users--
	last := p.users == 0
	if last {
		delete(l.primary, int(dev))
	}
	l.mu.Unlock()
	if !last {
		return success
	}
	l.remove(p.handle)
	return C.CUresult(l.done(p.dev.Close(), launchFailed))
}

//export cusim_cuCtxSetCurrent
func cusim_cuCtxSetCurrent(ctx C.CUcontext) C.CUresult {
	l, rc := begin("cuCtxSetCurrent")
	if rc != success {
		return C.CUresult(rc)
	}
	l.mu.Lock()
	c, ok := l.handles[unsafe.Pointer(ctx)].(*context)
	l.mu.Unlock()
	if !ok {
		return invalidContext
	}
	l.setCurrent(c)
	return success
}

func (l *Library) setCurrent(c *context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current[syscall.Gettid()] = c
}

//export cusim_cuMemGetInfo
func cusim_cuMemGetInfo(free, total *C.size_t) C.CUresult {
	l, ctx, rc := enter("cuMemGetInfo")
	if rc != success {
		return C.CUresult(rc)
	}
	f, t, err := ctx.dev.Memory()
	*free, *total = C.size_t(f), C.size_t(t)
	return C.CUresult(l.done(err, launchFailed))
}

//export cusim_cuMemAlloc
func cusim_cuMemAlloc(p *C.CUdeviceptr, n C.size_t) C.CUresult {
	l, ctx, rc := enter("cuMemAlloc")
	if rc != success {
		return C.CUresult(rc)
	}
	m, err := ctx.dev.Alloc(int(n))
	*p = C.CUdeviceptr(m)
	return C.CUresult(l.done(err, outOfMemory))
}

//export cusim_cuMemFree
func cusim_cuMemFree(p C.CUdeviceptr) C.CUresult {
	l, ctx, rc := enter("cuMemFree")
	if rc != success {
		return C.CUresult(rc)
	}
	return C.CUresult(l.done(ctx.dev.Free(driver.Ptr(p)), invalidValue))
}

// pinned is memory of cuMemHostAlloc.
type pinned struct{}

//export cusim_cuMemHostAlloc
func cusim_cuMemHostAlloc(p *unsafe.Pointer, n C.size_t, flags C.uint) C.CUresult {
	l, ctx, rc := enter("cuMemHostAlloc")
	if rc != success {
		return C.CUresult(rc)
	}
	m := C.malloc(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handles[m] = owned[pinned]{ctx: ctx}
	*p = m
	return success
}

//export cusim_cuMemFreeHost
func cusim_cuMemFreeHost(p unsafe.Pointer) C.CUresult {
	l, ctx, rc := enter("cuMemFreeHost")
	if rc != success {
		return C.CUresult(rc)
	}
	if _, ok := get[pinned](l, ctx, p); !ok {
		return invalidValue
	}
	l.remove(p)
	return success
}

//export cusim_cuModuleLoadDataEx
func cusim_cuModuleLoadDataEx(module *C.CUmodule, image unsafe.Pointer, options C.uint, option *C.CUjit_option, value *unsafe.Pointer) C.CUresult {
	l, ctx, rc := enter("cuModuleLoadDataEx")
	if rc != success {
		C.cusim_log(options, option, value, cString("ptxas application ptx input, line 1; error: made to fail"))
		return C.CUresult(rc)
	}
	m, err := ctx.dev.Load(C.GoString((*C.char)(image)))
	if err != nil {
		C.cusim_log(options, option, value, cString(err.Error()))
		return C.CUresult(l.done(err, invalidPTX))
	}
	*module = C.CUmodule(l.add(owned[driver.Module]{ctx, m}))
	return success
}

//export cusim_cuModuleUnload
func cusim_cuModuleUnload(module C.CUmodule) C.CUresult {
	l, ctx, rc := enter("cuModuleUnload")
	if rc != success {
		return C.CUresult(rc)
	}
	m, ok := get[driver.Module](l, ctx, unsafe.Pointer(module))
	if !ok {
		return invalidHandle
	}
	l.remove(unsafe.Pointer(module))
	return C.CUresult(l.done(m.Unload(), launchFailed))
}

//export cusim_cuModuleGetFunction
func cusim_cuModuleGetFunction(function *C.CUfunction, module C.CUmodule, name *C.char) C.CUresult {
	l, ctx, rc := enter("cuModuleGetFunction")
	if rc != success {
		return C.CUresult(rc)
	}
	m, ok := get[driver.Module](l, ctx, unsafe.Pointer(module))
	if !ok {
		return invalidHandle
	}
	f, err := m.Function(C.GoString(name))
	if err != nil {
		return C.CUresult(l.done(err, notFound))
	}
	*function = C.CUfunction(l.add(owned[driver.Function]{ctx, f}))
	return success
}

//export cusim_cuFuncGetAttribute
func cusim_cuFuncGetAttribute(v *C.int, a C.CUfunction_attribute, function C.CUfunction) C.CUresult {
	l, ctx, rc := enter("cuFuncGetAttribute")
	if rc != success {
		return C.CUresult(rc)
	}
	f, ok := get[driver.Function](l, ctx, unsafe.Pointer(function))
	if !ok {
		return invalidHandle
	}
	attributes := f.Attributes()
	switch a {
	case C.CU_FUNC_ATTRIBUTE_NUM_REGS:
		*v = C.int(attributes.Registers)
	case C.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
		*v = C.int(attributes.Shared)
	case C.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
		*v = C.int(attributes.Local)
	case C.CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
		*v = C.int(attributes.MaxThreads)
	case C.CU_FUNC_ATTRIBUTE_BINARY_VERSION:
		*v = C.int(attributes.Binary)
	default:
		return invalidValue
	}
	return success
}

//export cusim_cuFuncSetAttribute
func cusim_cuFuncSetAttribute(function C.CUfunction, a C.CUfunction_attribute, v C.int) C.CUresult {
	l, ctx, rc := enter("cuFuncSetAttribute")
	if rc != success {
		return C.CUresult(rc)
	}
	f, ok := get[driver.Function](l, ctx, unsafe.Pointer(function))
	if !ok {
		return invalidHandle
	}
	if a != C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES {
		return invalidValue
	}
	return C.CUresult(l.done(f.SetDynamicShared(int(v)), invalidValue))
}

//export cusim_cuStreamCreate
func cusim_cuStreamCreate(stream *C.CUstream, flags C.uint) C.CUresult {
	l, ctx, rc := enter("cuStreamCreate")
	if rc != success {
		return C.CUresult(rc)
	}
	s, err := ctx.dev.NewStream()
	if err != nil {
		return C.CUresult(l.done(err, outOfMemory))
	}
	*stream = C.CUstream(l.add(owned[driver.Stream]{ctx, s}))
	return success
}

// withStream does a call on a stream.
func withStream(call string, stream C.CUstream, f func(l *Library, ctx *context, s driver.Stream) error) C.CUresult {
	l, ctx, rc := enter(call)
	if rc != success {
		return C.CUresult(rc)
	}
	s, ok := get[driver.Stream](l, ctx, unsafe.Pointer(stream))
	if !ok {
		return invalidHandle
	}
	return C.CUresult(l.done(f(l, ctx, s), launchFailed))
}

//export cusim_cuStreamDestroy
func cusim_cuStreamDestroy(stream C.CUstream) C.CUresult {
	return withStream("cuStreamDestroy", stream, func(l *Library, _ *context, s driver.Stream) error {
		l.remove(unsafe.Pointer(stream))
		return s.Close()
	})
}

//export cusim_cuStreamSynchronize
func cusim_cuStreamSynchronize(stream C.CUstream) C.CUresult {
	return withStream("cuStreamSynchronize", stream, func(_ *Library, _ *context, s driver.Stream) error { return s.Synchronize() })
}

// withEvent does a call on a stream and an event.
func withEvent(call string, stream C.CUstream, event C.CUevent, f func(s driver.Stream, e driver.Event) error) C.CUresult {
	rc := C.CUresult(success)
	return max(withStream(call, stream, func(l *Library, ctx *context, s driver.Stream) error {
		e, ok := get[driver.Event](l, ctx, unsafe.Pointer(event))
		if !ok {
			rc = invalidHandle
			return nil
		}
		return f(s, e)
	}), rc)
}

//export cusim_cuStreamWaitEvent
func cusim_cuStreamWaitEvent(stream C.CUstream, event C.CUevent, flags C.uint) C.CUresult {
	return withEvent("cuStreamWaitEvent", stream, event, driver.Stream.Wait)
}

//export cusim_cuEventRecord
func cusim_cuEventRecord(event C.CUevent, stream C.CUstream) C.CUresult {
	return withEvent("cuEventRecord", stream, event, driver.Stream.Record)
}

//export cusim_cuEventCreate
func cusim_cuEventCreate(event *C.CUevent, flags C.uint) C.CUresult {
	l, ctx, rc := enter("cuEventCreate")
	if rc != success {
		return C.CUresult(rc)
	}
	e, err := ctx.dev.NewEvent()
	if err != nil {
		return C.CUresult(l.done(err, outOfMemory))
	}
	*event = C.CUevent(l.add(owned[driver.Event]{ctx, e}))
	return success
}

// onEvent does a call on an event.
func onEvent(call string, event C.CUevent, f func(l *Library, ctx *context, e driver.Event) int) C.CUresult {
	l, ctx, rc := enter(call)
	if rc != success {
		return C.CUresult(rc)
	}
	e, ok := get[driver.Event](l, ctx, unsafe.Pointer(event))
	if !ok {
		return invalidHandle
	}
	return C.CUresult(f(l, ctx, e))
}

//export cusim_cuEventDestroy
func cusim_cuEventDestroy(event C.CUevent) C.CUresult {
	return onEvent("cuEventDestroy", event, func(l *Library, _ *context, e driver.Event) int {
		l.remove(unsafe.Pointer(event))
		return l.done(e.Close(), launchFailed)
	})
}

//export cusim_cuEventQuery
func cusim_cuEventQuery(event C.CUevent) C.CUresult {
	return onEvent("cuEventQuery", event, func(l *Library, _ *context, e driver.Event) int {
		reached, err := e.Reached()
		if err == nil && !reached {
			return C.CUDA_ERROR_NOT_READY
		}
		return l.done(err, launchFailed)
	})
}

//export cusim_cuEventSynchronize
func cusim_cuEventSynchronize(event C.CUevent) C.CUresult {
	return onEvent("cuEventSynchronize", event, func(l *Library, _ *context, e driver.Event) int {
		return l.done(e.Synchronize(), launchFailed)
	})
}

//export cusim_cuEventElapsedTime
func cusim_cuEventElapsedTime(ms *C.float, start, end C.CUevent) C.CUresult {
	return onEvent("cuEventElapsedTime", end, func(l *Library, ctx *context, e driver.Event) int {
		earlier, ok := get[driver.Event](l, ctx, unsafe.Pointer(start))
		if !ok {
			return invalidHandle
		}
		v, err := e.Since(earlier)
		*ms = C.float(v)
		return l.done(err, launchFailed)
	})
}

//export cusim_cuMemcpyHtoDAsync
func cusim_cuMemcpyHtoDAsync(dst C.CUdeviceptr, src unsafe.Pointer, n C.size_t, stream C.CUstream) C.CUresult {
	return withStream("cuMemcpyHtoDAsync", stream, func(_ *Library, _ *context, s driver.Stream) error {
		return s.ToDevice(driver.Ptr(dst), unsafe.Slice((*byte)(src), n))
	})
}

//export cusim_cuMemcpyDtoHAsync
func cusim_cuMemcpyDtoHAsync(dst unsafe.Pointer, src C.CUdeviceptr, n C.size_t, stream C.CUstream) C.CUresult {
	return withStream("cuMemcpyDtoHAsync", stream, func(_ *Library, _ *context, s driver.Stream) error {
		return s.ToHost(unsafe.Slice((*byte)(dst), n), driver.Ptr(src))
	})
}

//export cusim_cuMemcpyDtoDAsync
func cusim_cuMemcpyDtoDAsync(dst, src C.CUdeviceptr, n C.size_t, stream C.CUstream) C.CUresult {
	return withStream("cuMemcpyDtoDAsync", stream, func(_ *Library, _ *context, s driver.Stream) error {
		return s.Copy(driver.Ptr(dst), driver.Ptr(src), int(n))
	})
}

//export cusim_cuMemsetD32Async
func cusim_cuMemsetD32Async(dst C.CUdeviceptr, v C.uint, n C.size_t, stream C.CUstream) C.CUresult {
	return withStream("cuMemsetD32Async", stream, func(_ *Library, _ *context, s driver.Stream) error {
		return s.Fill(driver.Ptr(dst), uint32(v), int(n))
	})
}

//export cusim_cuLaunchKernel
func cusim_cuLaunchKernel(function C.CUfunction, gx, gy, gz, bx, by, bz, shared C.uint, stream C.CUstream, params, extra *unsafe.Pointer) C.CUresult {
	return launch("cuLaunchKernel", function, stream, params, driver.Launch{Grid: driver.Dim3{X: int(gx), Y: int(gy), Z: int(gz)},
		Block: driver.Dim3{X: int(bx), Y: int(by), Z: int(bz)}, Shared: int(shared)})
}

//export cusim_cuLaunchKernelEx
func cusim_cuLaunchKernelEx(config *C.CUlaunchConfig, function C.CUfunction, params, extra *unsafe.Pointer) C.CUresult {
	c := driver.Launch{Grid: driver.Dim3{X: int(config.gridDimX), Y: int(config.gridDimY), Z: int(config.gridDimZ)},
		Block: driver.Dim3{X: int(config.blockDimX), Y: int(config.blockDimY), Z: int(config.blockDimZ)}, Shared: int(config.sharedMemBytes)}
	for _, a := range unsafe.Slice(config.attrs, config.numAttrs) {
		if a.id != C.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION {
			return invalidValue
		}
		c.Waits = *(*C.int)(unsafe.Pointer(&a.value)) != 0
	}
	return launch("cuLaunchKernelEx", function, config.hStream, params, c)
}

// launch launches c, which has no function and no arguments yet.
func launch(call string, function C.CUfunction, stream C.CUstream, params *unsafe.Pointer, c driver.Launch) C.CUresult {
	rc := C.CUresult(success)
	return max(withStream(call, stream, func(l *Library, ctx *context, s driver.Stream) error {
		f, ok := get[driver.Function](l, ctx, unsafe.Pointer(function))
		if !ok {
			rc = invalidHandle
			return nil
		}
		a := f.Attributes()
		c.Function, c.Args, c.Maps = f, make([]uint64, a.Params-a.Maps), make([]driver.TensorMap, a.Maps)
		for i, p := range unsafe.Slice(params, a.Params) {
			if i < len(c.Args) {
				c.Args[i] = *(*uint64)(p)
			} else {
				c.Maps[i-len(c.Args)] = *(*driver.TensorMap)(p)
			}
		}
		return s.Launch(&c)
	}), rc)
}

// A tensor map's address is a multiple of 64. There is no interleaving or swizzling, which the simulator does not know, and all elements of a box
// are taken, with zeros for those outside.
//
//export cusim_cuTensorMapEncodeTiled
func cusim_cuTensorMapEncodeTiled(to unsafe.Pointer, ty C.int, rank C.uint, base unsafe.Pointer, sizes, strides *C.cuuint64_t, box, steps *C.uint, interleave, swizzle, promotion, fill C.int) C.CUresult {
	l, ctx, rc := enter("cuTensorMapEncodeTiled")
	if rc != success {
		return C.CUresult(rc)
	}
	if uintptr(to)%64 != 0 || rank < 1 || rank > 5 || interleave != 0 || swizzle != 0 || promotion < 0 || promotion > 3 || fill != 0 {
		return invalidValue
	}
	t := driver.Tiled{Type: driver.ElementType(ty), Base: driver.Ptr(uintptr(base))}
	for i, n := range unsafe.Slice(sizes, rank) {
		t.Sizes, t.Box = append(t.Sizes, int(n)), append(t.Box, int(unsafe.Slice(box, rank)[i]))
		if unsafe.Slice(steps, rank)[i] != 1 {
			return invalidValue
		}
	}
	for _, n := range unsafe.Slice(strides, rank-1) {
		t.Strides = append(t.Strides, int(n))
	}
	m, err := ctx.dev.EncodeTiled(&t)
	if err == nil {
		*(*driver.TensorMap)(to) = m
	}
	return C.CUresult(l.done(err, invalidValue))
}

//export cusim_cuStreamBeginCapture
func cusim_cuStreamBeginCapture(stream C.CUstream, mode C.CUstreamCaptureMode) C.CUresult {
	return withStream("cuStreamBeginCapture", stream, func(_ *Library, _ *context, s driver.Stream) error { return s.BeginCapture() })
}

// A driver.Graph is executable: the CUgraph and the CUgraphExec made of it are two handles of it.
type description struct{ graph driver.Graph }

//export cusim_cuStreamEndCapture
func cusim_cuStreamEndCapture(stream C.CUstream, graph *C.CUgraph) C.CUresult {
	return withStream("cuStreamEndCapture", stream, func(l *Library, ctx *context, s driver.Stream) error {
		g, err := s.EndCapture()
		if err != nil {
			return err
		}
		*graph = C.CUgraph(l.add(owned[description]{ctx, description{g}}))
		return nil
	})
}

//export cusim_cuGraphInstantiateWithFlags
func cusim_cuGraphInstantiateWithFlags(exec *C.CUgraphExec, graph C.CUgraph, flags C.ulonglong) C.CUresult {
	l, ctx, rc := enter("cuGraphInstantiateWithFlags")
	if rc != success {
		return C.CUresult(rc)
	}
	g, ok := get[description](l, ctx, unsafe.Pointer(graph))
	if !ok {
		return invalidHandle
	}
	*exec = C.CUgraphExec(l.add(owned[driver.Graph]{ctx, g.graph}))
	return success
}

//export cusim_cuGraphDestroy
func cusim_cuGraphDestroy(graph C.CUgraph) C.CUresult {
	l, ctx, rc := enter("cuGraphDestroy")
	if rc != success {
		return C.CUresult(rc)
	}
	if _, ok := get[description](l, ctx, unsafe.Pointer(graph)); !ok {
		return invalidHandle
	}
	l.remove(unsafe.Pointer(graph))
	return success
}

//export cusim_cuGraphLaunch
func cusim_cuGraphLaunch(exec C.CUgraphExec, stream C.CUstream) C.CUresult {
	rc := C.CUresult(success)
	return max(withStream("cuGraphLaunch", stream, func(l *Library, ctx *context, s driver.Stream) error {
		g, ok := get[driver.Graph](l, ctx, unsafe.Pointer(exec))
		if !ok {
			rc = invalidHandle
			return nil
		}
		return s.Replay(g)
	}), rc)
}

//export cusim_cuGraphExecDestroy
func cusim_cuGraphExecDestroy(exec C.CUgraphExec) C.CUresult {
	l, ctx, rc := enter("cuGraphExecDestroy")
	if rc != success {
		return C.CUresult(rc)
	}
	g, ok := get[driver.Graph](l, ctx, unsafe.Pointer(exec))
	if !ok {
		return invalidHandle
	}
	l.remove(unsafe.Pointer(exec))
	return C.CUresult(l.done(g.Close(), launchFailed))
}
