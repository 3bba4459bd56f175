package main

import (
	"errors"
	"fmt"

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

// find looks for a learning rate, and says which and why.
func (f *rateFlags) find(c *cobra.Command, r *training, ranks collective.Comm, ui *progress) error {
	if err := checkOutput(f.picture, "", ".png"); err != nil {
		return fmt.Errorf("--find-rate: %w", err)
	}
	if len(f.rates) != 2 {
		return fmt.Errorf("--find-rate-range has %d numbers, want two, as 1e-6,10", len(f.rates))
	}
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
	if curve.Steepest == 0 {
		fmt.Fprintln(out, "no rate is suggested: the smoothed loss is lowest at the start, and falls nowhere; try others by --find-rate-range")
	} else {
		fmt.Fprintf(out, "suggested: --learning-rate %.2g, where the smoothed loss falls fastest by the logarithm of the rate; it is lowest at %.2g, which is too high to train with\n", curve.Steepest, curve.Lowest)
	}
	_, err = fmt.Fprintf(out, "look at: %s\n", f.picture)
	return err
}
