package ptxsim

import (
	"fmt"
	"unsafe"

	"github.com/convae/convae/cuda/driver"
)

// Work is what a library beside the driver puts in a stream, such as a collective of NCCL: it reads and writes memory of the device in the
// order of the stream, during a capture when the graph is replayed. For checks it is a launch of one block.
type Work struct {
	Name          string
	Reads, Writes []Range
	// Run is given the memory of the ranges. It may wait for the work of other devices.
	Run func(reads, writes [][]byte) error
}

// Range is a piece of device memory, of whole words.
type Range struct {
	At    driver.Ptr
	Bytes int
}

// Worker is a stream that takes work of other libraries.
type Worker interface {
	Do(w *Work) error
	On() *Device
}

// On returns the stream's device.
func (s *stream) On() *Device { return s.dev }

// Do puts work in the stream.
func (s *stream) Do(w *Work) error {
	return s.do(func(o *order) error { return s.dev.work(o, w) })
}

// work checks work and runs it.
func (d *Device) work(o *order, w *Work) error {
	epoch, beside := d.nextEpoch(1), d.history.beside(o)
	d.history.add(o, w.Name, epoch, d.epoch)
	c := &working{Work: w, dev: d, tag: epoch + 2, beside: beside}
	reads, err := c.check(w.Reads, false)
	if err != nil {
		return err
	}
	writes, err := c.check(w.Writes, true)
	if err != nil {
		return err
	}
	c.note(w.Reads, false) // after both checks: work that reads what it writes must not hide who else reads it
	c.note(w.Writes, true)
	if err := w.Run(reads, writes); err != nil {
		return err
	}
	for _, r := range w.Writes {
		if a, off, err := d.heap.span(r.At, r.Bytes); err == nil {
			a.mark(off, uint64(r.Bytes))
		}
	}
	return nil
}

// working is work that is about to run.
type working struct {
	*Work
	dev    *Device
	tag    uint32
	beside []past
}

func (w *working) fault(kind Kind, address uint64, detail string) error {
	return &Fault{Kind: kind, Kernel: w.Name, Address: address, Detail: detail}
}

// check looks whether the ranges may be read or written, and returns their memory.
func (w *working) check(ranges []Range, write bool) (memory [][]byte, err error) {
	for _, r := range ranges {
		a, off, err := w.dev.heap.span(r.At, r.Bytes)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", w.Name, err)
		case r.At&3 != 0 || r.Bytes&3 != 0:
			return nil, w.fault(Misaligned, uint64(r.At), fmt.Sprintf("%d bytes of %v are not whole words", r.Bytes, a))
		case write && a.readOnly:
			return nil, w.fault(ReadOnly, uint64(r.At), fmt.Sprintf("write to %v", a))
		}
		for i := off >> 2; i < (off+uint64(r.Bytes))>>2; i++ {
			if err := w.word(a, i, write); err != nil {
				return nil, err
			}
		}
		memory = append(memory, unsafe.Slice((*byte)(unsafe.Add(a.ptr, off)), r.Bytes))
	}
	return memory, nil
}

// word is check for word i of an allocation.
func (w *working) word(a *allocation, i uint64, write bool) error {
	if !write && w.dev.checks.Init && a.init[i] != 15 {
		return w.fault(Uninitialised, a.base+4*i, fmt.Sprintf("word %d of %v was never written", i, a))
	}
	if !w.dev.checks.GlobalRace {
		return nil
	}
	for _, t := range []*tag{&a.pages[i/pageWords].tag, &a.tags[i]} {
		if p := find(w.beside, t.wr); p != nil {
			return w.fault(StreamRace, a.base+4*i, fmt.Sprintf("a word of %v was written by a launch of %s in another stream, which nothing orders before this one", a, p.kernel))
		}
		if p := find(w.beside, t.rd&^1); p != nil && write {
			return w.fault(StreamRace, a.base+4*i, fmt.Sprintf("write to a word of %v that a launch of %s in another stream reads, which nothing orders before this one", a, p.kernel))
		}
	}
	return nil
}

// note notes that ranges, which have been checked, are read or written.
func (w *working) note(ranges []Range, write bool) {
	if !w.dev.checks.GlobalRace {
		return
	}
	for _, r := range ranges {
		a, off, err := w.dev.heap.span(r.At, r.Bytes)
		if err != nil {
			continue
		}
		for i := off >> 2; i < (off+uint64(r.Bytes))>>2; i++ {
			page, word := &a.pages[i/pageWords], &a.tags[i]
			if write {
				word.wr, page.wrote = w.tag, w.tag
			} else {
				word.rd, page.read = w.tag, w.tag
			}
		}
	}
}

var _ Worker = (*stream)(nil)
