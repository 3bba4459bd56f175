// Package collective connects the processes that train a model together: by MPI, in a build with the tag mpi, or by a small exchange over TCP
// where NCCL sums the gradients.
//
// A process is a rank, as MPI calls it. Join finds out from the environment whether mpirun, srun, torchrun or a Kubernetes Job started several, and
// connects them.
package collective

import (
	"cmp"
	"errors"
	"fmt"
)

// Comm connects ranks. All of them make the same calls in the same order, each from one goroutine at a time, but for Abort, which may be called at any
// time. A call that another rank does not answer within the time-out returns an error that names both, and so does every call after one that failed.
type Comm interface {
	Rank() int
	Size() int
	// Broadcast returns what rank 0 gives, on all ranks. What others give is left out.
	Broadcast(p []byte) ([]byte, error)
	// AllGather returns what each rank gives, by rank.
	AllGather(p []byte) ([][]byte, error)
	// Signal tells all ranks of a flag and reports whether any of them had set theirs in the call before, so that nobody waits for an answer.
	Signal(on bool) (bool, error)
	// Failed is closed when a rank is known to have failed; nil if this process then ends anyway.
	Failed() <-chan struct{}
	// Abort ends the calls of all ranks with an error, or their processes.
	Abort(err error)
	// Close ends the connection in good order, once all ranks call it.
	Close() error
}

// A Mover is a Comm that moves float32 values as fast as the machine can.
type Mover interface {
	Comm
	Send(to int, x []float32) error
	Receive(from int, x []float32) error
	// Distribute gives root's x to all ranks.
	Distribute(root int, x []float32) error
	// AllReduce sets x to the sum of all ranks' in an order of its own, which is the same each time for the same number of ranks.
	AllReduce(x []float32) error
}

// Failure is the error of a call because a rank has failed.
type Failure struct {
	Rank int
	Text string
	// Known says that all ranks have this error, by Check, and so end in good order.
	Known bool
	// Told says that another rank prints it, so that this one need not.
	Told bool
	err  error // of this rank
}

func (f *Failure) Error() string { return fmt.Sprintf("rank %d: %s", f.Rank, f.Text) }

func (f *Failure) Unwrap() error { return f.err }

// Known reports whether all ranks have this error.
func Known(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Known
}

// Told reports whether a rank with this error leaves it to another to say so.
func Told(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Told
}

// Check returns nil if no rank has an error. Otherwise it returns that of the first which has one, or this rank's own, so that all of them end: each
// is Known, and Told where rank 0 or the failing one prints it.
func Check(c Comm, err error) error {
	if Known(err) {
		return err
	}
	text := ""
	if err != nil {
		text = cmp.Or(err.Error(), "failed")
	}
	all, failed := c.AllGather([]byte(text))
	if failed != nil {
		return errors.Join(err, failed)
	}
	for rank, other := range all {
		switch {
		case len(other) == 0:
		case rank == c.Rank():
			return &Failure{Rank: rank, Text: text, Known: true, err: err}
		case err == nil || string(other) == text:
			return &Failure{Rank: rank, Text: string(other), Known: true, Told: c.Rank() > 0, err: err}
		}
	}
	return nil
}
