package cuda

import (
	"errors"
	"fmt"
	"slices"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/nn/backend"
)

// Libraries opens the NCCL that a device is connected by: for one process, or for several.
type Libraries func(processes int) (nccl.Library, error)

// SetNCCL says by what the device is connected with others, and about how many bytes of its memory that takes. Without it, it cannot be.
func (d *Device) SetNCCL(open Libraries, bytes int) { d.nccl, d.ncclBytes = open, bytes }

// ConnectionBytes returns what SetNCCL was told.
func (d *Device) ConnectionBytes() int { return d.ncclBytes }

// Connects returns why the device cannot be connected with others.
func (d *Device) Connects() error {
	_, err := d.library(1)
	return err
}

func (d *Device) library(processes int) (nccl.Library, error) {
	if d.nccl == nil {
		return nil, fmt.Errorf("%s: there is nothing to connect it by", d.name)
	}
	l, err := d.nccl(processes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return l, nil
}

// NewID returns an ID of NCCL's.
func (d *Device) NewID(processes int) ([]byte, error) {
	l, err := d.library(processes)
	if err != nil {
		return nil, err
	}
	id, err := l.UniqueID()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return id[:], nil
}

// Connect makes a communicator of NCCL's, with a stream of its own.
func (d *Device) Connect(id []byte, rank, size int) (backend.Communicator, error) {
	l, err := d.library(1)
	if err != nil {
		return nil, err
	}
	var name nccl.ID
	if copy(name[:], id) != len(name) {
		return nil, fmt.Errorf("%s: an ID of %d bytes, want %d", d.name, len(id), len(name))
	}
	c := &communicator{lane: d.lane, rank: rank}
	if c.stream, err = d.dev.NewStream(); err != nil {
		return nil, fmt.Errorf("%s: making a stream: %w", d.name, err)
	}
	for _, e := range []*driver.Event{&c.begun, &c.ended, &c.probe} {
		if *e, err = d.dev.NewEvent(); err != nil {
			return nil, fmt.Errorf("%s: making an event: %w", d.name, err)
		}
	}
	if c.comm, err = l.Init(d.dev, size, name, rank); err != nil {
		return nil, fmt.Errorf("%s: connecting rank %d of %d: %w", d.name, rank, size, err)
	}
	d.lane.communicators = append(d.lane.communicators, c)
	return c, nil
}

// communicator is a lane's end of a connection.
type communicator struct {
	lane         *lane
	comm         nccl.Comm
	rank         int
	stream       driver.Stream
	begun, ended driver.Event
	probe        driver.Event // is never waited for
	busy         bool         // there is work aside
	failed       func(err error)
}

// Aside has what f calls put in the communicator's stream.
func (c *communicator) Aside(f func()) {
	l := c.lane
	l.setClock()
	main, spread := l.stream, l.spreadOf
	l.order("Aside", func() error { return main.Record(c.begun) })
	l.order("Aside", func() error { return c.stream.Wait(c.begun) })
	l.stream, c.busy = c.stream, true
	f()
	l.stream, l.spreadOf = main, spread // the workspace is as it was
}

// Meet makes the lane's stream wait for the communicator's.
func (c *communicator) Meet() {
	if !c.busy {
		return
	}
	l := c.lane
	c.busy = false
	l.order("Meet", func() error { return c.stream.Record(c.ended) })
	l.order("Meet", func() error { return l.stream.Wait(c.ended) })
}

// Reduce sums in place.
func (c *communicator) Reduce(x backend.Tensor) {
	p := c.at(x)
	c.call("Reduce", func() error { return c.comm.AllReduce(p, p, x.Shape.Len(), nccl.Float32, c.stream) })
}

// Distribute copies in place.
func (c *communicator) Distribute(x backend.Tensor, root int) {
	p := c.at(x)
	c.call("Distribute", func() error { return c.comm.Broadcast(p, p, x.Shape.Len(), nccl.Float32, root, c.stream) })
}

// Exchange is a group of NCCL's.
func (c *communicator) Exchange(out backend.Tensor, to int, in backend.Tensor, from int) {
	send := func() error { return c.comm.Send(c.at(out), out.Shape.Len(), nccl.Float32, to, c.stream) }
	receive := func() error { return c.comm.Recv(c.at(in), in.Shape.Len(), nccl.Float32, from, c.stream) }
	switch {
	case in.IsZero():
		c.call("Exchange", send)
	case out.IsZero():
		c.call("Exchange", receive)
	default:
		c.call("Exchange", func() error {
			return c.comm.Group(func() error {
				if err := send(); err != nil {
					return err
				}
				return receive()
			})
		})
	}
}

// at returns the address of a Flat tensor.
func (c *communicator) at(x backend.Tensor) driver.Ptr {
	x.CheckMoved()
	return c.lane.at(x)
}

// errAside is a caller's mistake.
const errAside = "cuda: a call of a communicator that was not put aside"

func (c *communicator) call(op string, f func() error) {
	if c.lane.stream != c.stream {
		panic(errAside)
	}
	c.lane.do(op, f)
}

// OnFailure keeps what is called when the device has failed.
func (c *communicator) OnFailure(f func(err error)) {
	c.failed = f
	if c.lane.err != nil {
		c.fail(c.lane.err)
	}
}

func (c *communicator) fail(err error) {
	if f := c.failed; f != nil {
		c.failed = nil
		f(err)
	}
}

// Probe makes a call that changes nothing: after a failure the driver refuses all.
func (c *communicator) Probe() {
	l := c.lane
	l.order(l.last, func() error { return l.stream.Record(c.probe) })
}

// Failure asks NCCL.
func (c *communicator) Failure() error {
	if err := c.comm.AsyncError(); err != nil {
		return fmt.Errorf("%s: %w", c.lane.dev.name, err)
	}
	return nil
}

// Abort ends the communicator at once. What comes of it shows with the calls that it ends.
func (c *communicator) Abort() { _ = c.comm.Abort() }

// Close waits for the lane, whose work the other ranks may need.
func (c *communicator) Close() error {
	l := c.lane
	l.communicators = slices.DeleteFunc(l.communicators, func(o *communicator) bool { return o == c })
	c.failed = nil
	err := errors.Join(c.stream.Synchronize(), c.comm.Destroy(), c.stream.Close(), c.begun.Close(), c.ended.Close(), c.probe.Close())
	if err != nil {
		return fmt.Errorf("%s: ending a connection: %w", l.dev.name, err)
	}
	return nil
}

var (
	_ backend.Connector    = (*Device)(nil)
	_ backend.Communicator = (*communicator)(nil)
)
