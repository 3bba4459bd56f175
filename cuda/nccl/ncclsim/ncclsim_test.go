package ncclsim

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/cuda/ptxsim"
)

// rank is a rank with a device of its own.
type rank struct {
	t *testing.T
	n int
	nccl.Comm
	dev driver.Device
	s   driver.Stream
}

func newRank(t *testing.T, l *Library, size int, id nccl.ID, n int) (*rank, error) {
	d, err := ptxsim.New(ptxsim.Options{Memory: 1 << 20}).Open(0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Init(d, size, id, n)
	return &rank{t, n, c, d, s}, err
}

// run gives each of n ranks a goroutine and returns their errors: those of the calls, or else of waiting for the stream.
func run(t *testing.T, n int, f func(r *rank) error) []error {
	t.Helper()
	l := &Library{Patience: 50 * time.Millisecond}
	id, err := l.UniqueID()
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, n)
	var all, called sync.WaitGroup
	called.Add(n)
	for i := range n {
		all.Go(func() {
			r, err := newRank(t, l, n, id, i)
			if err == nil {
				err = f(r)
			}
			called.Done()
			if err == nil {
				err = r.s.Synchronize()
			}
			called.Wait()
			if errs[i] = err; r.Comm != nil && err == nil {
				errs[i] = r.Destroy()
			}
		})
	}
	all.Wait()
	return errs
}

// floats allocates memory with values.
func (r *rank) floats(v ...float32) driver.Ptr {
	p, err := r.dev.Alloc(4 * len(v))
	if err != nil {
		r.t.Error(err)
	}
	b := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	if err := r.s.ToDevice(p, b); err != nil {
		r.t.Error(err)
	}
	return p
}

// want compares memory with values.
func (r *rank) want(p driver.Ptr, want ...float32) error {
	b := make([]byte, 4*len(want))
	if err := r.s.ToHost(b, p); err != nil {
		return err
	}
	if err := r.s.Synchronize(); err != nil {
		return err
	}
	got := make([]float32, len(want))
	for i := range got {
		got[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("rank %d has %v, want %v", r.n, got, want)
	}
	return nil
}

// all does the steps until one fails.
func all(steps ...error) error {
	for _, err := range steps {
		if err != nil {
			return err
		}
	}
	return nil
}

// Every call does what NCCL's documentation says of it.
func TestCalls(t *testing.T) {
	collectives := func(r *rank) error {
		f := float32(r.n)
		x, big := r.floats(f, 10*f, 1), r.floats(0, 0, 0, 0, 0, 0)
		if err := all(r.AllReduce(x, x, 3, nccl.Float32, r.s), r.want(x, 3, 30, 3),
			r.Broadcast(x+8, x, 1, nccl.Float32, 1, r.s), r.want(x, 3, 30, 3)); err != nil {
			return err
		}
		y, z := r.floats(f, f+10, f+20, f+30, f+40, f+50), r.floats(0, 0)
		if err := all(r.ReduceScatter(y, z, 2, nccl.Float32, r.s), r.want(z, 3+60*f, 33+60*f),
			r.AllGather(z, big, 2, nccl.Float32, r.s), r.want(big, 3, 33, 63, 93, 123, 153)); err != nil {
			return err
		}
		next, before := (r.n+1)%3, (r.n+2)%3
		from, to := r.floats(f), r.floats(0)
		return all(r.Group(func() error {
			return all(r.Send(from, 1, nccl.Float32, next, r.s), r.Recv(to, 1, nccl.Float32, before, r.s))
		}), r.want(to, float32(before)))
	}
	graph := func(r *rank) error {
		x := r.floats(1, float32(r.n))
		if err := all(r.s.Synchronize(), r.s.BeginCapture(), r.AllReduce(x, x, 2, nccl.Float32, r.s)); err != nil {
			return err
		}
		g, err := r.s.EndCapture()
		return all(err, r.want(x, 1, float32(r.n)), r.s.Replay(g), r.s.Replay(g), r.want(x, 9, 9))
	}
	for name, f := range map[string]func(r *rank) error{"collectives": collectives, "graph": graph} {
		for i, err := range run(t, 3, f) {
			if err != nil {
				t.Errorf("%s: rank %d: %v", name, i, err)
			}
		}
	}
}

// The sum of an element begins at the rank behind that of its part, as in a ring.
func TestRingOrder(t *testing.T) {
	const big = 1 << 24 // to which 1 adds nothing
	for i, err := range run(t, 3, func(r *rank) error {
		v := []float32{1, 1, big}[r.n]
		x := r.floats(v, v, v)
		// (1+big)+1, (big+1)+1, (1+1)+big
		return all(r.AllReduce(x, x, 3, nccl.Float32, r.s), r.want(x, big, big, big+2))
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", i, err)
		}
	}
}

// What ranks must not do is reported, with who did what, and nothing hangs.
func TestFaults(t *testing.T) {
	type fault struct {
		ranks int
		f     func(r *rank) error
		want  []string // by rank; "" if the rank has no error
	}
	for name, c := range map[string]fault{
		"other counts": {2, func(r *rank) error {
			x := r.floats(1, 2, 3)
			return r.AllReduce(x, x, 2+r.n, nccl.Float32, r.s)
		}, []string{"do not call the same collective: rank 0 waits in AllReduce of 2 float32, its call number 1; rank 1 waits in AllReduce of 3 float32, its call number 1", "the same collective"}},
		"other types": {2, func(r *rank) error {
			x := r.floats(1, 2, 3, 4)
			return r.Broadcast(x, x, 4, []nccl.Type{nccl.Uint8, nccl.Float32}[r.n], 0, r.s)
		}, []string{"rank 0 waits in Broadcast of 4 uint8 from rank 0, its call number 1; rank 1 waits in Broadcast of 4 float32", "the same collective"}},
		"other roots": {2, func(r *rank) error {
			x := r.floats(1)
			return r.Broadcast(x, x, 1, nccl.Float32, r.n, r.s)
		}, []string{"from rank 0, its call number 1; rank 1 waits in Broadcast of 1 float32 from rank 1", "the same collective"}},
		"another order": {2, func(r *rank) error {
			x := r.floats(1, 2)
			counts := []int{1, 2}
			return all(r.AllReduce(x, x, counts[r.n], nccl.Float32, r.s), r.AllReduce(x, x, counts[1-r.n], nccl.Float32, r.s))
		}, []string{"rank 0 waits in AllReduce of 1 float32, its call number 1; rank 1 waits in AllReduce of 2 float32, its call number 1", "the same collective"}},
		"another collective": {2, func(r *rank) error {
			x, y := r.floats(1), r.floats(1, 2)
			if r.n == 0 {
				return r.AllReduce(x, x, 1, nccl.Float32, r.s)
			}
			return r.AllGather(x, y, 1, nccl.Float32, r.s)
		}, []string{"rank 0 waits in AllReduce", "rank 1 waits in AllGather of 1 float32"}},
		"a collective that one does not call": {3, func(r *rank) error {
			x := r.floats(1)
			if r.n == 1 {
				return nil
			}
			return r.AllReduce(x, x, 1, nccl.Float32, r.s)
		}, []string{"deadlock: calls that no other rank meets: rank 0 waits in AllReduce of 1 float32, its call number 1; rank 1 has called nothing; rank 2 waits in AllReduce", "", "deadlock"}},
		"a call more": {2, func(r *rank) error {
			x := r.floats(1)
			for range 2 - r.n {
				if err := r.AllReduce(x, x, 1, nccl.Float32, r.s); err != nil {
					return err
				}
			}
			return r.s.Synchronize()
		}, []string{"rank 0 waits in AllReduce of 1 float32, its call number 2; rank 1 calls nothing after AllReduce of 1 float32, its call number 1", ""}},
		"two that send": {2, func(r *rank) error {
			x := r.floats(1, 2)
			return all(r.Send(x, 1, nccl.Float32, 1-r.n, r.s), r.Recv(x+4, 1, nccl.Float32, 1-r.n, r.s))
		}, []string{"deadlock: calls that no other rank meets: rank 0 waits in Send of 1 float32 to rank 1, its call number 1; rank 1 waits in Send of 1 float32 to rank 0", "deadlock"}},
		"a send of another count": {2, func(r *rank) error {
			x := r.floats(1, 2)
			if r.n == 0 {
				return r.Send(x, 1, nccl.Float32, 1, r.s)
			}
			return r.Recv(x, 2, nccl.Float32, 0, r.s)
		}, []string{"rank 0 calls Send of 1 float32 to rank 1, rank 1 calls Recv of 2 float32 from rank 0", "rank 0 calls Send"}},
		"memory outside": {2, func(r *rank) error {
			x, y := r.floats(1, 2), r.floats(1, 2, 3, 4)
			return r.AllReduce(y, []driver.Ptr{x, y}[r.n], 4, nccl.Float32, r.s)
		}, []string{"AllReduce: ptxsim: 16 bytes at offset 0 of the allocation of 8 bytes", "deadlock"}},
		"never written": {2, func(r *rank) error {
			x, err := r.dev.Alloc(4)
			return all(err, r.AllReduce(x, x, 1, nccl.Float32, r.s))
		}, []string{"read of uninitialised memory: AllReduce", "uninitialised"}},
		"overlap": {2, func(r *rank) error {
			x := r.floats(1, 2, 3)
			return r.AllReduce(x, x+4, 2, nccl.Float32, r.s)
		}, []string{"rank 0: AllReduce of 2 float32: what it reads and what it writes overlap", "overlap"}},
		"gathering in the wrong place": {2, func(r *rank) error {
			x := r.floats(1, 2)
			return r.AllGather(x, x, 1, nccl.Float32, r.s)
		}, []string{"deadlock", "rank 1: AllGather of 1 float32: what it reads and what it writes overlap"}},
		"the stream of another device": {2, func(r *rank) error {
			other, err := ptxsim.New(ptxsim.Options{}).Open(0)
			if err != nil {
				return err
			}
			s, err := other.NewStream()
			x := r.floats(1)
			return all(err, r.AllReduce(x, x, 1, nccl.Float32, s))
		}, []string{"rank 0: AllReduce of 1 float32: the stream is not of the communicator's device", "not of the communicator's device"}},
		"two streams of a group": {2, func(r *rank) error {
			s, err := r.dev.NewStream()
			if err != nil {
				return err
			}
			x := r.floats(1, 2)
			return r.Group(func() error {
				return all(r.Send(x, 1, nccl.Float32, 1-r.n, r.s), r.Recv(x+4, 1, nccl.Float32, 1-r.n, s))
			})
		}, []string{"rank 0: Recv of 1 float32 from rank 1: the calls of a group are in several streams", "several streams"}},
		"a group within a group": {2, func(r *rank) error {
			return r.Group(func() error { return r.Group(func() error { return nil }) })
		}, []string{"rank 0: a group within a group", "a group within a group"}},
		"a race": {2, func(r *rank) error {
			x := r.floats(1)
			other, err := r.dev.NewStream()
			return all(err, r.AllReduce(x, x, 1, nccl.Float32, other), r.AllReduce(x, x, 1, nccl.Float32, r.s))
		}, []string{"race of streams: AllReduce", "race of streams"}},
		"a rank that there is not": {2, func(r *rank) error {
			return r.Send(r.floats(1), 1, nccl.Float32, 2, r.s)
		}, []string{"rank 0: Send of 1 float32 to rank 2: there are 2 ranks", "there are 2 ranks"}},
		"to itself": {1, func(r *rank) error {
			return r.Send(r.floats(1), 1, nccl.Float32, 0, r.s)
		}, []string{"that is the rank itself"}},
		"after the end": {2, func(r *rank) error {
			x := r.floats(1)
			return all(r.Destroy(), r.AllReduce(x, x, 1, nccl.Float32, r.s))
		}, []string{"rank 0: AllReduce of 1 float32: the communicator was destroyed", "was destroyed"}},
		"one ends too early": {2, func(r *rank) error {
			x := r.floats(1)
			if r.n == 1 {
				return r.Destroy()
			}
			return r.AllReduce(x, x, 1, nccl.Float32, r.s)
		}, []string{"rank 0 waits in AllReduce of 1 float32, its call number 1; rank 1 has destroyed its communicator", ""}},
		"one aborts": {2, func(r *rank) error {
			x := r.floats(1)
			if r.n == 1 {
				return r.Abort()
			}
			return r.AllReduce(x, x, 1, nccl.Float32, r.s)
		}, []string{"rank 1 has aborted its communicator", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			for i, err := range run(t, c.ranks, c.f) {
				if c.want[i] == "" && err != nil || c.want[i] != "" && (err == nil || !strings.Contains(err.Error(), c.want[i])) {
					t.Errorf("rank %d: error %v, want %q", i, err, c.want[i])
				}
			}
		})
	}
}

// What is wrong with how ranks come together.
func TestInitFaults(t *testing.T) {
	l := &Library{Patience: 20 * time.Millisecond}
	join := func(size, n int) func(id nccl.ID) error {
		return func(id nccl.ID) error {
			_, err := newRank(t, l, size, id, n)
			return err
		}
	}
	dev, err := ptxsim.New(ptxsim.Options{}).Open(0)
	if err != nil {
		t.Fatal(err)
	}
	same := func(n int) func(id nccl.ID) error {
		return func(id nccl.ID) error {
			_, err := l.Init(dev, 2, id, n)
			return err
		}
	}
	for name, c := range map[string]struct {
		joins []func(id nccl.ID) error
		want  string
	}{
		"one of three":        {[]func(id nccl.ID) error{join(3, 0)}, "of 3 ranks 1 have joined in 20ms"},
		"twice":               {[]func(id nccl.ID) error{join(2, 0), join(2, 0)}, "rank 0 joins twice"},
		"sizes":               {[]func(id nccl.ID) error{join(3, 0), join(2, 1)}, "ranks, others of"},
		"no such rank":        {[]func(id nccl.ID) error{join(2, 2)}, "rank 2 of 2 ranks joins"},
		"two on one device":   {[]func(id nccl.ID) error{same(0), same(1)}, "are on one device"},
		"an ID of no library": {[]func(id nccl.ID) error{func(nccl.ID) error { return join(1, 0)(nccl.ID{}) }}, "the ID is of no communicator of this process, and has no address"},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := l.UniqueID()
			if err != nil {
				t.Fatal(err)
			}
			errs := make([]error, len(c.joins))
			var all sync.WaitGroup
			for i, j := range c.joins {
				all.Go(func() { errs[i] = j(id) })
			}
			all.Wait()
			if s := fmt.Sprint(errs); !strings.Contains(s, c.want) {
				t.Errorf("errors %v, want %q", s, c.want)
			}
		})
	}
}

// Ranks of two processes work together, and one of them hears it when the other is gone.
func TestApart(t *testing.T) {
	const variable = "CONVAE_TEST_NCCLSIM_ID"
	work := func(r *rank) error {
		x := r.floats(float32(r.n), 5)
		if err := all(r.AllReduce(x, x, 2, nccl.Float32, r.s), r.want(x, 1, 10)); err != nil || r.n == 1 {
			return err
		}
		return r.AllReduce(x, x, 1, nccl.Float32, r.s)
	}
	l := &Library{Apart: true}
	if text := os.Getenv(variable); text != "" {
		var id nccl.ID
		if _, err := fmt.Sscanf(text, "%x", (*idBytes)(&id)); err != nil {
			t.Fatal(err)
		}
		r, err := newRank(t, l, 2, id, 1)
		if err := all(err, work(r)); err != nil {
			t.Fatal(err)
		}
		return // it ends without a word, while the other still calls
	}
	id, err := l.UniqueID()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(os.Args[0], "-test.run=^TestApart$")
	other.Env = append(os.Environ(), fmt.Sprintf("%s=%x", variable, id[:]))
	other.Stderr = os.Stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	r, err := newRank(t, l, 2, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := work(r); err == nil {
		err = r.s.Synchronize()
		if err == nil || !strings.Contains(err.Error(), "rank 1 has aborted its communicator") {
			t.Errorf("error %v, want that of a rank that is gone", err)
		}
	}
	if err := other.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
}

// idBytes is scanned as hexadecimal digits.
type idBytes nccl.ID

func (b *idBytes) Scan(s fmt.ScanState, _ rune) error {
	token, err := s.Token(true, nil)
	if err != nil {
		return err
	}
	var v []byte
	_, err = fmt.Sscanf(string(token), "%x", &v)
	copy(b[:], v)
	return err
}
