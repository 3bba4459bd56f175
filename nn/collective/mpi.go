//go:build mpi

package collective

// #include <mpi.h>
// #include <sched.h>
// #include <stdlib.h>
//
// enum { late = -1 };
//
// static int start(int *provided) {
//	int e = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, provided);
//	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
//	return e;
// }
//
// // await completes a request, or gives up after so many seconds.
// static int await(MPI_Request *r, double seconds) {
//	double end = MPI_Wtime() + seconds;
//	for (unsigned turn = 1;; turn++) {
//		int done;
//		int e = MPI_Test(r, &done, MPI_STATUS_IGNORE);
//		if (e != MPI_SUCCESS || done) return e;
//		if (turn % 64 == 0) sched_yield(); // for ranks that share a core
//		if (turn % 1024 == 0 && MPI_Wtime() > end) return late;
//	}
// }
//
// static int send(void *p, int n, int to, double seconds) {
//	MPI_Request r;
//	int e = MPI_Isend(p, n, MPI_BYTE, to, 0, MPI_COMM_WORLD, &r);
//	return e == MPI_SUCCESS ? await(&r, seconds) : e;
// }
//
// static int receive(void *p, int n, int from, double seconds) {
//	MPI_Request r;
//	int e = MPI_Irecv(p, n, MPI_BYTE, from, 0, MPI_COMM_WORLD, &r);
//	return e == MPI_SUCCESS ? await(&r, seconds) : e;
// }
//
// static int distribute(void *p, int n, int root, double seconds) {
//	MPI_Request r;
//	int e = MPI_Ibcast(p, n, MPI_BYTE, root, MPI_COMM_WORLD, &r);
//	return e == MPI_SUCCESS ? await(&r, seconds) : e;
// }
//
// static int reduce(void *p, int n, double seconds) {
//	MPI_Request r;
//	int e = MPI_Iallreduce(MPI_IN_PLACE, p, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &r);
//	return e == MPI_SUCCESS ? await(&r, seconds) : e;
// }
//
// static int gather(void *p, void *all, int n, double seconds) {
//	MPI_Request r;
//	int e = MPI_Iallgather(p, n, MPI_BYTE, all, n, MPI_BYTE, MPI_COMM_WORLD, &r);
//	return e == MPI_SUCCESS ? await(&r, seconds) : e;
// }
//
// // A signal is on its way from one call to the next, so its memory is not Go's.
// struct signal { MPI_Comm comm; MPI_Request r; int mine, any; };
//
// static struct signal *new_signal(void) {
//	struct signal *s = malloc(sizeof *s);
//	s->r = MPI_REQUEST_NULL;
//	if (MPI_Comm_dup(MPI_COMM_WORLD, &s->comm) != MPI_SUCCESS) { free(s); return NULL; }
//	return s;
// }
//
// static int start_signal(struct signal *s, int on) {
//	s->mine = on;
//	return MPI_Iallreduce(&s->mine, &s->any, 1, MPI_INT, MPI_MAX, s->comm, &s->r);
// }
//
// static int end_signal(struct signal *s, double seconds) { return await(&s->r, seconds); }
//
// static void abort_all(void) { MPI_Abort(MPI_COMM_WORLD, 1); }
// static int world_rank(void) { int n; MPI_Comm_rank(MPI_COMM_WORLD, &n); return n; }
// static int world_size(void) { int n; MPI_Comm_size(MPI_COMM_WORLD, &n); return n; }
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"
)

var errNoMPI = errors.New("built without MPI")

// mpiMost is the most bytes that a call of MPI moves here: its counts are ints.
const mpiMost = 1 << 30

// mpiComm is MPI's world.
type mpiComm struct {
	mu         sync.Mutex // MPI is called by one thread at a time
	rank, size int
	timeout    time.Duration
	signal     *C.struct_signal
	asked      bool
	err        error // the first
}

func joinMPI(timeout time.Duration) (Mover, error) {
	var provided C.int
	if e := C.start(&provided); e != C.MPI_SUCCESS {
		return nil, fmt.Errorf("MPI cannot be started: %s", mpiText(e))
	}
	if provided < C.MPI_THREAD_SERIALIZED {
		return nil, errors.New("this MPI can only be called by one thread: want one with MPI_THREAD_SERIALIZED")
	}
	c := &mpiComm{rank: int(C.world_rank()), size: int(C.world_size()), timeout: timeout, signal: C.new_signal()}
	if c.signal == nil {
		return nil, errors.New("MPI has no memory for a communicator")
	}
	return c, nil
}

// mpiText returns MPI's words for an error.
func mpiText(code C.int) string {
	text := (*C.char)(C.malloc(C.MPI_MAX_ERROR_STRING))
	defer C.free(unsafe.Pointer(text))
	var n C.int
	if C.MPI_Error_string(code, text, &n) != C.MPI_SUCCESS {
		return fmt.Sprintf("MPI error %d", code)
	}
	return C.GoStringN(text, n)
}

// call does one call of MPI and keeps the first error.
func (c *mpiComm) call(what string, f func(seconds C.double) C.int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	switch e := f(C.double(c.timeout.Seconds())); e {
	case C.MPI_SUCCESS:
	case C.late:
		c.err = &Failure{Rank: c.rank, Text: fmt.Sprintf("it has waited %v: %s", c.timeout, what)}
	default:
		c.err = &Failure{Rank: c.rank, Text: what + ": " + mpiText(e)}
	}
	return c.err
}

// pieces calls f for pieces of a slice that MPI can count.
func pieces(p []byte, f func(p unsafe.Pointer, n C.int) error) error {
	for len(p) > 0 {
		n := min(len(p), mpiMost)
		if err := f(unsafe.Pointer(unsafe.SliceData(p)), C.int(n)); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (c *mpiComm) Rank() int { return c.rank }
func (c *mpiComm) Size() int { return c.size }

func (c *mpiComm) Broadcast(p []byte) ([]byte, error) {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(p)))
	if err := c.broadcast(length); err != nil {
		return nil, err
	}
	if c.rank > 0 {
		p = make([]byte, binary.LittleEndian.Uint64(length))
	}
	return p, c.broadcast(p)
}

func (c *mpiComm) broadcast(p []byte) error { return c.distribute(0, p, "broadcast of rank 0") }

func (c *mpiComm) distribute(root int, p []byte, what string) error {
	return pieces(p, func(at unsafe.Pointer, n C.int) error {
		return c.call(what, func(s C.double) C.int { return C.distribute(at, n, C.int(root), s) })
	})
}

func (c *mpiComm) AllGather(p []byte) ([][]byte, error) {
	lengths, err := c.gather(binary.LittleEndian.AppendUint64(nil, uint64(len(p))))
	if err != nil {
		return nil, err
	}
	longest := 0
	for _, n := range lengths {
		longest = max(longest, int(binary.LittleEndian.Uint64(n)))
	}
	if longest > mpiMost/c.size {
		return nil, fmt.Errorf("rank %d: an all-gather of %d bytes of each rank is more than MPI counts", c.rank, longest)
	}
	all, err := c.gather(slices.Concat(p, make([]byte, longest-len(p))))
	for i := range all {
		all[i] = all[i][:binary.LittleEndian.Uint64(lengths[i])]
	}
	return all, err
}

// gather returns what each rank gives, all as long as p.
func (c *mpiComm) gather(p []byte) (all [][]byte, err error) {
	joined := make([]byte, c.size*len(p))
	if len(p) > 0 {
		err = c.call("all-gather", func(s C.double) C.int {
			return C.gather(unsafe.Pointer(unsafe.SliceData(p)), unsafe.Pointer(unsafe.SliceData(joined)), C.int(len(p)), s)
		})
	}
	for i := range c.size {
		all = append(all, joined[i*len(p):][:len(p)])
	}
	return all, err
}

func (c *mpiComm) Signal(on bool) (bool, error) {
	before, err := false, error(nil)
	if c.asked {
		err = c.call("signal", func(s C.double) C.int { return C.end_signal(c.signal, s) })
		before = c.signal.any != 0
	}
	if err == nil {
		flag := C.int(0)
		if on {
			flag = 1
		}
		c.asked = true
		err = c.call("signal", func(C.double) C.int { return C.start_signal(c.signal, flag) })
	}
	return before && err == nil, err
}

func (c *mpiComm) Send(to int, x []float32) error {
	return pieces(memoryOf(x), func(p unsafe.Pointer, n C.int) error {
		return c.call(fmt.Sprintf("send to rank %d", to), func(s C.double) C.int { return C.send(p, n, C.int(to), s) })
	})
}

func (c *mpiComm) Receive(from int, x []float32) error {
	return pieces(memoryOf(x), func(p unsafe.Pointer, n C.int) error {
		return c.call(fmt.Sprintf("receive from rank %d", from), func(s C.double) C.int { return C.receive(p, n, C.int(from), s) })
	})
}

func (c *mpiComm) Distribute(root int, x []float32) error {
	return c.distribute(root, memoryOf(x), fmt.Sprintf("broadcast of rank %d", root))
}

func (c *mpiComm) AllReduce(x []float32) error {
	return pieces(memoryOf(x), func(p unsafe.Pointer, n C.int) error {
		return c.call("all-reduce", func(s C.double) C.int { return C.reduce(p, n/4, s) })
	})
}

// memoryOf returns the memory of a slice.
func memoryOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// Failed returns nil: mpirun and srun end all processes when one ends in an error.
func (c *mpiComm) Failed() <-chan struct{} { return nil }

// Abort ends the processes of all ranks.
func (c *mpiComm) Abort(error) { C.abort_all() }

func (c *mpiComm) Close() error {
	if c.asked {
		if err := c.call("signal", func(s C.double) C.int { return C.end_signal(c.signal, s) }); err != nil {
			return err
		}
		c.asked = false
	}
	if _, err := c.AllGather(nil); err != nil { // all have come to the end
		return err
	}
	return c.call("end", func(C.double) C.int { return C.MPI_Finalize() })
}
