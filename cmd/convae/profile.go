package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/convae/convae/cuda/sass"
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
)

type profileFlags struct {
	device, precision string
	batch             trainer.Batch
	steps             int
	asJSON            bool

	machine   string // whose times are predicted, or ""
	predicted string // file with a prediction to show beside, or ""
	sample    bool   // only what is timed is executed
}

func profileCommand() *cobra.Command {
	var f profileFlags
	c := &cobra.Command{
		Use:   "profile [RUN | PRESET | CONFIG.yaml]",
		Short: "Show what each op of a training step takes",
		Long: `Train for a few steps on one lane of the device, wait for each op, and show its time, its share of the step, its speed and
the way that the CPU takes for its shape.
The samples are drawn digits, or noise for a model of other images. A step of training is faster than the sum: it uses all lanes.
On the simulated GPU (--device sim) one step is counted instead, kernel by kernel: instructions, memory traffic, bank conflicts.
With --machine too, the machine code of each launch is executed on a model of a GPU's multiprocessor, and its time is predicted.
With --predicted, the times of such a prediction stand beside those that are measured.`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c, firstArg(args))
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.device, "device", "auto", deviceHelp)
	fs.Var(&f.batch, "batch", "samples of a step, or full for all training samples (default: the configuration's)")
	precisionFlag(fs, &f.precision)
	fs.IntVar(&f.steps, "steps", 3, "steps to average over")
	within(fs, "steps", 1, 1e6)
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	fs.StringVar(&f.predicted, "predicted", "", "a table that --machine has printed, as testdata/sim/h100_denoiser_128.txt: its times are shown too")
	fs.StringVar(&f.machine, "machine", "", "with --device sim: the GPU whose times are predicted ("+strings.Join(sass.MachineNames(), ", ")+")")
	fs.BoolVar(&f.sample, "sample", false, "with --machine: execute only the blocks of the multiprocessor that is timed, and leave what the others would write 0")
	c.MarkFlagsMutuallyExclusive("machine", "predicted")
	return c
}

func (f *profileFlags) run(c *cobra.Command, model string) error {
	cfg, err := anyConfig(model)
	if err != nil {
		return err
	}
	override(c.Flags().Changed("batch"), &cfg.Training.Batch, f.batch)
	override(c.Flags().Changed("precision"), &cfg.Training.Precision, f.precision)
	if err := cfg.Check(); err != nil {
		return err
	}
	o, err := trainerOptions(c, &cfg)
	if err != nil {
		return err
	}
	n := o.Batch
	m, err := nn.New(cfg.Model, cfg.Training.Seed)
	if err != nil {
		return err
	}
	var predicted predictedTimes
	if f.predicted != "" {
		if predicted, err = readPredicted(f.predicted, m.Config.Name, n); err != nil {
			return err
		}
	}
	sim := newSimProfile()
	sim.sample = f.sample
	if err := sim.predict(c.ErrOrStderr(), f.device, f.machine); err != nil {
		return err
	}
	var dev backend.Device
	if f.device == "sim" {
		dev, err = device.OpenSim(sim.options())
	} else {
		dev, _, err = openDevice(f.device)
	}
	if err != nil {
		return err
	}
	defer dev.Close()
	t, err := nn.NewTrainer(m, dev, o)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.SetData(profilePixels(m.Input.Len(), n), n); err != nil {
		return err
	}
	if f.device == "sim" && predicted == nil {
		sim.start()
		ops, err := t.Profile(0, n, 0, sim.observe)
		if err != nil {
			return err
		}
		return sim.write(c.OutOrStdout(), m.Config.Name, n, ops, f.asJSON)
	}
	if _, err := t.Profile(0, n, 0, nil); err != nil { // warms up
		return err
	}
	var total []nn.OpProfile
	for range f.steps {
		if c.Context().Err() != nil {
			return errInterrupted
		}
		rows, err := t.Profile(0, n, 0, nil)
		if err != nil {
			return err
		}
		total = addProfiles(total, rows)
	}
	limit := 0.0
	if lane, ok := dev.Lanes()[0].(backend.Paths); ok {
		limit = lane.Limit()
	}
	return writeProfile(c.OutOrStdout(), deviceText(dev), m.Config.Name, n, f.steps, total, limit, predicted, f.asJSON)
}

// profilePixels are n samples of the given size: digits if they fit.
func profilePixels(size, n int) []byte {
	digits := dataset.Digits(n, 1)
	if size == len(digits.Pixels)/n {
		return digits.Pixels
	}
	p := make([]byte, n*size)
	for i := range p {
		p[i] = byte(uint32(i) * 2654435761 >> 24) // Knuth's multiplicative hash
	}
	return p
}

// addProfiles adds the times of a step to those of others of the same model.
func addProfiles(total, rows []nn.OpProfile) []nn.OpProfile {
	if total == nil {
		return rows
	}
	for i := range rows {
		total[i].Time += rows[i].Time
	}
	return total
}

// profileRow is a row of the table, of one step on average.
type profileRow struct {
	Op      string  `json:"op"`
	Layer   string  `json:"layer"`
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"`
	Share   float64 `json:"share"`
	GFLOPS  float64 `json:"gflops,omitempty"`
	Path    string  `json:"path,omitempty"`
	// Limit is the share of the multiply-adds that a core could have done in the time, of those that the path takes.
	Limit float64 `json:"limit_share,omitempty"`
	// Predicted is the time that a model of a GPU says for the op, if one was asked.
	Predicted float64 `json:"predicted_seconds,omitempty"`
}

func writeProfile(w io.Writer, device, model string, batch, steps int, ops []nn.OpProfile, limit float64, predicted predictedTimes, asJSON bool) error {
	var sum time.Duration
	for _, o := range ops {
		sum += o.Time
	}
	rows := make([]profileRow, len(ops))
	for i, o := range ops {
		s := o.Time.Seconds() / float64(steps)
		rows[i] = profileRow{Op: o.Op, Layer: o.Layer, Calls: o.Calls, Seconds: s, Share: o.Time.Seconds() / sum.Seconds(), Path: o.Path}
		if o.MACs > 0 {
			rows[i].GFLOPS = 2 * float64(o.MACs) / s / 1e9
		}
		if limit > 0 {
			rows[i].Limit = float64(o.Executed) / s / limit
		}
		rows[i].Predicted = 1e-6 * predicted.take(o.Op, o.Layer)
	}
	if err := predicted.leftOver(); err != nil {
		return err
	}
	step := sum.Seconds() / float64(steps)
	if asJSON {
		return writeJSON(w, map[string]any{"device": device, "model": model, "batch": batch, "seconds": step, "ops": rows})
	}
	column := func(text string) string { // that is there with a prediction
		if predicted == nil {
			return ""
		}
		return fmt.Sprintf(" %9s", text)
	}
	ofLimit := func(text string) string { // that is there on a device that knows it
		if limit == 0 {
			return ""
		}
		return fmt.Sprintf(" %8s", text)
	}
	fmt.Fprintf(w, "%s on one lane of %s, batch %d\n\n%-26s %-20s %6s %10s%s %7s %9s%s  %s\n", model, device, batch, "op", "layer", "calls", "ms", column("predicted"),
		"share", "GFLOP/s", ofLimit("of limit"), "path")
	all := 0.0
	for _, r := range rows {
		speed, reached := "", ""
		if r.GFLOPS > 0 {
			speed = fmt.Sprintf("%.2f", r.GFLOPS)
		}
		if r.Limit > 0 {
			reached = fmt.Sprintf("%.0f%%", r.Limit*100)
		}
		all += r.Predicted
		line := fmt.Sprintf("%-26s %-20s %6d %10.3f%s %6.1f%% %9s%s  %s", r.Op, r.Layer, r.Calls, r.Seconds*1e3, column(fmt.Sprintf("%.3f", r.Predicted*1e3)),
			r.Share*100, speed, ofLimit(reached), r.Path)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	_, err := fmt.Fprintf(w, "%-26s %-20s %6s %10.3f%s\n", "step", "", "", step*1e3, column(fmt.Sprintf("%.3f", all*1e3)))
	if limit > 0 {
		_, err = fmt.Fprintf(w, "\nof limit: the multiply-adds that the path takes, of the %.1f GFLOP/s that a core can do at most\n", 2*limit/1e9)
	}
	return err
}
