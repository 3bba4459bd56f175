package driver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
)

// Fake is a driver whose one device runs nothing: it records the calls, for tests of code that launches kernels. Memory
// is not there, only its addresses; copies to the host leave the host's memory as it is.
type Fake struct {
	Calls []FakeCall
	// Fail, unless nil, is asked before every call is done. An error that it returns is the call's.
	Fail func(c FakeCall) error
	// Quiet makes it record nothing, so that what is tested can be seen to allocate nothing.
	Quiet bool

	mu       sync.Mutex // of Calls
	info     Info
	memory   map[Ptr]int
	next     Ptr
	inflight error
}

// FakeCall is a recorded call.
type FakeCall struct {
	Name   string // of the method, such as "Alloc"; of a launch the name of the kernel
	Launch Launch // of a launch, with Args of its own
	Ptr    Ptr    // destination of a copy or fill; source of a copy to the host; memory allocated or given back
	N      int    // bytes, or words of a Fill
}

// NewFake returns a Fake of a device with these properties.
func NewFake(info Info) *Fake { return &Fake{info: info, memory: make(map[Ptr]int), next: 1 << 20} }

// FailLater makes the next Synchronize return err, as a kernel does that fails when it runs.
func (f *Fake) FailLater(err error) { f.inflight = err }

// Launches returns the recorded launches and forgets all calls.
func (f *Fake) Launches() []FakeCall {
	l := slices.DeleteFunc(f.Calls, func(c FakeCall) bool { return c.Launch.Function == nil })
	f.Calls = nil
	return l
}

// Allocated returns the bytes of device memory that are allocated.
func (f *Fake) Allocated() int {
	n := 0
	for _, m := range f.memory {
		n += m
	}
	return n
}

func (f *Fake) call(c FakeCall) error {
	if f.Quiet {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fail != nil {
		if err := f.Fail(c); err != nil {
			return err
		}
	}
	f.Calls = append(f.Calls, c)
	return nil
}

// within records a call that touches n bytes at p, if they are allocated.
func (f *Fake) within(p Ptr, n int, c FakeCall) error {
	if !f.has(p, n) {
		return fmt.Errorf("%s: %d bytes at %#x are not allocated", c.Name, n, p)
	}
	return f.call(c)
}

// has reports whether n bytes at p are allocated.
func (f *Fake) has(p Ptr, n int) bool {
	for at, size := range f.memory {
		if p >= at && p+Ptr(n) <= at+Ptr(size) {
			return true
		}
	}
	return false
}

// Devices lists the one device.
func (f *Fake) Devices() ([]Info, error) { return []Info{f.info}, nil }

// Open opens it.
func (f *Fake) Open(i int) (Device, error) {
	if i != 0 {
		return nil, fmt.Errorf("there is no device %d", i)
	}
	return fakeDevice{f}, f.call(FakeCall{Name: "Open"})
}

type fakeDevice struct{ f *Fake }

func (d fakeDevice) Info() Info { return d.f.info }

func (d fakeDevice) Memory() (free, total int, err error) {
	return d.f.info.Memory - d.f.Allocated(), d.f.info.Memory, d.f.call(FakeCall{Name: "Memory"})
}

func (d fakeDevice) Alloc(n int) (Ptr, error) {
	if n <= 0 || n > d.f.info.Memory-d.f.Allocated() {
		return 0, errors.New("out of memory")
	}
	p := d.f.next
	if err := d.f.call(FakeCall{Name: "Alloc", Ptr: p, N: n}); err != nil {
		return 0, err
	}
	d.f.memory[p] = n
	d.f.next += Ptr(n+511) / 256 * 256 // a gap, so that no tensor ends where another starts
	return p, nil
}

// EncodeTiled refuses what no device takes. Nobody reads the map.
func (d fakeDevice) EncodeTiled(t *Tiled) (TensorMap, error) {
	if !d.f.info.TakesTensorMaps() {
		return TensorMap{}, ErrNoTensorMaps
	}
	if err := t.Check(); err != nil {
		return TensorMap{}, err
	}
	return TensorMap{uint64(t.Base)}, d.f.call(FakeCall{Name: "EncodeTiled", Ptr: t.Base})
}

func (d fakeDevice) Free(p Ptr) error {
	if _, ok := d.f.memory[p]; !ok {
		return fmt.Errorf("Free: nothing is allocated at %#x", p)
	}
	delete(d.f.memory, p)
	return d.f.call(FakeCall{Name: "Free", Ptr: p})
}

func (d fakeDevice) AllocHost(n int) ([]byte, error) {
	return make([]byte, n), d.f.call(FakeCall{Name: "AllocHost", N: n})
}
func (d fakeDevice) FreeHost([]byte) error { return d.f.call(FakeCall{Name: "FreeHost"}) }

func (d fakeDevice) Load(ptx string) (Module, error) {
	return fakeModule{d.f, ptx}, d.f.call(FakeCall{Name: "Load", N: len(ptx)})
}
func (d fakeDevice) NewStream() (Stream, error) {
	return fakeStream(d), d.f.call(FakeCall{Name: "NewStream"})
}
func (d fakeDevice) NewEvent() (Event, error) {
	return fakeEvent(d), d.f.call(FakeCall{Name: "NewEvent"})
}

func (d fakeDevice) Close() error {
	clear(d.f.memory)
	return d.f.call(FakeCall{Name: "Close"})
}

type fakeModule struct {
	f   *Fake
	ptx string
}

// Function finds the entry in the text.
func (m fakeModule) Function(name string) (Function, error) {
	_, after, ok := strings.Cut(m.ptx, ".entry "+name+"(")
	if !ok {
		return nil, fmt.Errorf("there is no entry %s", name)
	}
	head, _, _ := strings.Cut(after, ")")
	return fakeFunction{m.f, name, strings.Count(head, ".param")}, nil
}
func (m fakeModule) Unload() error { return m.f.call(FakeCall{Name: "Unload"}) }

type fakeFunction struct {
	f      *Fake
	name   string
	params int
}

func (x fakeFunction) Name() string { return x.name }
func (x fakeFunction) Attributes() Attributes {
	return Attributes{MaxThreads: 1024, Params: x.params, Binary: 10*x.f.info.Major + x.f.info.Minor}
}
func (x fakeFunction) SetDynamicShared(n int) error {
	return x.f.call(FakeCall{Name: "SetDynamicShared", N: n})
}

type fakeStream struct{ f *Fake }

func (s fakeStream) ToDevice(dst Ptr, src []byte) error {
	return s.f.within(dst, len(src), FakeCall{Name: "ToDevice", Ptr: dst, N: len(src)})
}
func (s fakeStream) ToHost(dst []byte, src Ptr) error {
	return s.f.within(src, len(dst), FakeCall{Name: "ToHost", Ptr: src, N: len(dst)})
}
func (s fakeStream) Copy(dst, src Ptr, n int) error {
	if !s.f.has(src, n) {
		return fmt.Errorf("Copy: %d bytes at %#x are not allocated", n, src)
	}
	return s.f.within(dst, n, FakeCall{Name: "Copy", Ptr: dst, N: n})
}
func (s fakeStream) Fill(dst Ptr, v uint32, n int) error {
	return s.f.within(dst, 4*n, FakeCall{Name: "Fill", Ptr: dst, N: n})
}

// Launch refuses what no device takes.
func (s fakeStream) Launch(l *Launch) error {
	x, ok := l.Function.(fakeFunction)
	if !ok {
		return errors.New("Launch: a function of another driver")
	}
	if len(l.Args)+len(l.Maps) != x.params {
		return fmt.Errorf("%s: %d arguments and %d tensor maps for %d parameters", x.name, len(l.Args), len(l.Maps), x.params)
	}
	g, b := l.Grid, l.Block
	for _, e := range []struct{ n, most int }{{g.X, math.MaxInt32}, {g.Y, 65535}, {g.Z, 65535}, {b.X, 1024}, {b.Y, 1024}, {b.Z, 64}} {
		if e.n < 0 || e.n > e.most {
			return fmt.Errorf("%s: the grid %v or the block %v has an extent of %d, want at most %d", x.name, g, b, e.n, e.most)
		}
	}
	if max(b.X, 1)*max(b.Y, 1)*max(b.Z, 1) > 1024 || g == (Dim3{}) || b == (Dim3{}) {
		return fmt.Errorf("%s: a grid %v of blocks %v", x.name, g, b)
	}
	if s.f.Quiet {
		return nil
	}
	c := *l
	c.Args, c.Maps = slices.Clone(l.Args), slices.Clone(l.Maps)
	return s.f.call(FakeCall{Name: x.name, Launch: c})
}

func (s fakeStream) Record(Event) error { return s.f.call(FakeCall{Name: "Record"}) }
func (s fakeStream) Wait(Event) error   { return s.f.call(FakeCall{Name: "Wait"}) }

func (s fakeStream) Synchronize() error {
	err := s.f.inflight
	s.f.inflight = nil
	return errors.Join(err, s.f.call(FakeCall{Name: "Synchronize"}))
}

func (s fakeStream) BeginCapture() error { return s.f.call(FakeCall{Name: "BeginCapture"}) }
func (s fakeStream) EndCapture() (Graph, error) {
	return fakeGraph(s), s.f.call(FakeCall{Name: "EndCapture"})
}
func (s fakeStream) Replay(Graph) error { return s.f.call(FakeCall{Name: "Replay"}) }
func (s fakeStream) Close() error       { return s.f.call(FakeCall{Name: "Stream.Close"}) }

type fakeEvent struct{ f *Fake }

func (e fakeEvent) Synchronize() error     { return e.f.call(FakeCall{Name: "Event.Synchronize"}) }
func (e fakeEvent) Reached() (bool, error) { return true, e.f.call(FakeCall{Name: "Event.Reached"}) }
func (e fakeEvent) Since(Event) (float64, error) {
	return 0, e.f.call(FakeCall{Name: "Since"})
}
func (e fakeEvent) Close() error { return e.f.call(FakeCall{Name: "Event.Close"}) }

type fakeGraph struct{ f *Fake }

func (g fakeGraph) Close() error { return g.f.call(FakeCall{Name: "Graph.Close"}) }

var _ Driver = (*Fake)(nil)
