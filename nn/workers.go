package nn

import (
	"runtime"
	"sync/atomic"

	"github.com/convae/convae/nn/backend"
)

// workers runs tasks on the lanes of a device: the caller is lane 0, every other lane has a goroutine. Each lane begins with a share of the
// tasks, the same whenever there are as many, so that it finds in its cache what it left there; then it takes what others have not begun. So which
// lane takes a task is left to chance, and a task's result must not depend on it.
type workers struct {
	lanes  []backend.Backend
	task   func(lane, task int)
	shares []share // by lane, of those that work
	doors  []door  // of lanes 1 and up
	busy   atomic.Int32
	done   door // of the caller, when no lane is busy
	closed bool
}

// share is the tasks that a lane begins with. It has cache lines of its own.
type share struct {
	next, end atomic.Int64
	_         [112]byte
}

func newWorkers(lanes []backend.Backend) *workers {
	w := &workers{lanes: lanes, shares: make([]share, len(lanes)), doors: make([]door, len(lanes)-1)}
	spins := 0
	if len(lanes) <= runtime.GOMAXPROCS(0) {
		spins = mostSpins
	}
	w.done.make(spins)
	for i := range w.doors {
		d := &w.doors[i]
		d.make(spins)
		go func() {
			for d.wait(); !w.closed; d.wait() {
				w.work(i + 1)
				if w.busy.Add(-1) == 0 {
					w.done.open()
				}
			}
		}()
	}
	return w
}

// run calls task for 0 <= i < n and waits for all. It allocates nothing if task is not a new closure.
func (w *workers) run(n int, task func(lane, task int)) { w.runOn(len(w.lanes), n, task) }

// runOn is run on the first lanes of the device.
func (w *workers) runOn(lanes, n int, task func(lane, task int)) {
	w.task = task
	lanes = max(min(lanes, n), 1)
	for i := range w.shares {
		s := &w.shares[i]
		s.next.Store(int64(min(i, lanes) * n / lanes))
		s.end.Store(int64(min(i+1, lanes) * n / lanes))
	}
	if lanes == 1 {
		w.work(0)
		return
	}
	w.busy.Store(int32(lanes - 1))
	for i := range lanes - 1 {
		w.doors[i].open()
	}
	w.work(0)
	w.done.wait()
}

// work does a lane's share, and then what is left of those behind it.
func (w *workers) work(lane int) {
	for i := range w.shares {
		s := &w.shares[(lane+i)%len(w.shares)]
		for s.next.Load() < s.end.Load() {
			if i := s.next.Add(1) - 1; i < s.end.Load() {
				w.task(lane, int(i))
			}
		}
	}
}

func (w *workers) close() {
	w.closed = true
	for i := range w.doors {
		w.doors[i].open()
	}
	w.doors = nil
}

// door lets one goroutine through each time that another opens it. Who waits looks for a while whether it is open, and sleeps only then: the phases
// of a step may be so short that going to sleep and being woken would take as long.
type door struct {
	state atomic.Int32
	wake  chan struct{}
	spins int
}

// The states of a door.
const (
	shut   int32 = iota
	opened       // and nobody has gone through
	slept        // somebody sleeps behind it
)

// mostSpins is how often a door is looked at before who waits goes to sleep: some tens of microseconds, and none where there are more lanes than
// processors.
const mostSpins = 1 << 16

func (d *door) make(spins int) { d.wake, d.spins = make(chan struct{}, 1), spins }

// open lets who waits, or is going to, through. The door must be shut, or somebody sleep behind it.
func (d *door) open() {
	if d.state.Swap(opened) == slept {
		d.wake <- struct{}{}
	}
}

// wait goes through when the door is open, and shuts it.
func (d *door) wait() {
	for range d.spins {
		if d.state.Load() == opened {
			d.state.Store(shut)
			return
		}
	}
	if d.state.CompareAndSwap(shut, slept) {
		<-d.wake
	}
	d.state.Store(shut)
}
