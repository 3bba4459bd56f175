package live

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/trainer"
)

// LogFile is the log of a run in its folder: a line of JSON for each event, as --log json prints them.
const LogFile = "log.jsonl"

const (
	logTail     = 256 << 10        // of it, bytes that are read
	silence     = 90 * time.Second // after which a run that leaves no news is not called a running one
	configMost  = 1 << 20          // bytes of a configuration that are shown
	historyMost = 256 << 20        // and of a history that are read
)

// State is what is known of a run's course.
type State string

// The states of runs besides those that are asked of a run of this process.
const (
	Finished State = "finished"
	Stopped  State = "stopped" // and saved
	Failed   State = "failed"
	Silent   State = "silent" // it neither ended nor leaves news
)

// Run is what is known of a run.
type Run struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	State     State     `json:"state"`
	Control   bool      `json:"control"` // it is of this process: it can be paused and stopped
	Model     string    `json:"model"`
	Device    string    `json:"device"`
	Precision string    `json:"precision"`
	Params    int       `json:"params"`
	Train     int       `json:"train"`
	Held      int       `json:"validation"`
	Epochs    int       `json:"epochs"` // that it is to have
	Epoch     int       `json:"epoch"`  // at hand
	Step      int       `json:"step"`   // of the epoch
	Steps     int       `json:"steps"`  // of an epoch
	Loss      float64   `json:"loss"`   // mean of the epoch so far; 0 until it is known
	Rate      float64   `json:"rate"`   // images a second; 0 until it is known
	Left      float64   `json:"left"`   // seconds
	Streamed  bool      `json:"streamed"`
	Waiting   float64   `json:"waiting"` // share of the time, for data
	Updated   time.Time `json:"updated"`
	Fault     string    `json:"fault,omitempty"` // what could not be read

	// In a run's details alone:
	History []trainer.Epoch `json:"history,omitempty"`
	Points  [][2]float64    `json:"points,omitempty"`  // epochs done, and loss, within epochs
	Samples []int           `json:"samples,omitempty"` // epochs that have a picture
	Latent  []int           `json:"latent,omitempty"`  // and codes
	Config  string          `json:"config,omitempty"`

	memory   trainer.Memory
	done     int     // optimiser steps
	seconds  float64 // of training
	waited   float64 // seconds, for data
	lastRate float64 // learning rate
	saved    time.Time
}

// folder reads a run's folder, again when something in it has changed.
type folder struct {
	dir   string
	stamp string
	run   Run
}

// refresh reads what is new, and reports whether something is.
func (f *folder) refresh(now time.Time) bool {
	stamp, updated := "", time.Time{}
	for _, name := range []string{"history.json", trainer.ConfigFile, LogFile, "samples", "latent", "checkpoints", trainer.ModelFile} {
		if info, err := os.Stat(filepath.Join(f.dir, name)); err == nil {
			stamp += fmt.Sprintf("%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
			if info.ModTime().After(updated) {
				updated = info.ModTime()
			}
		}
	}
	if stamp == f.stamp {
		if f.run.State == State(trainer.Running) && now.Sub(updated) > silence {
			f.run.State = Silent
			return true
		}
		return false
	}
	f.stamp = stamp
	f.run = Run{State: Silent, Updated: updated}
	f.read()
	if f.run.State == State(trainer.Running) && now.Sub(updated) > silence {
		f.run.State = Silent
	}
	return true
}

// read reads all of it. What cannot be read is said in Fault, and the rest is shown.
func (f *folder) read() {
	r := &f.run
	fault := func(err error) {
		if err != nil {
			r.addFault(err.Error())
		}
	}
	text, err := f.readSome(trainer.ConfigFile, configMost)
	fault(err)
	r.Config = string(text)
	if err != nil {
		// that is said
	} else if c, err := trainer.DecodeConfig(bytes.NewReader(text)); err != nil {
		fault(fmt.Errorf("%s: %w", filepath.Join(f.dir, trainer.ConfigFile), err))
	} else {
		r.Model, r.Epochs, r.Precision = c.Model.Name, c.Training.Epochs, c.Training.Precision
	}
	text, err = f.readSome(trainer.HistoryFile, historyMost)
	if err == nil {
		r.History, err = trainer.DecodeHistory(bytes.NewReader(text), filepath.Join(f.dir, trainer.HistoryFile))
	}
	fault(err)
	for i, e := range r.History {
		r.seconds += e.Seconds
		if i == len(r.History)-1 {
			r.Epoch, r.done, r.Rate, r.lastRate, r.Loss = e.Epoch, e.Step, e.Rate, e.LearningRate, e.Loss
		}
	}
	r.Samples, r.Latent, err = trainer.DrawnEpochs(f.dir)
	fault(err)
	if n := len(r.History); n > 0 && r.Epoch >= r.Epochs {
		r.State = Finished
	}
	if info, err := os.Stat(filepath.Join(f.dir, "checkpoints")); err == nil {
		r.saved = info.ModTime()
	}
	r.readLog(f.tail(logTail), filepath.Join(f.dir, LogFile))
}

// addFault says what else could not be read.
func (r *Run) addFault(text string) {
	if r.Fault != "" {
		r.Fault += "; "
	}
	r.Fault += text
}

// gone reports whether the folder is no run any more.
func (f *folder) gone() bool {
	_, err := os.Lstat(filepath.Join(f.dir, trainer.ConfigFile))
	return errors.Is(err, fs.ErrNotExist)
}

// open opens a file of the run: a regular one, to which no link leads out of the run's folder.
func (f *folder) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := regularfile.OpenIn(root, name)
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("%s: %w", filepath.Join(f.dir, name), path.Err)
	}
	return file, err
}

// logLine is what of a line of the log says how a run goes on.
type logLine struct {
	Message     string    `json:"message"`
	Time        time.Time `json:"time"`
	Device      string    `json:"device"`
	Params      int       `json:"params"`
	Train       int       `json:"train"`
	Validation  int       `json:"validation"`
	Precision   string    `json:"precision"`
	Epoch       int       `json:"epoch"`
	Step        int       `json:"step"`
	Steps       int       `json:"steps"`
	Loss        float64   `json:"loss"`
	Rate        float64   `json:"images_per_s"`
	Left        string    `json:"left"`
	Waits       *float64  `json:"waits_for_data"`
	Interrupted bool      `json:"interrupted"`
	Paused      bool      `json:"paused"`
	Error       string    `json:"error"`
}

// readLog takes from the log what the other files do not have. A run need not have one.
func (r *Run) readLog(text []byte, path string) {
	good, bad := 0, 0
	for line := range bytes.Lines(text) {
		var l logLine
		if json.Unmarshal(line, &l) != nil {
			bad++ // the first and the last may be a part of one
			continue
		}
		good++
		switch l.Message {
		case "device":
			r.Device = l.Device
		case "start":
			r.Params, r.Train, r.Held, r.Precision = l.Params, l.Train, l.Validation, l.Precision
			r.State, r.Epoch = State(trainer.Running), l.Epoch
			r.Points = nil
		case "training":
			r.Epoch, r.Step, r.Steps = l.Epoch, l.Step, l.Steps
			if l.Rate > 0 {
				r.Rate = l.Rate
			}
			if left, err := time.ParseDuration(l.Left); err == nil {
				r.Left = left.Seconds()
			}
			if l.Waits != nil {
				r.Streamed, r.Waiting = true, *l.Waits
			}
			r.State = State(trainer.Running)
			if l.Paused {
				r.State = State(trainer.Paused)
			}
			if l.Loss != 0 {
				r.Loss = l.Loss
				r.addPoint()
			}
		case "epoch":
			r.Epoch, r.Step = l.Epoch, r.Steps
		case "done":
			r.State, r.Left = Finished, 0
			if l.Interrupted {
				r.State = Stopped
			}
		case "failed":
			r.State = Failed
			r.addFault(l.Error)
		}
	}
	if good == 0 && bad > 1 {
		r.addFault(path + ": none of its lines is JSON as training writes it")
	}
}

const mostPoints = 2000

// addPoint remembers the loss of the moment. Of many points every second one is forgotten.
func (r *Run) addPoint() {
	if r.Steps == 0 {
		return
	}
	at := float64(r.Epoch-1) + float64(r.Step)/float64(r.Steps)
	if n := len(r.Points); n > 0 && r.Points[n-1][0] >= at {
		return
	}
	r.Points = append(r.Points, [2]float64{at, r.Loss})
	if len(r.Points) > mostPoints {
		kept := make([][2]float64, 0, mostPoints)
		for i := 0; i < len(r.Points); i += 2 {
			kept = append(kept, r.Points[i])
		}
		r.Points = kept
	}
}

// tail returns the end of the log, from the first line that begins in it on; none of one that cannot be read.
func (f *folder) tail(most int64) []byte {
	file, err := f.open(LogFile)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	from := max(info.Size()-most, 0)
	b := bufio.NewReader(io.NewSectionReader(file, from, most))
	if from > 0 {
		if _, err := b.ReadSlice('\n'); err != nil {
			return nil
		}
	}
	text, _ := io.ReadAll(b) // what has been read is shown
	return text
}

func (f *folder) readSome(name string, most int64) ([]byte, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, most))
}
