//go:build cuda && linux

package driver

// This is the only file of the module that imports gorgonia.org/cu; what that lacks is in cgo.go.

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"
)

// cuDriver is the CUDA driver, initialised.
type cuDriver struct{}

// failed describes an error of gorgonia.org/cu, whose errors are CUresults of an unexported type.
func failed(call string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.CanInt() {
		return newError(call, int(v.Int()))
	}
	return fmt.Errorf("%s: %w", call, err)
}

// Devices lists the devices that the driver shows.
func (cuDriver) Devices() ([]Info, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return nil, failed("cuDeviceGetCount", err)
	}
	if n == 0 {
		return nil, hidden(errNoDevice)
	}
	infos := make([]Info, n)
	for i := range infos {
		if infos[i], err = deviceInfo(i); err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
	}
	return infos, nil
}

func deviceInfo(i int) (Info, error) {
	dev, err := cu.GetDevice(i)
	if err != nil {
		return Info{}, failed("cuDeviceGet", err)
	}
	info := Info{Driver: cu.Version()}
	if info.Name, err = dev.Name(); err != nil {
		return Info{}, failed("cuDeviceGetName", err)
	}
	bytes, err := dev.TotalMem()
	if err != nil {
		return Info{}, failed("cuDeviceTotalMem", err)
	}
	info.Memory = int(bytes)
	for _, a := range []struct {
		attribute cu.DeviceAttribute
		to        *int
	}{{cu.ComputeCapabilityMajor, &info.Major}, {cu.ComputeCapabilityMinor, &info.Minor}, {cu.MultiprocessorCount, &info.SMs}} {
		if *a.to, err = dev.Attribute(a.attribute); err != nil {
			return Info{}, failed("cuDeviceGetAttribute", err)
		}
	}
	return info, nil
}

// Open takes the primary context of device i, that of the CUDA runtime, so that libraries of the runtime such as NCCL work in the same one.
func (d cuDriver) Open(i int) (Device, error) {
	infos, err := d.Devices()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(infos) {
		return nil, fmt.Errorf("there is no device %d: the driver lists %d, from 0", i, len(infos))
	}
	if err := supported(infos[i].Driver); err != nil {
		return nil, err
	}
	dev, err := cu.GetDevice(i)
	if err != nil {
		return nil, failed("cuDeviceGet", err)
	}
	ctx, err := dev.RetainPrimaryCtx()
	if err != nil {
		return nil, failed("cuDevicePrimaryCtxRetain", err)
	}
	return &cuDevice{info: infos[i], dev: dev, ctx: ctx}, nil
}

type cuDevice struct {
	info Info
	dev  cu.Device
	ctx  cu.CUContext
}

// InContext makes the context current for f.
func (d *cuDevice) InContext(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.ctx); err != nil {
		return failed("cuCtxSetCurrent", err)
	}
	return f()
}

// do makes a call of the driver.
func (d *cuDevice) do(call string, f func() error) error {
	return d.InContext(func() error { return failed(call, f()) })
}

func (d *cuDevice) Info() Info { return d.info }

func (d *cuDevice) Memory() (free, total int, err error) {
	err = d.do("cuMemGetInfo", func() error {
		f, t, err := cu.MemInfo()
		free, total = int(f), int(t)
		return err
	})
	return free, total, err
}

func (d *cuDevice) Alloc(n int) (p Ptr, err error) {
	err = d.do("cuMemAlloc", func() error {
		m, err := cu.MemAlloc(int64(n))
		p = Ptr(m)
		return err
	})
	return p, err
}

func (d *cuDevice) Free(p Ptr) error {
	return d.do("cuMemFree", func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (d *cuDevice) AllocHost(n int) (b []byte, err error) {
	err = d.do("cuMemHostAlloc", func() error {
		p, err := allocHost(n)
		if err == nil {
			b = unsafe.Slice((*byte)(p), n)
		}
		return err
	})
	return b, err
}

func (d *cuDevice) FreeHost(b []byte) error {
	return d.do("cuMemFreeHost", func() error { return cu.MemFreeHost(unsafe.Pointer(unsafe.SliceData(b))) })
}

// logBytes is room for what the compiler says of a module.
const logBytes = 16 << 10

func (d *cuDevice) Load(ptx string) (Module, error) {
	m := &cuModule{dev: d}
	log := make([]byte, logBytes)
	err := d.do("cuModuleLoadDataEx", func() (err error) {
		m.module, err = cu.LoadDataEx(ptx, &cu.JITErrorLogBuffer{Buffer: log})
		return err
	})
	if err != nil {
		return nil, withLog(err, log)
	}
	return m, nil
}

func (d *cuDevice) NewStream() (Stream, error) {
	s := &cuStream{dev: d}
	err := d.do("cuStreamCreate", func() (err error) {
		s.stream, err = cu.MakeStream(cu.NonBlocking)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *cuDevice) NewEvent() (Event, error) {
	e := &cuEvent{dev: d}
	err := d.do("cuEventCreate", func() (err error) {
		e.event, err = cu.MakeEvent(cu.DefaultEvent)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// EncodeTiled makes a tensor map.
func (d *cuDevice) EncodeTiled(t *Tiled) (m TensorMap, err error) {
	if !d.info.TakesTensorMaps() {
		return m, ErrNoTensorMaps
	}
	if err := t.Check(); err != nil {
		return m, fmt.Errorf("cuTensorMapEncodeTiled: %w", err)
	}
	err = d.do("cuTensorMapEncodeTiled", func() error {
		m, err = encodeTiled(t)
		return err
	})
	return m, err
}

func (d *cuDevice) Close() error {
	return failed("cuDevicePrimaryCtxRelease", d.dev.ReleasePrimaryCtx())
}

type cuModule struct {
	dev    *cuDevice
	module cu.Module
}

func (m *cuModule) Function(name string) (Function, error) {
	f := &cuFunction{dev: m.dev, name: name}
	err := m.dev.do("cuModuleGetFunction", func() (err error) {
		f.function, err = m.module.Function(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, m.dev.do("cuFuncGetAttribute", f.readAttributes)
}

func (m *cuModule) Unload() error { return m.dev.do("cuModuleUnload", m.module.Unload) }

type cuFunction struct {
	dev        *cuDevice
	name       string
	function   cu.Function
	attributes Attributes
}

func (f *cuFunction) readAttributes() (err error) {
	a := &f.attributes
	for _, v := range []struct {
		attribute cu.FunctionAttribute
		to        *int
	}{{cu.NumRegs, &a.Registers}, {cu.SharedSizeBytes, &a.Shared}, {cu.LocalSizeBytes, &a.Local}, {cu.FnMaxThreadsPerBlock, &a.MaxThreads}, {cu.BinaryVersion, &a.Binary}} {
		if *v.to, err = f.function.Attribute(v.attribute); err != nil {
			return err
		}
	}
	return nil
}

func (f *cuFunction) Name() string           { return f.name }
func (f *cuFunction) Attributes() Attributes { return f.attributes }

// handle is the function's only field, which gorgonia.org/cu does not export.
func (f *cuFunction) handle() unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&f.function)) }

func (f *cuFunction) SetDynamicShared(n int) error {
	return f.dev.do("cuFuncSetAttribute", func() error { return setDynamicShared(f.handle(), n) })
}

type cuStream struct {
	dev    *cuDevice
	stream cu.Stream
	args   []unsafe.Pointer // of a launch, kept so that none is allocated
	// launched says that the last call was a launch. Only a launch straight behind another may be early: what a launch waits for when
	// events or copies lie between is left to the driver.
	launched bool
}

// do makes a call that is not a launch.
func (s *cuStream) do(call string, f func() error) error {
	s.launched = false
	return s.dev.do(call, f)
}

func (s *cuStream) handle() unsafe.Pointer { return unsafe.Pointer(s.stream.C()) }

// Handle returns the CUstream. The launch before may not be that of this Stream any more.
func (s *cuStream) Handle() uintptr {
	s.launched = false
	return uintptr(s.handle())
}

func (s *cuStream) ToDevice(dst Ptr, src []byte) error {
	return s.do("cuMemcpyHtoDAsync", func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(unsafe.SliceData(src)), int64(len(src)), s.stream)
	})
}

func (s *cuStream) ToHost(dst []byte, src Ptr) error {
	return s.do("cuMemcpyDtoHAsync", func() error {
		return cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(dst)), cu.DevicePtr(src), int64(len(dst)), s.stream)
	})
}

func (s *cuStream) Copy(dst, src Ptr, n int) error {
	return s.do("cuMemcpyDtoDAsync", func() error {
		return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), int64(n), s.stream)
	})
}

func (s *cuStream) Fill(dst Ptr, v uint32, n int) error {
	return s.do("cuMemsetD32Async", func() error {
		return cu.MemsetD32Async(cu.DevicePtr(dst), uint(v), int64(n), s.stream)
	})
}

func (s *cuStream) Launch(l *Launch) error {
	f, ok := l.Function.(*cuFunction)
	if !ok {
		panic("driver: a launch of a function of another driver")
	}
	early := l.Waits && s.launched
	s.launched = true
	if early || len(l.Maps) > 0 {
		return s.dev.do("cuLaunchKernelEx", func() error { return launchExtended(f.handle(), s.handle(), l, early) })
	}
	// gorgonia.org/cu reads 8 bytes of each argument, and the driver as many of them as the parameter has.
	s.args = s.args[:0]
	for i := range l.Args {
		s.args = append(s.args, unsafe.Pointer(&l.Args[i]))
	}
	g, b := l.Grid, l.Block
	return s.dev.do("cuLaunchKernel", func() error {
		return f.function.Launch(max(g.X, 1), max(g.Y, 1), max(g.Z, 1), max(b.X, 1), max(b.Y, 1), max(b.Z, 1), l.Shared, s.stream, s.args)
	})
}

func (s *cuStream) Record(e Event) error {
	return s.do("cuEventRecord", func() error { return e.(*cuEvent).event.Record(s.stream) })
}

func (s *cuStream) Wait(e Event) error {
	return s.do("cuStreamWaitEvent", func() error { return s.stream.Wait(e.(*cuEvent).event, 0) })
}

func (s *cuStream) Synchronize() error {
	return s.do("cuStreamSynchronize", s.stream.Synchronize)
}

func (s *cuStream) BeginCapture() error {
	return s.do("cuStreamBeginCapture", func() error { return beginCapture(s.handle()) })
}

func (s *cuStream) EndCapture() (Graph, error) {
	g := &cuGraph{dev: s.dev}
	if err := s.do("cuStreamEndCapture", func() error { return g.endCapture(s.handle()) }); err != nil {
		return nil, err
	}
	err := s.do("cuGraphInstantiate", g.instantiate)
	// The graph's description is not needed any more.
	if err := errors.Join(err, s.do("cuGraphDestroy", g.forget)); err != nil {
		return nil, err
	}
	return g, nil
}

func (s *cuStream) Replay(g Graph) error {
	return s.do("cuGraphLaunch", func() error { return g.(*cuGraph).launch(s.handle()) })
}

func (s *cuStream) Close() error { return s.dev.do("cuStreamDestroy", s.stream.Destroy) }

type cuEvent struct {
	dev   *cuDevice
	event cu.Event
}

func (e *cuEvent) Synchronize() error {
	return e.dev.do("cuEventSynchronize", e.event.Synchronize)
}

func (e *cuEvent) Reached() (bool, error) {
	pending := false
	err := e.dev.do("cuEventQuery", func() error {
		err := e.event.Query()
		if pending = err == cu.NotReady; pending {
			return nil
		}
		return err
	})
	return err == nil && !pending, err
}

func (e *cuEvent) Since(earlier Event) (ms float64, err error) {
	err = e.dev.do("cuEventElapsedTime", func() error {
		ms, err = earlier.(*cuEvent).event.Elapsed(e.event)
		return err
	})
	return ms, err
}

func (e *cuEvent) Close() error {
	return e.dev.do("cuEventDestroy", func() error { return cu.DestroyEvent(&e.event) })
}
