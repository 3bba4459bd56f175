package ncclsim

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/convae/convae/cuda/nccl"
)

// Ranks of other processes come by TCP, on the machine's own address: the ID says where, and has a token that they show.

const tokenBytes = 32

var pid = os.Getpid()

// message is what a rank of another process says: that it joins, calls, or leaves.
type message struct {
	Token      []byte
	Size, Rank int
	Device     string
	Calls      []*call
	Outs       []int // bytes that the calls write
	Leaves     string
	Asks       bool // for a failure
}

// answer is what it is told.
type answer struct {
	Err  string
	Outs [][]byte
}

// listen has the world be found by the address that its ID then has.
func (w *world) listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	token := append([]byte(nil), w.id[:tokenBytes]...)
	copy(w.id[tokenBytes:], l.Addr().String())
	w.stop = func() { l.Close() }
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c, token)
		}
	}()
	return nil
}

// serve does what a rank of another process asks for. One whose connection ends has left.
func (w *world) serve(c net.Conn, token []byte) {
	defer c.Close()
	in, out := gob.NewDecoder(c), gob.NewEncoder(c)
	var m message
	if in.Decode(&m) != nil || !bytes.Equal(m.Token, token) {
		return
	}
	rank := m.Rank
	err := w.join(m.Size, rank, m.Device)
	if out.Encode(answer{Err: text(err)}) != nil || err != nil {
		return
	}
	defer w.leave(rank, "aborted")
	for {
		m = message{}
		if in.Decode(&m) != nil {
			return
		}
		var a answer
		switch {
		case m.Leaves != "":
			w.leave(rank, m.Leaves)
		case m.Asks:
			a.Err = text(w.failure())
		default:
			for i, c := range m.Calls {
				c.Out = make([]byte, m.Outs[i])
				a.Outs = append(a.Outs, c.Out)
			}
			a.Err = text(w.submit(rank, m.Calls))
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// remote is a world in another process.
type remote struct {
	mu    sync.Mutex
	token []byte
	conn  net.Conn
	in    *gob.Decoder
	out   *gob.Encoder
	err   error
}

func dial(id nccl.ID) (*remote, error) {
	address := string(bytes.TrimRight(id[tokenBytes:], "\x00"))
	if address == "" {
		return nil, errors.New("the ID is of no communicator of this process, and has no address")
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &remote{token: id[:tokenBytes], conn: c, in: gob.NewDecoder(c), out: gob.NewEncoder(c)}, nil
}

// ask sends a message and waits for the answer.
func (r *remote) ask(m *message) (a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return answer{Err: r.err.Error()}
	}
	err := r.out.Encode(m)
	if err == nil {
		err = r.in.Decode(&a)
	}
	if err != nil {
		a.Err = fmt.Sprintf("ncclsim: the process of rank 0 is gone: %v", err)
	}
	if a.Err != "" {
		r.err = errors.New(a.Err)
	}
	return a
}

func (a *answer) err() error {
	if a.Err == "" {
		return nil
	}
	return errors.New(a.Err)
}

func (r *remote) join(size, rank int, device string) error {
	a := r.ask(&message{Token: r.token, Size: size, Rank: rank, Device: device})
	return a.err()
}

func (r *remote) submit(_ int, calls []*call) error {
	m := &message{}
	for _, c := range calls {
		m.Calls = append(m.Calls, &call{Kind: c.Kind, Count: c.Count, Type: c.Type, Peer: c.Peer, In: c.In})
		m.Outs = append(m.Outs, len(c.Out))
	}
	a := r.ask(m)
	for i := range a.Outs {
		copy(calls[i].Out, a.Outs[i])
	}
	return a.err()
}

// failure does not wait for a call that is under way.
func (r *remote) failure() error {
	if !r.mu.TryLock() {
		return nil
	}
	err := r.err
	r.mu.Unlock()
	if err != nil {
		return err
	}
	a := r.ask(&message{Asks: true})
	return a.err()
}

// leave of one who aborts ends the connection, on which a call may wait.
func (r *remote) leave(_ int, how string) {
	if how != "aborted" {
		r.ask(&message{Leaves: how})
	}
	r.conn.Close()
}
