package collective

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// TCP is where ranks find each other, for what is small: NCCL's id, the state of a run, signals and errors. Rank 0 listens at the address, and all
// others connect to it.
type TCP struct {
	Rank, Size int
	Address    string // HOST:PORT of rank 0
	// Token is a secret of the run: who does not know it is turned away.
	Token   string
	Timeout time.Duration // of a call, and of finding each other
}

// Connect returns the ranks' Comm once all of them are there.
func (t TCP) Connect(ctx context.Context) (Comm, error) {
	c := &tcpComm{o: t, peers: make([]*peer, t.Size), failed: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	var err error
	if t.Rank == 0 {
		err = c.accept(ctx)
	} else {
		err = c.dial(ctx)
	}
	if err != nil {
		for _, p := range c.peers {
			if p != nil {
				p.conn.Close()
			}
		}
		return nil, err
	}
	for rank, p := range c.peers {
		if p != nil {
			c.readers.Go(func() { c.listen(rank, p) })
		}
	}
	return c, nil
}

// tcpComm is a star: rank 0 has a peer for every other rank, and these have one for rank 0.
type tcpComm struct {
	o       TCP
	peers   []*peer // by rank, nil where there is no connection
	readers sync.WaitGroup
	flag    bool // of this rank's last Signal
	asked   bool // there was one

	mu     sync.Mutex
	err    error         // the first failure
	failed chan struct{} // closed with it
	closed bool
}

// peer is a connection, and what has come from it: signals apart from all else, as they are answered one call later.
type peer struct {
	conn            net.Conn
	mu              sync.Mutex // of writing
	signals, frames chan []byte
}

// Kinds of frames: a byte for the kind, four for the length, little-endian, and the contents.
const (
	dataFrame   = 'd'
	signalFrame = 's'
	abortFrame  = 'a' // four bytes for the rank, and its error
	byeFrame    = 'b'
)

// most is the length that a frame may have; longer messages are several.
const most = 64 << 20

// hello begins a connection, so that what is not convae of this version is told apart.
const hello = "convae ranks 1\n"

func newPeer(conn net.Conn) *peer {
	return &peer{conn: conn, signals: make(chan []byte, 16), frames: make(chan []byte, 16)}
}

// accept waits until all other ranks have connected.
func (c *tcpComm) accept(ctx context.Context) error {
	var lc net.ListenConfig
	_, port, err := net.SplitHostPort(c.o.Address)
	if err != nil {
		return fmt.Errorf("rank 0: address %q: %w", c.o.Address, err)
	}
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("", port))
	if err != nil {
		return fmt.Errorf("rank 0 cannot listen for the other ranks at port %s: %w", port, err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for missing := c.o.Size - 1; missing > 0; {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("rank 0 has waited %v for ranks%s at port %s: %w", c.o.Timeout, c.missing(), port, context.Cause(ctx))
			}
			return err
		}
		rank, err := c.greet(ctx, conn)
		if err != nil {
			conn.Close() // a stranger, or a process of another run: its own error says why
			continue
		}
		c.peers[rank] = newPeer(conn)
		missing--
	}
	return nil
}

// missing lists the ranks that have not connected.
func (c *tcpComm) missing() (text string) {
	for rank, p := range c.peers {
		if rank > 0 && p == nil {
			text += fmt.Sprintf(" %d", rank)
		}
	}
	return text
}

// greet finds out which rank a connection is of, and answers with "" or why it is refused.
func (c *tcpComm) greet(ctx context.Context, conn net.Conn) (rank int, err error) {
	deadline := time.Now().Add(10 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	nonce := make([]byte, sha256.Size)
	if _, err := rand.Read(nonce); err != nil {
		return 0, err
	}
	if _, err := conn.Write(append([]byte(hello), nonce...)); err != nil {
		return 0, err
	}
	answer := make([]byte, 8+sha256.Size)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return 0, err
	}
	rank = int(binary.LittleEndian.Uint32(answer))
	size := int(binary.LittleEndian.Uint32(answer[4:]))
	refusal := ""
	switch {
	case !hmac.Equal(answer[8:], c.proof(nonce, rank, size)):
		refusal = "the token is another: see that " + TokenVariable + " is the same for all ranks of a run, and another for other runs"
	case size != c.o.Size:
		refusal = fmt.Sprintf("rank %d has a world of %d ranks, rank 0 of %d", rank, size, c.o.Size)
	case rank < 1 || rank >= size:
		refusal = fmt.Sprintf("rank is %d, want 1 to %d", rank, size-1)
	case c.peers[rank] != nil:
		refusal = fmt.Sprintf("there is a rank %d already", rank)
	}
	if err := writeFrame(conn, dataFrame, []byte(refusal)); err != nil {
		return 0, err
	}
	if refusal != "" {
		return 0, errors.New(refusal)
	}
	return rank, conn.SetDeadline(time.Time{})
}

// proof shows that a rank knows the token.
func (c *tcpComm) proof(nonce []byte, rank, size int) []byte {
	h := hmac.New(sha256.New, []byte(c.o.Token))
	h.Write(nonce)
	h.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(rank)), uint32(size)))
	return h.Sum(nil)
}

// dial connects to rank 0, which may not be there yet.
func (c *tcpComm) dial(ctx context.Context) error {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", c.o.Address)
		if err == nil {
			var refused bool
			if refused, err = c.introduce(conn); err == nil {
				c.peers[0] = newPeer(conn)
				return nil
			}
			conn.Close()
			if refused {
				return fmt.Errorf("rank %d: rank 0 at %s refuses it: %w", c.o.Rank, c.o.Address, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("rank %d has waited %v for rank 0 at %s: %w (%v)", c.o.Rank, c.o.Timeout, c.o.Address, context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// introduce says to rank 0 who this is. What is refused will be so again.
func (c *tcpComm) introduce(conn net.Conn) (refused bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return false, err
	}
	greeting := make([]byte, len(hello)+sha256.Size)
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return false, err
	}
	if string(greeting[:len(hello)]) != hello {
		return true, errors.New("what answers there is not convae of this version")
	}
	answer := binary.LittleEndian.AppendUint32(nil, uint32(c.o.Rank))
	answer = binary.LittleEndian.AppendUint32(answer, uint32(c.o.Size))
	if _, err := conn.Write(append(answer, c.proof(greeting[len(hello):], c.o.Rank, c.o.Size)...)); err != nil {
		return false, err
	}
	_, refusal, err := readFrame(conn)
	switch {
	case err != nil:
		return false, err
	case len(refusal) > 0:
		return true, errors.New(string(refusal))
	}
	return false, conn.SetDeadline(time.Time{})
}

func writeFrame(w io.Writer, kind byte, p []byte) error {
	frame := append([]byte{kind}, binary.LittleEndian.AppendUint32(nil, uint32(len(p)))...)
	_, err := w.Write(append(frame, p...))
	return err
}

func readFrame(r io.Reader) (kind byte, p []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > most {
		return 0, nil, fmt.Errorf("a message of %d bytes, want at most %d", n, most)
	}
	p = make([]byte, n)
	_, err = io.ReadFull(r, p)
	return head[0], p, err
}

// listen sorts what comes from a rank, until it has gone.
func (c *tcpComm) listen(rank int, p *peer) {
	r := bufio.NewReaderSize(p.conn, 64<<10)
	for {
		kind, contents, err := readFrame(r)
		if err != nil {
			c.fail(&Failure{Rank: rank, Text: "its process has gone: " + err.Error()})
			return
		}
		to := p.frames
		switch kind {
		case byeFrame:
			return
		case abortFrame:
			c.fail(&Failure{Rank: int(binary.LittleEndian.Uint32(contents)), Text: string(contents[4:]), Told: c.o.Rank > 0})
			return
		case signalFrame:
			to = p.signals
		}
		select {
		case to <- contents:
		case <-c.failed:
			return
		}
	}
}

// fail ends all calls with an error, unless one was there before. Rank 0 tells the others.
func (c *tcpComm) fail(f *Failure) {
	c.mu.Lock()
	first := c.err == nil && !c.closed
	if first {
		c.err = f
	}
	c.mu.Unlock()
	if !first {
		return
	}
	message := append(binary.LittleEndian.AppendUint32(nil, uint32(f.Rank)), f.Text...)
	for rank, p := range c.peers {
		if p != nil && rank != f.Rank {
			c.write(p, abortFrame, message) // if it cannot be reached it finds out by itself
		}
	}
	close(c.failed)
}

// failure returns the error that has ended the calls.
func (c *tcpComm) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *tcpComm) write(p *peer, kind byte, contents []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.conn.SetWriteDeadline(time.Now().Add(c.o.Timeout)); err != nil {
		return err
	}
	return writeFrame(p.conn, kind, contents)
}

// send sends a message of any length to a rank: its length, and then its pieces.
func (c *tcpComm) send(to int, contents []byte) error {
	p := c.peers[to]
	err := c.write(p, dataFrame, binary.LittleEndian.AppendUint64(nil, uint64(len(contents))))
	for err == nil && len(contents) > 0 {
		n := min(len(contents), most)
		err = c.write(p, dataFrame, contents[:n])
		contents = contents[n:]
	}
	return c.check(to, err)
}

// check makes an error of writing to a rank the failure of all.
func (c *tcpComm) check(to int, err error) error {
	if err == nil {
		return nil
	}
	select { // what that rank said before it went is more than that it has gone
	case <-c.failed:
	case <-time.After(time.Second):
		c.fail(&Failure{Rank: to, Text: "it cannot be reached: " + err.Error()})
	}
	return c.failure()
}

// receive waits for a message of a rank.
func (c *tcpComm) receive(from int, what string) ([]byte, error) {
	head, err := c.next(c.peers[from].frames, from, what)
	if err != nil {
		return nil, err
	}
	if len(head) != 8 {
		c.fail(&Failure{Rank: c.o.Rank, Text: fmt.Sprintf("it and rank %d do not make the same calls (%s)", from, what)})
		return nil, c.failure()
	}
	var p []byte
	for n := binary.LittleEndian.Uint64(head); uint64(len(p)) < n; {
		piece, err := c.next(c.peers[from].frames, from, what)
		if err != nil {
			return nil, err
		}
		p = append(p, piece...)
	}
	return p, nil
}

func (c *tcpComm) next(frames chan []byte, from int, what string) ([]byte, error) {
	select { // what has come counts, whatever came after it
	case p := <-frames:
		return p, nil
	default:
	}
	limit := c.o.Timeout
	if c.o.Rank > 0 {
		limit += limit / 2 // rank 0 knows which rank it waits for, and says so first
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case p := <-frames:
		return p, nil
	case <-c.failed:
	case <-timer.C:
		c.fail(&Failure{Rank: c.o.Rank, Text: fmt.Sprintf("it has waited %v for rank %d (%s)", limit, from, what)})
	}
	return nil, c.failure()
}

func (c *tcpComm) Rank() int { return c.o.Rank }
func (c *tcpComm) Size() int { return c.o.Size }

func (c *tcpComm) Broadcast(p []byte) ([]byte, error) {
	if err := c.failure(); err != nil {
		return nil, err
	}
	if c.o.Rank > 0 {
		return c.receive(0, "broadcast")
	}
	for to := 1; to < c.o.Size; to++ {
		if err := c.send(to, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (c *tcpComm) AllGather(p []byte) ([][]byte, error) {
	if err := c.failure(); err != nil {
		return nil, err
	}
	all := make([][]byte, c.o.Size)
	if c.o.Rank > 0 {
		if err := c.send(0, p); err != nil {
			return nil, err
		}
		for from := range all {
			var err error
			if all[from], err = c.receive(0, "all-gather"); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	all[0] = p
	for from := 1; from < c.o.Size; from++ {
		var err error
		if all[from], err = c.receive(from, "all-gather"); err != nil {
			return nil, err
		}
	}
	for to := 1; to < c.o.Size; to++ {
		for _, p := range all {
			if err := c.send(to, p); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// Signal sends this call's flag to rank 0 and has the answer to the call before from there.
func (c *tcpComm) Signal(on bool) (any bool, err error) {
	if err := c.failure(); err != nil {
		return false, err
	}
	flag := []byte{0}
	if on {
		flag[0] = 1
	}
	asked, mine := c.asked, c.flag
	c.asked, c.flag = true, on
	if c.o.Rank > 0 {
		if err := c.check(0, c.write(c.peers[0], signalFrame, flag)); err != nil || !asked {
			return false, err
		}
		p, err := c.next(c.peers[0].signals, 0, "signal")
		return err == nil && p[0] == 1, err
	}
	if !asked {
		return false, nil
	}
	any = mine
	for from := 1; from < c.o.Size; from++ {
		p, err := c.next(c.peers[from].signals, from, "signal")
		if err != nil {
			return false, err
		}
		any = any || p[0] == 1
	}
	answer := []byte{0}
	if any {
		answer[0] = 1
	}
	for to := 1; to < c.o.Size; to++ {
		if err := c.check(to, c.write(c.peers[to], signalFrame, answer)); err != nil {
			return false, err
		}
	}
	return any, nil
}

// Failed is closed with the first failure.
func (c *tcpComm) Failed() <-chan struct{} { return c.failed }

func (c *tcpComm) Abort(err error) {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Rank: c.o.Rank, Text: err.Error()}
	}
	c.fail(f)
	c.end()
}

func (c *tcpComm) Close() error {
	_, err := c.AllGather(nil) // all have come to the end
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, p := range c.peers {
		if p != nil && err == nil {
			err = c.write(p, byeFrame, nil)
		}
	}
	if err == nil {
		c.readers.Wait()
	}
	c.end()
	return err
}

func (c *tcpComm) end() {
	for _, p := range c.peers {
		if p != nil {
			p.conn.Close()
		}
	}
	c.readers.Wait()
}
