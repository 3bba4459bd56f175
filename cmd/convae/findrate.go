package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/convae/convae/nn/collective"
	"github.com/convae/convae/trainer"
)

// rateFlags are those of train that look for a learning rate.
type rateFlags struct {
	picture string
	rates   []float64
	steps   int
}

func (f *rateFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.picture, "find-rate", "", "instead of training a run, raise the learning rate step by step, draw the losses to this .png, and suggest a rate")
	fs.Float64SliceVar(&f.rates, "find-rate-range", []float64{1e-6, 10}, "first and last learning rate of --find-rate")
	above(fs, "find-rate-range", 0, 1e6)
	fs.IntVar(&f.steps, "find-rate-steps", 140, "steps of --find-rate")
	within(fs, "find-rate-steps", 10, 1e6)
}

// check reports flags that cannot be, before any device is opened.
func (f *rateFlags) check(set func(flag string) bool) error {
	if f.picture == "" {
		for _, name := range []string{"find-rate-range", "find-rate-steps"} {
			if set(name) {
				return fmt.Errorf("--%s is for --find-rate: name the .png of the curve with that", name)
			}
		}
		return nil
	}
	if err := checkOutput(f.picture, "", ".png"); err != nil {
		return fmt.Errorf("--find-rate: %w", err)
	}
	if dir := filepath.Dir(f.picture); !isFolder(dir) {
		return fmt.Errorf("--find-rate: there is no folder %s for %s", dir, filepath.Base(f.picture))
	}
	if len(f.rates) != 2 {
		return fmt.Errorf("--find-rate-range has %d numbers, want two, as 1e-6,10", len(f.rates))
	}
	if f.rates[0] >= f.rates[1] {
		return fmt.Errorf("--find-rate-range is %g,%g, want the lower rate first and then the higher", f.rates[0], f.rates[1])
	}
	return nil
}

// find looks for a learning rate, and says which and why.
func (f *rateFlags) find(c *cobra.Command, r *training, ranks collective.Comm, ui *progress) error {
	o := trainer.RateOptions{Options: trainer.Options{Device: r.dev, Train: r.train, Test: r.test, Observer: heldToPlan{ui, r.dev}, Ranks: ranks}, From: f.rates[0], To: f.rates[1], Steps: f.steps}
	curve, err := trainer.FindRate(c.Context(), r.cfg, o)
	if c.Context().Err() != nil && errors.Is(err, c.Context().Err()) {
		return errInterrupted
	}
	if err != nil {
		return fmt.Errorf("--find-rate: %w", err)
	}
	if err := curve.WritePicture(f.picture); err != nil {
		return err
	}
	out := c.OutOrStdout()
	end := fmt.Sprintf("all %d steps", f.steps)
	if curve.Diverged {
		end = fmt.Sprintf("%d of %d steps, when the loss diverged", len(curve.Rates), f.steps)
	}
	fmt.Fprintf(out, "learning rates from %.3g to %.3g in %s\n", curve.Rates[0], curve.Rates[len(curve.Rates)-1], end)
	switch {
	case curve.Steepest == 0:
		fmt.Fprintln(out, "no rate is suggested: the smoothed loss is lowest at the start, and falls nowhere; try others by --find-rate-range")
	case curve.Falling:
		fmt.Fprintln(out, "no rate is suggested: the loss was still falling at the end of the range: take a wider one by --find-rate-range")
	default:
		high := "which is too high to train with"
		if !curve.Risen {
			high = "and the range ends before it rises to what it was: a wider one tells more"
		}
		fmt.Fprintf(out, "suggested: --learning-rate %.2g, where the smoothed loss falls fastest by the logarithm of the rate; it is lowest at %.2g, %s\n", curve.Steepest, curve.Lowest, high)
	}
	_, err = fmt.Fprintf(out, "look at: %s\n", f.picture)
	return err
}
