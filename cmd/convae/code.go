package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/use"
)

const (
	sheetImages  = 100 // most images on a contact sheet
	sheetColumns = 10  // images in its rows
)

type encodeFlags struct {
	modelFlags
	placeFlags
	data, split string
	limit       int
	seed        uint64
}

func encodeCommand() *cobra.Command {
	var f encodeFlags
	c := &cobra.Command{
		Use:   "encode IN... OUT.npy|OUT.csv | encode --data NAME OUT.npy|OUT.csv",
		Short: "Write the codes of samples",
		Long: `Write what the model's encoder makes of samples: as .npy, float32 of shape (N, rows, columns, channels) or (N, n), or as
.csv, a code in each row (code1, code2, ...), perhaps the sample's label, and the file of a picture. OUT may be -, the standard output, for CSV.

IN is a picture, which is resized if it has not the model's size, or several, or -, a picture from the standard input; a folder of pictures, a .csv table like
the one that the model was trained on, or a .npy file: images (N, rows, columns, channels) or, if they are grey, (N, rows, columns); vectors (N, n); or one sample.
Values of images are in [0,1], or uint8; those of a model of a scaled table are scaled as in training.`,
		Args: func(_ *cobra.Command, args []string) error {
			if f.data != "" && len(args) != 1 {
				return fmt.Errorf("with --data, encode takes one argument, OUT.npy or OUT.csv; found %d", len(args))
			}
			if f.data == "" && len(args) < 2 {
				return fmt.Errorf("encode takes two arguments or more, IN and OUT.npy or OUT.csv, or only the last with --data; found %d", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	f.add(c)
	fs := c.Flags()
	fs.StringVar(&f.data, "data", "", "encode a "+dataHelp)
	f.addPlace(fs)
	fs.StringVar(&f.split, "split", "test", "part of the data set: train or test")
	fs.IntVar(&f.limit, "limit", 0, "encode the first samples only (0: all)")
	within(fs, "limit", 0, 1e9)
	fs.Uint64Var(&f.seed, "seed", 0, "seed of the digits (default: the run's)")
	return c
}

func (f *encodeFlags) run(c *cobra.Command, args []string) error {
	paths, out := args[:len(args)-1], args[len(args)-1]
	for _, in := range append([]string{""}, paths...) {
		if err := checkTable(out, in, ".npy", ".csv"); err != nil {
			return err
		}
	}
	in := ""
	if len(paths) == 1 {
		in = paths[0]
	}
	for _, path := range paths {
		if in == "" && (hasEnding(path, ".csv", ".npy") || hasPictures(path) || path == standard) {
			return fmt.Errorf("of several arguments before the last each is the file of a picture; %s is none", path)
		}
	}
	if err := checkSplit(f.split); err != nil {
		return err
	}
	if hasEnding(in, ".csv") || hasPictures(in) {
		f.data = in
	}
	if f.data == "" && f.skip {
		return errors.New("--skip-unreadable is for the pictures of a folder: leave it out, or name their folder")
	}
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	var x samples
	switch {
	case f.data != "":
		in, x, err = f.dataSamples(c, m, cfg.Data)
	case hasEnding(in, ".npy"):
		x, err = npySamples(m, cfg.Data, in)
	default:
		in = strings.Join(paths, ", ")
		x, err = pictureSamples(m, paths, c.InOrStdin())
	}
	if err != nil {
		return err
	}
	defer x.from.close()
	if f.limit > 0 {
		x = x.first(f.limit)
	}
	codes, device, err := f.convert(c.Context(), m, use.Encode, x)
	if err != nil {
		return err
	}
	shape := append([]int{x.n}, m.CodeDims()...)
	if hasEnding(out, ".npy") {
		err = trainer.WriteNPY(out, codes, shape)
	} else {
		err = writeFile(out, c.OutOrStdout(), func(w io.Writer) error {
			return dataset.WriteCSV(w, numbered("code", m.Code.Len()), codes, dataset.TextColumn{Name: "label", Rows: x.labels}, dataset.TextColumn{Name: "file", Rows: x.files})
		})
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(telling(c, out), "%s -> %s: codes %s, with %s on %s\n", in, out, dataset.ShapeText(shape), path, device)
	return err
}

func decodeCommand() *cobra.Command {
	var f modelFlags
	c := &cobra.Command{
		Use:   "decode CODES.npy|CODES.csv OUT.npy|OUT.csv|OUT.png",
		Short: "Write the samples of codes",
		Long: `Write what the model's decoder makes of codes as encode writes them (of a .csv the columns code1, code2, ... are
read): as .npy, float32 of shape (N, rows, columns, channels) or (N, n), as .csv, a sample in each row, or as .png, a
contact sheet of the first 100 images. CODES and OUT may be -, the standard input and output, for CSV. Samples of a scaled table are in the table's own units.`,
		Args: arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error { return runDecode(c, &f, args[0], args[1]) },
	}
	f.add(c)
	return c
}

func runDecode(c *cobra.Command, f *modelFlags, in, out string) error {
	if err := checkTable(out, in, ".npy", ".csv", ".png"); err != nil {
		return err
	}
	m, cfg, path, err := f.load()
	if err != nil {
		return err
	}
	if err := checkSheet(m, out); err != nil {
		return err
	}
	x, err := codeSamples(m, in, c.InOrStdin())
	if err != nil {
		return err
	}
	if hasEnding(out, ".png") {
		x = x.first(sheetImages)
	}
	y, device, err := f.convert(c.Context(), m, use.Decode, x)
	if err != nil {
		return err
	}
	if err := writeSamples(c, out, m, cfg.Data, y); err != nil {
		return err
	}
	_, err = fmt.Fprintf(telling(c, out), "%s -> %s: samples %s, with %s on %s\n", in, out, dataset.ShapeText(sampleShape(x.n, m.Output)), path, device)
	return err
}
