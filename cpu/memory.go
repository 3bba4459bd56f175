package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"unsafe"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Options are the choices of Open.
type Options struct {
	Lanes int  // independent executors; 0 means GOMAXPROCS
	Plain bool // convolution and dense layers by the plain loops that specify them
}

// Device is the CPU.
type Device struct {
	lanes []backend.Backend
}

// Open returns the CPU as a device.
func Open(o Options) (*Device, error) {
	if err := simd.Err(); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	if o.Lanes < 0 {
		return nil, fmt.Errorf("cpu: %d lanes, want at least 1, or 0 for GOMAXPROCS", o.Lanes)
	}
	if o.Lanes == 0 {
		o.Lanes = runtime.GOMAXPROCS(0)
	}
	d := &Device{}
	for range o.Lanes {
		if l := (&lane{dev: d}); o.Plain {
			d.lanes = append(d.lanes, plainLane{l})
		} else {
			d.lanes = append(d.lanes, l)
		}
	}
	return d, nil
}

// Name returns "cpu".
func (d *Device) Name() string { return "cpu" }

// String tells the SIMD level and the number of lanes too: "cpu (avx512, 2 lanes)".
func (d *Device) String() string {
	s := ""
	if len(d.lanes) > 1 {
		s = "s"
	}
	return fmt.Sprintf("cpu (%v, %d lane%s)", simd.Current(), len(d.lanes), s)
}

// Lanes returns the executors.
func (d *Device) Lanes() []backend.Backend { return d.lanes }

// Policy cuts a batch into micro-batches that stay in a core's L2 cache.
func (d *Device) Policy() backend.Policy {
	return backend.Policy{CacheBytes: 512 << 10, Host: true, Slots: 16, SlotBytes: 64 << 20, ManySlots: 64, ManySlotBytes: 512 << 20, UpdateFloats: 16 << 10}
}

// Free returns the bytes that can still be allocated: on Linux the MemAvailable of /proc/meminfo, or what the
// container may still take if that is less; elsewhere 16 GiB (2 GiB on a 32-bit machine) less the size of the Go heap.
// What this process has dropped counts as taken while that is less than a sixteenth.
func (d *Device) Free() (int, error) {
	free, err := available()
	if err != nil || held() < free/16 {
		return free, err
	}
	debug.FreeOSMemory() // or what this process has dropped would count as taken
	return available()
}

// held is the memory that the Go runtime holds, in use or not.
func held() int {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// Close does nothing: the memory is the garbage collector's.
func (d *Device) Close() error { return nil }

// lane is one executor. It has no state but its workspace and what was fetched.
type lane struct {
	dev     *Device
	product simd.Product // arguments, here because they would be allocated elsewhere
	outer   simd.Outer
	taps    [backend.MaxKernel * backend.MaxKernel]int
	ws      []float32
	part    int // the piece that the lane does of an op
	parts   int // the pieces of the op; at most 1 means that the lane does all of it
	fetched [backend.MaxFetch]float32
	fetches int // elements in fetched; 0 when there are none to hand out
}

// buffer is memory of the device, seen as floats or as bytes. It starts on a cache line.
type buffer struct {
	dev   *Device
	f     []float32
	bytes []byte // the same memory
}

// Size returns the bytes of the buffer.
func (b *buffer) Size() int { return len(b.bytes) }

const (
	lineFloats = 16 // floats in a cache line
	pageFloats = 1024
)

// Name returns the name of the device.
func (l *lane) Name() string { return l.dev.Name() }

// Alloc returns n bytes of zeroed memory, or an error when the machine does not have them.
func (l *lane) Alloc(n int) (backend.Buffer, error) {
	if n < 0 {
		return nil, errors.New("cpu: allocating a negative number of bytes")
	}
	free, err := available()
	if err == nil && n > free {
		free, err = l.dev.Free()
	}
	if err != nil {
		return nil, fmt.Errorf("cpu: allocating %d bytes: %w", n, err)
	}
	if n > free {
		return nil, fmt.Errorf("cpu: allocating %d bytes: %d are available", n, free)
	}
	f := make([]float32, n/4+1+lineFloats)
	hugePages(f)
	// The system gives memory page by page when it is first touched: do so now, that the next call sees what is left.
	for i := 0; i < len(f); i += pageFloats {
		f[i] = 0
	}
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(f)))%(4*lineFloats)) / 4
	f = f[skip : skip+n/4+1]
	return &buffer{l.dev, f, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), n)}, nil
}

// Free gives a buffer back. Tensors in it can no longer be used.
func (l *lane) Free(b backend.Buffer) {
	o, ok := b.(*buffer)
	if !ok || o.dev != l.dev {
		panic(errBuffer)
	}
	*o = buffer{dev: o.dev}
}

const stepParamsBytes = int(unsafe.Sizeof(backend.StepParams{}))

// Bytes returns the bytes that a tensor occupies. Narrow activations have the values of their type and the memory of floats, which a CPU
// computes with.
func (l *lane) Bytes(r backend.Role, d backend.DType, s backend.Shape) int {
	switch {
	case r == backend.PerStep:
		return stepParamsBytes
	case r == backend.Activation:
		d = backend.Float32
	}
	return d.Size() * s.Len()
}

// SetWorkspace gives the lane its scratch memory; nil takes it away.
func (l *lane) SetWorkspace(b backend.Buffer) {
	if b == nil {
		l.ws = nil
		return
	}
	o, ok := b.(*buffer)
	if !ok || o.dev != l.dev {
		panic(errBuffer)
	}
	l.ws = o.f[:len(o.bytes)/4]
}

// Upload copies src to an Activation, Param or Flat tensor.
func (l *lane) Upload(dst backend.Tensor, src []float32) {
	dst.CheckFloats(len(src))
	v := l.floats(dst)
	copy(v, src)
	round(dst.Type, v)
}

// Download copies an Activation, Param or Flat tensor to dst.
func (l *lane) Download(dst []float32, src backend.Tensor) error {
	src.CheckFloats(len(dst))
	copy(dst, l.floats(src))
	return nil
}

// Stage lets fill write the tensor itself: there are no earlier ops to wait for.
func (l *lane) Stage(dst backend.Tensor, fill func(pixels []byte)) {
	dst.CheckBytes(dst.Shape.Len())
	fill(l.bytes(dst))
}

// Fetch takes the elements of a Flat tensor for Fetched.
func (l *lane) Fetch(src backend.Tensor) {
	src.CheckFetch()
	l.fetches = copy(l.fetched[:], l.floats(src))
}

// Fetched hands them out.
func (l *lane) Fetched(dst []float32) bool {
	if l.fetches == 0 {
		return false
	}
	if len(dst) != l.fetches {
		panic(backend.MistakeLength)
	}
	copy(dst, l.fetched[:l.fetches])
	l.fetches = 0
	return true
}

// UploadBytes copies src to a tensor of bytes.
func (l *lane) UploadBytes(dst backend.Tensor, src []byte) {
	dst.CheckBytes(len(src))
	copy(l.bytes(dst), src)
}

// DownloadBytes copies a tensor of bytes to dst.
func (l *lane) DownloadBytes(dst []byte, src backend.Tensor) error {
	src.CheckBytes(len(dst))
	copy(dst, l.bytes(src))
	return nil
}

// UploadIndex copies src to an Index tensor.
func (l *lane) UploadIndex(dst backend.Tensor, src []int32) {
	dst.CheckIndex(len(src))
	copy(l.index(dst), src)
}

// SetStepParams sets step parameters.
func (l *lane) SetStepParams(dst backend.Tensor, p backend.StepParams) {
	dst.CheckStepParams()
	*l.stepParams(dst) = p
}

// Sync has nothing to wait for: ops run when they are called.
func (l *lane) Sync() error { return nil }

// A caller's mistakes with memory; package backend has those with tensors.
const (
	errBuffer    = "cpu: a buffer that this device did not make, or that was freed"
	errWorkspace = "cpu: the workspace is smaller than the op needs"
)

// raw returns the memory that a tensor's buffer and offset name, of n bytes.
func (l *lane) raw(t *backend.Tensor, n int) (*buffer, int) {
	b, ok := t.Buffer.(*buffer)
	if !ok || b.dev != l.dev || b.f == nil {
		panic(errBuffer)
	}
	t.CheckBounds(len(b.bytes), n)
	return b, t.Offset
}

// words returns n 32-bit words from a tensor's offset on, as floats.
func (l *lane) words(t *backend.Tensor, n int) []float32 {
	b, at := l.raw(t, 4*n)
	return b.f[at/4 : at/4+n : at/4+n]
}

// floats returns the elements of a tensor of float32 values or of narrow ones, and nil for the zero Tensor.
func (l *lane) floats(t backend.Tensor) []float32 {
	if t.IsZero() {
		return nil
	}
	return l.words(&t, t.Shape.Len())
}

// packed returns the n floats of a packed form.
func (l *lane) packed(t backend.Tensor, n int) []float32 {
	if t.Role != backend.Packed {
		panic(backend.MistakeRole)
	}
	if t.Shape.Len() < 4*n {
		panic(backend.MistakeShape)
	}
	return l.words(&t, n)
}

// bytes returns the elements of a uint8 tensor, and nil for the zero Tensor.
func (l *lane) bytes(t backend.Tensor) []byte {
	if t.IsZero() {
		return nil
	}
	n := t.Shape.Len()
	b, at := l.raw(&t, n)
	return b.bytes[at : at+n : at+n]
}

// index returns the elements of an Index tensor.
func (l *lane) index(t backend.Tensor) []int32 {
	w := l.words(&t, t.Shape.Len())
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(w))), len(w))
}

// stepParams returns what a PerStep tensor holds.
func (l *lane) stepParams(t backend.Tensor) *backend.StepParams {
	w := l.words(&t, stepParamsBytes/4)
	return (*backend.StepParams)(unsafe.Pointer(unsafe.SliceData(w)))
}

// scratch hands out a lane's workspace piece by piece, each on a cache line of its own.
type scratch []float32

func (w *scratch) take(n int) []float32 {
	m := lineUp(n)
	if m > len(*w) {
		panic(errWorkspace)
	}
	p := (*w)[:n:n]
	*w = (*w)[m:]
	return p
}

// lineUp rounds a number of floats up to whole cache lines.
func lineUp(n int) int { return (n + lineFloats - 1) / lineFloats * lineFloats }
