package cuda

import (
	"fmt"
	"math"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
)

// unasked is what a kernel may use of dynamic shared memory without asking: it has 48 KB, with what is its own.
const unasked = 40 << 10

// do runs a call of the driver for an op, unless the device has failed before or ops are only prepared; a failure is kept.
func (l *lane) do(op string, call func() error) {
	l.setClock()
	l.spreadOf = spreadKey{}
	l.mark(op, call)
}

// mark is do for a call that changes no memory of the device.
func (l *lane) mark(op string, call func() error) {
	if l.err == nil && !l.preparing {
		l.last = op
		l.check(op, call())
	}
}

// check keeps the first failure, and lets those know that are connected with the device: it takes no part any more in what they wait for.
func (l *lane) check(op string, err error) {
	if err == nil || l.err != nil {
		return
	}
	l.err = fmt.Errorf("%s: %s: %w", l.dev.name, op, err)
	for _, c := range l.communicators {
		c.fail(l.err)
	}
}

// launchMaps is launch for a kernel that has the maps of such tensors as its last parameters.
func (l *lane) launchMaps(op string, e kernels.Entry, grid, block driver.Dim3, shared int, tensors []driver.Tiled, args ...uint64) {
	if len(tensors) != e.Maps() {
		panic("cuda: a launch with the wrong number of tensor maps")
	}
	l.maps = l.maps[:0]
	for i := range tensors {
		if l.err != nil || l.preparing {
			break
		}
		m, err := l.dev.dev.EncodeTiled(&tensors[i])
		l.check(op, err)
		l.maps = append(l.maps, m)
	}
	l.launch(op, e, grid, block, shared, args...)
	l.maps = l.maps[:0]
}

// launch starts a kernel for an op. Args are the kernel's parameters in order; see ptr, i32 and f32. A grid of no
// blocks does nothing.
func (l *lane) launch(op string, e kernels.Entry, grid, block driver.Dim3, shared int, args ...uint64) {
	if len(args) != e.Params() {
		panic("cuda: a launch with the wrong number of arguments")
	}
	if l.err != nil || grid.X == 0 {
		return
	}
	l.setClock()
	l.spreadOf = spreadKey{}
	if l.preparing {
		l.wanted = append(l.wanted, l.dev.special(e, args))
		return
	}
	l.last = op
	f, err := l.dev.function(e, args)
	if err == nil {
		err = f.allow(shared)
	}
	if err != nil {
		l.check(op, err)
		return
	}
	n := copy(l.args[:], args)
	l.params = driver.Launch{Function: f.Function, Grid: grid, Block: block, Shared: shared, Args: l.args[:n], Maps: l.maps, Waits: l.dev.waits}
	l.check(op, l.stream.Launch(&l.params))
}

// arguments are those of a launch, put together piece by piece and without allocating.
type arguments struct {
	list [kernels.MaxParams]uint64
	n    int
}

func (a *arguments) add(v ...uint64) { a.n += copy(a.list[a.n:], v) }

func (a *arguments) all() []uint64 { return a.list[:a.n] }

// threads is the number of threads of a block where nothing speaks for another.
const threads = 256

// launch1 starts a kernel of one thread for each of n items, in blocks of threads.
func (l *lane) launch1(op string, e kernels.Entry, n int, args ...uint64) {
	l.launch(op, e, driver.Dim3{X: ceilDiv(n, threads)}, driver.Dim3{X: threads}, 0, args...)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// ptr, i32 and f32 are a pointer, a 32-bit integer and a float32 as a kernel's argument.
func ptr(p driver.Ptr) uint64 { return uint64(p) }
func i32(v int) uint64        { return uint64(uint32(v)) }
func f32(v float32) uint64    { return uint64(math.Float32bits(v)) }
