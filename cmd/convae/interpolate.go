package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

func interpolateCommand() *cobra.Command {
	var f encodeFlags
	var steps int
	c := &cobra.Command{
		Use:   "interpolate A B OUT.png|OUT.npy|OUT.csv",
		Short: "Write what a model makes of the codes between two samples",
		Long: `Encode A and B, and decode codes at even steps on the line from one code to the other: as .png, a contact sheet with A and
B above, as .npy, float32 of shape (N, rows, columns, channels) or (N, n), or as .csv, a sample in each row.

A and B are PNG or JPEG pictures of the model's size, .npy files of one sample, or numbers of samples, from 0, of the
run's data set or of --data.

  convae interpolate 3 8 between.png --model RUN`,
		Args: arguments(3, 3),
		RunE: func(c *cobra.Command, args []string) error { return f.interpolate(c, args[:2], args[2], steps) },
	}
	f.add(c)
	fs := c.Flags()
	fs.IntVar(&steps, "steps", 10, "samples to write, with those of the codes of A and B")
	within(fs, "steps", 2, maxSheet)
	fs.StringVar(&f.data, "data", "", dataHelp+" (default: the run's)")
	f.addPlace(fs)
	fs.StringVar(&f.split, "split", "test", "part of the data set: train or test")
	fs.Uint64Var(&f.seed, "seed", 0, "seed of the digits (default: the run's)")
	return c
}

func (f *encodeFlags) interpolate(c *cobra.Command, ends []string, out string, steps int) error {
	for _, in := range ends {
		if err := checkTable(out, in, ".png", ".npy", ".csv"); err != nil {
			return err
		}
	}
	if err := checkSplit(f.split); err != nil {
		return err
	}
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	if err := checkSheet(m, out); err != nil {
		return err
	}
	x, err := f.endSamples(c, m, cfg.Data, ends)
	if err != nil {
		return err
	}
	net, device, closeNet, err := openNetwork(m, f.device)
	if err != nil {
		return err
	}
	defer closeNet()
	n := m.Input.Len()
	y, err := use.Interpolate(net, x[:n], x[n:], steps)
	if err != nil {
		return err
	}
	shape := sampleShape(steps, m.Output)
	if hasEnding(out, ".png") {
		size, _ := use.ImageShape(m.Output)
		rows := append(sheetRows(x, size), sheetRows(y, size)...)
		rows[0].Label, rows[1].Label = "A and B", "between"
		err = use.WriteSheet(out, rows, picture.SheetOptions{})
	} else {
		err = writeSamples(c, out, m, cfg.Data, y)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(telling(c, out), "%s to %s -> %s: %s, with %s on %s\n", ends[0], ends[1], out, dataset.ShapeText(shape), path, device)
	return err
}

// endSamples reads the two samples that the arguments name, one after the other.
func (f *encodeFlags) endSamples(c *cobra.Command, m *nn.Model, run trainer.Data, ends []string) ([]float32, error) {
	if f.data == "" {
		f.data = run.Name
	}
	var set *samples // loaded once
	x := make([]float32, 2*m.Input.Len())
	for i, end := range ends {
		var s samples
		at, err := strconv.Atoi(end)
		if err != nil {
			at = 0
		}
		switch {
		case err == nil:
			if set == nil {
				_, loaded, err := f.dataSamples(c, m, run)
				if err != nil {
					return nil, err
				}
				defer loaded.from.close()
				set = &loaded
			}
			if s = *set; at < 0 || at >= s.n {
				return nil, fmt.Errorf("sample %d: want 0 to %d of data set %s", at, s.n-1, f.data)
			}
		case hasEnding(end, ".npy"):
			if s, err = npySamples(m, run, end); err == nil && s.n != 1 {
				err = fmt.Errorf("%s has %d samples, want one", end, s.n)
			}
		default:
			if s, err = pictureSamples(m, []string{end}, c.InOrStdin()); err != nil {
				err = fmt.Errorf("%w (A and B are pictures, .npy files or numbers of samples)", err)
			}
		}
		if err != nil {
			return nil, err
		}
		if err := s.fill(x[i*m.Input.Len():][:m.Input.Len()], at, at+1); err != nil {
			return nil, err
		}
	}
	return x, nil
}
