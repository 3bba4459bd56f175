package live

import (
	"encoding/json"
	"math"
	"sync"
	"time"

	"github.com/convae/convae/trainer"
)

// stepEvery is how often browsers hear of steps.
const stepEvery = 300 * time.Millisecond

// observer hears of a run in this process. What it has heard goes over what is in the run's folder.
type observer struct {
	server  *Server
	control *trainer.Control

	mu     sync.Mutex
	id     string // "" before the run has a folder
	now    Run
	before float64 // seconds of training in epochs before that at hand
	sent   time.Time
}

// Observer returns what is to be told of a run of this process, which the control pauses and stops.
func (s *Server) Observer(device string, c *trainer.Control) trainer.Observer {
	return &observer{server: s, control: c, now: Run{Device: device}}
}

func (o *observer) Start(s trainer.Start) {
	o.mu.Lock()
	o.now.Model, o.now.Params, o.now.Train, o.now.Held = s.Model.Config.Name, s.Model.Size(), s.Train, s.Validation
	o.now.Precision, o.now.Epoch, o.now.Steps, o.now.memory = s.Precision.String(), s.Epoch, s.Steps, s.Memory
	o.mu.Unlock()
	id := o.server.add(s.Dir, o)
	o.mu.Lock()
	o.id = id
	o.mu.Unlock()
	o.server.changed(id)
}

func (o *observer) First(trainer.FirstStep) {}

func (o *observer) Step(s trainer.Step) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &o.now
	paused := r.State == State(trainer.Paused)
	r.State = State(trainer.Running)
	if s.Paused {
		r.State = State(trainer.Paused)
	}
	r.Epoch, r.Step, r.Steps, r.Rate, r.Left = s.Epoch, s.Step, s.Steps, known(s.Rate), s.Left.Seconds()
	r.Streamed, r.Waiting, r.done, r.lastRate, r.Updated = s.Streamed, known(s.Waiting), s.Done, s.LearningRate, time.Now()
	r.waited += s.Waited.Seconds()
	r.seconds = o.before + s.Seconds
	if !math.IsNaN(s.Loss) && !math.IsInf(s.Loss, 0) {
		r.Loss = s.Loss
		r.addPoint()
	}
	if now := time.Now(); now.Sub(o.sent) >= stepEvery || s.Paused != paused {
		o.sent = now
		o.server.hub.send("step", encode(o.brief()))
	}
}

// brief is what browsers hear of steps. The caller has locked.
func (o *observer) brief() Run {
	r := o.now
	r.ID, r.Control = o.id, true
	if state := o.control.State(); state == trainer.Stopping || state == trainer.Ended {
		r.State = State(state)
	}
	if n := len(r.Points); n > 0 {
		r.Points = r.Points[n-1:]
	}
	return r
}

func (o *observer) Epoch(e trainer.Epoch) {
	o.mu.Lock()
	o.before += e.Seconds
	o.now.seconds = o.before
	o.mu.Unlock()
}

// Drawn comes before the epoch is in the files of the history; the folder's change is seen a moment later.
func (o *observer) Drawn(trainer.Drawn) {}

func (o *observer) Note(string) {}

// over lays what was heard over what the folder has.
func (o *observer) over(r *Run) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := o.control.State()
	if state == trainer.Ended {
		return // the folder tells how
	}
	n := &o.now
	r.Control, r.State, r.Device, r.Precision, r.Params, r.Train, r.Held = true, n.State, n.Device, n.Precision, n.Params, n.Train, n.Held
	if r.State == "" || state == trainer.Stopping {
		r.State = State(state)
	}
	r.Epoch, r.Step, r.Steps, r.Loss, r.Rate, r.Left = n.Epoch, n.Step, n.Steps, n.Loss, n.Rate, n.Left
	r.Streamed, r.Waiting, r.Updated, r.memory = n.Streamed, n.Waiting, n.Updated, n.memory
	r.waited, r.lastRate = n.waited, n.lastRate
	if n.done > 0 {
		r.done, r.seconds = n.done, n.seconds
	}
	r.Points = append([][2]float64(nil), n.Points...)
}

// known returns a number that JSON has, or 0 for one that is not known.
func known(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// encode makes JSON of what is known to have it.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("live: a value without JSON")
	}
	return text
}
