package ptxsim

import (
	"errors"
	"fmt"
	"time"

	"github.com/convae/convae/cuda/driver"
)

// stream runs work at once. The first failure stays: later calls do nothing and return it.
type stream struct {
	dev    *Device
	order  *order
	err    error
	graph  *graph // that is being captured
	origin bool   // its capture began here
	closed bool
}

// NewStream returns a stream. It runs work at once, on the goroutine that gives it.
func (d *Device) NewStream() (driver.Stream, error) {
	s := &stream{dev: d}
	return s, d.locked(func() error {
		s.order = d.history.open()
		return nil
	})
}

// do runs f, which is told what it comes after, now or, during a capture, with the graph. Failures of f come with the next call.
func (s *stream) do(f func(o *order) error) error {
	return s.dev.locked(func() error {
		switch {
		case s.closed:
			return errors.New("ptxsim: the stream is closed")
		case s.err != nil:
			return s.err
		case s.graph != nil:
			s.graph.add(s, f)
			s.graph.joined[s] = false
			return nil
		}
		s.err = f(s.order)
		return nil
	})
}

func (s *stream) ToDevice(dst driver.Ptr, src []byte) error {
	return s.do(func(*order) error { return s.dev.toDevice(dst, src) })
}

func (s *stream) ToHost(dst []byte, src driver.Ptr) error {
	return s.do(func(*order) error { return s.dev.toHost(dst, src) })
}

func (s *stream) Copy(dst, src driver.Ptr, n int) error {
	return s.do(func(*order) error { return s.dev.copy(dst, src, n) })
}

func (s *stream) Fill(dst driver.Ptr, v uint32, n int) error {
	return s.do(func(*order) error { return s.dev.fill(dst, v, n) })
}

func (s *stream) Launch(l *driver.Launch) error {
	f, c, params, err := s.dev.prepare(l)
	if err != nil {
		return err
	}
	return s.do(func(o *order) error { return s.dev.launch(o, f, c, params) })
}

func (s *stream) Record(ev driver.Event) error {
	e, ok := ev.(*event)
	if !ok || e.dev != s.dev {
		return errors.New("ptxsim: the event is of another device")
	}
	return s.dev.locked(func() error {
		if s.graph != nil {
			m := new(mark)
			e.graph, e.stream, e.mark = s.graph, s, m
			s.graph.add(s, m.record)
			return nil
		}
		if s.err != nil {
			e.err = s.err
			return s.err
		}
		e.graph, e.stream, e.mark, e.at, e.err = nil, nil, &e.own, time.Now(), nil
		return e.own.record(s.order)
	})
}

func (s *stream) Wait(ev driver.Event) error {
	e, ok := ev.(*event)
	if !ok || e.dev != s.dev {
		return errors.New("ptxsim: the event is of another device")
	}
	return s.dev.locked(func() error {
		switch g := e.graph; {
		case g != nil && !g.done:
			if s.graph != nil && s.graph != g {
				return errors.New("ptxsim: the event belongs to another capture")
			}
			s.graph = g // waiting for a captured event joins its capture
			g.joined[e.stream] = true
			if _, known := g.joined[s]; !known {
				g.joined[s] = true
			}
			g.add(s, e.mark.wait)
		case s.graph != nil:
			return errors.New("ptxsim: a capture cannot wait for an event outside it")
		case s.err == nil && e.err != nil:
			s.err = e.err
		case g == nil && e.mark != nil:
			return e.mark.wait(s.order)
		}
		return nil
	})
}

func (s *stream) Synchronize() error {
	return s.dev.locked(func() error {
		if s.graph != nil {
			s.graph.broken = true
			return errCapture
		}
		s.dev.history.host.join(s.order.after)
		return s.err
	})
}

func (s *stream) Close() error {
	s.dev.mu.Lock()
	defer s.dev.mu.Unlock()
	s.closed = true
	s.dev.history.close(s.order)
	return nil
}

// mark is what a recorded point of a stream comes after.
type mark struct{ after clock }

func (m *mark) record(o *order) error {
	m.after = append(m.after[:0], o.after...)
	return nil
}

func (m *mark) wait(o *order) error {
	o.after.join(m.after)
	return nil
}

// event is a point in time.
type event struct {
	dev    *Device
	at     time.Time
	err    error
	graph  *graph // that it was captured in
	stream *stream
	mark   *mark // where it was recorded last; own unless that was in a capture
	own    mark
}

// NewEvent returns an event. It takes the wall time.
func (d *Device) NewEvent() (driver.Event, error) {
	return &event{dev: d}, d.locked(func() error { return nil })
}

func (e *event) Synchronize() error {
	return e.dev.locked(func() error {
		if e.graph != nil {
			return errCapture
		}
		e.dev.history.host.join(e.own.after)
		return e.err
	})
}

// Reached is always true: work is done when it is given to a stream.
func (e *event) Reached() (bool, error) { return true, e.Synchronize() }

func (e *event) Since(earlier driver.Event) (float64, error) {
	o, ok := earlier.(*event)
	if !ok || o.at.IsZero() || e.at.IsZero() || o.graph != nil || e.graph != nil {
		return 0, errors.New("ptxsim: an event has not been recorded")
	}
	return float64(e.at.Sub(o.at)) / float64(time.Millisecond), nil
}

func (e *event) Close() error { return nil }

// graph is recorded work, in an order that respects what waits for what.
type graph struct {
	dev    *Device
	nodes  []node
	joined map[*stream]bool   // streams of the capture: does the origin wait for their last work?
	orders map[*stream]*order // of them, but for the origin: a replay works in its own
	done   bool
	broken bool
}

// node is work that was captured in a stream.
type node struct {
	stream *stream
	run    func(o *order) error
}

func (g *graph) add(s *stream, run func(o *order) error) { g.nodes = append(g.nodes, node{s, run}) }

func (s *stream) BeginCapture() error {
	return s.dev.locked(func() error {
		if s.err != nil {
			return s.err
		}
		if s.graph != nil {
			return errors.New("ptxsim: the stream is already captured")
		}
		s.graph, s.origin = &graph{dev: s.dev, joined: map[*stream]bool{}}, true
		s.dev.capturing++
		return nil
	})
}

func (s *stream) EndCapture() (driver.Graph, error) {
	var g *graph
	err := s.dev.locked(func() error {
		if s.graph == nil || !s.origin {
			return errors.New("ptxsim: no capture began on this stream")
		}
		g = s.graph
		g.done = true
		s.dev.capturing--
		loose := 0
		for o, joined := range g.joined {
			if o != s && !joined {
				loose++
			}
			o.graph = nil
		}
		s.graph, s.origin = nil, false
		switch {
		case g.broken:
			return errors.New("ptxsim: the capture was broken by a call that is not allowed in it")
		case loose > 0:
			return fmt.Errorf("ptxsim: the capture has %d streams that its first one does not wait for", loose)
		}
		g.orders = map[*stream]*order{}
		for o := range g.joined {
			if o != s {
				g.orders[o] = s.dev.history.open()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (s *stream) Replay(gr driver.Graph) error {
	g, ok := gr.(*graph)
	if !ok || g.dev != s.dev || g.nodes == nil && g.broken {
		return errors.New("ptxsim: replay of a graph of another device, or a closed one")
	}
	return s.do(func(o *order) error {
		for _, n := range g.nodes {
			in := g.orders[n.stream]
			if in == nil {
				in = o
			}
			if err := n.run(in); err != nil {
				return err
			}
		}
		return nil
	})
}

func (g *graph) Close() error {
	g.dev.mu.Lock()
	defer g.dev.mu.Unlock()
	for _, o := range g.orders {
		g.dev.history.close(o)
	}
	g.nodes, g.orders, g.broken = nil, nil, true
	return nil
}
