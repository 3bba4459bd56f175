package collective

import (
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
)

// pieceFloats are summed on a rank while the next are on their way to it.
const pieceFloats = 64 << 10

// Ordered is an nn.Reducer that sums the slots of all ranks in their order: the sum goes from rank to rank, each adds its own slots, and the last gives
// it to all. It is that of one process with as many slots, bit for bit. Values travel through the host's memory.
type Ordered struct {
	c    Mover
	host []float32
}

// NewOrdered returns an Ordered. Rank k has the devices that come after those of rank k-1.
func NewOrdered(c Mover) *Ordered { return &Ordered{c: c} }

// Reduce does what nn.Reducer says.
func (o *Ordered) Reduce(devices []nn.Contribution) error {
	slots, err := nn.GatherSlots(devices, &o.host)
	if err != nil {
		return err
	}
	first, rank, last := devices[0], o.c.Rank(), o.c.Size()-1
	n := first.Into.Shape.Len()
	host := o.host[:n]
	before := first.Room[len(first.Room)-1]
	if rank > 0 {
		slots = append([]backend.Tensor{before}, slots...)
	}
	for lo := 0; lo < n; lo += pieceFloats {
		hi := min(lo+pieceFloats, n)
		if rank > 0 {
			if err := o.c.Receive(rank-1, host[lo:hi]); err != nil {
				return err
			}
			first.B.Upload(before.Range(lo, hi), host[lo:hi])
		}
		if err := sum(first.B, slots, lo, hi, host[lo:hi]); err != nil {
			return err
		}
		if rank < last {
			if err := o.c.Send(rank+1, host[lo:hi]); err != nil {
				return err
			}
		}
	}
	if err := o.c.Distribute(last, host); err != nil {
		return err
	}
	give(devices, host)
	return nil
}

// sum downloads the sum of a range of slots, 0 if there are none. It leaves it in the first of them.
func sum(b backend.Backend, slots []backend.Tensor, lo, hi int, into []float32) error {
	if len(slots) == 0 {
		clear(into)
		return nil
	}
	part := make([]backend.Tensor, len(slots))
	for i := range slots {
		part[i] = slots[i].Range(lo, hi)
	}
	b.Sum(part[0], part)
	return b.Download(into, part[0])
}

// give copies a sum to where each device wants it.
func give(devices []nn.Contribution, host []float32) {
	for _, d := range devices {
		d.B.Upload(d.Into, host)
	}
}

// Fast is an nn.Reducer that sums the slots of each rank in their order, and then the sums of all ranks as MPI likes.
type Fast struct {
	c    Mover
	host []float32
}

// NewFast returns a Fast. Rank k has the devices that come after those of rank k-1.
func NewFast(c Mover) *Fast { return &Fast{c: c} }

// Reduce does what nn.Reducer says.
func (f *Fast) Reduce(devices []nn.Contribution) error {
	slots, err := nn.GatherSlots(devices, &f.host)
	if err != nil {
		return err
	}
	first := devices[0]
	n := first.Into.Shape.Len()
	host := f.host[:n]
	if err := sum(first.B, slots, 0, n, host); err != nil {
		return err
	}
	if err := f.c.AllReduce(host); err != nil {
		return err
	}
	give(devices, host)
	return nil
}
