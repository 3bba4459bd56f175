// Package ncclsim stands in for NCCL where devices are simulated by package ptxsim, in one process or in several of a machine. It does what
// NCCL does, and reports what it must not be asked for: counts, types, roots or orders of calls that differ between ranks, memory outside
// of allocations or never written, a stream of another device, races with other streams, calls after the end. Calls that no other rank
// meets, with which GPUs would wait for ever, are an error that says who called what: at once where all ranks wait, else after a time.
//
// A collective is work in a stream, during a capture a part of the graph. A rank whose work must wait for that of others waits in the call
// that does it, so ranks are goroutines of their own, as they must be threads for NCCL. Sums have the order that NCCL's rings give them:
// it depends on the number of ranks and on where an element lies in what is summed.
package ncclsim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/cuda/ptxsim"
)

// Library is the stand-in.
type Library struct {
	// Patience is how long a rank waits for others, which may be computing, before its call counts as one that nobody meets; 0 stands for
	// two minutes.
	Patience time.Duration
	// Apart says that ranks are in other processes too: then the ID has an address of the process that makes it, by which they find it.
	Apart bool
}

func (l *Library) patience() time.Duration {
	if l.Patience == 0 {
		return 2 * time.Minute
	}
	return l.Patience
}

// The worlds of this process, by ID.
var (
	worldsMu sync.Mutex
	worlds   = map[nccl.ID]*world{}
)

// UniqueID makes an ID; of a Library that is Apart with the address of a listener.
func (l *Library) UniqueID() (id nccl.ID, err error) {
	rand.Read(id[:tokenBytes])
	w := &world{id: id, patience: l.patience()}
	w.changed = sync.NewCond(&w.mu)
	if l.Apart {
		if err := w.listen(); err != nil {
			return id, fmt.Errorf("ncclsim: %w", err)
		}
	}
	worldsMu.Lock()
	defer worldsMu.Unlock()
	worlds[w.id] = w
	return w.id, nil
}

// meeting is where the calls of all ranks meet: a world, or the connection to that of another process.
type meeting interface {
	join(size, rank int, device string) error
	// submit returns when all of a rank's calls, which do not wait for each other, are done.
	submit(rank int, calls []*call) error
	failure() error
	leave(rank int, how string)
}

// Init makes a rank's communicator.
func (l *Library) Init(dev driver.Device, size int, id nccl.ID, rank int) (nccl.Comm, error) {
	d, ok := dev.(*ptxsim.Device)
	if !ok {
		return nil, errors.New("ncclsim: the device is not a simulated one")
	}
	worldsMu.Lock()
	w := worlds[id]
	worldsMu.Unlock()
	var m meeting = w
	if w == nil {
		r, err := dial(id)
		if err != nil {
			return nil, fmt.Errorf("ncclsim: %w", err)
		}
		m = r
	}
	if err := m.join(size, rank, fmt.Sprintf("%p of process %d", d, pid)); err != nil {
		return nil, err
	}
	return &comm{dev: d, at: m, size: size, rank: rank}, nil
}

// comm is a rank's communicator.
type comm struct {
	dev        *ptxsim.Device
	at         meeting
	size, rank int

	mu     sync.Mutex
	ended  string // how, "" if it has not
	group  bool
	stream driver.Stream // of the group at hand
	calls  []*call       // of it
}

// kind is what a call does.
type kind string

const (
	allReduce     kind = "AllReduce"
	reduceScatter kind = "ReduceScatter"
	allGather     kind = "AllGather"
	broadcast     kind = "Broadcast"
	send          kind = "Send"
	recv          kind = "Recv"
)

func (k kind) paired() bool { return k == send || k == recv }

// call is a call of a rank. Its fields are exported for other processes to be told of it.
type call struct {
	Kind  kind
	Count int
	Type  nccl.Type
	Peer  int // or root
	In    []byte
	Out   []byte
	from  driver.Ptr // 0 if nothing is read
	to    driver.Ptr // 0 if nothing is written
	reads int        // bytes
	wrote int
	done  bool
}

func (c *call) String() string {
	s := fmt.Sprintf("%s of %d %s", c.Kind, c.Count, c.Type)
	switch c.Kind {
	case send:
		s += fmt.Sprintf(" to rank %d", c.Peer)
	case recv, broadcast:
		s += fmt.Sprintf(" from rank %d", c.Peer)
	}
	return s
}

func (c *comm) AllReduce(from, to driver.Ptr, count int, t nccl.Type, s driver.Stream) error {
	return c.call(s, &call{Kind: allReduce, Count: count, Type: t, from: from, to: to}, 1, 1, from == to)
}

func (c *comm) ReduceScatter(from, to driver.Ptr, count int, t nccl.Type, s driver.Stream) error {
	return c.call(s, &call{Kind: reduceScatter, Count: count, Type: t, from: from, to: to}, c.size, 1, to == from+c.part(count, t))
}

func (c *comm) AllGather(from, to driver.Ptr, count int, t nccl.Type, s driver.Stream) error {
	return c.call(s, &call{Kind: allGather, Count: count, Type: t, from: from, to: to}, 1, c.size, from == to+c.part(count, t))
}

// part is the offset of the rank's part among those of all.
func (c *comm) part(count int, t nccl.Type) driver.Ptr { return driver.Ptr(c.rank * count * t.Size()) }

func (c *comm) Broadcast(from, to driver.Ptr, count int, t nccl.Type, root int, s driver.Stream) error {
	o := &call{Kind: broadcast, Count: count, Type: t, Peer: root, to: to}
	if root != c.rank {
		return c.call(s, o, 0, 1, true)
	}
	o.from = from
	return c.call(s, o, 1, 1, from == to)
}

func (c *comm) Send(p driver.Ptr, count int, t nccl.Type, peer int, s driver.Stream) error {
	return c.call(s, &call{Kind: send, Count: count, Type: t, Peer: peer, from: p}, 1, 0, true)
}

func (c *comm) Recv(p driver.Ptr, count int, t nccl.Type, peer int, s driver.Stream) error {
	return c.call(s, &call{Kind: recv, Count: count, Type: t, Peer: peer, to: p}, 0, 1, true)
}

// call checks a call, of which so many times the count is read and written, and puts it in the stream or in the group. inPlace says that
// what is read and written may share memory.
func (c *comm) call(s driver.Stream, o *call, reads, writes int, inPlace bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fail := func(format string, a ...any) error {
		return fmt.Errorf("ncclsim: rank %d: %v: %s", c.rank, o, fmt.Sprintf(format, a...))
	}
	w, ok := s.(ptxsim.Worker)
	switch {
	case c.ended != "":
		return fail("the communicator was %s", c.ended)
	case o.Type != nccl.Float32 && o.Type != nccl.Uint8:
		return fail("the type is not known here")
	case o.Type != nccl.Float32 && (o.Kind == allReduce || o.Kind == reduceScatter):
		return fail("sums are of float32 here")
	case o.Count < 0:
		return fail("the count is negative")
	case o.Peer < 0 || o.Peer >= c.size:
		return fail("there are %d ranks", c.size)
	case o.Kind.paired() && o.Peer == c.rank:
		return fail("that is the rank itself")
	case !ok || w.On() != c.dev:
		return fail("the stream is not of the communicator's device")
	case c.group && c.stream != nil && c.stream != s:
		return fail("the calls of a group are in several streams")
	}
	o.reads, o.wrote = reads*o.Count*o.Type.Size(), writes*o.Count*o.Type.Size()
	if n, m := driver.Ptr(o.reads), driver.Ptr(o.wrote); !inPlace && o.from < o.to+m && o.to < o.from+n {
		return fail("what it reads and what it writes overlap")
	}
	if c.group {
		c.stream, c.calls = s, append(c.calls, o)
		return nil
	}
	return w.Do(c.work([]*call{o}))
}

// work is that of calls which do not wait for each other. What is replayed is done again, so the calls are copied.
func (c *comm) work(calls []*call) *ptxsim.Work {
	w := &ptxsim.Work{Name: string(calls[0].Kind)}
	for _, o := range calls {
		if o.reads > 0 {
			w.Reads = append(w.Reads, ptxsim.Range{At: o.from, Bytes: o.reads})
		}
		if o.wrote > 0 {
			w.Writes = append(w.Writes, ptxsim.Range{At: o.to, Bytes: o.wrote})
		}
	}
	w.Run = func(reads, writes [][]byte) error {
		now := make([]*call, len(calls))
		for i, o := range calls {
			now[i] = &call{Kind: o.Kind, Count: o.Count, Type: o.Type, Peer: o.Peer}
			if o.reads > 0 {
				now[i].In, reads = reads[0], reads[1:]
			}
			if o.wrote > 0 {
				now[i].Out, writes = writes[0], writes[1:]
			}
		}
		return c.at.submit(c.rank, now)
	}
	return w
}

// Group puts the calls that f makes in the stream together.
func (c *comm) Group(f func() error) error {
	c.mu.Lock()
	if c.group {
		c.mu.Unlock()
		return fmt.Errorf("ncclsim: rank %d: a group within a group", c.rank)
	}
	c.group = true
	c.mu.Unlock()
	err := f()
	c.mu.Lock()
	defer c.mu.Unlock()
	calls, s := c.calls, c.stream
	c.group, c.calls, c.stream = false, nil, nil
	if err != nil || len(calls) == 0 {
		return err
	}
	return s.(ptxsim.Worker).Do(c.work(calls))
}

func (c *comm) AsyncError() error { return c.at.failure() }

func (c *comm) Abort() error   { return c.end("aborted") }
func (c *comm) Destroy() error { return c.end("destroyed") }

func (c *comm) end(how string) error {
	// The lock of an aborted one may be held by a call that waits.
	c.at.leave(c.rank, how)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == "" {
		c.ended = how
	}
	return nil
}

// world is where the ranks of a communicator meet.
type world struct {
	id       nccl.ID
	patience time.Duration
	stop     func() // ends the listener

	mu      sync.Mutex
	changed *sync.Cond
	err     error // the first
	ranks   []member
	joined  int
	gone    int
}

// member is a rank.
type member struct {
	joined bool
	left   string // how, "" if it has not
	device string
	calls  []*call // that are under way
	last   *call   // of those before
	count  int     // calls so far
}

// fail keeps the first error, with which all calls end.
func (w *world) fail(format string, a ...any) error {
	if w.err == nil {
		w.err = fmt.Errorf("ncclsim: "+format, a...)
	}
	w.changed.Broadcast()
	return w.err
}

// wait waits until it is done, or there is an error, and reports what is unmet after the time for which a rank waits.
func (w *world) wait(done func() bool, unmet func() error) error {
	late := false
	timer := time.AfterFunc(w.patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		late = true
		w.changed.Broadcast()
	})
	defer timer.Stop()
	for !done() && w.err == nil {
		if late {
			return unmet()
		}
		w.changed.Wait()
	}
	if done() {
		return nil
	}
	return w.err
}

func (w *world) join(size, rank int, device string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return w.err
	case size < 1 || rank < 0 || rank >= size:
		return w.fail("rank %d of %d ranks joins", rank, size)
	case w.ranks == nil:
		w.ranks = make([]member, size)
	case len(w.ranks) != size:
		return w.fail("rank %d is one of %d ranks, others of %d", rank, size, len(w.ranks))
	}
	if w.ranks[rank].joined {
		return w.fail("rank %d joins twice", rank)
	}
	if i := slices.IndexFunc(w.ranks, func(m member) bool { return m.device == device }); i >= 0 {
		return w.fail("rank %d and rank %d are on one device", i, rank)
	}
	w.ranks[rank].joined, w.ranks[rank].device = true, device
	w.joined++
	w.changed.Broadcast()
	return w.wait(func() bool { return w.joined == size }, func() error {
		return w.fail("of %d ranks %d have joined in %v", size, w.joined, w.patience)
	})
}

func (w *world) submit(rank int, calls []*call) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &w.ranks[rank]
	if w.err != nil {
		return w.err
	}
	m.calls, m.count = calls, m.count+len(calls)
	for w.meet() {
	}
	w.look()
	done := func() bool { return !slices.ContainsFunc(calls, func(c *call) bool { return !c.done }) }
	err := w.wait(done, w.deadlock)
	m.calls, m.last = nil, calls[len(calls)-1]
	return err
}

func (w *world) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// leave ends a rank's part. Whoever waits for it does so in vain.
func (w *world) leave(rank int, how string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ranks[rank].left != "" {
		return
	}
	w.ranks[rank].left = how
	if how == "aborted" {
		w.fail("rank %d has aborted its communicator", rank)
	}
	w.look()
	if w.gone++; w.gone == len(w.ranks) {
		worldsMu.Lock()
		delete(worlds, w.id)
		worldsMu.Unlock()
		if w.stop != nil {
			w.stop()
		}
	}
}

// next returns a rank's first call under way that is wanted.
func (m *member) next(wanted func(*call) bool) *call {
	for _, c := range m.calls {
		if !c.done && wanted(c) {
			return c
		}
	}
	return nil
}

// meet does what has met: a Send and a Recv, or a collective of all ranks. It returns whether there was anything.
func (w *world) meet() bool {
	for from := range w.ranks {
		for to := range w.ranks {
			s := w.ranks[from].next(func(c *call) bool { return c.Kind == send && c.Peer == to })
			r := w.ranks[to].next(func(c *call) bool { return c.Kind == recv && c.Peer == from })
			if s == nil || r == nil {
				continue
			}
			if s.Count != r.Count || s.Type != r.Type {
				w.fail("rank %d calls %v, rank %d calls %v", from, s, to, r)
				return false
			}
			copy(r.Out, s.In)
			w.finish(s, r)
			return true
		}
	}
	var all []*call
	for i := range w.ranks {
		c := w.ranks[i].next(func(c *call) bool { return !c.Kind.paired() })
		if c == nil {
			continue
		}
		if all = append(all, c); c.Kind != all[0].Kind || c.Count != all[0].Count || c.Type != all[0].Type || c.Peer != all[0].Peer {
			w.fail("the ranks do not call the same collective: %s", w.calls())
			return false
		}
	}
	if len(all) == 0 || len(all) < len(w.ranks) {
		return false
	}
	collect(all)
	w.finish(all...)
	return true
}

func (w *world) finish(calls ...*call) {
	for _, c := range calls {
		c.done = true
	}
	w.changed.Broadcast()
}

// look reports it when no rank can go on any more: all wait, or have left.
func (w *world) look() {
	waits := false
	for i := range w.ranks {
		m := &w.ranks[i]
		open := m.next(func(*call) bool { return true }) != nil
		if !open && m.left == "" {
			return
		}
		waits = waits || open
	}
	if waits {
		w.deadlock()
	}
}

// deadlock reports calls that nobody meets.
func (w *world) deadlock() error {
	return w.fail("deadlock: calls that no other rank meets: %s", w.calls())
}

// calls tells what each rank calls.
func (w *world) calls() string {
	s := ""
	for i := range w.ranks {
		m := &w.ranks[i]
		if i > 0 {
			s += "; "
		}
		s += fmt.Sprintf("rank %d ", i)
		c := m.next(func(*call) bool { return true })
		switch {
		case c != nil:
			s += fmt.Sprintf("waits in %v, its call number %d", c, m.count-len(m.calls)+slices.Index(m.calls, c)+1)
		case m.left != "":
			s += "has " + m.left + " its communicator"
		case m.last != nil:
			s += fmt.Sprintf("calls nothing after %v, its call number %d", m.last, m.count)
		default:
			s += "has called nothing"
		}
	}
	return s
}
