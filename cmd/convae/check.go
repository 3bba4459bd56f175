package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/convae/convae/cpu"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer/check"
)

// errCheckFailed ends a check whose report has said what is wrong.
var errCheckFailed = errors.New("check: the device does not compute what it should")

func checkCommand() *cobra.Command {
	var device, against, golden string
	var only []string
	var asJSON bool
	var steps, batch, every int
	c := &cobra.Command{
		Use:   "check",
		Short: "Check that a device computes what it should",
		Long: `Run every op on the device, compare with float64 references, and train the denoiser for a few steps beside the CPU.
For each op: the number of cases, the worst error as a share of its bound, and the speed. Exit status 1 when a bound is
passed. With --golden the cases and the training are those of a folder of reference vectors; with --against every case,
and every op of the training, is done on another device too, from the same inputs, and every difference is told.`,
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			dev, _, err := openDevice(device)
			if err != nil {
				return err
			}
			defer dev.Close()
			// The CPU is checked against its own plain loops.
			reference, err := cpu.Open(cpu.Options{Plain: dev.Name() == "cpu"})
			if err != nil {
				return err
			}
			defer reference.Close()
			var other backend.Device
			if against != "" {
				if against == "cpu" || dev.Name() == "cpu" {
					return fmt.Errorf("--device is %s and --against %s, want two devices that run the GPU's code (cuda, sim): the CPU sums in other orders, and is compared by the cases' own bounds", dev.Name(), against)
				}
				if other, _, err = openDevice(against); err != nil {
					return err
				}
				defer other.Close()
			}
			r, err := check.Run(c.Context(), dev, reference, check.Options{Words: only, Every: every, Golden: golden, Against: other,
				Steps: steps, Batch: batch, Progress: checkProgress(c.ErrOrStderr())})
			if err != nil {
				if c.Context().Err() != nil {
					return errInterrupted
				}
				return err
			}
			if err := writeReport(c.OutOrStdout(), r, asJSON); err != nil {
				return err
			}
			if !r.Passed {
				return errCheckFailed
			}
			return nil
		},
	}
	fs := c.Flags()
	fs.StringVar(&device, "device", "auto", deviceHelp)
	fs.StringSliceVar(&only, "only", nil, "check only cases with one of these words in their names")
	fs.IntVar(&every, "every", 1, "check only one in so many cases of each op")
	within(fs, "every", 1, 1e6)
	fs.StringVar(&golden, "golden", "", "folder of reference vectors, as testdata/golden")
	fs.StringVar(&against, "against", "", "compare every op with this device too, which runs the same code: sim, cuda, cuda:1")
	fs.IntVar(&steps, "steps", 5, "steps of the training, 0 for none")
	within(fs, "steps", 0, 1000)
	fs.IntVar(&batch, "batch", 8, "its batch")
	within(fs, "batch", 1, 4096)
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// checkProgress counts cases on a terminal.
func checkProgress(w io.Writer) func(done, total int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(done, total int) {
		fmt.Fprintf(f, "\r%d of %d cases", done, total)
		if done == total {
			fmt.Fprint(f, "\r\033[K")
		}
	}
}

func writeReport(w io.Writer, r *check.Report, asJSON bool) error {
	if asJSON {
		return writeJSON(w, r)
	}
	fmt.Fprintf(w, "%s: %d cases, seed %d\n\n%-26s %6s %7s %9s  %s\n", r.Device, r.Cases, r.Seed, "op", "cases", "worst", "GFLOP/s", "where")
	for _, o := range r.Ops {
		speed, where := "", o.Case
		if o.GFLOPS > 0 {
			speed = fmt.Sprintf("%.2f", o.GFLOPS)
		}
		if o.Worst == 0 {
			where = "exact"
		}
		fmt.Fprintf(w, "%-26s %6d %7.3f %9s  %s\n", o.Op, o.Cases, o.Worst, speed, where)
		for _, f := range o.Failures {
			fmt.Fprintf(w, "  FAILED %s\n", f)
		}
	}
	if len(r.NotRun) > 0 {
		fmt.Fprintf(w, "\nnot run:\n")
	}
	for _, n := range r.NotRun {
		fmt.Fprintf(w, "  %s\n", n)
	}
	if t := r.Training; t.Error != "" {
		fmt.Fprintf(w, "\ntraining FAILED: %s\n", t.Error)
	} else if t.Steps > 0 {
		fmt.Fprintf(w, "\ntraining: %d steps of batch %d, last loss %.6f; from %s: losses %.2g, weights %.2g; %.0f images/s%s\n",
			t.Steps, t.Batch, t.Loss, t.Reference, t.LossDiff, t.WeightDiff, t.Rate, verdict(t.Passed, "", " FAILED"))
	}
	if a := r.Against; a != nil {
		fmt.Fprintf(w, "\nagainst %s: %s%s\n", a.Device, verdict(a.BitEqual, "bit for bit the same", "differences, as shares of the bound"), verdict(a.Passed, "", " FAILED"))
		for _, d := range a.Differences {
			fmt.Fprintf(w, "%-26s %-8s %6d times, worst %.2g in %s: got %s, want %s\n", d.Op, d.Output, d.Times, d.Worst, d.Where, d.Got, d.Want)
		}
		for _, e := range a.Errors {
			fmt.Fprintf(w, "  FAILED %s\n", e)
		}
	}
	_, err := fmt.Fprintf(w, "%s in %.1f s\n", verdict(r.Passed, "passed", "FAILED"), r.Seconds)
	return err
}

func verdict(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}
