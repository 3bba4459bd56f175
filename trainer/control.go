package trainer

import (
	"context"
	"errors"
	"sync"
)

// Control lets other goroutines pause a run, have it go on, and stop it. The zero Control is ready; it is of one run.
type Control struct {
	mu       sync.Mutex
	state    ControlState
	resumed  chan struct{} // closed when the run is to go on, or to stop
	stop     context.CancelFunc
	several  bool // processes train together
	attached bool
}

// ControlState is what is asked of a run. It is at a step's end that a run does it.
type ControlState string

// The states.
const (
	Running  ControlState = "running"
	Paused   ControlState = "paused"
	Stopping ControlState = "stopping"
	Ended    ControlState = "ended"
)

// Errors of a Control.
var (
	ErrSeveral  = errors.New("several processes train together: such a run cannot be paused, but stopped, and gone on with by --continue or --resume")
	ErrStopping = errors.New("the run is being stopped")
	ErrEnded    = errors.New("the run has ended")
)

// attach makes the control that of a run, and returns the context that Stop ends and what is called when the run has ended. A nil Control is one that
// nobody uses.
func (c *Control) attach(ctx context.Context, several bool) (context.Context, func()) {
	if c == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attached {
		panic("trainer: a Control is of one run")
	}
	c.attached, c.stop, c.several = true, cancel, several
	if c.get() == Stopping {
		cancel()
	}
	return ctx, func() {
		c.mu.Lock()
		c.set(Ended)
		c.mu.Unlock()
		cancel()
	}
}

func (c *Control) get() ControlState {
	if c.state == "" {
		return Running
	}
	return c.state
}

// set changes the state, and wakes a run that is paused.
func (c *Control) set(s ControlState) {
	if c.resumed != nil && s != Paused {
		close(c.resumed)
		c.resumed = nil
	}
	c.state = s
}

// State returns what is asked of the run.
func (c *Control) State() ControlState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get()
}

// Pause has the run wait after the step at hand, until Resume or Stop. The error is ErrSeveral, ErrStopping or ErrEnded.
func (c *Control) Pause() error { return c.change(Paused) }

// Resume has a paused run go on. The error is ErrStopping or ErrEnded.
func (c *Control) Resume() error { return c.change(Running) }

// Stop has the run end after the step at hand and save, as the end of its context does: of several processes all end after the same step. The error
// is ErrEnded.
func (c *Control) Stop() error { return c.change(Stopping) }

func (c *Control) change(to ControlState) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.get()
	switch {
	case from == Ended:
		return ErrEnded
	case from == to:
		return nil
	case from == Stopping:
		return ErrStopping
	case to == Paused && c.several:
		return ErrSeveral
	}
	c.set(to)
	switch {
	case to == Paused:
		c.resumed = make(chan struct{})
	case to == Stopping && c.stop != nil:
		c.stop()
	}
	return nil
}

// pausing returns what to wait for, or nil if the run is not to wait.
func (c *Control) pausing() <-chan struct{} {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resumed
}

// hold waits for as long as the run is to be paused. The time is no time of the epoch.
func (s *session) hold(ctx context.Context) error {
	resumed := s.o.Control.pausing()
	if resumed == nil {
		return nil
	}
	if err := s.pause(); err != nil {
		return err
	}
	s.report(true)
	s.o.Observer.Note("the run is paused")
	select {
	case <-resumed:
	case <-ctx.Done():
	}
	s.watch.start(s.p.Offset)
	if ctx.Err() == nil {
		s.o.Observer.Note("the run goes on")
		s.report(false)
	}
	return nil
}
