package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/collective"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/live"
)

// slowCPU is how many multiply-adds a second make a CPU a slow one: the preset's trillion and a half then take four minutes.
const slowCPU = 6e9

// isSlow reports whether a device would need long for the whole preset: it is the simulator, or a CPU that turns out to be slow.
func isSlow(dev backend.Device) bool {
	return dev.Name() == "sim" || dev.Name() == "cpu" && simd.Speed()*float64(len(dev.Lanes())) < slowCPU
}

// firstLook cuts down what `convae train` does on a slow device when it is given no configuration, data, epochs or batch: to a part of the built-in digits,
// and small batches, which make more steps of few images. Else it is the preset, which takes well under a minute on two cores with AVX2 or AVX-512.
func firstLook(c *trainer.Config) {
	c.Training.Epochs, c.Training.Batch, c.Data.Limit = 3, 32, 4000
}

// slowTest is how many images a first look on a slow device validates on.
const slowTest = 500

type trainFlags struct {
	placeFlags
	data, device, out, resume, log string
	init                           string
	rate                           rateFlags
	optimizer, precision           string
	loss                           nn.Loss
	epochs, limit, patience, steps int
	batch                          trainer.Batch
	lr, noise, validation          float64
	seed                           uint64
	fresh, keepBest, goOn, board   bool
	settings                       []string
	accumulate                     int
	schedule                       string
	launcher                       string
	timeout                        time.Duration
	warmup, clipNorm               float64
	serve                          serveFlags
}

func trainCommand() *cobra.Command {
	var f trainFlags
	c := &cobra.Command{
		Use:   "train [PRESET | CONFIG.yaml]",
		Short: "Train a model",
		Long: `Train a model: a preset (` + strings.Join(trainer.Presets(), ", ") + `; the first is the default;
see convae presets) or a configuration file, of YAML or JSON.

Without arguments it trains the preset denoiser, on the built-in digits, in under a minute on two cores. Flags
override the configuration. Ctrl-C ends after the step at hand and saves; --resume RUN goes on, also with other
flags: what the weights allow may be changed, and the run's history tells it.`,
		Args:        arguments(0, 1),
		Annotations: map[string]string{savesState: "true"},
		RunE:        func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	fs := c.Flags()
	fs.StringVar(&f.data, "data", "", dataHelp)
	f.addPlace(fs)
	fs.IntVar(&f.limit, "limit", 0, "train on the first samples only, and validate on as many at the most (0: all)")
	within(fs, "limit", 0, 1e9)
	fs.Float64Var(&f.validation, "validation", 0, "share of the training samples to validate on (0: the test set)")
	within(fs, "validation", 0, 0.9)
	fs.IntVar(&f.epochs, "epochs", 0, "passes over the training samples")
	within(fs, "epochs", 1, 1e6)
	fs.Var(&f.batch, "batch", "samples of an optimiser step, or full for all training samples")
	fs.StringArrayVar(&f.settings, "set", nil, "change any value of the configuration: PATH=VALUE, as training.optimizer.name=sgd or model.encoder.1.dense.units=16; may be repeated")
	fs.Var(&f.loss, "loss", strings.Join(nn.LossNames(), ", ")+"; --set training.loss takes weights of several")
	precisionFlag(fs, &f.precision)
	fs.StringVar(&f.optimizer, "optimizer", "", strings.Join(nn.OptimizerNames(), ", ")+", with its default constants")
	fs.Float64Var(&f.lr, "learning-rate", 0, "learning rate of the optimiser")
	above(fs, "learning-rate", 0, 1e6)
	fs.IntVar(&f.accumulate, "accumulate", 0, "batches whose gradients make one step")
	within(fs, "accumulate", 1, 1<<20)
	fs.StringVar(&f.schedule, "schedule", "", "of the learning rate: constant, cosine or plateau (others in a configuration)")
	fs.Float64Var(&f.warmup, "warmup", 0, "epochs in which the learning rate rises from 0")
	within(fs, "warmup", 0, 1e6)
	fs.Float64Var(&f.clipNorm, "clip-norm", 0, "largest norm of the gradient (0: any)")
	within(fs, "clip-norm", 0, 1e9)
	fs.Float64Var(&f.noise, "noise", 0, "standard deviation of the noise on the inputs")
	within(fs, "noise", 0, maxStd)
	fs.BoolVar(&f.fresh, "fresh-noise", false, "draw the noise afresh in every epoch")
	fs.Uint64Var(&f.seed, "seed", 0, "seed of weights, order and noise")
	fs.StringVar(&f.init, "init", "", "begin with the weights of this run or .safetensors, all that fit the model, instead of drawn ones (other libraries': convae import)")
	fs.IntVar(&f.patience, "patience", 0, "stop when the validation loss has not fallen for so many epochs (0: never)")
	within(fs, "patience", 0, 1e6)
	fs.BoolVar(&f.keepBest, "keep-best", false, "keep the weights of the epoch with the lowest validation loss")
	fs.IntVar(&f.steps, "checkpoint-steps", 0, "steps between checkpoints (0: one an epoch)")
	within(fs, "checkpoint-steps", 0, 1e9)
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	fs.StringVar(&f.out, "out", "", "folder of the run (default runs/MODEL-DATE-TIME)")
	fs.StringVar(&f.resume, "resume", "", "go on with the run in this folder")
	fs.BoolVar(&f.goOn, "continue", false, "go on with the run in --out if it has a checkpoint, else start it: for jobs that may be started again")
	fs.BoolVar(&f.board, "tensorboard", false, "write event files for TensorBoard to the run's folder tensorboard; a run that has some goes on with them unless it is =false")
	f.rate.flags(fs)
	fs.StringVar(&f.launcher, "launcher", "auto", "what has started several processes: mpi (mpirun, srun), env (torchrun or RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT), none, or auto for what the environment says")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "longest wait for another process")
	fs.StringVar(&f.serve.address, "serve", "", "show the run in a browser while it trains, and metrics at /metrics: "+addressHelp)
	f.serve.addToken(fs)
	logFlag(c, &f.log)
	return c
}

// run trains, in this process alone or with those that were started with it.
func (f *trainFlags) run(c *cobra.Command, args []string) error {
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout is %v, want more than 0, as 10m", f.timeout)
	}
	ranks, place, err := collective.Join(c.Context(), collective.Options{Launcher: f.launcher, Timeout: f.timeout})
	if err != nil {
		return err
	}
	if ranks == nil {
		return f.train(c, args, nil, place)
	}
	return together(ranks, c.ErrOrStderr(), func() error { return f.train(c, args, ranks, place) })
}

// begin is what is done before training: it reads the configuration, opens the device and reads the data.
func (f *trainFlags) begin(c *cobra.Command, args []string, ui *progress, ranks collective.Comm, place collective.Launched) (r *training, err error) {
	r = new(training)
	if r.cfg, r.quick, err = f.config(c, args); err != nil {
		return nil, err
	}
	if dir := cmp.Or(f.resume, f.out); dir != "" && place.Rank == 0 { // not after all the data has been read
		if err := trainer.CheckUnused(dir); err != nil {
			return nil, err
		}
	}
	if r.dev, r.reason, err = openDevice(deviceOf(f.device, place)); err != nil {
		return nil, err
	}
	ui.device(deviceText(r.dev), r.reason)
	if r.slow = r.quick && isSlow(r.dev); r.slow {
		firstLook(&r.cfg)
	}
	load := func() (err error) {
		r.train, r.test, err = trainer.LoadData(c.Context(), &r.cfg.Data, ui.loading)
		return err
	}
	if ranks != nil && r.cfg.Data.Downloaded() {
		err = inTurn(ranks, load)
	} else {
		err = load()
	}
	if err != nil {
		return nil, errors.Join(err, r.dev.Close())
	}
	return r, nil
}

// training is what a run begins with.
type training struct {
	cfg         trainer.Config
	quick, slow bool // it is a first look; and on a slow device
	dev         backend.Device
	reason      string // why auto chose it
	train, test *dataset.Set
}

func (f *trainFlags) train(c *cobra.Command, args []string, ranks collective.Comm, place collective.Launched) error {
	out, errs := c.OutOrStdout(), c.ErrOrStderr()
	if place.Rank > 0 {
		out, errs = io.Discard, io.Discard
	}
	ui, err := newProgress(f.log, out, errs)
	if err != nil {
		return err
	}
	defer frugalHeap()()
	var served *page
	if f.serve.address != "" && place.Rank == 0 {
		served, err = f.serve.listen()
	}
	if ranks != nil {
		err = collective.Check(ranks, err)
	}
	if err != nil {
		return err
	}
	if served != nil {
		defer func() {
			if err := served.close(); err != nil {
				ui.Note(err.Error())
			}
		}()
	}
	r, err := f.begin(c, args, ui, ranks, place)
	if ranks != nil {
		err = collective.Check(ranks, err)
	}
	if err != nil {
		return err
	}
	defer r.dev.Close()
	defer r.train.Close()
	defer r.test.Close()
	if r.train.Classes != nil {
		ui.say("labels of the training samples: " + labelText(r.train))
	}
	if r.slow {
		r.test = r.test.Slice(0, slowTest)
		ui.say(fmt.Sprintf("this device is slow, so this is only a first look, at %d of the built-in digits in batches of %v for %d epochs; `convae train denoiser` trains the whole preset", r.train.Len(), r.cfg.Training.Batch, r.cfg.Training.Epochs))
	}
	if ranks != nil {
		ui.say(fmt.Sprintf("%d processes train together", place.Size))
	}
	if f.rate.picture != "" {
		return f.rate.find(c, r, ranks, ui)
	}
	dir := cmp.Or(f.resume, f.out, runDir(r.cfg.Model.Name, time.Now()))
	o := trainer.Options{Dir: dir, New: f.resume == "" && f.out == "", Resume: f.resume != "", Continue: f.goOn,
		Device: r.dev, Train: r.train, Test: r.test, Observer: heldToPlan{ui, r.dev}, TensorBoard: f.board, NoTensorBoard: c.Flags().Changed("tensorboard") && !f.board, Ranks: ranks}
	if place.Rank > 0 {
		result, err := trainer.Train(c.Context(), r.cfg, o)
		if err == nil && result.Interrupted {
			err = errInterrupted
		}
		return err
	}
	return f.observed(c.Context(), r, o, ui, served)
}

// observed trains and tells of it: a person, the log in the run's folder and, if it is served, the page.
func (f *trainFlags) observed(ctx context.Context, r *training, o trainer.Options, ui *progress, served *page) (err error) {
	log := newRunLog()
	log.device(deviceText(r.dev), r.reason)
	observers := trainer.Observers{o.Observer, log}
	if served != nil {
		o.Control = new(trainer.Control)
		if err := served.serve(live.Options{}); err != nil {
			return err
		}
		observers = append(observers, served.Observer(deviceText(r.dev), o.Control))
		ui.page(served)
	}
	o.Observer = observers
	defer func() {
		failure := err
		if errors.Is(err, errInterrupted) {
			failure = nil
		}
		if e := log.close(failure); e != nil {
			ui.Note(e.Error())
		}
	}()
	start := time.Now()
	defer context.AfterFunc(ctx, ui.interrupted)()
	result, err := trainer.Train(ctx, r.cfg, o)
	if err != nil {
		ui.stop()
		return err
	}
	ui.result(result.Dir, r.cfg, result, time.Since(start))
	log.result(result.Dir, r.cfg, result, time.Since(start))
	if result.Interrupted {
		return errInterrupted
	}
	return nil
}

// config reads the configuration and lets flags override it.
func (f *trainFlags) config(c *cobra.Command, args []string) (cfg trainer.Config, quick bool, err error) {
	set := c.Flags().Changed
	if err := f.rate.check(set); err != nil {
		return cfg, false, err
	}
	changes := []trainer.Change{f.changeData(set)} // what the data set is decides which settings suit it
	for _, s := range f.settings {
		changes = append(changes, trainer.Set(s))
	}
	switch {
	case f.resume != "" && len(args) > 0:
		return cfg, false, fmt.Errorf("--resume takes the configuration from the run: leave out %q", args[0])
	case f.resume != "" && f.out != "":
		return cfg, false, fmt.Errorf("--resume writes to the run's own folder: leave out --out")
	case f.resume != "" && f.init != "":
		return cfg, false, fmt.Errorf("--resume goes on with the weights of the run: leave out --init")
	case f.rate.picture != "" && (f.resume != "" || f.out != "" || f.goOn || f.board || f.serve.address != ""):
		return cfg, false, fmt.Errorf("--find-rate trains no run: leave out --out, --resume, --continue, --tensorboard and --serve (--init RUN begins with the weights of a run)")
	case f.serve.address == "" && f.serve.tokenFile != "":
		return cfg, false, fmt.Errorf("--token-file is for the page of --serve: want --serve ADDRESS too, as :8080")
	case f.goOn && f.out == "":
		return cfg, false, fmt.Errorf("--continue needs the folder of the run: --out RUN")
	case f.resume != "":
		cfg, err = trainer.ReadConfig(filepath.Join(f.resume, trainer.ConfigFile), changes...)
	case len(args) > 0 && hasEnding(args[0], configEndings...):
		cfg, err = trainer.ReadConfig(args[0], changes...)
	case len(args) > 0:
		cfg, err = trainer.Preset(args[0], changes...)
	default:
		cfg, err = trainer.Preset(trainer.DefaultPreset, changes...)
		quick = f.settings == nil && !set("data") && !set("data-dir") && !set("epochs") && !set("limit") && !set("batch")
	}
	if err != nil {
		return cfg, false, err
	}
	t := &cfg.Training
	if set("optimizer") {
		t.Optimizer = nn.Optimizer{Name: f.optimizer}
	}
	override(set("limit"), &cfg.Data.Limit, f.limit)
	override(set("limit"), &cfg.Data.ValidationLimit, f.limit)
	override(set("validation"), &cfg.Data.Validation, f.validation)
	override(set("epochs"), &t.Epochs, f.epochs)
	override(set("batch"), &t.Batch, f.batch)
	override(set("loss"), &t.Loss, f.loss)
	override(set("precision"), &t.Precision, f.precision)
	override(set("learning-rate"), &t.Optimizer.LearningRate, f.lr)
	override(set("accumulate"), &t.Accumulate, f.accumulate)
	if set("schedule") {
		t.Schedule = nn.Schedule{Name: f.schedule, Warmup: t.Schedule.Warmup}
	}
	override(set("warmup"), &t.Schedule.Warmup, f.warmup)
	if set("clip-norm") {
		t.Clip = nn.Clip{Norm: f.clipNorm}
	}
	override(set("noise"), &t.Noise.Std, f.noise)
	override(set("fresh-noise"), &t.Noise.Fresh, f.fresh)
	override(set("seed"), &t.Seed, f.seed)
	if set("init") {
		if t.Init, err = filepath.Abs(f.init); err != nil { // so that the run's configuration finds it from anywhere
			return cfg, false, fmt.Errorf("--init: %w", err)
		}
	}
	override(set("keep-best"), &t.KeepBest, f.keepBest)
	override(set("checkpoint-steps"), &t.Checkpoint, f.steps)
	if set("patience") {
		t.EarlyStopping = nil
		if f.patience != 0 {
			t.EarlyStopping = &trainer.EarlyStopping{Patience: f.patience}
		}
	}
	if err := cfg.Check(); err != nil {
		return cfg, false, err
	}
	if f.resume == "" && !f.goOn {
		if _, err := cfg.NewModel(func(string) {}); err != nil { // before any data are read
			return cfg, false, err
		}
	}
	return cfg, quick, cfg.CheckTraining()
}

// changeData lets the flags that are set override the data set.
func (f *trainFlags) changeData(set func(flag string) bool) trainer.Change {
	return func(c *trainer.Config) error {
		if set("data") {
			only := c.Data.Only
			if c.Data = withData(c.Data, f.data); slices.Contains(dataset.Names(), c.Data.Name) {
				c.Data.Only = only // labels of the same ten classes
			}
			c.Data.OptionalLabel = false
		}
		f.place(set, &c.Data)
		return nil
	}
}

func override[T any](set bool, dst *T, v T) {
	if set {
		*dst = v
	}
}

// runDir names the folder of a new run.
func runDir(model string, now time.Time) string {
	return filepath.Join(runsDir, strings.Map(safeRune, model)+now.Format("-20060102-150405"))
}

func safeRune(r rune) rune {
	if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '-'
}
