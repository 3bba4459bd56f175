package trainer

import (
	"context"
	"time"
)

const (
	watchEvery  = 10 * time.Millisecond  // how often the loss on the device is asked for
	reportEvery = 100 * time.Millisecond // how often the observer hears of steps
)

// watch is what is heard of a device that works while steps are still being asked of it.
type watch struct {
	began           time.Time // of the stretch of steps at hand, which nothing but steps has interrupted
	from            int       // samples of the epoch before it
	asked, reported time.Time
	good            int           // optimiser steps in the last loss that was finite
	rate            float64       // images a second
	between         time.Duration // of all validations and what is written behind them
	validations     int
}

// start begins a stretch of steps.
func (w *watch) start(offset int) { w.began, w.from = time.Now(), offset }

// pause waits for the device and adds the time that it worked to the epoch's.
func (s *session) pause() error {
	err := s.t.Wait()
	took := time.Since(s.watch.began).Seconds()
	s.p.Seconds += took
	if n := s.p.Offset - s.watch.from; n > 0 {
		s.watch.rate = float64(n) / took
	}
	s.watch.start(s.p.Offset)
	return err
}

// look hears, without waiting, what the loss is and how far the device has come. A loss that is not finite ends the run.
func (s *session) look(ctx context.Context) error {
	w, now := &s.watch, time.Now()
	if now.Sub(w.asked) < watchEvery {
		return nil
	}
	w.asked = now
	if s.direct != nil {
		if err := s.direct.Failure(); err != nil {
			return err
		}
	}
	if loss, samples, ok := s.t.RecentLoss(); ok {
		s.loss = loss
		if !finite(loss) && s.writes() { // the others' work goes on until they hear of it
			return s.diverged(ctx)
		}
		w.good = s.t.Steps() - (s.p.Offset-samples+s.batch-1)/s.batch
		if took := now.Sub(w.began); samples > w.from && took >= reportEvery {
			w.rate = float64(samples-w.from) / took.Seconds()
		}
	}
	if now.Sub(w.reported) >= reportEvery {
		s.report(false)
	}
	return nil
}

// report tells the observer what was heard last.
func (s *session) report(paused bool) {
	tr := s.c.Training
	step := Step{Epoch: s.p.Epoch, Step: (s.p.Offset + s.batch - 1) / s.batch, Steps: s.steps, Loss: s.loss, Rate: s.watch.rate, Paused: paused,
		Done: s.t.Steps(), LearningRate: s.t.LearningRate(), Seconds: s.p.Seconds + time.Since(s.watch.began).Seconds()}
	if step.Rate > 0 {
		left := (tr.Epochs-s.p.Epoch+1)*len(s.order) - s.p.Offset
		step.Left = time.Duration(float64(left)/step.Rate*float64(time.Second)) + s.validating()
	}
	now := time.Now()
	if took := now.Sub(s.watch.reported); s.load != nil {
		step.Streamed, step.Waited = true, s.load.waitedSince()
		step.Waiting = step.Waited.Seconds() / took.Seconds()
	}
	s.watch.reported = now
	s.o.Observer.Step(step)
	s.board.step(s.t.Steps(), s.t.LearningRate(), step)
}

// validating is the time that the validations will take that are left, if they are as long as those so far.
func (s *session) validating() time.Duration {
	if s.watch.validations == 0 {
		return 0
	}
	every, epochs := s.c.Training.Validation, s.c.Training.Epochs
	left := epochs/every - (s.p.Epoch-1)/every
	if epochs%every != 0 {
		left++ // the last epoch ends with one
	}
	return time.Duration(float64(left) * s.watch.between.Seconds() / float64(s.watch.validations) * float64(time.Second))
}
