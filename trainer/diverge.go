package trainer

import (
	"context"
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/safetensors"
)

// DivergedError ends a run that has made a number that is not finite. None is in the files of the run.
type DivergedError struct {
	Dir         string   // the run's folder
	Epoch, Step int      // where the first such number was made or, if that was not found, noticed; optimiser steps from 1
	Fault       nn.Fault // that number; zero if it was not found
	From        int      // step of the checkpoint that the run can go on from
	Rate        float64  // the optimiser's learning rate
}

func (e *DivergedError) Error() string {
	what := fmt.Sprintf("by step %d, in epoch %d, the loss or the validation loss is not finite", e.Step, e.Epoch)
	if e.Fault != (nn.Fault{}) {
		what = fmt.Sprintf("at step %d, in epoch %d, %v", e.Step, e.Epoch, e.Fault)
	}
	return fmt.Sprintf("training has diverged: %s (learning rate %g); what is saved is sound: go on from step %d with `convae train --resume %s --learning-rate %.3g`",
		what, e.Rate, e.From, e.Dir, min(e.Rate/10, 1))
}

func finite(v float64) bool { return v-v == 0 }

// notFinite names the first of some tensors that has a value that is not finite.
func notFinite(tensors []safetensors.Tensor) (text string, found bool) {
	for i := range tensors {
		if at, v, ok := tensors[i].NotFinite(); ok {
			return fmt.Sprintf("value %d of tensor %s is %v", at, tensors[i].Name, v), true
		}
	}
	return "", false
}

// diverged returns the error of a run with a number that is not finite.
func (s *session) diverged(ctx context.Context) error {
	if !s.writes() {
		return s.awaitEnd()
	}
	e := &DivergedError{Dir: s.o.Dir, Epoch: s.p.Epoch, Step: s.t.Steps(), Rate: s.c.Training.Optimizer.LearningRate}
	c, _, err := newestCheckpoint(s.o.Dir)
	if err != nil {
		return fmt.Errorf("training has diverged by step %d: %w", e.Step, err)
	}
	if s.o.Ranks == nil { // others do not do the steps again
		if err := s.locate(ctx, e, c); err != nil && ctx.Err() == nil {
			return fmt.Errorf("training has diverged by step %d: %w", e.Step, err)
		}
	}
	e.From, err = s.back()
	if err != nil {
		return fmt.Errorf("training has diverged by step %d: %w", e.Step, err)
	}
	return e
}

// back removes the checkpoints that are no good to go on from, and returns the step of the newest that is. If none is, all
// stay.
func (s *session) back() (step int, err error) {
	paths, err := checkpoints(s.o.Dir)
	if err != nil {
		return 0, err
	}
	for i, path := range paths {
		if c, err := readCheckpoint(path); err == nil && c.sound() {
			if err := s.restore(c); err != nil {
				return 0, err
			}
			return s.t.Steps(), removeCheckpoints(paths[:i])
		}
	}
	return 0, fmt.Errorf("no checkpoint in %s has sound losses: start anew, with a lower learning rate than %g", s.o.Dir, s.c.Training.Optimizer.LearningRate)
}

// locate finds the first number that is not finite. Training is repeatable, so the steps since the last checkpoint are done
// again: only now does it cost time to look at all that a step makes.
func (s *session) locate(ctx context.Context, e *DivergedError, c checkpoint) error {
	if err := s.restore(c); err != nil {
		return err
	}
	from := s.t.Steps()
	s.o.Observer.Note(fmt.Sprintf("training has diverged by step %d: the steps since %d are done again to find out where", e.Step, from))
	if s.watch.good > from { // up to there the losses were finite, and so most likely was all else
		if _, err := s.repeat(ctx, s.watch.good, false); err != nil {
			return err
		}
		if bad, err := s.bad(); err != nil {
			return err
		} else if bad {
			if err := s.restore(c); err != nil {
				return err
			}
		}
	}
	if bad, err := s.repeat(ctx, e.Step, true); err != nil || !bad {
		return err
	}
	e.Step, e.Epoch = s.t.Steps(), s.p.Epoch
	if err := s.restore(c); err != nil {
		return err
	}
	if _, err := s.repeat(ctx, e.Step-1, false); err != nil {
		return err
	}
	s.turn()
	s.setRates()
	var err error
	e.Fault, _, err = s.t.Trace(s.p.Offset, min(s.batch, len(s.order)-s.p.Offset), s.draw())
	return err
}

// restore goes back to a checkpoint of this run.
func (s *session) restore(c checkpoint) error {
	if err := s.t.SetState(&safetensors.File{Tensors: c.Tensors}); err != nil {
		return err
	}
	s.p = c.Progress
	s.shuffle()
	return nil
}

// repeat trains up to an optimiser step. With check it ends with the first that leaves a number that is not finite.
func (s *session) repeat(ctx context.Context, until int, check bool) (bad bool, err error) {
	for s.t.Steps() < until {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		s.turn()
		s.step()
		if check {
			if bad, err := s.bad(); bad || err != nil {
				return bad, err
			}
		}
	}
	return false, nil
}

// turn goes from the end of an epoch to the start of the next.
func (s *session) turn() {
	if s.p.Offset == len(s.order) {
		s.t.ResetLoss()
		s.p.Epoch++
		s.p.Offset = 0
		s.shuffle()
	}
}

// bad reports that the loss, the weights or the optimiser's state are not finite.
func (s *session) bad() (bool, error) {
	tensors, err := s.t.State()
	_, found := notFinite(tensors)
	return found, err
}
