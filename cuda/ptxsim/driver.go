package ptxsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
)

func (s sim) Devices() ([]driver.Info, error) {
	infos := make([]driver.Info, len(s))
	for i := range s {
		infos[i] = s[i].info()
	}
	return infos, nil
}

func (s sim) Open(i int) (driver.Device, error) {
	if i < 0 || i >= len(s) {
		return nil, fmt.Errorf("ptxsim: there is no device %d", i)
	}
	o := s[i]
	d := &Device{opt: o, epoch: 2, checks: Checks{Init: !o.Skip.Init, Race: !o.Skip.Race, GlobalRace: !o.Skip.GlobalRace, Count: !o.Skip.Count}}
	d.heap = heap{next: globalBase, total: o.Memory, tags: d.checks.GlobalRace}
	return d, nil
}

func (o *Options) info() driver.Info {
	return driver.Info{Name: o.Name, Major: o.Major, Minor: o.Minor, Memory: o.Memory, SMs: o.SMs, Driver: o.Driver}
}

// Device is a simulated device. Work runs when it is given, before the call returns.
type Device struct {
	mu        sync.Mutex
	opt       Options
	checks    Checks
	heap      heap
	epoch     uint32
	history   history
	capturing int
	closed    bool
}

var errClosed = errors.New("ptxsim: the device is closed")

// locked runs f with the device locked.
func (d *Device) locked(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	return f()
}

// Info describes the device.
func (d *Device) Info() driver.Info { return d.opt.info() }

// WatchesMemory is true: an access outside of an allocation ends the launch with an error.
func (d *Device) WatchesMemory() bool { return true }

// Memory returns the free and total bytes.
func (d *Device) Memory() (free, total int, err error) {
	err = d.locked(func() error {
		free, total = d.heap.total-d.heap.used, d.heap.total
		return nil
	})
	return free, total, err
}

var errCapture = errors.New("ptxsim: the call is not allowed while a stream is captured")

// Alloc allocates memory, which holds NaN until it is written, or 0 if not all blocks are executed.
func (d *Device) Alloc(n int) (p driver.Ptr, err error) {
	err = d.locked(func() error {
		if d.capturing > 0 {
			return errCapture
		}
		a, err := d.heap.alloc(n, "")
		if err == nil && d.opt.Blocks != nil {
			clear(a.data)
		}
		if err == nil {
			p = driver.Ptr(a.base)
		}
		return err
	})
	return p, err
}

// Free frees what Alloc returned. The address is not used again.
func (d *Device) Free(p driver.Ptr) error {
	return d.locked(func() error {
		if d.capturing > 0 {
			return errCapture
		}
		return d.heap.free(p)
	})
}

// AllocHost returns n bytes.
func (d *Device) AllocHost(n int) ([]byte, error) {
	if n < 0 {
		return nil, fmt.Errorf("ptxsim: allocation of %d bytes", n)
	}
	return make([]byte, n), nil
}

// FreeHost does nothing.
func (d *Device) FreeHost([]byte) error { return nil }

// Close forgets the device's memory; all later calls fail.
func (d *Device) Close() error {
	return d.locked(func() error {
		d.closed, d.heap = true, heap{}
		return nil
	})
}

// Load parses PTX and lays out its variables.
func (d *Device) Load(ptx string) (driver.Module, error) {
	m, err := parsed(ptx)
	if err != nil {
		return nil, err
	}
	switch cc := 10*d.opt.Major + d.opt.Minor; {
	case m.target > cc:
		return nil, fmt.Errorf("ptxsim: the text is for sm_%d, the device is sm_%d", m.target, cc)
	case m.accelerated && m.target != cc:
		return nil, fmt.Errorf("ptxsim: the text is for sm_%da alone, the device is sm_%d", m.target, cc)
	}
	mod := &loaded{dev: d, funcs: map[string]*function{}}
	symbols, err := mod.place(m.global)
	if err != nil {
		return nil, err
	}
	programs, err := m.programs(symbols)
	if err != nil {
		return nil, errors.Join(err, mod.Unload())
	}
	for _, p := range programs {
		mod.funcs[p.entry.name] = &function{mod: mod, prog: p, maxShared: max(0, 48<<10-int(p.dynamic))}
	}
	if d.opt.OnLoad != nil {
		d.opt.OnLoad(ptx)
	}
	return mod, nil
}

// place gives variables their memory, and returns where they are. After an error none has any.
func (m *loaded) place(variables []*variable) (map[string]symbol, error) {
	symbols := map[string]symbol{}
	err := m.dev.locked(func() error {
		for _, v := range variables {
			a, err := m.dev.heap.alloc(max(v.size, 1), v.name)
			if err != nil {
				m.drop()
				return err
			}
			m.vars = append(m.vars, a)
			clear(a.content())
			copy(a.content(), v.init)
			a.mark(0, a.size)
			a.readOnly = v.readOnly
			s := symbol{spaceGlobal, a.base}
			if v.readOnly {
				s.space = spaceConst
			}
			symbols[v.name] = s
		}
		return nil
	})
	return symbols, err
}

type loaded struct {
	dev   *Device
	funcs map[string]*function
	vars  []*allocation
	gone  bool
}

func (m *loaded) Function(name string) (driver.Function, error) {
	if f := m.funcs[name]; f != nil && !m.gone {
		return f, nil
	}
	return nil, fmt.Errorf("ptxsim: the module has no function %s", name)
}

func (m *loaded) drop() {
	for _, a := range m.vars {
		m.dev.heap.drop(a)
	}
	m.vars = nil
}

func (m *loaded) Unload() error {
	return m.dev.locked(func() error {
		m.drop()
		m.gone = true
		return nil
	})
}

type function struct {
	mod       *loaded
	prog      *program
	maxShared int // dynamic bytes allowed
	pool      map[poolKey][]*block
}

func (f *function) Name() string { return f.prog.entry.name }

func (f *function) Attributes() driver.Attributes {
	p := f.prog
	threads := maxThreads
	for _, ext := range [][3]int{p.entry.max, p.entry.req} {
		if n := ext[0] * ext[1] * ext[2]; n > 0 {
			threads = min(threads, n)
		}
	}
	maps := 0
	for _, v := range p.entry.params {
		if v.size == tensorMapBytes {
			maps++
		}
	}
	return driver.Attributes{Maps: maps, Registers: min(p.registers, 255), Shared: p.shared, Local: p.local, MaxThreads: threads,
		Params: len(p.entry.params), Binary: f.mod.dev.opt.Major*10 + f.mod.dev.opt.Minor}
}

// maxSharedOf is the shared memory that a block may ask for.
func (o *Options) maxShared() int {
	switch cc := 10*o.Major + o.Minor; {
	case cc >= 90:
		return 227 << 10
	case cc == 86 || cc == 89:
		return 99 << 10
	case cc >= 80:
		return 163 << 10
	case cc == 75:
		return 64 << 10
	case cc >= 70:
		return 96 << 10
	}
	return 48 << 10
}

func (f *function) SetDynamicShared(n int) error {
	if top := f.mod.dev.opt.maxShared(); n < 0 || n > top-int(f.prog.dynamic) {
		return fmt.Errorf("ptxsim: %s: %d bytes of dynamic shared memory: the device has %d for a block, %d are taken", f.Name(), n, top, f.prog.dynamic)
	}
	f.maxShared = n
	return nil
}

const maxThreads = 1024

// prepare checks a launch and returns a copy of it with its extents filled in, and the bytes of the parameters.
func (d *Device) prepare(l *driver.Launch) (*function, *driver.Launch, []byte, error) {
	f, ok := l.Function.(*function)
	if !ok || f.mod.dev != d || f.mod.gone {
		return nil, nil, nil, errors.New("ptxsim: launch of a function that this device has not loaded")
	}
	p, c := f.prog, *l
	fail := func(format string, a ...any) (*function, *driver.Launch, []byte, error) {
		return nil, nil, nil, fmt.Errorf("ptxsim: launch of %s: %s", f.Name(), fmt.Sprintf(format, a...))
	}
	for _, v := range []*int{&c.Grid.X, &c.Grid.Y, &c.Grid.Z, &c.Block.X, &c.Block.Y, &c.Block.Z} {
		if *v == 0 {
			*v = 1
		}
		if *v < 0 {
			return fail("an extent is %d", *v)
		}
	}
	g, b := c.Grid, c.Block
	switch {
	case g.X > 1<<31-1 || g.Y > 65535 || g.Z > 65535 || g.X*g.Y > 1<<30 || g.X*g.Y*g.Z > 1<<30:
		return fail("grid of %dx%dx%d", g.X, g.Y, g.Z)
	case b.X > maxThreads || b.Y > maxThreads || b.Z > 64 || b.X*b.Y*b.Z > f.Attributes().MaxThreads:
		return fail("block of %dx%dx%d threads, at most %d", b.X, b.Y, b.Z, f.Attributes().MaxThreads)
	case p.entry.req[0] != 0 && p.entry.req != [3]int{b.X, b.Y, b.Z}:
		return fail("block of %dx%dx%d threads, the kernel requires %v", b.X, b.Y, b.Z, p.entry.req)
	case l.Shared < 0 || l.Shared > f.maxShared:
		return fail("%d bytes of dynamic shared memory, %d are allowed", l.Shared, f.maxShared)
	case len(l.Args)+len(l.Maps) != len(p.entry.params):
		return fail("%d arguments and %d tensor maps, want %d parameters", len(l.Args), len(l.Maps), len(p.entry.params))
	case l.Waits && !p.waits:
		return fail("it may begin before the launch before it has ended, and griddepcontrol.wait is not its first instruction")
	}
	params := make([]byte, p.entry.paramSize+8)
	for i, v := range p.entry.params {
		if i >= len(l.Args) {
			if v.size != tensorMapBytes || v.align != 64 {
				return fail("parameter %s is no tensor map", v.name)
			}
			for j, word := range l.Maps[i-len(l.Args)] {
				binary.LittleEndian.PutUint64(params[int(v.off)+8*j:], word)
			}
			continue
		}
		if v.size > 8 {
			return fail("parameter %s has %d bytes, a slot of the driver 8", v.name, v.size)
		}
		var slot [8]byte
		binary.LittleEndian.PutUint64(slot[:], l.Args[i])
		copy(params[v.off:], slot[:v.size])
	}
	return f, &c, params, nil
}

// poolKey says which launches may use the contexts of earlier ones.
type poolKey struct {
	block  driver.Dim3
	shared int
}

const maxPools = 8

// launch runs a prepared launch of a stream.
func (d *Device) launch(o *order, f *function, l *driver.Launch, params []byte) error {
	p := f.prog
	total := l.Grid.X * l.Grid.Y * l.Grid.Z
	epoch, beside := d.nextEpoch(total), d.history.beside(o)
	number := d.history.add(o, p.entry.name, epoch, d.epoch)
	if d.opt.BeforeLaunch != nil {
		d.opt.BeforeLaunch(&Launching{Kernel: p.entry.name, PTX: p.module.source, Grid: l.Grid, Block: l.Block, Shared: l.Shared,
			Params: params[:p.entry.paramSize], Memory: d.heap.pieces(), Number: number, Stream: o.stream, Beside: numbersOf(beside)})
	}
	began := time.Now()
	key := poolKey{l.Block, l.Shared}
	if f.pool[key] == nil && len(f.pool) >= maxPools || f.pool == nil {
		f.pool = map[poolKey][]*block{}
	}
	pool, workers := f.pool[key], min(d.opt.Workers, total)
	for len(pool) < workers {
		pool = append(pool, newBlock(p, d, l))
	}
	f.pool[key] = pool
	var next atomic.Int64
	var failed atomic.Pointer[Fault]
	work := func(b *block) {
		defer func() {
			if r := recover(); r != nil {
				fault, ok := r.(*Fault)
				if !ok {
					fault = &Fault{Kind: Internal, Kernel: p.entry.name, Block: b.id, Detail: fmt.Sprint(r)}
				}
				failed.CompareAndSwap(nil, fault)
			}
		}()
		b.launch(l, params, epoch, beside)
		for failed.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= total {
				return
			}
			if d.opt.Blocks == nil || d.opt.Blocks(i) {
				b.exec(i)
			}
		}
	}
	var wg sync.WaitGroup
	for _, b := range pool[1:workers] {
		wg.Go(func() { work(b) })
	}
	work(pool[0])
	wg.Wait()
	if fault := failed.Load(); fault != nil {
		delete(f.pool, key) // their state is that of the fault
		return fault
	}
	if d.opt.OnLaunch != nil {
		c := &LaunchCount{Kernel: p.entry.name, Grid: l.Grid, Block: l.Block, Shared: p.shared, Registers: p.registers, Time: time.Since(began)}
		if l.Shared > 0 {
			c.Shared = int(p.dynamic) + l.Shared
		}
		for _, b := range pool[:workers] {
			c.counted(b)
		}
		d.opt.OnLaunch(c)
	}
	return nil
}

func (d *Device) toDevice(dst driver.Ptr, src []byte) error {
	a, off, err := d.heap.span(dst, len(src))
	if err != nil {
		return err
	}
	copy(a.content()[off:], src)
	a.mark(off, uint64(len(src)))
	return nil
}

func (d *Device) toHost(dst []byte, src driver.Ptr) error {
	a, off, err := d.heap.span(src, len(dst))
	if err != nil {
		return err
	}
	copy(dst, a.content()[off:])
	return nil
}

func (d *Device) copy(dst, src driver.Ptr, n int) error {
	to, i, err := d.heap.span(dst, n)
	if err != nil {
		return err
	}
	from, j, err := d.heap.span(src, n)
	if err != nil {
		return err
	}
	copy(to.content()[i:i+uint64(n)], from.content()[j:])
	copyMarks(to, i, from, j, uint64(n))
	return nil
}

func (d *Device) fill(dst driver.Ptr, v uint32, n int) error {
	if dst&3 != 0 || n < 0 || n > maxVariable {
		return fmt.Errorf("ptxsim: fill of %d words at %#x", n, uint64(dst))
	}
	a, off, err := d.heap.span(dst, 4*n)
	if err != nil {
		return err
	}
	words := unsafe.Slice((*uint32)(unsafe.Add(a.ptr, off)), n)
	for i := range words {
		words[i] = v
	}
	a.mark(off, uint64(4*n))
	return nil
}
