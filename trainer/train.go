package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/collective"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

// Options are the choices of Train that are not part of the configuration.
type Options struct {
	Dir    string // the run's folder: new or empty, or with Resume one that has a checkpoint
	Resume bool
	// New makes a folder that did not exist, also beside other processes that do so: Dir or, if that is taken, Dir-2 and so on.
	New bool
	// Continue resumes a run in Dir that has a checkpoint and else starts one, so that a job that is started again goes on.
	Continue bool
	Device   backend.Device
	// Train and Test are the data; Load makes them from a configuration.
	Train, Test *dataset.Set
	Observer    Observer // may be nil
	Control     *Control // may be nil
	// TensorBoard has the run write event files for TensorBoard in its folder. A run that has some goes on with them.
	TensorBoard bool
	// NoTensorBoard has a run that has such files write no more of them.
	NoTensorBoard bool
	// Ranks are the processes that train together, each of which calls Train with the same configuration; nil if there is one. Rank 0 alone writes
	// the run.
	Ranks collective.Comm
}

// Observer is told how a run goes on. Its calls return at once or training waits.
type Observer interface {
	// Start is called before the first step.
	Start(Start)
	// First is called after the first step.
	First(FirstStep)
	// Step is called a few times a second, and at the end of an epoch.
	Step(Step)
	// Epoch is called after each validation.
	Epoch(Epoch)
	// Drawn is called after Epoch, when files have been written of what the model makes of some validation samples.
	Drawn(Drawn)
	// Note reports something that a person should know, such as a damaged checkpoint that was passed over.
	Note(string)
}

// Start is what is known before the first step.
type Start struct {
	Dir                  string // the run's folder, which has its configuration
	Model                *nn.Model
	Memory               Memory
	Precision            backend.Precision
	Train, Validation    int // samples
	Images               bool
	Epoch, Offset, Steps int // where the run starts; Steps are those of an epoch
}

// FirstStep is what a run took until its device had done the first step.
type FirstStep struct {
	After     time.Duration // the call of Train
	Kernels   int           // that the device compiled meanwhile
	Compiling time.Duration // that this took
}

// Step is a moment of training.
type Step struct {
	Epoch, Step, Steps int           // of the epoch, from 1
	Loss               float64       // mean of the epoch a moment ago; NaN until it is known
	Rate               float64       // images a second that the device has done lately; 0 until it is known
	Left               time.Duration // of the run at that rate, with validations as long as those so far
	// Streamed says that samples are read as they are needed, and Waiting is the share of the time, lately, that training has waited for them.
	Streamed bool
	Waiting  float64
	Waited   time.Duration // for samples, since the last call
	Done     int           // optimiser steps of the run so far
	// Seconds are those of training, without validation and pauses, in the epoch so far.
	Seconds      float64
	LearningRate float64 // of the last step
	Paused       bool    // the run waits to be told to go on
}

// Drawn are files of a validated epoch. Of more than a hundred validated epochs a run keeps those of every second one, then of every fourth, and so on,
// and always those of the first and the last.
type Drawn struct {
	Epoch   int
	Samples string // PNG; "" if samples are no images
	Latent  string // a [Latent]; "" if the samples are large
}

// Result is how a run ended.
type Result struct {
	Dir         string // the run's folder
	Interrupted bool   // the context was cancelled; the run can be resumed
	StoppedAt   int    // epoch at which early stopping ended it, else 0
	BestAt      int    // epoch of the lowest validation loss
	History     []Epoch
	Selected    []int          // inputs that a concrete model selects
	Final       use.Evaluation // of the saved model on the validation images; none of an interrupted run
}

// session is a run at work.
type session struct {
	c      Config
	o      Options
	first  *FirstStep // nil once the observer knows of it
	began  time.Time
	m      *nn.Model
	t      *nn.Trainer
	net    *nn.Network
	eval   *use.Evaluator // of the validation data
	host   HostMemory
	p      progress
	batch  int     // samples of a step
	steps  int     // of an epoch
	loss   float64 // of the epoch, as last heard
	watch  watch
	load   *loader    // of a training set that is streamed, else nil
	direct *nn.Direct // by which the devices of several ranks are connected, if they are
	order  []int32
	leave  func()  // unlocks the folder
	latent *Latent // drawn last
	board  *board  // nil of a run without event files
	// What is to be done before the first step:
	unsaved bool                 // write a checkpoint
	loaded  []safetensors.Tensor // go on from these, of a checkpoint; nil in a new run
}

// Train runs a configuration to its end, or until ctx is cancelled: then it ends after the step at hand and saves. All
// files of the run are whole at every moment. Of several ranks all end when the context of one is cancelled.
func Train(ctx context.Context, c Config, o Options) (Result, error) {
	if o.Observer == nil {
		o.Observer = silent{}
	}
	ctx, ended := o.Control.attach(ctx, o.Ranks != nil)
	defer ended()
	s := &session{c: c, o: o, began: time.Now()}
	if err := s.open(ctx); err != nil {
		return Result{}, err
	}
	defer func() { s.leave() }()
	defer s.close()
	defer s.watchRanks()()
	interrupted, stopped, err := s.loop(ctx)
	if err == nil {
		err = s.keepFolder()
	}
	if err != nil {
		return Result{}, s.cause(err)
	}
	return s.finish(ctx, interrupted, stopped)
}

// open takes what training needs and begins the run, or goes on with it.
func (s *session) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	options, err := s.plan()
	if err = s.check(err); err != nil {
		return err
	}
	if err = s.check(s.alike(&options)); err != nil {
		return err
	}
	if err = s.check(s.connect(&options)); err != nil {
		return err
	}
	if s.c.Training.Init != "" {
		if err = s.check(s.shareWeights()); err != nil {
			return err
		}
	}
	if err = s.check(s.prepare(options)); err != nil {
		return err
	}
	s.leave = func() {}
	if s.writes() {
		err = s.enter(ctx)
	}
	if err = s.check(err); err != nil {
		return err
	}
	if err = s.check(s.spread()); err == nil {
		err = s.begin(ctx)
	}
	if err == nil && s.writes() {
		err = s.openBoard()
	}
	if err != nil {
		s.leave()
	}
	return err
}

// plan checks the configuration and makes of it the options of a trainer.
func (s *session) plan() (options nn.TrainerOptions, err error) {
	if err = s.c.Check(); err != nil {
		return options, err
	}
	if err = s.c.Data.makeAbsolute(); err != nil {
		return options, err
	}
	if s.m, err = s.newModel(); err != nil {
		return options, err
	}
	if sc := &s.c.Training.Schedule; sc.Name == "cosine" && sc.Epochs == 0 {
		sc.Epochs = float64(s.c.Training.Epochs)
	}
	if t := &s.c.Training.Temperature; s.m.Concrete() && t.Epochs == 0 {
		t.Epochs = float64(s.c.Training.Epochs)
	}
	tr := s.c.Training
	if err := use.CheckSet(s.m, tr.Loss, s.o.Train); err != nil {
		return options, err
	}
	if err := s.c.CheckValidation(s.m, s.o.Test); err != nil {
		return options, fmt.Errorf("validation: %w", err)
	}
	s.batch = tr.StepSamples(s.o.Train.Len())
	if options, err = tr.Options(s.o.Train.Len()); err != nil {
		return options, err
	}
	s.world(&options)
	if options, s.host, err = planRun(s.m, s.o.Device, options, s.o.Train, s.o.Test); err != nil {
		return options, err
	}
	s.p = progress{Epoch: 1, Data: dataDigest(s.o.Train)}
	s.p.Configuration, err = configText(s.c)
	return options, err
}

// prepare takes the memory that training needs; nothing is written.
func (s *session) prepare(options nn.TrainerOptions) (err error) {
	tr := s.c.Training
	if s.t, err = nn.NewTrainer(s.m, s.o.Device, options); err != nil {
		return err
	}
	s.first = new(FirstStep)
	s.first.Kernels, s.first.Compiling = s.t.Compiled()
	if o := tr.Optimizer; o.Name == "adadelta" && o.LearningRate < 0.1 {
		s.o.Observer.Note(fmt.Sprintf("adadelta with a learning rate of %v hardly moves: published runs have 1, its default here", o.LearningRate))
	}
	if how := s.t.Reduces(); how != "" {
		s.o.Observer.Note(fmt.Sprintf("the gradients of %d devices are summed %s", s.t.Options().World.Devices, how))
	}
	s.net = s.t.Network()
	if s.o.Train.Streamed() {
		s.load = newLoader(s.o.Train, tr.Seed, s.batch, tr.Epochs, s.t.Share)
		err = s.t.SetSource(s.load, s.o.Train.Len())
	} else if s.o.Train.HasPixels() {
		err = s.t.SetData(s.o.Train.Pixels, s.o.Train.Len())
	} else {
		err = s.t.SetValues(s.o.Train.Values, s.o.Train.Len())
	}
	if err != nil {
		return err
	}
	if s.eval, err = use.NewEvaluator(s.net, s.o.Test, tr.Loss); err != nil {
		return err
	}
	s.eval.Ranks = s.o.Ranks
	s.order = make([]int32, s.o.Train.Len())
	s.steps = (len(s.order) + s.batch - 1) / s.batch
	s.p.Perceptual, s.p.Devices = s.t.PerceptualDigest(), s.t.Options().World.Devices
	return nil
}

// close gives back what open took.
func (s *session) close() {
	s.board.close()
	if s.load != nil {
		s.load.close()
	}
	if s.eval != nil {
		s.eval.Close()
	}
	if s.t != nil {
		s.net.Close()
		s.t.Close()
	}
	if s.direct != nil {
		s.direct.Close() // what was to be known of it is
	}
}

// loop trains epoch after epoch.
func (s *session) loop(ctx context.Context) (interrupted, stopped bool, err error) {
	s.o.Observer.Start(Start{Dir: s.o.Dir, Model: s.m, Memory: s.memory(), Precision: s.t.Options().Precision, Train: s.o.Train.Len(), Validation: s.o.Test.Len(), Images: s.o.Test.Images(), Epoch: s.p.Epoch, Offset: s.p.Offset, Steps: s.steps})
	for s.p.Epoch <= s.c.Training.Epochs && !s.patienceLost() {
		done, err := s.epoch(ctx)
		if err == nil {
			err = s.keepFolder()
		}
		if err != nil {
			return false, false, err
		}
		if !done {
			return true, false, s.checkpoint(ctx)
		}
		ended := time.Now()
		due := s.due(s.p.Epoch)
		if due {
			stop, err := s.stops(ctx)
			if err != nil {
				return false, false, err
			}
			if !stop {
				err = s.validate(s.patient(ctx))
			}
			if stop || err != nil {
				if stop || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
					return true, false, s.checkpoint(ctx) // the run goes on with the validation
				}
				return false, false, err
			}
		}
		s.t.ResetLoss()
		s.p.Epoch++
		s.p.Offset, s.p.Seconds = 0, 0
		if !due {
			continue
		}
		if err := s.checkpoint(ctx); err != nil {
			return false, false, err
		}
		if s.writes() {
			if err := writeHistory(s.o.Dir, s.p.History); err != nil {
				return false, false, err
			}
		}
		s.watch.between += time.Since(ended)
		s.watch.validations++
	}
	return false, s.p.Epoch <= s.c.Training.Epochs, nil
}

// due reports whether an epoch ends with a validation.
func (s *session) due(epoch int) bool {
	return epoch%s.c.Training.Validation == 0 || epoch == s.c.Training.Epochs
}

// epoch trains on the rest of the epoch at hand. done is false if the context ended it.
func (s *session) epoch(ctx context.Context) (done bool, err error) {
	due := s.due(s.p.Epoch)
	if due && !s.due(s.p.Epoch-1) {
		// What the device has still to do of the epoch before is no time of this one.
		if err := s.t.Wait(); err != nil {
			return false, err
		}
	}
	s.shuffle()
	s.loss = math.NaN()
	s.watch.start(s.p.Offset)
	for s.p.Offset < len(s.order) {
		if err := s.hold(ctx); err != nil {
			return false, err
		}
		stop, err := s.stops(ctx)
		if err != nil {
			return false, err
		}
		if stop {
			return false, s.pause()
		}
		s.step()
		if s.load != nil && s.load.failed() {
			return false, s.t.Wait()
		}
		if err := s.reportFirst(); err != nil {
			return false, err
		}
		if err := s.look(ctx); err != nil {
			return false, err
		}
		if k := s.c.Training.Checkpoint; k > 0 && s.t.Steps()%k == 0 && s.p.Offset < len(s.order) {
			if err := s.pause(); err != nil {
				return false, err
			}
			if err := s.keepFolder(); err != nil {
				return false, err
			}
			if err := s.checkpoint(ctx); err != nil {
				return false, err
			}
			s.watch.start(s.p.Offset)
		}
	}
	if due {
		if err := s.pause(); err != nil {
			return false, err
		}
		if s.loss, err = s.t.Loss(); err != nil {
			return false, err
		}
	}
	s.report(false)
	if note := s.o.Train.Unreadable(); note != "" {
		s.o.Observer.Note(note)
	}
	return true, nil
}

// shuffle draws the order of the epoch at hand.
func (s *session) shuffle() {
	shuffled(s.order, s.c.Training.Seed, s.p.Epoch)
	s.t.SetOrder(s.order)
	if s.load != nil {
		s.load.begin(s.p.Epoch)
	}
}

// step trains on the next samples of the epoch.
func (s *session) step() {
	n := min(s.batch, len(s.order)-s.p.Offset)
	s.setRates()
	s.t.Step(s.p.Offset, n, s.draw())
	s.p.Offset += n
}

// reportFirst tells the observer of the first step, once.
func (s *session) reportFirst() error {
	f := s.first
	if f == nil {
		return nil
	}
	if err := s.pause(); err != nil {
		return err
	}
	s.watch.rate = 0 // it is not that of the steps to come
	kernels, compiling := s.t.Compiled()
	s.o.Observer.First(FirstStep{After: time.Since(s.began), Kernels: kernels - f.Kernels, Compiling: compiling - f.Compiling})
	s.first = nil
	return nil
}

// draw chooses the noise of the epoch at hand.
func (s *session) draw() uint32 {
	if s.c.Training.Noise.Fresh || len(s.c.Training.Corruption) > 0 {
		return uint32(s.p.Epoch)
	}
	return 0
}

// validate ends an epoch: its loss, the validation metrics, the best model.
func (s *session) validate(ctx context.Context) error {
	tr := s.c.Training
	if !finite(s.loss) {
		return s.diverged(ctx)
	}
	if len(s.p.History) == 0 { // should the first validation fail, the epoch is not lost
		if err := s.checkpoint(ctx); err != nil {
			return err
		}
	}
	if err := s.board.inspect(s.t); err != nil {
		return err
	}
	s.t.Average(true)
	v, err := s.eval.Evaluate(ctx, tr.Corrupted(), tr.Seed, false)
	if err != nil {
		return err
	}
	e := Epoch{Epoch: s.p.Epoch, Step: s.t.Steps(), Loss: s.loss, LearningRate: s.t.LearningRate(),
		Seconds: s.p.Seconds, Rate: float64(len(s.order)) / s.p.Seconds, Precision: tr.Precision, ValActive: v.Code.Active, ValPerplexity: v.Code.Perplexity, Changes: strings.Join(s.p.Changes, "; ")}
	e.setValidation(v.Output)
	e.ValKL, e.ValLoss = v.Drawn.Divergence, tr.LossOf(v, s.m.Output.Len())
	if !finite(e.ValLoss) {
		return s.diverged(ctx)
	}
	if best := s.p.BestAt == 0 || e.ValLoss < s.p.Best; best && tr.KeepBest {
		if err := s.save(ctx, bestFile); err != nil {
			return err
		}
	}
	s.p.add(e, tr)
	s.o.Observer.Epoch(e)
	if err := s.board.epoch(e, v, s); err != nil {
		return err
	}
	if s.writes() {
		if err := s.show(); err != nil {
			return err
		}
	}
	return s.follow()
}

// add books a validated epoch.
func (p *progress) add(e Epoch, tr Training) {
	p.History, p.Changes = append(p.History, e), nil
	p.plateau(tr.Schedule, e)
	if p.BestAt == 0 || e.ValLoss < p.Best {
		p.Best, p.BestAt = e.ValLoss, e.Epoch
	}
	if es := tr.EarlyStopping; es != nil && (p.LastGain == 0 || e.ValLoss < p.GainLoss-es.MinDelta) {
		p.GainLoss, p.LastGain = e.ValLoss, e.Epoch
	}
}

// patienceLost reports that early stopping ends the run.
func (s *session) patienceLost() bool {
	es := s.c.Training.EarlyStopping
	last := s.p.Epoch - 1
	return es != nil && s.p.LastGain > 0 && last%s.c.Training.Validation == 0 && last-s.p.LastGain >= es.Patience
}

// save writes the weights as they are. The device has done all steps.
func (s *session) save(ctx context.Context, name string) error {
	if err := s.t.Pull(); err != nil {
		return err
	}
	if _, ok := notFinite(s.m.Tensors()); ok {
		return s.diverged(ctx)
	}
	if !s.writes() {
		return nil
	}
	return SaveModelAs(filepath.Join(s.o.Dir, name), s.m, s.c)
}

// checkpoint writes all that the run is. The device has done all steps.
func (s *session) checkpoint(ctx context.Context) error {
	tensors, err := s.t.State()
	if err != nil {
		return err
	}
	if s.p.Loss, err = s.t.Loss(); err != nil {
		return err
	}
	if _, ok := notFinite(tensors); ok { // the sum of losses is one of them
		return s.diverged(ctx)
	}
	if !s.writes() {
		return nil
	}
	return writeCheckpoint(s.o.Dir, s.t.Steps(), checkpoint{Progress: s.p, Tensors: tensors})
}

// finish writes the model and the curves and, unless the run was interrupted, measures the model and draws what it makes.
func (s *session) finish(ctx context.Context, interrupted, stopped bool) (Result, error) {
	r := Result{Dir: s.o.Dir, Interrupted: interrupted, BestAt: s.p.BestAt, History: s.p.History}
	if stopped {
		r.StoppedAt = s.p.Epoch - 1
	}
	s.t.Average(true)
	if err := s.t.Pull(); err != nil {
		return r, err
	}
	if s.c.Training.KeepBest && !interrupted {
		if err := s.takeBest(); err != nil {
			return r, err
		}
	}
	r.Selected = s.m.Selected()
	if s.writes() {
		if err := s.writeModel(); err != nil {
			return r, err
		}
	}
	if interrupted {
		return r, nil
	}
	var err error
	tr := s.c.Training
	r.Final, err = s.eval.Evaluate(s.patient(ctx), tr.Corrupted(), tr.Seed, true)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		r.Interrupted = true // what is left to do is done by a resume
		return r, nil
	}
	if err != nil || !s.writes() {
		return r, err
	}
	if s.o.Test.Images() {
		if err := writeSamples(filepath.Join(s.o.Dir, SamplesFile), s.net, s.o.Test, tr.Corrupted(), tr.Seed); err != nil {
			return r, err
		}
	}
	return r, nil
}

// takeBest goes back to the weights of the best epoch.
func (s *session) takeBest() error {
	if s.writes() {
		if err := LoadWeights(filepath.Join(s.o.Dir, bestFile), s.m); err != nil {
			return err
		}
	}
	if err := s.shareWeights(); err != nil {
		return err
	}
	s.t.Push()
	return nil
}

// writeModel writes the model and the curves.
func (s *session) writeModel() error {
	if err := SaveModelAs(filepath.Join(s.o.Dir, ModelFile), s.m, s.c); err != nil {
		return err
	}
	if len(s.p.History) == 0 {
		return nil
	}
	training, validation := LossCurves(s.p.History)
	return WriteLossCurves(filepath.Join(s.o.Dir, LossFile), training, validation)
}

// silent is an Observer that says nothing.
type silent struct{}

func (silent) Start(Start)     {}
func (silent) First(FirstStep) {}
func (silent) Step(Step)       {}
func (silent) Epoch(Epoch)     {}
func (silent) Drawn(Drawn)     {}
func (silent) Note(string)     {}
