// Package collectivetest has ranks that are goroutines of one process, for tests.
package collectivetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/convae/convae/nn/collective"
)

// Ranks returns so many connected ranks, each for a goroutine of its own.
func Ranks(size int) []collective.Mover {
	g := &group{failed: make(chan struct{})}
	for range size {
		var row []chan []byte
		for range size {
			row = append(row, make(chan []byte, 64))
		}
		g.lines = append(g.lines, row)
	}
	ranks := make([]collective.Mover, size)
	for i := range ranks {
		ranks[i] = &member{g: g, rank: i}
	}
	return ranks
}

// group is what ranks in one process share.
type group struct {
	lines  [][]chan []byte // from, to
	once   sync.Once
	failed chan struct{} // closed when a rank has aborted
	reason *collective.Failure
}

type member struct {
	g     *group
	rank  int
	flags []bool // of the last Signal
}

func (m *member) Rank() int { return m.rank }
func (m *member) Size() int { return len(m.g.lines) }

func (m *member) send(to int, p []byte) error {
	select {
	case m.g.lines[m.rank][to] <- slices.Clone(p):
		return nil
	case <-m.g.failed:
		return m.g.reason
	}
}

func (m *member) receive(from int) ([]byte, error) {
	select {
	case p := <-m.g.lines[from][m.rank]:
		return p, nil
	case <-m.g.failed:
		return nil, m.g.reason
	}
}

func (m *member) Broadcast(p []byte) ([]byte, error) {
	if m.rank > 0 {
		return m.receive(0)
	}
	for to := 1; to < m.Size(); to++ {
		if err := m.send(to, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (m *member) AllGather(p []byte) ([][]byte, error) {
	for to := range m.Size() {
		if err := m.send(to, p); err != nil {
			return nil, err
		}
	}
	var all [][]byte
	for from := range m.Size() {
		p, err := m.receive(from)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (m *member) Signal(on bool) (bool, error) {
	before := slices.Contains(m.flags, true)
	flag := []byte{0}
	if on {
		flag[0] = 1
	}
	all, err := m.AllGather(flag)
	m.flags = m.flags[:0]
	for _, p := range all {
		m.flags = append(m.flags, p[0] == 1)
	}
	return before, err
}

func (m *member) Send(to int, x []float32) error { return m.send(to, bytesOf(x)) }

func (m *member) Receive(from int, x []float32) error {
	p, err := m.receive(from)
	if err != nil {
		return err
	}
	if len(p) != 4*len(x) {
		return fmt.Errorf("rank %d sent %d bytes to rank %d, want %d", from, len(p), m.rank, 4*len(x))
	}
	copy(bytesOf(x), p)
	return nil
}

func (m *member) Distribute(root int, x []float32) error {
	if m.rank != root {
		return m.Receive(root, x)
	}
	for to := range m.Size() {
		if to == root {
			continue
		}
		if err := m.Send(to, x); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) AllReduce(x []float32) error {
	all, err := m.AllGather(bytesOf(x))
	if err != nil {
		return err
	}
	clear(x)
	other := make([]float32, len(x))
	for _, p := range all {
		if copy(bytesOf(other), p) != len(p) || len(p) != 4*len(x) {
			return errors.New("ranks sum vectors of different lengths")
		}
		for i, v := range other {
			x[i] += v
		}
	}
	return nil
}

func (m *member) Failed() <-chan struct{} { return m.g.failed }

func (m *member) Abort(err error) {
	m.g.once.Do(func() {
		m.g.reason = &collective.Failure{Rank: m.rank, Text: err.Error()}
		close(m.g.failed)
	})
}

func (m *member) Close() error { return nil }

// bytesOf returns the memory of a slice.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
