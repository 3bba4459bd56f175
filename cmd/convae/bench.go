package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/nn/safetensors"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

const (
	benchBatches = 4 // batches of the data set that is trained on
	savedSteps   = 3 // steps that --save records
	maxBatch     = 1 << 20
	maxPredicted = 1 << 28 // values of the batches that are predicted
)

type benchFlags struct {
	device, save   string
	precision      string
	train, predict []int
	seconds        float64
	rounds         int
	asJSON         bool
}

func benchCommand() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [RUN | PRESET | CONFIG.yaml]",
		Short: "Measure how fast a model trains and predicts",
		Long: `Measure images a second of training (gather, noise, forward, backward, optimiser; the data set is on the device) and of
inference (from the host's memory to the host's memory), the median of some rounds. The samples are drawn digits, or noise for
a model of other images. --save lets another program do the same training and compare.`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := anyConfig(firstArg(args))
			if err != nil {
				return err
			}
			set := c.Flags().Changed
			override(set("precision"), &cfg.Training.Precision, f.precision)
			if err := cfg.Check(); err != nil {
				return err
			}
			if !set("train") && !set("predict") {
				o, err := trainerOptions(c, &cfg)
				if err != nil {
					return err
				}
				f.train, f.predict = []int{o.Batch}, []int{1, o.Batch}
			}
			return f.run(c, cfg)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	fs.IntSliceVar(&f.train, "train", nil, "batches to train with (default, without --predict: the configuration's)")
	within(fs, "train", 1, maxBatch)
	fs.IntSliceVar(&f.predict, "predict", nil, "batches to predict (default, without --train: 1 and the configuration's)")
	within(fs, "predict", 1, maxBatch)
	precisionFlag(fs, &f.precision)
	fs.Float64Var(&f.seconds, "seconds", 1, "time of a round")
	within(fs, "seconds", 0, 3600)
	fs.IntVar(&f.rounds, "rounds", 5, "rounds")
	within(fs, "rounds", 1, 1000)
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	fs.StringVar(&f.save, "save", "", "instead of measuring, write the weights, the batches and the losses of a few steps of training to this .safetensors")
	return c
}

// benchRow is a row of the table.
type benchRow struct {
	What   string    `json:"what"` // train or predict
	Batch  int       `json:"batch"`
	Rate   float64   `json:"images_per_second"` // the median
	Rounds []float64 `json:"rounds"`
}

func (f *benchFlags) run(c *cobra.Command, cfg trainer.Config) error {
	if f.save != "" {
		if len(f.train) != 1 {
			return fmt.Errorf("--save is for one training: --train is %v", f.train)
		}
		if err := checkOutput(f.save, "", ".safetensors"); err != nil {
			return fmt.Errorf("--save: %w", err)
		}
	}
	dev, _, err := openDevice(f.device)
	if err != nil {
		return err
	}
	defer dev.Close()
	rows := []benchRow{}
	for _, batch := range f.train {
		if f.save != "" {
			return f.record(dev, cfg, batch)
		}
		r, err := f.trainRow(c.Context(), dev, cfg, batch)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	for _, batch := range f.predict {
		r, err := f.predictRow(c.Context(), dev, cfg, batch)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	return writeBench(c.OutOrStdout(), dev.Name(), cfg.Model.Name, cfg.Training.Precision, rows, f.asJSON)
}

func writeBench(w io.Writer, device, model, precision string, rows []benchRow, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]any{"device": device, "model": model, "precision": precision, "rows": rows})
	}
	fmt.Fprintf(w, "%s on %s in %s, images a second\n\n%-8s %6s %10s  %s\n", model, device, precision, "", "batch", "median", "rounds")
	for _, r := range rows {
		fmt.Fprintf(w, "%-8s %6d %10.0f  %.0f\n", r.What, r.Batch, r.Rate, r.Rounds)
	}
	return nil
}

// newBenchTrainer returns a trainer of a new model with a few batches of samples.
func newBenchTrainer(dev backend.Device, cfg trainer.Config, batch int) (*nn.Model, *nn.Trainer, *dataset.Set, error) {
	m, err := nn.New(cfg.Model, cfg.Training.Seed)
	if err != nil {
		return nil, nil, nil, err
	}
	cfg.Training.Batch, cfg.Training.Accumulate = trainer.Batch(batch), 1
	o, err := cfg.Training.Options(batch)
	if err != nil {
		return nil, nil, nil, err
	}
	t, err := nn.NewTrainer(m, dev, o)
	if err != nil {
		return nil, nil, nil, err
	}
	n := batch * benchBatches
	set := &dataset.Set{Name: "bench", H: m.Input.H, W: m.Input.W, C: m.Input.C, Pixels: profilePixels(m.Input.Len(), n)}
	if err := t.SetData(set.Pixels, n); err != nil {
		t.Close()
		return nil, nil, nil, err
	}
	return m, t, set, nil
}

func (f *benchFlags) trainRow(ctx context.Context, dev backend.Device, cfg trainer.Config, batch int) (benchRow, error) {
	_, t, _, err := newBenchTrainer(dev, cfg, batch)
	if err != nil {
		return benchRow{}, err
	}
	defer t.Close()
	i := 0
	return f.measure(ctx, "train", batch, func(steps int) error {
		for range steps {
			t.Step(i%benchBatches*batch, batch, 0)
			i++
		}
		_, err := t.Loss() // waits for the device
		return err
	})
}

func (f *benchFlags) predictRow(ctx context.Context, dev backend.Device, cfg trainer.Config, batch int) (benchRow, error) {
	m, err := nn.New(cfg.Model, cfg.Training.Seed)
	if err != nil {
		return benchRow{}, err
	}
	if values := max(m.Input.Len(), m.Output.Len()); batch > maxPredicted/values {
		return benchRow{}, fmt.Errorf("--predict is %d, want at most %d: a sample of model %q has %d values", batch, maxPredicted/values, m.Config.Name, values)
	}
	o, err := cfg.Training.Options(batch)
	if err != nil {
		return benchRow{}, err
	}
	net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{Precision: o.Precision})
	if err != nil {
		return benchRow{}, err
	}
	defer net.Close()
	x, y := make([]float32, batch*m.Input.Len()), make([]float32, batch*m.Output.Len())
	for i, p := range profilePixels(m.Input.Len(), batch) {
		x[i] = float32(p) / 255
	}
	return f.measure(ctx, "predict", batch, func(steps int) error {
		for range steps {
			if err := net.Predict(y, x, batch); err != nil {
				return err
			}
		}
		return nil
	})
}

// measure does rounds of steps. run does steps and waits for them.
func (f *benchFlags) measure(ctx context.Context, what string, batch int, run func(steps int) error) (benchRow, error) {
	timed := func(steps int) (seconds float64, err error) {
		if ctx.Err() != nil {
			return 0, errInterrupted
		}
		start := time.Now()
		err = run(steps)
		return time.Since(start).Seconds(), err
	}
	// The first step compiles and records, the next ones tell how many are a round.
	_, err := timed(1)
	steps, took := 1, 0.0
	for ; err == nil; steps *= 2 {
		if took, err = timed(steps); took >= f.seconds/4 {
			break
		}
	}
	steps = max(1, int(float64(steps)*f.seconds/took))
	r := benchRow{What: what, Batch: batch}
	for err == nil && len(r.Rounds) < f.rounds {
		if took, err = timed(steps); err == nil {
			r.Rounds = append(r.Rounds, float64(steps*batch)/took)
		}
	}
	if err != nil {
		return r, err
	}
	r.Rate = median(r.Rounds)
	return r, nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// record trains for a few steps and writes what another program needs to do the same: the weights before, by PyTorch's
// names; input and target, the batches with and without noise, NHWC; losses, the loss of each step; and the configuration
// as JSON in the metadata.
func (f *benchFlags) record(dev backend.Device, cfg trainer.Config, batch int) error {
	m, t, set, err := newBenchTrainer(dev, cfg, batch)
	if err != nil {
		return err
	}
	defer t.Close()
	weights := m.Tensors()
	n := savedSteps * batch
	clean, noisy := make([]float32, n*m.Input.Len()), make([]float32, n*m.Input.Len())
	if err := use.Corrupt(clean, noisy, set, 0, n, cfg.Training.Corrupted(), rng.Source{Seed: cfg.Training.Seed, Stream: rng.StreamNoise}); err != nil {
		return err
	}
	losses := make([]float32, savedSteps)
	for i := range losses {
		t.ResetLoss()
		t.Step(i*batch, batch, 0)
		loss, err := t.Loss()
		if err != nil {
			return err
		}
		losses[i] = float32(loss)
	}
	cfg.Training.Batch, cfg.Training.Optimizer = trainer.Batch(batch), t.Options().Optimizer
	config, err := yaml.MarshalWithOptions(cfg, yaml.JSON())
	if err != nil {
		return err
	}
	shape := sampleShape(n, m.Input)
	file := safetensors.File{Metadata: map[string]string{"config": string(config)}, Tensors: append(weights,
		safetensors.FromFloat32s("input", shape, noisy), safetensors.FromFloat32s("target", shape, clean), safetensors.FromFloat32s("losses", []int{savedSteps}, losses))}
	return atomicfile.Write(f.save, func(w io.Writer) error { return file.Write(w) })
}
