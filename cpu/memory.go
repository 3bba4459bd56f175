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
	return backend.Policy{CacheBytes: 512 << 10, Host: true, Slots: 16, SlotBytes: 64 << 20, UpdateFloats: 16 << 10}
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
	taps    [backend.MaxKernel]int
	ws      []float32
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

// Bytes returns the bytes that a tensor occupies.
func (l *lane) Bytes(k backend.Role, s backend.Shape) int {
	switch k {
	case backend.Byte, backend.Staged, backend.Packed:
		return s.Len()
	case backend.PerStep:
		return stepParamsBytes
	}
	return 4 * s.Len()
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
	d := l.values(dst)
	if len(src) != len(d) {
		panic(errLength)
	}
	copy(d, src)
}

// Download copies an Activation, Param or Flat tensor to dst.
func (l *lane) Download(dst []float32, src backend.Tensor) error {
	s := l.values(src)
	if len(s) != len(dst) {
		panic(errLength)
	}
	copy(dst, s)
	return nil
}

// Stage lets fill write the tensor itself: there are no earlier ops to wait for.
func (l *lane) Stage(dst backend.Tensor, fill func(pixels []byte)) { fill(l.bytes(dst, dst.Shape)) }

// Fetch takes the elements of a Flat tensor for Fetched.
func (l *lane) Fetch(src backend.Tensor) {
	v := l.flat(src)
	if len(v) > backend.MaxFetch {
		panic(errLength)
	}
	l.fetches = copy(l.fetched[:], v)
}

// Fetched hands them out.
func (l *lane) Fetched(dst []float32) bool {
	if l.fetches == 0 {
		return false
	}
	if len(dst) != l.fetches {
		panic(errLength)
	}
	copy(dst, l.fetched[:l.fetches])
	l.fetches = 0
	return true
}

// UploadBytes copies src to a Byte tensor.
func (l *lane) UploadBytes(dst backend.Tensor, src []byte) {
	d := l.bytes(dst, dst.Shape)
	if len(src) != len(d) {
		panic(errLength)
	}
	copy(d, src)
}

// DownloadBytes copies a Byte tensor to dst.
func (l *lane) DownloadBytes(dst []byte, src backend.Tensor) error {
	s := l.bytes(src, src.Shape)
	if len(s) != len(dst) {
		panic(errLength)
	}
	copy(dst, s)
	return nil
}

// UploadIndex copies src to an Index tensor.
func (l *lane) UploadIndex(dst backend.Tensor, src []int32) {
	d := l.index(dst)
	if len(src) != len(d) {
		panic(errLength)
	}
	copy(d, src)
}

// SetStepParams sets a StepParams.
func (l *lane) SetStepParams(dst backend.Tensor, c backend.StepParams) { *l.stepParams(dst) = c }

// Sync has nothing to wait for: ops run when they are called.
func (l *lane) Sync() error { return nil }

// A caller's mistakes.
const (
	errBuffer    = "cpu: a buffer that this device did not make, or that was freed"
	errRole      = "cpu: a tensor of the wrong role"
	errShape     = "cpu: a tensor of the wrong shape"
	errBounds    = "cpu: a tensor that reaches out of its buffer"
	errAlign     = "cpu: a tensor that is not aligned"
	errLength    = "cpu: a slice whose length is not the tensor's"
	errWorkspace = "cpu: the workspace is smaller than the op needs"
	errGeometry  = "cpu: a shape that its constructor did not make"
	errChannels  = "cpu: channels that a tensor does not have"
	errIndex     = "cpu: an index outside the data set"
	errAct       = "cpu: an unknown activation"
	errSum       = "cpu: a sum of nothing"
	errRate      = "cpu: a dropout rate outside [0, 1)"
)

// raw returns the memory of a tensor of n bytes.
func (l *lane) raw(t backend.Tensor, n int) (*buffer, int) {
	b, ok := t.Buffer.(*buffer)
	if !ok || b.dev != l.dev || b.f == nil {
		panic(errBuffer)
	}
	align := backend.Align
	if t.Role == backend.Flat {
		align = 4
	}
	if t.Offset%align != 0 {
		panic(errAlign)
	}
	if t.Offset < 0 || n < 0 || n > len(b.bytes)-t.Offset {
		panic(errBounds)
	}
	return b, t.Offset
}

func (l *lane) floats(t backend.Tensor, k backend.Role, s backend.Shape) []float32 {
	if t.Role != k {
		panic(errRole)
	}
	if t.Shape != s {
		panic(errShape)
	}
	n := s.Len()
	b, at := l.raw(t, 4*n)
	return b.f[at/4 : at/4+n : at/4+n]
}

func (l *lane) activation(t backend.Tensor, s backend.Shape) []float32 {
	return l.floats(t, backend.Activation, s)
}

// flat returns the elements of a Flat tensor of any shape.
func (l *lane) flat(t backend.Tensor) []float32 { return l.floats(t, backend.Flat, t.Shape) }

func (l *lane) param(t backend.Tensor, s backend.Shape) []float32 {
	return l.floats(t, backend.Param, s)
}

// bias is nil when there is none.
func (l *lane) bias(t backend.Tensor, n int) []float32 {
	if t.IsZero() {
		return nil
	}
	return l.param(t, backend.Vec(n))
}

// packed returns the n floats of a packed form.
func (l *lane) packed(t backend.Tensor, n int) []float32 {
	if t.Role != backend.Packed {
		panic(errRole)
	}
	if t.Shape.Len() < 4*n {
		panic(errShape)
	}
	b, at := l.raw(t, 4*n)
	return b.f[at/4 : at/4+n : at/4+n]
}

// values returns the elements of a tensor of any role of float32.
func (l *lane) values(t backend.Tensor) []float32 {
	if t.Role > backend.Flat {
		panic(errRole)
	}
	return l.floats(t, t.Role, t.Shape)
}

func (l *lane) bytes(t backend.Tensor, s backend.Shape) []byte {
	if t.Role != backend.Byte && t.Role != backend.Staged {
		panic(errRole)
	}
	if t.Shape != s {
		panic(errShape)
	}
	n := s.Len()
	b, at := l.raw(t, n)
	return b.bytes[at : at+n : at+n]
}

func (l *lane) index(t backend.Tensor) []int32 {
	if t.Role != backend.Index {
		panic(errRole)
	}
	n := t.Shape.Len()
	b, at := l.raw(t, 4*n)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(&b.f[at/4])), n)
}

func (l *lane) stepParams(t backend.Tensor) *backend.StepParams {
	if t.Role != backend.PerStep {
		panic(errRole)
	}
	b, at := l.raw(t, stepParamsBytes)
	return (*backend.StepParams)(unsafe.Pointer(&b.f[at/4]))
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
