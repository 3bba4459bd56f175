package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer"
)

func diffCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Show in what two runs or configurations differ",
		Long: `Show the values in which the configurations of two runs differ, by the paths that --set takes, and what the runs have reached: the
last epoch of each. A and B are runs, presets or configuration files; those that were not trained have no results.

  convae diff runs/first runs/second
  convae diff denoiser mine.yaml`,
		Args: arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := compare(args[0], args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), d)
			}
			return d.write(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// comparison is in what two runs differ.
type comparison struct {
	A             string            `json:"a"`
	B             string            `json:"b"`
	Configuration []changedValue    `json:"configuration"`
	LastEpochs    [2]*trainer.Epoch `json:"last_epochs"` // null for what was not trained
}

type changedValue struct {
	Path string `json:"path"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// compare compares the runs or configurations of two names.
func compare(a, b string) (comparison, error) {
	d := comparison{A: a, B: b, Configuration: []changedValue{}}
	var configs [2]trainer.Config
	for i, name := range []string{a, b} {
		var err error
		if configs[i], err = readConfig(name); err != nil {
			return d, err
		}
		if d.LastEpochs[i], err = lastEpoch(name); err != nil {
			return d, err
		}
	}
	changed, err := trainer.Differences(configs[0], configs[1])
	for _, v := range changed {
		d.Configuration = append(d.Configuration, changedValue(v))
	}
	return d, err
}

// lastEpoch returns the last epoch of the run in a folder, nil if there is none.
func lastEpoch(name string) (*trainer.Epoch, error) {
	if hasEnding(name, ".safetensors") {
		name = filepath.Dir(name)
	}
	history, err := trainer.ReadHistory(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && len(history) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &history[len(history)-1], nil
}

// results are what is compared of two epochs, in the order in which it is printed.
var results = []struct {
	name   string
	value  func(e *trainer.Epoch) float64
	format string
}{
	{"epochs", func(e *trainer.Epoch) float64 { return float64(e.Epoch) }, "%.0f"},
	{"steps", func(e *trainer.Epoch) float64 { return float64(e.Step) }, "%.0f"},
	{"training loss", func(e *trainer.Epoch) float64 { return e.Loss }, "%.6g"},
	{"validation loss", func(e *trainer.Epoch) float64 { return e.ValLoss }, "%.6g"},
	{"validation BCE", func(e *trainer.Epoch) float64 { return e.ValBCE }, "%.6g"},
	{"validation MSE", func(e *trainer.Epoch) float64 { return e.ValMSE }, "%.6g"},
	{"validation PSNR", func(e *trainer.Epoch) float64 { return e.ValPSNR }, "%.2f dB"},
	{"validation SSIM", func(e *trainer.Epoch) float64 { return e.ValSSIM }, "%.4f"},
	{"images a second", func(e *trainer.Epoch) float64 { return e.Rate }, "%.0f"},
}

// write prints a table of what differs and of what the runs have reached.
func (d comparison) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\t%s\t%s\n", d.A, d.B)
	for _, v := range d.Configuration {
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Path, cmp.Or(v.A, "-"), cmp.Or(v.B, "-"))
	}
	if len(d.Configuration) == 0 {
		fmt.Fprintln(w, "the configurations are the same")
	}
	last := d.LastEpochs
	if last[0] == nil && last[1] == nil {
		return w.Flush()
	}
	for _, r := range results {
		var text [2]string
		for i, e := range last {
			if text[i] = "-"; e != nil && r.value(e) != 0 { // 0 is what the data have none of
				text[i] = fmt.Sprintf(r.format, r.value(e))
			}
		}
		if text != [2]string{"-", "-"} {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.name, text[0], text[1])
		}
	}
	return w.Flush()
}
