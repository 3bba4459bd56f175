package backendtest

import (
	"fmt"
	"sync"

	"github.com/convae/convae/nn/backend"
)

// Metered is a device with a limited memory that counts what is allocated of it. It can pass a CPU off as a GPU, so that
// what a GPU's memory needs can be tested fast.
type Metered struct {
	backend.Device
	Limit int // bytes
	// Whole makes the policy that of a GPU: a lane that takes whole batches.
	Whole bool

	mu         sync.Mutex
	used, peak int
	lanes      []backend.Backend
}

// Meter returns a device that has limit bytes of memory and otherwise is dev.
func Meter(dev backend.Device, limit int) *Metered {
	d := &Metered{Device: dev, Limit: limit}
	for _, b := range dev.Lanes() {
		d.lanes = append(d.lanes, meteredLane{b, d})
	}
	return d
}

// Lanes returns the device's executors, of a whole one the first.
func (d *Metered) Lanes() []backend.Backend {
	if d.Whole {
		return d.lanes[:1]
	}
	return d.lanes
}

// Policy is the device's, or that of a GPU.
func (d *Metered) Policy() backend.Policy {
	p := d.Device.Policy()
	if d.Whole {
		p.CacheBytes, p.Slots, p.ManySlots, p.Host = 0, 1, 0, false
	}
	return p
}

// Free returns what is left of the limit.
func (d *Metered) Free() (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Limit - d.used, nil
}

// Used returns the bytes that are allocated.
func (d *Metered) Used() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Peak returns the most bytes that were allocated at a time since the last call.
func (d *Metered) Peak() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.peak
	d.peak = d.used
	return p
}

type meteredLane struct {
	backend.Backend
	dev *Metered
}

func (l meteredLane) Alloc(n int) (backend.Buffer, error) {
	d := l.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > d.Limit-d.used {
		return nil, fmt.Errorf("allocating %d bytes: %d are free", n, d.Limit-d.used)
	}
	b, err := l.Backend.Alloc(n)
	if err == nil {
		d.used += n
		d.peak = max(d.peak, d.used)
	}
	return b, err
}

func (l meteredLane) Free(b backend.Buffer) {
	d := l.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used -= b.Size()
	l.Backend.Free(b)
}
