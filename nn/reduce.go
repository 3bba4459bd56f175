package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// Reducer sums the gradients of the devices of a group.
type Reducer interface {
	// Reduce is given the slots of each device that its share of a batch has filled, Flat tensors of one length, at least one
	// device with at least one slot. It leaves the sum of all slots of all devices in the first tensor of each device's into.
	Reduce(devices []Contribution) error
}

// Contribution is what a device brings to a reduction, and where it wants the sum.
type Contribution struct {
	B     backend.Backend
	Slots []backend.Tensor // that it has filled
	Into  backend.Tensor
	// Room is of the first device of a process: as many tensors as all its devices have filled, with its own at the beginning, and one more if
	// other processes have devices.
	Room []backend.Tensor
	// Of a Direct: the chunks of the batch on all devices, and room for what this one receives in order.
	Chunks int
	Pieces [2]backend.Tensor
}

// ordered sums the slots in the order of the batch on the first device: the sum is that of a single device with as many
// slots, bit for bit. Slots travel through the host's memory.
type ordered struct {
	host    []float32
	because error // why the devices are not connected, if they could be
}

func (o *ordered) Reduce(devices []Contribution) error {
	slots, err := GatherSlots(devices, &o.host)
	if err != nil {
		return err
	}
	first := devices[0]
	if len(slots) > 1 {
		first.B.Sum(first.Into, slots)
	}
	if len(devices) == 1 {
		return nil
	}
	host := o.host[:first.Into.Shape.Len()]
	if err := first.B.Download(host, first.Into); err != nil {
		return err
	}
	for _, d := range devices[1:] {
		d.B.Upload(d.Into, host)
	}
	return nil
}

// GatherSlots copies the slots of a process's devices to the first of them, and returns all of them there, in their order. host is memory that it may
// use, of a slot's length; it makes it larger if that is less.
func GatherSlots(devices []Contribution, host *[]float32) ([]backend.Tensor, error) {
	first := devices[0]
	n := first.Into.Shape.Len()
	if len(*host) < n {
		*host = make([]float32, n)
	}
	filled := len(first.Slots)
	for _, d := range devices[1:] {
		for _, s := range d.Slots {
			if err := d.B.Download((*host)[:n], s); err != nil {
				return nil, err
			}
			first.B.Upload(first.Room[filled], (*host)[:n])
			filled++
		}
	}
	return first.Room[:filled], nil
}

// reduce sums the slots of all devices, or gathers the rows that each of them has: a table is 0 where a device has none, so the sum of all is
// exact. The first error is kept, and Loss returns it.
func (t *Trainer) reduce(red reduction) {
	for _, i := range red.tables {
		t.reduceEach(func(r *replica) Contribution { return r.bringTable(i) })
	}
	if red.tables == nil {
		t.reduceEach(func(r *replica) Contribution { return r.bringSlots(red.sum) })
	}
}

// bringTable is what the replica has of the rows for what is done once.
func (r *replica) bringTable(i int) Contribution {
	lo, hi := r.chunks()
	all := backend.Tensor{Role: backend.Flat, Buffer: r.tables[i].Buffer, Shape: backend.Vec(r.tables[i].Shape.Len())}
	c := Contribution{B: r.mem.b, Slots: []backend.Tensor{all}[:min(hi-lo, 1)], Into: all}
	if r == r.t.first() {
		for _, room := range r.others[i] {
			c.Room = append(c.Room, backend.Tensor{Role: backend.Flat, Buffer: room.Buffer, Shape: all.Shape})
		}
	}
	return c
}

// bringSlots is what the replica has of the sum of that index.
func (r *replica) bringSlots(sum int) Contribution {
	lo, hi := r.chunks()
	all := r.slotSums(sum)
	return Contribution{B: r.mem.b, Slots: all[:hi-lo], Into: all[0], Room: all, Chunks: r.t.used(), Pieces: r.pieces}
}

// reduceEach has the reducer sum what each device brings.
func (t *Trainer) reduceEach(brings func(r *replica) Contribution) {
	contributions := make([]Contribution, len(t.replicas))
	for i, r := range t.replicas {
		contributions[i] = brings(r)
	}
	t.failed(t.o.Reducer.Reduce(contributions))
}

// failed keeps the first error of a reduction.
func (t *Trainer) failed(err error) {
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("the gradients of %d devices could not be summed: %w", t.o.World.Devices, err)
	}
}
