package cuda

import (
	"cmp"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/ptx"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// variant is a form of a kernel: an entry in which constants stand for some of the parameters, or for none, which is the
// general form. With the shape of a layer as constants a compiler folds the arithmetic on it, unrolls loops and drops what the
// layer does not need. All forms give the same bits.
type variant struct {
	entry  kernels.Entry
	fixed  uint64 // has a bit for each parameter that is a constant
	values [kernels.MaxParams]uint64
}

// maxVariants bounds the forms that a device holds, of some 30 KB of machine code each. A training with its validation takes some
// dozens, but a program that meets ever new shapes shall not fill the device's memory with code: shapes beyond run in the general form.
const maxVariants = 256

// function is a variant that is loaded.
type function struct {
	driver.Function
	shared int // bytes of dynamic shared memory that it was allowed
}

// allow asks for so much dynamic shared memory, if it is more than there is without asking and more than was asked for before.
func (f *function) allow(shared int) error {
	if shared <= max(unasked, f.shared) {
		return nil
	}
	err := f.SetDynamicShared(shared)
	if err == nil {
		f.shared = shared
	}
	return err
}

// code is the PTX of an entry on a device.
type code struct {
	module *ptx.Module
	params []ptx.Param
}

// special returns the form of a kernel for a launch with these arguments: those of shapes, and pointers that are null, are
// constants. What is not seen to be a pointer counts as a shape, and has the right value all the same: another one takes another form.
func (d *Device) special(e kernels.Entry, args []uint64) variant {
	v := variant{entry: e}
	if !e.Specialised() {
		return v
	}
	for i, p := range d.code[e].params {
		if (!p.Pointer || args[i] == 0) && !e.OfBatch(i) {
			v.fixed |= 1 << i
			v.values[i] = args[i]
		}
	}
	return v
}

// function returns the form to launch: the special one if it was prepared, else the general one, which is loaded if need be.
func (d *Device) function(e kernels.Entry, args []uint64) (*function, error) {
	if f := d.functions[d.special(e, args)]; f != nil {
		return f, nil
	}
	general := variant{entry: e}
	if d.functions[general] == nil {
		if err := d.load([]variant{general}); err != nil {
			return nil, err
		}
	}
	return d.functions[general], nil
}

// missing returns those of the variants that are not loaded, each once. Beyond the bound it is the general form that is wanted.
func (d *Device) missing(list []variant) (missing []variant) {
	seen := map[variant]bool{}
	for _, v := range list {
		if d.functions[v] == nil && len(d.functions)+len(seen) >= maxVariants {
			v = variant{entry: v.entry}
		}
		if d.functions[v] == nil && !seen[v] {
			seen[v] = true
			missing = append(missing, v)
		}
	}
	return missing
}

// load compiles those of the variants that are not loaded, side by side on the host's processors.
func (d *Device) load(list []variant) error {
	missing := d.missing(list)
	if len(missing) == 0 {
		return nil
	}
	began := time.Now()
	loaded, errs := make([]*function, len(missing)), make([]error, len(missing))
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	var w sync.WaitGroup
	for i, v := range missing {
		places <- struct{}{}
		w.Go(func() {
			loaded[i], errs[i] = d.compile(v)
			<-places
		})
	}
	w.Wait()
	if err := cmp.Or(errs...); err != nil {
		return err
	}
	for i, v := range missing {
		d.functions[v] = loaded[i]
	}
	d.compiled += len(missing)
	d.compiling += time.Since(began)
	return nil
}

// text is the PTX of a variant.
func (d *Device) text(v variant) (string, error) {
	constants := map[int]uint64{}
	for i := range v.entry.Params() {
		if v.fixed>>i&1 != 0 {
			constants[i] = v.values[i]
		}
	}
	return d.code[v.entry].module.Specialise(v.entry.Name(), ptx.Form{Constants: constants, Waits: d.waits})
}

// compile makes a module of one variant and loads it.
func (d *Device) compile(v variant) (*function, error) {
	name := v.entry.Name()
	text, err := d.text(v)
	if err != nil {
		return nil, err
	}
	module, err := d.dev.Load(text)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", name, err)
	}
	f, err := module.Function(name)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", name, err)
	}
	return &function{Function: f}, nil
}

// Prepare compiles the kernels for the ops that f calls, which are not done.
func (l *lane) Prepare(f func()) {
	l.wanted = l.wanted[:0]
	l.collect(f)
	l.check("Prepare", l.dev.load(l.wanted))
}

// collect lists in l.wanted what f would launch.
func (l *lane) collect(f func()) {
	// No op leaves a result in the workspace that another could use, neither one before nor one in f.
	l.spreadOf, l.preparing = spreadKey{}, true
	defer func() { l.spreadOf, l.preparing = spreadKey{}, false }()
	f()
}

// Prepared returns how many kernels the device has compiled, and how long that took.
func (l *lane) Prepared() (kernels int, took time.Duration) { return l.dev.compiled, l.dev.compiling }

var _ backend.Preparer = (*lane)(nil)

// parsed are the modules of PTX that were taken apart, by their text: the devices of a process mostly have the same.
var parsed sync.Map

// parse takes a module apart, once in a process.
func parse(text string) (*ptx.Module, error) {
	if m, ok := parsed.Load(text); ok {
		return m.(*ptx.Module), nil
	}
	m, err := ptx.Parse(text)
	if err == nil {
		parsed.Store(text, m)
	}
	return m, err
}
