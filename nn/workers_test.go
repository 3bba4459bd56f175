package nn

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/convae/convae/nn/backend"
)

// Every task is done once, and before run returns, whether lanes look at their doors or sleep behind them.
func TestWorkersDoEveryTaskOnce(t *testing.T) {
	for _, lanes := range []int{1, 2, 3, runtime.GOMAXPROCS(0) + 3} {
		w := newWorkers(make([]backend.Backend, lanes))
		for round := range 300 {
			n, of := round%7, 1+round%lanes
			var done [7]atomic.Int32
			w.runOn(of, n, func(lane, task int) {
				if lane >= max(of, 1) {
					t.Errorf("lane %d works, of %d", lane, of)
				}
				done[task].Add(1)
			})
			for i := range done {
				if got := int(done[i].Load()); got > 1 || (got == 1) != (i < n) {
					t.Fatalf("%d lanes of %d: task %d of %d was done %d times", of, lanes, i, n, got)
				}
			}
			if round%100 == 50 {
				time.Sleep(2 * time.Millisecond) // by then lanes sleep
			}
		}
		w.close()
	}
}

// A lane begins with the tasks that it began with before.
func TestWorkersKeepTheirShares(t *testing.T) {
	w := newWorkers(make([]backend.Backend, 2))
	defer w.close()
	for range 20 {
		var by [4]int
		var both sync.WaitGroup // have begun
		both.Add(2)
		w.run(4, func(lane, task int) {
			by[task] = lane
			if task%2 == 0 {
				both.Done()
				both.Wait()
			}
		})
		if by[0] != 0 || by[2] != 1 {
			t.Fatalf("tasks were done by lanes %v, want the first by 0 and the third by 1", by)
		}
	}
}
