package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

// samples are what a model is to be run on.
type samples struct {
	n      int
	labels []string // their classes; nil if they have none
	files  []string // the pictures that they were read from; nil if they were not
	fill   use.Fill
	from   sets // that they are read from, if any
}

// first returns the first n samples, or all if they are fewer.
func (s samples) first(n int) samples {
	s.n = min(s.n, n)
	if s.labels != nil {
		s.labels = s.labels[:s.n]
	}
	if s.files != nil {
		s.files = s.files[:s.n]
	}
	return s
}

// convert runs the samples through a part of the model on the device, use.Encode or use.Decode.
func (f *modelFlags) convert(ctx context.Context, m *nn.Model, part func(context.Context, *nn.Network, int, use.Fill) ([]float32, error), x samples) (y []float32, device string, err error) {
	net, device, closeNet, err := openNetwork(m, f.device)
	if err != nil {
		return nil, "", err
	}
	defer closeNet()
	y, err = part(ctx, net, x.n, x.fill)
	return y, device, err
}

// dataSamples are the samples of the data set that the flags name, and what to call them. What they leave open is as in the run.
func (f *encodeFlags) dataSamples(c *cobra.Command, m *nn.Model, run trainer.Data) (what string, x samples, err error) {
	d := withData(run, f.data)
	f.place(c.Flags().Changed, &d)
	override(c.Flags().Changed("seed"), &d.Seed, f.seed)
	if err := d.Complete(m.Config); err != nil {
		return "", samples{}, err
	}
	loaded, err := loadSets(c, d)
	if err != nil {
		return "", samples{}, err
	}
	defer func() {
		if err != nil {
			loaded.close()
		}
	}()
	set, err := loaded.pick(f.split, c.Flags().Changed("split"))
	if err != nil {
		return "", samples{}, err
	}
	if set.Size() != m.Input.Len() {
		return "", samples{}, fmt.Errorf("data set %s has %s; model %q takes %s", set.Name, setText(set), m.Config.Name, inputText(m.Input))
	}
	if err := use.CheckSet(m, nn.MSE, set); err != nil {
		return "", samples{}, err
	}
	what = f.data
	if loaded.test != nil {
		what += " (" + f.split + ")"
	}
	return what, samples{n: set.Len(), labels: set.ClassNames(), files: set.Files(), from: loaded, fill: set.Read}, nil
}

// npySamples are the samples in a .npy file, for a model that was trained on data of that kind.
func npySamples(m *nn.Model, run trainer.Data, path string) (samples, error) {
	a, err := trainer.ReadNPY(path)
	if err != nil {
		return samples{}, err
	}
	n, err := countSamples(path, a.Shape, m.Input, m.Config.Name, use.FitsInput)
	if err != nil {
		return samples{}, err
	}
	if a.DType == "uint8" {
		for i := range a.Data {
			a.Data[i] /= 255
		}
	}
	isPixel := func(v float32) bool { return v >= 0 && v <= 1 }
	if i := slices.IndexFunc(a.Data, func(v float32) bool { return !isPixel(v) }); run.Pixels() && i >= 0 {
		return samples{}, fmt.Errorf("%s: value %d is %v, want values in [0,1], or uint8", path, i, a.Data[i])
	}
	if err := checkFinite(path, a.Data); err != nil {
		return samples{}, err
	}
	return arraySamples(run.Scaled(a.Data), n), nil
}

// codeSamples are the codes in a .npy or .csv file, or in the CSV that comes from stdin if it is called -.
func codeSamples(m *nn.Model, path string, stdin io.Reader) (samples, error) {
	if path == standard || hasEnding(path, ".csv") {
		o := dataset.CSVOptions{Columns: numbered("code", m.Code.Len())}
		var t dataset.Table
		var err error
		if path == standard {
			if t, err = dataset.DecodeCSV(stdin, o); err != nil {
				err = fmt.Errorf("standard input: %w", err)
			}
		} else {
			t, err = dataset.ReadCSV(path, o)
		}
		if err != nil {
			return samples{}, fmt.Errorf("codes: %w (want codes of model %q as encode writes them: code1 to code%d)", err, m.Config.Name, m.Code.Len())
		}
		return arraySamples(dataset.ApplyScaler(dataset.Scaler{}, t.Values), len(t.Values)/m.Code.Len()), nil
	}
	if !hasEnding(path, ".npy") {
		return samples{}, fmt.Errorf("file of codes is %s, want a name that ends in .npy or .csv", path)
	}
	a, err := trainer.ReadNPY(path)
	if err != nil {
		return samples{}, err
	}
	n, err := countSamples(path, a.Shape, m.Code, m.Config.Name, fitsCode)
	if err != nil {
		return samples{}, err
	}
	if err := checkFinite(path, a.Data); err != nil {
		return samples{}, err
	}
	return arraySamples(a.Data, n), nil
}

func checkFinite(path string, values []float32) error {
	if i := slices.IndexFunc(values, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return fmt.Errorf("%s: value %d is %v, want finite numbers", path, i, values[i])
	}
	return nil
}

// pictureSamples are pictures, in the model's size. Each is a file, or stdin if it is called -.
func pictureSamples(m *nn.Model, paths []string, stdin io.Reader) (samples, error) {
	size, ok := use.ImageShape(m.Input)
	if !ok {
		return samples{}, fmt.Errorf("model %q takes %s, which is no image: want IN.npy", m.Config.Name, inputText(m.Input))
	}
	var all []float32
	for _, path := range paths {
		img, err := openPicture(path, stdin)
		if err != nil {
			return samples{}, err
		}
		if b := img.Bounds(); b.Dx() == size.W && b.Dy() == size.H {
			all = append(all, picture.FromGoImage(img, size.C).Pix...)
		} else {
			all = append(all, picture.Fit(img, size.H, size.W, size.C).Pix...)
		}
	}
	s := arraySamples(all, len(paths))
	s.files = paths
	return s, nil
}

func arraySamples(data []float32, n int) samples {
	size := len(data) / n
	return samples{n: n, fill: func(dst []float32, lo, hi int) error { copy(dst, data[lo*size:hi*size]); return nil }}
}

// countSamples returns how many samples of a shape that fits an array holds: many, with their number in front, or one.
func countSamples(path string, shape []int, want backend.Shape, model string, fits func(shape []int, want backend.Shape) bool) (int, error) {
	if len(shape) > 1 && fits(shape[1:], want) {
		return shape[0], nil
	}
	if len(shape) > 0 && fits(shape, want) {
		return 1, nil
	}
	advice := use.ShapeAdvice(shape, want)
	if len(shape) > 1 && advice == "" {
		advice = use.ShapeAdvice(shape[1:], want)
	}
	return 0, fmt.Errorf("%s: shape %s does not suit model %q: want N samples of %s%s", path, dataset.ShapeText(shape), model, inputText(want), advice)
}

// fitsCode reports whether a code of that shape is one of the model's, or its values in a row, as encode writes tables.
func fitsCode(shape []int, want backend.Shape) bool {
	return slices.Equal(shape, []int{want.H, want.W, want.C}) || slices.Equal(shape, []int{want.Len()}) || want.C == 1 && slices.Equal(shape, []int{want.H, want.W})
}

// sampleShape returns the shape of an array of n samples.
func sampleShape(n int, s backend.Shape) []int {
	if s.H*s.W == 1 {
		return []int{n, s.C}
	}
	return []int{n, s.H, s.W, s.C}
}

func inputText(s backend.Shape) string { return dataset.ShapeText(sampleShape(1, s)[1:]) }

// sheetRows lays out images of one size.
func sheetRows(pix []float32, size backend.Shape) []picture.Row {
	return picture.Grid(use.Images(pix, size), sheetColumns)
}

// checkSheet reports an output file that is a picture, of a model that makes none.
func checkSheet(m *nn.Model, out string) error {
	if _, ok := use.ImageShape(m.Output); hasEnding(out, ".png") && !ok {
		return fmt.Errorf("model %q makes %s of a code, which is no image: want OUT.npy or OUT.csv", m.Config.Name, inputText(m.Output))
	}
	return nil
}

// writeSamples writes what a model made: to .png as a contact sheet, to .npy or .csv, or as CSV to the standard output if the file is called -, in the units of the data
// that the model was trained on.
func writeSamples(c *cobra.Command, out string, m *nn.Model, run trainer.Data, y []float32) error {
	size, _ := use.ImageShape(m.Output)
	switch {
	case hasEnding(out, ".png"):
		return use.WriteSheet(out, sheetRows(y, size), picture.SheetOptions{})
	case hasEnding(out, ".npy"):
		return trainer.WriteNPY(out, run.Unscaled(y), sampleShape(len(y)/m.Output.Len(), m.Output))
	}
	columns := run.Columns
	if len(columns) != m.Output.Len() {
		columns = numbered("value", m.Output.Len())
	}
	return writeFile(out, c.OutOrStdout(), func(w io.Writer) error { return dataset.WriteCSV(w, columns, run.Unscaled(y)) })
}

// numbered are names of columns.
func numbered(name string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = name + strconv.Itoa(i+1)
	}
	return names
}
