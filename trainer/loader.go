package trainer

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/dataset"
)

// shuffled fills order with that of an epoch.
func shuffled(order []int32, seed uint64, epoch int) {
	rng.Source{Seed: seed, Stream: rng.StreamShuffle}.Perm(order, uint32(epoch))
}

// loader reads the samples of a set that is streamed, ahead of the steps that need them, with as many goroutines as there are
// processors. What it gives for a step depends on the seed, the epoch and the samples alone. It is an nn.Source.
type loader struct {
	set    *dataset.Set
	seed   uint64
	batch  int                      // samples of a step
	share  func(n int) (lo, hi int) // which of a batch of n samples are this process's
	epochs int

	mu      sync.Mutex
	changed sync.Cond       // waits for all that follows
	epoch   int             // that Read is asked for
	due     position        // of the next sample to give
	next    position        // of the next sample to read
	given   int             // samples that have been given since reading began here
	taken   int             // samples that workers have begun to read since then
	run     int             // counts how often reading began elsewhere: what was read before is of no use
	ahead   []slot          // what has been read, by its number since reading began, modulo their number
	orders  map[int][]int32 // of the epochs at hand
	waited  time.Duration   // that Read has waited for samples
	broken  bool            // Read has returned an error
	closed  bool
	workers sync.WaitGroup
}

// slot is a sample that has been read.
type slot struct {
	pixels []byte
	ready  bool
	err    error
}

// position is that of a sample of this process's share.
type position struct {
	epoch int // from 1
	first int // sample of the step, in the epoch's order
	index int // of the sample in the step
}

// settle moves a position on to the next sample of the share, unless it is at one.
func (l *loader) settle(p position) position {
	for p.epoch <= l.epochs {
		lo, hi := l.share(min(l.batch, l.set.Len()-p.first))
		if p.index = max(p.index, lo); p.index < hi {
			break
		}
		p.index = 0
		if p.first += l.batch; p.first >= l.set.Len() {
			p.epoch, p.first = p.epoch+1, 0
		}
	}
	return p
}

// newLoader begins with nothing; the first call of begin says where reading starts. Two batches are read ahead.
func newLoader(set *dataset.Set, seed uint64, batch, epochs int, share func(n int) (lo, hi int)) *loader {
	l := &loader{set: set, seed: seed, batch: batch, share: share, epochs: epochs, epoch: 1, orders: map[int][]int32{}}
	l.changed.L = &l.mu
	l.ahead = make([]slot, loadedAhead(batch))
	for i := range l.ahead {
		l.ahead[i].pixels = make([]byte, set.Size())
	}
	l.next.epoch = epochs + 1 // nothing, until it is known from where on
	for range runtime.GOMAXPROCS(0) {
		l.workers.Go(l.work)
	}
	return l
}

// loadedAhead is the number of samples that are read ahead.
func loadedAhead(batch int) int { return max(2*batch, 2*runtime.GOMAXPROCS(0)) }

// decodingBytes is room for a picture of some ten million pixels as its decoder and its resizing make it.
const decodingBytes = 64 << 20

// loaderBytes is what a loader takes for samples of so many bytes, with the batch at hand and a picture that each processor decodes.
func loaderBytes(size, batch int) int {
	return size*(loadedAhead(batch)+runtime.GOMAXPROCS(0)+batch) + decodingBytes*runtime.GOMAXPROCS(0)
}

// failed reports whether a sample that was asked for could not be read; the trainer has the error.
func (l *loader) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// close ends the reading.
func (l *loader) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.changed.Broadcast()
	l.workers.Wait()
}

// begin says which epoch the samples to come are of.
func (l *loader) begin(epoch int) {
	l.mu.Lock()
	l.epoch = epoch
	l.mu.Unlock()
}

// Read gives the samples at an offset of the epoch's order. In turn, they have been read before.
func (l *loader) Read(dst []byte, offset int, samples []int32) error {
	size := l.set.Size()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due.epoch != l.epoch || l.due.first+l.due.index != offset {
		l.restart(offset)
	}
	for i := range samples {
		s := &l.ahead[(l.given+i)%len(l.ahead)]
		for !s.ready {
			began := time.Now()
			l.changed.Wait()
			l.waited += time.Since(began)
		}
		if s.err != nil {
			l.broken = true
			return s.err
		}
		copy(dst[i*size:][:size], s.pixels)
		s.ready = false
	}
	l.given += len(samples)
	l.due.index += len(samples)
	l.due = l.settle(l.due)
	l.changed.Broadcast()
	return nil
}

// restart begins to read at the first sample of this process's share of the step that has it at an offset of the order.
func (l *loader) restart(offset int) {
	lo, _ := l.share(l.batch)
	for n := l.batch; n > 0 && offset-lo+n > l.set.Len(); n-- { // the last step of an epoch has fewer samples
		lo, _ = l.share(n - 1)
	}
	l.due = position{l.epoch, offset - lo, lo}
	l.next, l.given, l.taken = l.due, 0, 0
	l.run++
	for i := range l.ahead {
		l.ahead[i].ready = false
	}
	l.changed.Broadcast()
}

// waitedSince returns how long Read has waited since it was last asked.
func (l *loader) waitedSince() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waited
	l.waited = 0
	return w
}

// work reads samples until the loader is closed.
func (l *loader) work() {
	pixels := make([]byte, l.set.Size())
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for !l.closed && (l.taken >= l.given+len(l.ahead) || l.next.epoch > l.epochs) {
			l.changed.Wait()
		}
		if l.closed {
			return
		}
		number, run := l.taken, l.run
		epoch := l.next.epoch
		sample := int(l.orderOf(epoch)[l.next.first+l.next.index])
		l.taken++
		l.next.index++
		l.next = l.settle(l.next)
		l.mu.Unlock()
		err := l.set.ReadAugmented(pixels, sample, l.seed, uint32(epoch))
		l.mu.Lock()
		if run != l.run {
			continue
		}
		s := &l.ahead[number%len(l.ahead)]
		s.pixels, pixels = pixels, s.pixels
		s.ready, s.err = true, err
		l.changed.Broadcast()
	}
}

// orderOf returns the order of an epoch.
func (l *loader) orderOf(epoch int) []int32 {
	n := l.set.Len()
	order := l.orders[epoch]
	if order == nil {
		for e, o := range l.orders {
			if e != epoch-1 {
				delete(l.orders, e)
				order = o
			}
		}
		order = slices.Grow(order[:0], n)[:n]
		shuffled(order, l.seed, epoch)
		l.orders[epoch] = order
	}
	return order
}
