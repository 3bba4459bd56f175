package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/live"
)

// runLog writes the log of a run to a file in its folder, in JSON whatever is printed, for the live page and for later.
type runLog struct {
	progress
	file *logFile
}

// stepsLogged is the size of a log from which on it has no lines of steps.
const stepsLogged = 4 << 20

func newRunLog() *runLog {
	f := &logFile{}
	return &runLog{progress: progress{out: io.Discard, log: jsonLog(f)}, file: f}
}

// Start opens the file: of a run that goes on it has lines already.
func (r *runLog) Start(s trainer.Start) {
	r.file.open(filepath.Join(s.Dir, live.LogFile))
	r.progress.Start(s)
}

func (r *runLog) Step(s trainer.Step) {
	if r.file.size < stepsLogged || s.Paused {
		r.progress.Step(s)
	}
}

// close ends the log with the error of the run, if there is one, and returns why it is not whole, if it is not.
func (r *runLog) close(failure error) error {
	if failure != nil {
		r.log.Error().Str("error", oneLine(failure)).Msg("failed")
	}
	return r.file.close()
}

// logFile keeps lines until it is known where they go.
type logFile struct {
	path  string
	early []byte
	f     *os.File
	size  int64
	err   error // the first
}

func (l *logFile) open(path string) {
	l.path = path
	l.f, l.err = openLog(path)
	if l.err != nil {
		return
	}
	if info, err := l.f.Stat(); err == nil {
		l.size = info.Size()
	}
	_, _ = l.Write(l.early)
	l.early = nil
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
}

// reopen begins the file again if it was removed, as soon as the run's folder is there again.
func (l *logFile) reopen() {
	if _, err := os.Stat(l.path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if f, err := openLog(l.path); err == nil {
		_ = l.f.Close() // nobody can read it
		l.f, l.size = f, 0
	}
}

// Write takes all: that a log cannot be written is told at the end and is no reason to end a run.
func (l *logFile) Write(line []byte) (int, error) {
	switch {
	case l.err != nil:
	case l.f == nil:
		l.early = append(l.early, line...)
	default:
		l.reopen()
		var n int
		n, l.err = l.f.Write(line)
		l.size += int64(n)
	}
	return len(line), nil
}

func (l *logFile) close() error {
	if l.f != nil {
		l.err = errors.Join(l.err, l.f.Close())
	}
	if l.err != nil {
		return fmt.Errorf("the run's log is not whole: %w", l.err)
	}
	return nil
}
