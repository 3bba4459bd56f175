// Package nccl is the part of NCCL, NVIDIA's library of collective communication, that training on several GPUs uses, as an interface: the
// library itself, which System opens, and a stand-in over simulated devices (package ncclsim) implement it.
//
// Calls put work in a stream and return; what is wrong with the work shows when the stream is waited for, or by AsyncError. The ranks of a
// communicator call the same collectives in the same order, and every Send meets a Recv, or all of them wait for ever.
package nccl

import (
	"fmt"

	"github.com/convae/convae/cuda/driver"
)

// ID names a communicator that is to be: rank 0 makes it, and all ranks are given it.
type ID [128]byte

// Type is the type of elements, by NCCL's numbers.
type Type int

const (
	Uint8   Type = 1
	Float32 Type = 7
)

// Size returns the bytes of an element.
func (t Type) Size() int {
	if t == Uint8 {
		return 1
	}
	return 4
}

func (t Type) String() string {
	switch t {
	case Uint8:
		return "uint8"
	case Float32:
		return "float32"
	}
	return fmt.Sprintf("type %d", int(t))
}

// Library is NCCL.
type Library interface {
	// UniqueID returns the ID of a new communicator.
	UniqueID() (ID, error)
	// Init makes the communicator of a rank of so many, on a device. All ranks call it, each in a thread of its own; it returns when they have.
	Init(dev driver.Device, size int, id ID, rank int) (Comm, error)
}

// Comm is a rank's communicator. It is used by one goroutine at a time; Abort and AsyncError may be called by any. Counts are of elements,
// streams of the communicator's device.
type Comm interface {
	// AllReduce: recv = the sum of all ranks' send, in an order of NCCL's own. recv may be send.
	AllReduce(send, recv driver.Ptr, count int, t Type, s driver.Stream) error
	// ReduceScatter: recv = part rank of the sum of all ranks' send, of size parts of count elements. recv may be that part of send.
	ReduceScatter(send, recv driver.Ptr, count int, t Type, s driver.Stream) error
	// AllGather: recv = the send of all ranks, of count elements each, in their order. send may be the rank's part of recv.
	AllGather(send, recv driver.Ptr, count int, t Type, s driver.Stream) error
	// Broadcast: recv = the root's send. recv may be send; only the root's send is read.
	Broadcast(send, recv driver.Ptr, count int, t Type, root int, s driver.Stream) error
	Send(p driver.Ptr, count int, t Type, peer int, s driver.Stream) error
	Recv(p driver.Ptr, count int, t Type, peer int, s driver.Stream) error
	// Group has the calls that f makes done together, so that none of them waits for another.
	Group(f func() error) error
	// AsyncError returns a failure of work that was called, or of another rank, as far as it is known.
	AsyncError() error
	// Abort ends the communicator at once, with the work that is under way.
	Abort() error
	// Destroy ends a communicator whose work is done.
	Destroy() error
}

// Error is a failure that NCCL reports.
type Error struct {
	Call string // function of the library, such as "ncclAllReduce"
	Code int    // its ncclResult_t
	Text string // NCCL's words
	Last string // its words about the last error, if it has any
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s (ncclResult_t %d)", e.Call, e.Text, e.Code)
	if e.Last != "" {
		s += ": " + e.Last
	}
	if e.Code == unhandledCUDA || e.Code == systemError || e.Code == internalError {
		s += "; with NCCL_DEBUG=WARN in its environment NCCL prints what it was"
	}
	return s
}

// ncclResult_t that advice is known for.
const (
	unhandledCUDA = 1
	systemError   = 2
	internalError = 3
)
