package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// lane is the device's executor.
type lane struct {
	dev      *Device
	stream   driver.Stream
	ws       *buffer
	partials driver.Ptr // maxBlocks floats
	err      error      // the first failure
	spreadOf spreadKey  // what the workspace begins with, if the last op was the gradient of an upsampled layer's weights
	branches branches
	clock    clock

	communicators []*communicator // that are connected

	last string // the op that was put in the stream last

	// Fetch copies to pinned memory; the event marks its end.
	pinned  []byte
	arrived driver.Event
	fetches int // bytes under way

	// Stage writes to one of two pieces of pinned memory while the device copies from the other, on a stream of its own.
	copies driver.Stream
	stages [2]stage
	turn   int          // which of the two stages is next
	staged driver.Ptr   // what was staged last
	before driver.Event // on the compute stream: the ops before the last Stage
	serial bool         // the next Stage has to wait for all ops so far

	uploads [2]stage // used in turn by uploads

	marks [2]driver.Event // the events that Time measures between

	preparing bool      // ops are not done; the kernels that they take are wanted
	wanted    []variant // by Prepare

	// The arguments of a launch, here so that none is allocated.
	params driver.Launch
	args   [kernels.MaxParams]uint64
	maps   []driver.TensorMap
}

// buffer is device memory. A freed one has the address 0.
type buffer struct {
	dev  *Device
	ptr  driver.Ptr
	size int
}

// Size returns the bytes of the buffer.
func (b *buffer) Size() int { return b.size }

// Name returns the name of the device.
func (l *lane) Name() string { return l.dev.name }

// WatchesMemory reports whether the driver notices every access outside of a buffer.
func (l *lane) WatchesMemory() bool {
	w, ok := l.dev.dev.(driver.Watcher)
	return ok && w.WatchesMemory()
}

// Alloc returns n bytes of zeroed device memory.
func (l *lane) Alloc(n int) (backend.Buffer, error) {
	if n < 0 {
		return nil, errors.New("cuda: allocating a negative number of bytes")
	}
	if l.err != nil {
		return nil, l.err
	}
	words := max(n/4+min(n%4, 1), 1)
	p, err := l.dev.dev.Alloc(4 * words)
	if err != nil {
		return nil, fmt.Errorf("%s: allocating %d bytes: %w", l.dev.name, n, err)
	}
	l.spreadOf = spreadKey{}
	if err := l.stream.Fill(p, 0, words); err != nil {
		return nil, fmt.Errorf("%s: clearing %d bytes: %w", l.dev.name, n, errors.Join(err, l.dev.dev.Free(p)))
	}
	l.serial = true // the memory is being cleared
	return &buffer{l.dev, p, n}, nil
}

// Free gives a buffer back, when the work that may use it is done. Tensors in it can no longer be used.
func (l *lane) Free(b backend.Buffer) {
	o := l.buffer(b)
	if l.ws == o {
		l.ws = nil
	}
	l.do("Free", func() error { return errors.Join(l.stream.Synchronize(), l.dev.dev.Free(o.ptr)) })
	o.ptr = 0
}

// stepParamsBytes is the size of a StepParams in device memory; common.cuh declares it.
const stepParamsBytes = 32

// Bytes returns the bytes that a tensor occupies.
func (l *lane) Bytes(r backend.Role, d backend.DType, s backend.Shape) int {
	if r == backend.PerStep {
		return stepParamsBytes
	}
	return d.Size() * s.Len()
}

// SetWorkspace gives the lane its scratch memory; nil takes it away.
func (l *lane) SetWorkspace(b backend.Buffer) {
	if b == nil {
		l.ws = nil
		return
	}
	l.ws = l.buffer(b)
}

// workspace returns n bytes of scratch memory.
func (l *lane) workspace(n int) driver.Ptr {
	if n == 0 {
		return 0
	}
	from := l.branches.workspace
	if l.ws == nil || l.ws.size < from+n {
		panic(errWorkspace)
	}
	l.branches.used = max(l.branches.used, n)
	return l.ws.ptr + driver.Ptr(from)
}

// Upload copies src to an Activation, Param or Flat tensor.
func (l *lane) Upload(dst backend.Tensor, src []float32) {
	dst.CheckFloats(len(src))
	p := l.at(dst)
	if dst.Type != backend.BFloat16 {
		l.upload("Upload", p, raw(src))
		return
	}
	narrow := make([]uint16, len(src))
	for i, x := range src {
		narrow[i] = backend.BF16(x)
	}
	l.upload("Upload", p, raw(narrow))
}

// Download copies an Activation, Param or Flat tensor to dst.
func (l *lane) Download(dst []float32, src backend.Tensor) error {
	src.CheckFloats(len(dst))
	p := l.at(src)
	if src.Type != backend.BFloat16 {
		return l.download("Download", raw(dst), p)
	}
	narrow := make([]uint16, len(dst))
	err := l.download("Download", raw(narrow), p)
	for i, x := range narrow {
		dst[i] = backend.FromBF16(x)
	}
	return err
}

// UploadBytes copies src to a tensor of bytes.
func (l *lane) UploadBytes(dst backend.Tensor, src []byte) {
	dst.CheckBytes(len(src))
	l.upload("UploadBytes", l.at(dst), src)
}

// DownloadBytes copies a tensor of bytes to dst.
func (l *lane) DownloadBytes(dst []byte, src backend.Tensor) error {
	src.CheckBytes(len(dst))
	return l.download("DownloadBytes", dst, l.at(src))
}

// UploadIndex copies src to an Index tensor.
func (l *lane) UploadIndex(dst backend.Tensor, src []int32) {
	dst.CheckIndex(len(src))
	l.upload("UploadIndex", l.at(dst), raw(src))
}

// stage is pinned memory with an event that marks the end of the last copy from it.
type stage struct {
	memory []byte
	copied driver.Event
	used   bool
}

// Stage lets fill write pinned memory, which is copied when the stream is there.
func (l *lane) Stage(dst backend.Tensor, fill func(pixels []byte)) {
	n := dst.Shape.Len()
	dst.CheckBytes(n)
	p := l.at(dst)
	s := &l.stages[l.turn]
	l.turn = 1 - l.turn
	if n == 0 || l.err != nil {
		return
	}
	if s.used {
		l.do("Stage", s.copied.Synchronize)
	}
	if l.do("Stage", func() error { return s.grow(l.dev.dev, n) }); l.err != nil {
		return
	}
	fill(s.memory[:n])
	// Two tensors that are staged in turn are copied to while the other is read: what reads this one was called before
	// the last Stage.
	if l.serial || p == l.staged {
		l.do("Stage", func() error { return l.stream.Record(l.before) })
	}
	l.do("Stage", func() error { return l.copies.Wait(l.before) })
	l.do("Stage", func() error { return l.copies.ToDevice(p, s.memory[:n]) })
	l.do("Stage", func() error { return l.copies.Record(s.copied) })
	l.do("Stage", func() error { return l.stream.Wait(s.copied) })
	l.do("Stage", func() error { return l.stream.Record(l.before) })
	l.staged, l.serial, s.used = p, false, true
}

// grow makes the pinned memory at least n bytes.
func (s *stage) grow(d driver.Device, n int) (err error) {
	if s.copied == nil {
		if s.copied, err = d.NewEvent(); err != nil {
			return err
		}
	}
	if n <= len(s.memory) {
		return nil
	}
	if s.memory != nil {
		if err := d.FreeHost(s.memory); err != nil {
			return err
		}
	}
	s.memory, err = d.AllocHost(n)
	return err
}

// Fetch starts copying a Flat tensor to pinned memory.
func (l *lane) Fetch(src backend.Tensor) {
	src.CheckFetch()
	p, n := l.at(src), src.Type.Size()*src.Shape.Len()
	l.fetches = n
	l.do("Fetch", func() error { return l.stream.ToHost(l.pinned[:n], p) })
	l.do("Fetch", func() error { return l.stream.Record(l.arrived) })
}

// Fetched hands out what has arrived. After a failure nothing arrives.
func (l *lane) Fetched(dst []float32) bool {
	if l.fetches == 0 || l.err != nil {
		return false
	}
	if 4*len(dst) != l.fetches {
		panic(backend.MistakeLength)
	}
	reached, err := l.arrived.Reached()
	l.check("Fetched", err)
	if err != nil || !reached {
		return false
	}
	copy(raw(dst), l.pinned[:l.fetches])
	l.fetches = 0
	return true
}

// Pinned memory of an upload: enough for what is small, or a piece of what is large.
const (
	smallUpload = 64 << 10
	largeUpload = 1 << 20
)

// upload copies src to the memory p of a tensor, through pinned memory: the caller may change src at once, and a device may
// read pageable memory later than the call returns.
func (l *lane) upload(op string, p driver.Ptr, src []byte) {
	size := smallUpload
	if len(src) > size {
		size = largeUpload
	}
	for len(src) > 0 && l.err == nil && !l.preparing {
		l.uploads[0], l.uploads[1] = l.uploads[1], l.uploads[0] // what was used last may still be copied from
		s := &l.uploads[0]
		if s.used {
			l.do(op, s.copied.Synchronize)
		}
		if l.do(op, func() error { return s.grow(l.dev.dev, size) }); l.err != nil {
			return
		}
		n := copy(s.memory[:size], src)
		to := p
		l.do(op, func() error { return l.stream.ToDevice(to, s.memory[:n]) })
		l.do(op, func() error { return l.stream.Record(s.copied) })
		s.used = true
		src, p = src[n:], p+driver.Ptr(n)
	}
}

// download copies the memory p of a tensor to dst, and waits.
func (l *lane) download(op string, dst []byte, p driver.Ptr) error {
	l.setClock()
	if len(dst) > 0 && l.err == nil {
		l.check(op, l.stream.ToHost(dst, p))
	}
	return l.Sync()
}

// Clear fills a tensor's memory, up to a whole word, with 0.
func (l *lane) Clear(t backend.Tensor) {
	p, words := l.at(t), ceilDiv(l.Bytes(t.Role, t.Type, t.Shape), 4)
	l.mark("Clear", func() error { return l.stream.Fill(p, 0, words) })
}

// ClearWorkspace fills the workspace with 0.
func (l *lane) ClearWorkspace() {
	if l.ws != nil {
		l.mark("Clear", func() error { return l.stream.Fill(l.ws.ptr, 0, l.ws.size/4) })
	}
}

// raw returns the memory of a slice.
func raw[T float32 | int32 | uint16](v []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), int(unsafe.Sizeof(one))*len(v))
}

// Sync waits for all calls and returns the first failure of the device.
func (l *lane) Sync() error {
	l.setClock()
	if l.err == nil {
		if err := l.stream.Synchronize(); err != nil {
			l.check("after "+l.last, err)
		}
	}
	return l.err
}

// A caller's mistakes with memory; package backend has those with tensors.
const (
	errBuffer    = "cuda: a buffer that this device did not make, or that was freed"
	errWorkspace = "cuda: the workspace is smaller than the op needs"
)

// buffer returns a buffer of this device that was not freed.
func (l *lane) buffer(b backend.Buffer) *buffer {
	o, ok := b.(*buffer)
	if !ok || o.dev != l.dev || o.ptr == 0 {
		panic(errBuffer)
	}
	return o
}

// at returns the address of a tensor, and 0 for the zero Tensor.
func (l *lane) at(t backend.Tensor) driver.Ptr {
	if t.IsZero() {
		return 0
	}
	b := l.buffer(t.Buffer)
	t.CheckBounds(b.size, l.Bytes(t.Role, t.Type, t.Shape))
	return b.ptr + driver.Ptr(t.Offset)
}

// values are activations in memory: floats or, if they are narrow, bfloat16s.
type values struct {
	p      driver.Ptr
	narrow bool
}

// values returns the memory of activations, at the address 0 for the zero Tensor.
func (l *lane) values(t backend.Tensor) values { return values{l.at(t), t.Type == backend.BFloat16} }

// from returns the values from number n on; those at 0 stay there.
func (v values) from(n int) values {
	v.p = skip(v.p, v.bytes(n))
	return v
}

// bytes is the size of n values.
func (v values) bytes(n int) int {
	if v.narrow {
		return 2 * n
	}
	return 4 * n
}

// narrow is a kernel's parameter of that name: it has a bit for each of some activations, in the order of the parameters.
func narrow(list ...values) (bits uint64) {
	for i, v := range list {
		if v.narrow {
			bits |= 1 << i
		}
	}
	return bits
}
