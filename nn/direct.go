package nn

import (
	"errors"
	"fmt"
	"sync"

	"github.com/convae/convae/nn/backend"
)

// Direct is a Reducer of devices that are connected with each other, as GPUs are by NCCL: values go from device to device, and a sum is work in
// the order of each, so it can be part of a recording of the step.
//
// In order, the sum goes from device to device, each adds its slots, and the last gives it to all: it is that of one device with as many slots,
// bit for bit. Else each sums its own slots and the devices add these sums in an order of their own, which takes fewer steps; the result is
// the same for the same number of devices and the same buckets.
type Direct struct {
	world     World
	unordered bool
	piece     int                    // floats that a device adds to while it sends those before and receives those behind
	ends      []backend.Communicator // by device of this process

	mu  sync.Mutex
	err error // the first
}

// pieceFloats are 4 MB: enough for a link to be busy, and little of a large model's gradients.
const pieceFloats = 1 << 20

// NewDirect connects the devices of a process with each other, and with those of the other processes of a world. broadcast gives the bytes of
// the process with the first device to all; without other processes it may be nil. It returns when all processes have called it.
func NewDirect(dev backend.Device, w World, unordered bool, broadcast func(id []byte) ([]byte, error)) (*Direct, error) {
	members := backend.Members(dev)
	if w == (World{}) {
		w.Devices = len(members)
	}
	d := &Direct{world: w, unordered: unordered, piece: pieceFloats}
	id, err := d.id(members, broadcast)
	if err != nil {
		return nil, err
	}
	if err := d.connect(members, id); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// id is what names the connection.
func (d *Direct) id(members []backend.Device, broadcast func(id []byte) ([]byte, error)) (id []byte, err error) {
	processes := 1
	if d.world.Devices > len(members) {
		processes = 2 // or more
	}
	if processes > 1 && broadcast == nil {
		return nil, fmt.Errorf("nn: %d of %d devices are of other processes: want a way to tell them what names the connection", d.world.Devices-len(members), d.world.Devices)
	}
	if err := connectable(members); err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	if d.world.First == 0 {
		if id, err = members[0].(backend.Connector).NewID(processes); err != nil {
			return nil, fmt.Errorf("nn: %w", err)
		}
	}
	if broadcast != nil {
		if id, err = broadcast(id); err != nil {
			return nil, fmt.Errorf("nn: the name of the devices' connection: %w", err)
		}
	}
	return id, nil
}

// Connectable returns why a device, or one of a group, cannot be connected with others, or nil.
func Connectable(dev backend.Device) error { return connectable(backend.Members(dev)) }

func connectable(members []backend.Device) error {
	for _, m := range members {
		c, ok := m.(backend.Connector)
		if !ok {
			return fmt.Errorf("%s cannot be connected with other devices", m.Name())
		}
		if err := c.Connects(); err != nil {
			return err
		}
	}
	return nil
}

// connect connects the devices.
func (d *Direct) connect(members []backend.Device, id []byte) error {
	errs := make([]error, len(members))
	ends := make([]backend.Communicator, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { ends[i], errs[i] = m.(backend.Connector).Connect(id, d.world.First+i, d.world.Devices) })
	}
	all.Wait()
	for _, e := range ends {
		if e != nil {
			d.ends = append(d.ends, e)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	for _, e := range ends {
		e.OnFailure(d.fail)
	}
	return nil
}

// fail keeps the first error and ends the work of all devices, which would wait for the one that failed.
func (d *Direct) fail(err error) {
	d.mu.Lock()
	first := d.err == nil
	if first {
		d.err = err
	}
	d.mu.Unlock()
	if first {
		d.Abort()
	}
}

// Abort ends the sums that are under way. Any goroutine may call it, such as one that watches other processes.
func (d *Direct) Abort() {
	_ = d.each(func(e backend.Communicator) error {
		e.Abort()
		return nil
	})
}

// each calls f for the ends of all devices at the same time: NCCL may have the end of one wait for the others of a machine.
func (d *Direct) each(f func(e backend.Communicator) error) error {
	errs := make([]error, len(d.ends))
	var all sync.WaitGroup
	for i, e := range d.ends {
		all.Go(func() { errs[i] = f(e) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Failure returns the first failure that is known of, of a device of this process or of another.
func (d *Direct) Failure() error {
	d.mu.Lock()
	err := d.err
	d.mu.Unlock()
	for _, e := range d.ends {
		if err == nil {
			if err = e.Failure(); err != nil {
				d.fail(err)
			}
		}
	}
	return err
}

// Close ends the connection, once all processes call it. What was recorded with it may not be done again.
func (d *Direct) Close() error {
	err := d.each(backend.Communicator.Close)
	d.ends = nil
	return err
}

// Reduce does what Reducer says, as calls of all devices.
func (d *Direct) Reduce(devices []Contribution) error {
	var all sync.WaitGroup
	for i, c := range devices {
		all.Go(func() {
			d.start(i, c)
			d.ends[i].Meet()
		})
	}
	all.Wait()
	return d.Failure()
}

// start puts the sum of what a device of this process contributes aside.
func (d *Direct) start(i int, c Contribution) {
	d.ends[i].Aside(func() {
		if d.unordered {
			d.sum(i, c)
		} else {
			d.fold(i, c)
		}
	})
}

// sum is the sum in the devices' order.
func (d *Direct) sum(i int, c Contribution) {
	switch len(c.Slots) {
	case 0:
		c.B.Zero(c.Into)
	case 1:
	default:
		c.B.Sum(c.Into, c.Slots)
	}
	d.ends[i].Reduce(c.Into)
}

// gather is the sum of what at most one device has another value for than 0.
func (d *Direct) gather(i int, x backend.Tensor) {
	d.ends[i].Aside(func() { d.ends[i].Reduce(x) })
}

// fold is the sum in the order of the slots, piece by piece, from each device that has filled slots to the next.
func (d *Direct) fold(i int, c Contribution) {
	var chain []int // the devices that have
	for k := range d.world.Devices {
		if lo, hi := d.world.share(k, c.Chunks); lo < hi {
			chain = append(chain, k)
		}
	}
	end, last := d.ends[i], chain[len(chain)-1]
	if len(c.Slots) > 0 {
		at := 0
		for chain[at] != d.world.First+i {
			at++
		}
		f := &folding{Contribution: c, end: end, piece: d.piece, before: -1, next: -1}
		if at > 0 {
			f.before = chain[at-1]
		}
		if at < len(chain)-1 {
			f.next = chain[at+1]
		}
		f.run()
	}
	if d.world.Devices > 1 {
		end.Distribute(c.Into, last)
	}
}

// folding is a device's part of a sum that goes from device to device.
type folding struct {
	Contribution
	end          backend.Communicator
	before, next int // the devices, or -1
	piece        int // floats
}

// bounds are those of piece k, which may be empty.
func (f *folding) bounds(k int) (lo, hi int) {
	n := f.Into.Shape.Len()
	return min(k*f.piece, n), min((k+1)*f.piece, n)
}

// room is where piece k is received.
func (f *folding) room(k int) backend.Tensor {
	lo, hi := f.bounds(k)
	return f.Pieces[k%2].Range(0, hi-lo)
}

// run receives a piece, adds the device's own slots, and sends it on while the next is received.
func (f *folding) run() {
	var none backend.Tensor
	if f.before >= 0 {
		f.end.Exchange(none, 0, f.room(0), f.before)
	}
	for k := 0; ; k++ {
		lo, hi := f.bounds(k)
		if lo == hi {
			return
		}
		sum, own := f.Into.Range(lo, hi), make([]backend.Tensor, 0, len(f.Slots)+1)
		if f.before >= 0 {
			sum = f.room(k)
			own = append(own, sum)
		}
		for _, s := range f.Slots {
			own = append(own, s.Range(lo, hi))
		}
		if len(own) > 1 {
			f.B.Sum(sum, own)
		}
		_, end := f.bounds(k + 1)
		more := f.before >= 0 && end > hi
		switch {
		case f.next >= 0 && more:
			f.end.Exchange(sum, f.next, f.room(k+1), f.before)
		case f.next >= 0:
			f.end.Exchange(sum, f.next, none, 0)
		case f.before >= 0:
			f.B.Copy(f.Into.Range(lo, hi), sum)
			if more {
				f.end.Exchange(none, 0, f.room(k+1), f.before)
			}
		}
	}
}

// direct reports whether the trainer's reductions are work in the order of each device.
func (t *Trainer) direct() bool {
	_, ok := t.o.Reducer.(*Direct)
	return ok
}

// reducer returns what sums the gradients of a process's devices where the caller has no wish: a Direct that is to be connected, if it can be.
func reducer(w World, members []backend.Device, unordered bool) Reducer {
	if w.Devices == 1 {
		return new(ordered)
	}
	if members[0].Policy().Host { // which has nothing to be faster by
		return new(ordered)
	}
	if err := connectable(members); err != nil {
		return &ordered{because: err}
	}
	return &Direct{unordered: unordered, piece: pieceFloats}
}

// Reduces tells how the gradients of several devices are summed, and why not from device to device if they are of a kind that could; "" if there is
// one device, or if the reducer is the caller's own.
func (t *Trainer) Reduces() string {
	const inOrder = "in the order of the slots, "
	switch r := t.o.Reducer.(type) {
	case *Direct:
		if r.unordered {
			return "in an order of the devices' own, from device to device"
		}
		return inOrder + "from device to device"
	case *ordered:
		switch {
		case t.o.World.Devices == 1:
		case r.because != nil:
			return fmt.Sprintf("%sthrough the host's memory: %v", inOrder, r.because)
		default:
			return inOrder + "through the host's memory"
		}
	}
	return ""
}

// connect connects the devices unless the caller of NewTrainer has.
func (t *Trainer) connect() error {
	d, ok := t.o.Reducer.(*Direct)
	if !ok || d.ends != nil {
		return nil
	}
	d, err := NewDirect(t.dev, t.o.World, t.o.Unordered, nil)
	if err != nil {
		return err
	}
	t.o.Reducer, t.connected = d, d
	return nil
}

// connectionBytes is what connecting a device is going to take of its memory; 0 if that has been done.
func (t *Trainer) connectionBytes() int {
	if d, ok := t.o.Reducer.(*Direct); !ok || d.ends != nil {
		return 0
	}
	c, ok := backend.Members(t.dev)[0].(backend.Connector)
	if !ok {
		return 0
	}
	return c.ConnectionBytes()
}

// pieceBytes is the room of a device for each of two pieces of what it receives.
func (t *Trainer) pieceBytes() int {
	d, ok := t.o.Reducer.(*Direct)
	if !ok || d.unordered {
		return 0
	}
	return backend.AlignUp(floatBytes * min(d.piece, t.layout.floats()+lossFloats))
}
