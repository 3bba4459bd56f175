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
	shares []share      // by lane
	doors  []door       // of lanes 1 and up
	left   atomic.Int64 // tasks that are not done yet
	done   door         // of the caller, when none is left
	closed atomic.Bool
}

// share is the tasks that a lane begins with, and how many lanes may take them, in one word: a lane that comes late, when other tasks are there, takes
// one of those or none. It has cache lines of its own.
type share struct {
	word atomic.Uint64
	_    [120]byte
}

// The word of a share: the next task and the end of them from these bits on, and the number of lanes in the lowest ones.
const (
	nextBits  = 40
	endBits   = 16
	mostTasks = 1 << (nextBits - endBits)
)

// set puts tasks from next to end into a share.
func (s *share) set(next, end, lanes int) {
	s.word.Store(uint64(next)<<nextBits | uint64(end)<<endBits | uint64(lanes))
}

// take gives a task to a lane, if there is one that it may take.
func (s *share) take(lane int) (task int, ok bool) {
	for {
		w := s.word.Load()
		next, end, lanes := int(w>>nextBits), int(w>>endBits%mostTasks), int(w%(1<<endBits))
		if next >= end || lane >= lanes {
			return 0, false
		}
		if s.word.CompareAndSwap(w, w+1<<nextBits) {
			return next, true
		}
	}
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
			for d.wait(); !w.closed.Load(); d.wait() {
				w.work(i + 1)
			}
		}()
	}
	return w
}

// run calls task for 0 <= i < n and waits for all. It does not wait for a lane that has taken none, such as one that the system has not woken
// yet. It allocates nothing if task is not a new closure.
func (w *workers) run(n int, task func(lane, task int)) { w.runOn(len(w.lanes), n, task) }

// runOn is run on the first lanes of the device.
func (w *workers) runOn(lanes, n int, task func(lane, task int)) {
	lanes = min(lanes, n)
	if lanes <= 1 {
		for i := range n {
			task(0, i)
		}
		return
	}
	if n >= mostTasks || lanes >= 1<<endBits {
		panic("nn: too many tasks or lanes")
	}
	w.task = task
	w.left.Store(int64(n))
	for i := range lanes {
		w.shares[i].set(i*n/lanes, (i+1)*n/lanes, lanes)
	}
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
		for {
			i, ok := s.take(lane)
			if !ok {
				break
			}
			w.task(lane, i)
			if w.left.Add(-1) == 0 {
				w.done.open()
			}
		}
	}
}

func (w *workers) close() {
	w.closed.Store(true)
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

// open lets who waits, or is going to, through, once if it is opened again before that.
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
