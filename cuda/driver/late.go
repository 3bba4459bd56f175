package driver

import "slices"

// Late is a driver whose streams do their work as late as CUDA allows: when something waits for it. Streams that are named
// eager, by the order in which they are made, do theirs as early as CUDA allows. Copies read and write host memory when they
// are done, not when they are called: pageable memory too, as where the device reads it itself (GH200). So the results of
// code that waits too little are wrong, for tests to see.
type Late struct {
	Driver
	Eager []int
	// DropWait, unless nil, makes streams ignore the nth Wait, from 0: a mistake to be found.
	DropWait func(n int) bool
}

// Open opens a device of the driver underneath.
func (l *Late) Open(i int) (Device, error) {
	d, err := l.Driver.Open(i)
	if err != nil {
		return nil, err
	}
	return &lateDevice{Device: d, opt: l}, nil
}

type lateDevice struct {
	Device
	opt     *Late
	streams []*lateStream
	waits   int
}

// finish does all work: what frees memory or ends the device waits for it.
func (d *lateDevice) finish() {
	for _, s := range d.streams {
		s.run(len(s.queue))
	}
}

func (d *lateDevice) Free(p Ptr) error {
	d.finish()
	return d.Device.Free(p)
}

func (d *lateDevice) FreeHost(b []byte) error {
	d.finish()
	return d.Device.FreeHost(b)
}

func (d *lateDevice) NewStream() (Stream, error) {
	s, err := d.Device.NewStream()
	if err != nil {
		return nil, err
	}
	o := &lateStream{Stream: s, dev: d, eager: slices.Contains(d.opt.Eager, len(d.streams))}
	d.streams = append(d.streams, o)
	return o, nil
}

func (d *lateDevice) NewEvent() (Event, error) {
	e, err := d.Device.NewEvent()
	if err != nil {
		return nil, err
	}
	return &lateEvent{Event: e}, nil
}

func (d *lateDevice) Close() error {
	d.finish()
	return d.Device.Close()
}

// lateStream keeps work until it is due. An error of work comes with a later call, as on a device.
type lateStream struct {
	Stream
	dev       *lateDevice
	eager     bool
	capturing bool
	queue     []func() error
	done      int // calls of the queue that were done
	err       error
}

// run does the first n calls of the queue.
func (s *lateStream) run(n int) {
	for s.done < n {
		f := s.queue[s.done]
		s.queue[s.done] = nil // places in the queue stay valid, what was done need not be kept
		s.done++
		if err := f(); s.err == nil {
			s.err = err
		}
	}
}

// add puts a call in the queue. Calls of a capture are not work yet.
func (s *lateStream) add(f func() error) error {
	if s.capturing {
		return f()
	}
	s.queue = append(s.queue, f)
	if s.eager {
		s.run(len(s.queue))
	}
	return s.err
}

func (s *lateStream) ToDevice(dst Ptr, src []byte) error {
	return s.add(func() error { return s.Stream.ToDevice(dst, src) })
}

func (s *lateStream) ToHost(dst []byte, src Ptr) error {
	return s.add(func() error { return s.Stream.ToHost(dst, src) })
}

func (s *lateStream) Copy(dst, src Ptr, n int) error {
	return s.add(func() error { return s.Stream.Copy(dst, src, n) })
}

func (s *lateStream) Fill(dst Ptr, v uint32, n int) error {
	return s.add(func() error { return s.Stream.Fill(dst, v, n) })
}

func (s *lateStream) Launch(l *Launch) error {
	c := *l
	c.Args, c.Maps = slices.Clone(l.Args), slices.Clone(l.Maps)
	return s.add(func() error { return s.Stream.Launch(&c) })
}

func (s *lateStream) Record(e Event) error {
	o := e.(*lateEvent)
	if o.captured = s.capturing; !s.capturing {
		o.stream, o.at = s, len(s.queue)+1
	}
	return s.add(func() error { return s.Stream.Record(o.Event) })
}

// Wait makes the work that follows wait for the event as it was recorded last before this call. Waiting for one of a capture
// joins it.
func (s *lateStream) Wait(e Event) error {
	o := e.(*lateEvent)
	if s.capturing = s.capturing || o.captured; s.capturing {
		return s.Stream.Wait(o.Event)
	}
	n := s.dev.waits
	s.dev.waits++
	from, at := o.stream, o.at
	if from == nil || s.dev.opt.DropWait != nil && s.dev.opt.DropWait(n) {
		return s.err
	}
	return s.add(func() error {
		from.run(at)
		return s.Stream.Wait(o.Event)
	})
}

func (s *lateStream) Synchronize() error {
	s.run(len(s.queue))
	if s.err != nil {
		return s.err
	}
	return s.Stream.Synchronize()
}

func (s *lateStream) BeginCapture() error {
	s.run(len(s.queue))
	s.capturing = true
	return s.Stream.BeginCapture()
}

func (s *lateStream) EndCapture() (Graph, error) {
	for _, o := range s.dev.streams { // also those that have joined
		o.capturing = false
	}
	return s.Stream.EndCapture()
}

func (s *lateStream) Replay(g Graph) error {
	return s.add(func() error { return s.Stream.Replay(g) })
}

func (s *lateStream) Close() error {
	s.run(len(s.queue))
	return s.Stream.Close()
}

type lateEvent struct {
	Event
	stream   *lateStream // it was recorded on last
	at       int         // length of the stream's queue with it
	captured bool        // it was recorded in a capture
}

func (e *lateEvent) Synchronize() error {
	if e.stream != nil {
		e.stream.run(e.at)
	}
	return e.Event.Synchronize()
}

func (e *lateEvent) Reached() (bool, error) {
	if e.stream != nil && e.stream.done < e.at {
		return false, nil
	}
	return e.Event.Reached()
}

func (e *lateEvent) Since(earlier Event) (float64, error) {
	return e.Event.Since(earlier.(*lateEvent).Event)
}
