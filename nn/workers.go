package nn

import (
	"sync"
	"sync/atomic"

	"github.com/convae/convae/nn/backend"
)

// workers runs tasks on the lanes of a device: the caller is lane 0, every other lane has a goroutine. Which lane takes
// a task is left to chance, so a task's result must not depend on it.
type workers struct {
	lanes []backend.Backend
	task  func(lane, task int)
	tasks int
	next  atomic.Int64
	wake  []chan struct{} // of lanes 1 and up
	busy  sync.WaitGroup
}

func newWorkers(lanes []backend.Backend) *workers {
	w := &workers{lanes: lanes, wake: make([]chan struct{}, len(lanes)-1)}
	for i := range w.wake {
		c := make(chan struct{})
		w.wake[i] = c
		go func() {
			for range c {
				w.work(i + 1)
				w.busy.Done()
			}
		}()
	}
	return w
}

// run calls task for 0 <= i < n and waits for all. It allocates nothing if task is not a new closure.
func (w *workers) run(n int, task func(lane, task int)) { w.runOn(len(w.lanes), n, task) }

// runOn is run on the first lanes of the device.
func (w *workers) runOn(lanes, n int, task func(lane, task int)) {
	w.task, w.tasks = task, n
	w.next.Store(0)
	helpers := max(min(lanes, n)-1, 0)
	w.busy.Add(helpers)
	for _, c := range w.wake[:helpers] {
		c <- struct{}{}
	}
	w.work(0)
	w.busy.Wait()
}

func (w *workers) work(lane int) {
	for {
		i := int(w.next.Add(1)) - 1
		if i >= w.tasks {
			return
		}
		w.task(lane, i)
	}
}

func (w *workers) close() {
	for _, c := range w.wake {
		close(c)
	}
	w.wake = nil
}
