package trainer

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// pauser pauses a run at its first step, and lets it go on once it has seen it paused.
type pauser struct {
	silent
	c      *Control
	t      *testing.T
	paused int
	then   func() error
}

func (h *pauser) First(FirstStep) {
	if err := h.c.Pause(); err != nil {
		h.t.Error(err)
	}
}

func (h *pauser) Step(s Step) {
	if !s.Paused {
		return
	}
	h.paused++
	go func() {
		time.Sleep(50 * time.Millisecond) // the run waits meanwhile
		if err := h.then(); err != nil {
			h.t.Error(err)
		}
	}()
}

// A run that was paused is the run that it would have been, and the pause is no time of its epoch.
func TestPause(t *testing.T) {
	dir := t.TempDir()
	plain := smallOptions(t, filepath.Join(dir, "plain"))
	if _, err := Train(t.Context(), smallConfig(), plain); err != nil {
		t.Fatal(err)
	}
	o := smallOptions(t, filepath.Join(dir, "paused"))
	o.Control = new(Control)
	h := &pauser{c: o.Control, t: t, then: o.Control.Resume}
	o.Observer = h
	began := time.Now()
	r, err := Train(t.Context(), smallConfig(), o)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began).Seconds()
	if h.paused != 1 {
		t.Errorf("the run was seen paused %d times, want once", h.paused)
	}
	sum := 0.0
	for _, e := range r.History {
		sum += e.Seconds
	}
	if sum > took-0.05 {
		t.Errorf("epochs of %v s in a run of %v s with a pause of 0.05", sum, took)
	}
	sameRun(t, plain.Dir, o.Dir)
	if err := o.Control.Pause(); !errors.Is(err, ErrEnded) || o.Control.State() != Ended {
		t.Errorf("pausing a run that has ended: %v, it is %s", err, o.Control.State())
	}
}

// A run that is stopped, also while it is paused, saves and can be gone on with.
func TestStop(t *testing.T) {
	o := smallOptions(t, filepath.Join(t.TempDir(), "run"))
	o.Control = new(Control)
	h := &pauser{c: o.Control, t: t, then: func() error {
		if err := o.Control.Stop(); err != nil {
			return err
		}
		if err := o.Control.Resume(); !errors.Is(err, ErrStopping) && !errors.Is(err, ErrEnded) {
			t.Errorf("going on after a stop: %v", err)
		}
		return nil
	}}
	o.Observer = h
	r, err := Train(t.Context(), smallConfig(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || h.paused != 1 {
		t.Errorf("interrupted: %v, paused %d times", r.Interrupted, h.paused)
	}
	o.Control, o.Observer, o.Resume = nil, nil, true
	if r, err = Train(t.Context(), smallConfig(), o); err != nil || len(r.History) != 3 {
		t.Errorf("going on: %d epochs, %v", len(r.History), err)
	}
}

// Several processes are stopped, but not paused.
func TestControlOfSeveral(t *testing.T) {
	c := new(Control)
	ctx, ended := c.attach(t.Context(), true)
	defer ended()
	if err := c.Pause(); !errors.Is(err, ErrSeveral) {
		t.Errorf("pausing: %v", err)
	}
	if err := c.Stop(); err != nil || ctx.Err() == nil {
		t.Errorf("stopping: %v, the context: %v", err, ctx.Err())
	}
	early := new(Control)
	if err := early.Stop(); err != nil {
		t.Fatal(err)
	}
	if ctx, ended := early.attach(t.Context(), false); ctx.Err() == nil {
		t.Error("a run that was stopped before it began goes on")
	} else {
		ended()
	}
}
