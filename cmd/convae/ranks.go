package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/nn/collective"
)

// errSaid ends a command whose error has been printed, here or by another process.
var errSaid = errors.New("said")

// together runs what several processes do together. An error that all of them know ends each in good order; any other ends all at once.
func together(ranks collective.Comm, stderr io.Writer, run func() error) error {
	err := run()
	if err == nil || errors.Is(err, errInterrupted) || collective.Known(err) {
		closed := ranks.Close()
		if err == nil || !collective.Known(err) {
			err = errors.Join(err, closed)
		}
	} else {
		defer ranks.Abort(err) // which may end the process
	}
	if err == nil || errors.Is(err, errInterrupted) {
		return err
	}
	if collective.Told(err) {
		return errSaid
	}
	if !errors.As(err, new(*collective.Failure)) { // which names the rank
		err = fmt.Errorf("rank %d: %w", ranks.Rank(), err)
	}
	fmt.Fprintln(stderr, "convae:", oneLine(err))
	return errSaid
}

// inTurn calls f on rank 0, and when it has returned there on the others, which then find what it has downloaded.
func inTurn(ranks collective.Comm, f func() error) error {
	if ranks.Rank() == 0 {
		return collective.Check(ranks, f())
	}
	if err := collective.Check(ranks, nil); err != nil {
		return err
	}
	return f()
}

// deviceOf returns the device that a process opens: of several on a machine that leave the choice open, each takes the GPU of its number.
func deviceOf(name string, place collective.Launched) string {
	if place.Size == 1 || name != "auto" && name != "cuda" {
		return name
	}
	d, err := driver.System()
	if err != nil {
		return name
	}
	if gpus, err := d.Devices(); err == nil && len(gpus) > 0 {
		return fmt.Sprintf("cuda:%d", place.Local%len(gpus))
	}
	return name
}
