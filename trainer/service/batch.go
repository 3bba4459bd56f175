package service

import (
	"context"
	"sync"
	"time"
)

// batcher runs a part of a model for all who ask at about the same time.
type batcher struct {
	part     func(dst, src []float32, n int) error
	in, out  int // values of a sample
	most     int // samples that are run together
	wait     time.Duration
	device   *sync.Mutex // which one at a time uses
	requests chan *request
	heard    func(samples int) // is told how many samples were run together
}

// request is samples of one who asks.
type request struct {
	ctx    context.Context
	x, y   []float32
	n      int
	answer chan error
}

func (b *batcher) ask(ctx context.Context, x []float32, n int) ([]float32, error) {
	r := &request{ctx, x, make([]float32, n*b.out), n, make(chan error, 1)}
	b.requests <- r // there is room for all that are let in
	select {
	case err := <-r.answer:
		return r.y, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// work runs requests until there are no more to come.
func (b *batcher) work() {
	for first := range b.requests {
		b.run(b.gather(first))
	}
}

// gather returns a request with those that come until there are enough samples, or until it has waited long enough. The last may have more samples
// than are wanted: a network takes them in parts.
func (b *batcher) gather(first *request) []*request {
	all, n := []*request{first}, first.n
	if n >= b.most {
		return all
	}
	late := time.NewTimer(b.wait)
	defer late.Stop()
	for n < b.most {
		select {
		case r, ok := <-b.requests:
			if !ok {
				return all
			}
			all, n = append(all, r), n+r.n
		case <-late.C:
			return all
		}
	}
	return all
}

func (b *batcher) run(all []*request) {
	var x []float32
	n, kept := 0, all[:0]
	for _, r := range all {
		if err := r.ctx.Err(); err != nil { // nobody waits for it
			r.answer <- err
			continue
		}
		x, n, kept = append(x, r.x...), n+r.n, append(kept, r)
	}
	if n == 0 {
		return
	}
	y := make([]float32, n*b.out)
	b.device.Lock()
	err := b.part(y, x, n)
	b.device.Unlock()
	b.heard(n)
	for _, r := range kept {
		copy(r.y, y)
		y = y[len(r.y):]
		r.answer <- err
	}
}
