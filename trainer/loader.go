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
	epochs int

	mu      sync.Mutex
	changed sync.Cond       // waits for all that follows
	epoch   int             // that Read is asked for
	at      int             // position of the next sample to give: those of an epoch follow those of the one before
	next    int             // position of the next sample to read
	run     int             // counts how often reading began elsewhere: what was read before is of no use
	ahead   []slot          // what has been read, by position modulo their number
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

// newLoader begins with nothing; the first call of begin says where reading starts. Two batches are read ahead.
func newLoader(set *dataset.Set, seed uint64, batch, epochs int) *loader {
	l := &loader{set: set, seed: seed, epochs: epochs, epoch: 1, orders: map[int][]int32{}}
	l.changed.L = &l.mu
	l.ahead = make([]slot, loadedAhead(batch))
	for i := range l.ahead {
		l.ahead[i].pixels = make([]byte, set.Size())
	}
	l.next = epochs * set.Len() // nothing, until it is known from where on
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
	if from := (l.epoch-1)*l.set.Len() + offset; l.at != from || l.next < from || l.next > from+len(l.ahead) {
		l.restart(from)
	}
	for i := range samples {
		s := &l.ahead[(l.at+i)%len(l.ahead)]
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
	l.at += len(samples)
	l.changed.Broadcast()
	return nil
}

// restart begins to read at a position.
func (l *loader) restart(at int) {
	l.at, l.next = at, at
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
		for !l.closed && (l.next >= l.at+len(l.ahead) || l.next >= l.epochs*l.set.Len()) {
			l.changed.Wait()
		}
		if l.closed {
			return
		}
		position, run := l.next, l.run
		l.next++
		sample, epoch := l.sample(position)
		l.mu.Unlock()
		err := l.set.ReadAugmented(pixels, sample, l.seed, uint32(epoch))
		l.mu.Lock()
		if run != l.run {
			continue
		}
		s := &l.ahead[position%len(l.ahead)]
		s.pixels, pixels = pixels, s.pixels
		s.ready, s.err = true, err
		l.changed.Broadcast()
	}
}

// sample returns which sample is at a position, and of which epoch.
func (l *loader) sample(position int) (sample, epoch int) {
	n := l.set.Len()
	epoch = position/n + 1
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
	return int(order[position%n]), epoch
}
