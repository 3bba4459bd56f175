package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"convae/nn"
	"convae/nn/backend"
	"convae/trainer"
	"convae/trainer/picture"
)

const (
	codeChunk    = 512 // samples that are run at a time
	sheetImages  = 100 // most images on a contact sheet
	sheetColumns = 10  // images in its rows
)

type encodeFlags struct {
	modelFlags
	data, dataDir, split string
	limit                int
	seed                 uint64
}

func encodeCommand() *cobra.Command {
	var f encodeFlags
	c := &cobra.Command{
		Use:   "encode IN OUT.npy | encode --data NAME OUT.npy",
		Short: "Write the codes of images",
		Long: `Write what the model's encoder makes of images, as float32 of shape (N, rows, columns, channels) or (N, n).

IN is a PNG or JPEG picture of the model's size, or a .npy file: images (N, rows, columns, channels) or, if they are
grey, (N, rows, columns); vectors (N, n); or one image. Values are in [0,1]; uint8 ones are divided by 255.`,
		Args: func(_ *cobra.Command, args []string) error {
			if f.data != "" && len(args) != 1 {
				return fmt.Errorf("with --data, encode takes one argument, OUT.npy; found %d", len(args))
			}
			if f.data == "" && len(args) != 2 {
				return fmt.Errorf("encode takes two arguments, IN and OUT.npy, or OUT.npy with --data; found %d", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	f.add(c)
	fs := c.Flags()
	fs.StringVar(&f.data, "data", "", "encode a "+dataHelp)
	fs.StringVar(&f.dataDir, "data-dir", "", dataDirHelp)
	fs.StringVar(&f.split, "split", "test", "part of the data set: train or test")
	fs.IntVar(&f.limit, "limit", 0, "encode the first samples only (0: all)")
	fs.Uint64Var(&f.seed, "seed", 0, "seed of the digits (default: the run's)")
	return c
}

func (f *encodeFlags) run(c *cobra.Command, args []string) error {
	in, out := "", args[len(args)-1]
	if len(args) == 2 {
		in = args[0]
	}
	if err := checkOutput(out, in, ".npy"); err != nil {
		return err
	}
	if f.limit < 0 {
		return fmt.Errorf("--limit is %d, want 0 or more", f.limit)
	}
	if err := checkSplit(f.split); err != nil {
		return err
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
		x, err = npySamples(m, in)
	default:
		x, err = pictureSample(m, in)
	}
	if err != nil {
		return err
	}
	if f.limit > 0 {
		x.n = min(x.n, f.limit)
	}
	codes, device, err := f.convert(c.Context(), m, (*nn.Network).Encode, m.Input, m.Code, x)
	if err != nil {
		return err
	}
	shape := sampleShape(x.n, m.Code)
	if err := trainer.WriteNPY(out, codes, shape); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s -> %s: codes %s, with %s on %s\n", in, out, trainer.ShapeText(shape), path, device)
	return err
}

func decodeCommand() *cobra.Command {
	var f modelFlags
	c := &cobra.Command{
		Use:   "decode CODES.npy OUT.npy|OUT.png",
		Short: "Write the images of codes",
		Long: `Write what the model's decoder makes of codes as encode writes them: as .npy, float32 of shape
(N, rows, columns, channels) or (N, n), or as .png, a contact sheet of the first 100 images.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return runDecode(c, &f, args[0], args[1]) },
	}
	f.add(c)
	return c
}

func runDecode(c *cobra.Command, f *modelFlags, in, out string) error {
	if err := checkOutput(out, in, ".npy", ".png"); err != nil {
		return err
	}
	m, _, path, err := f.load()
	if err != nil {
		return err
	}
	toSheet := hasEnding(out, ".png")
	size, isImage := trainer.ImageShape(m.Output)
	if toSheet && !isImage {
		return fmt.Errorf("model %q makes %s of a code, which is no image: want OUT.npy", m.Config.Name, trainer.ShapeText(sampleShape(1, m.Output)))
	}
	x, err := codeSamples(m, in)
	if err != nil {
		return err
	}
	if toSheet {
		x.n = min(x.n, sheetImages)
	}
	images, device, err := f.convert(c.Context(), m, (*nn.Network).Decode, m.Code, m.Output, x)
	if err != nil {
		return err
	}
	shape := sampleShape(x.n, m.Output)
	if toSheet {
		err = trainer.WriteSheet(out, sheetRows(images, size), picture.SheetOptions{})
	} else {
		err = trainer.WriteNPY(out, images, shape)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s -> %s: images %s, with %s on %s\n", in, out, trainer.ShapeText(shape), path, device)
	return err
}

// samples are what a model is to be run on.
type samples struct {
	n    int
	fill func(dst []float32, lo, hi int) // with samples lo to hi-1
}

// convert runs the samples through a part of the model that takes and makes the given shapes.
func (f *modelFlags) convert(ctx context.Context, m *nn.Model, part func(*nn.Network, []float32, []float32, int) error, from, to backend.Shape, x samples) (y []float32, device string, err error) {
	dev, _, err := openDevice(f.device)
	if err != nil {
		return nil, "", err
	}
	defer dev.Close()
	net, err := nn.NewNetwork(m, dev, nn.NetworkOptions{})
	if err != nil {
		return nil, "", err
	}
	defer net.Close()
	y = make([]float32, x.n*to.Len())
	buf := make([]float32, min(x.n, codeChunk)*from.Len())
	for lo := 0; lo < x.n; lo += codeChunk {
		if err := ctx.Err(); err != nil {
			return nil, "", errInterrupted
		}
		hi := min(lo+codeChunk, x.n)
		chunk := buf[:(hi-lo)*from.Len()]
		x.fill(chunk, lo, hi)
		if err := part(net, y[lo*to.Len():hi*to.Len()], chunk, hi-lo); err != nil {
			return nil, "", err
		}
	}
	return y, dev.Name(), nil
}

// dataSamples are the samples of the data set that the flags name, and what to call them. What they leave open is as in the run.
func (f *encodeFlags) dataSamples(c *cobra.Command, m *nn.Model, run trainer.Data) (what string, x samples, err error) {
	d := withData(run, f.data)
	override(c.Flags().Changed("data-dir"), &d.Dir, f.dataDir)
	override(c.Flags().Changed("seed"), &d.Seed, f.seed)
	train, test, err := loadSets(c, d)
	if err != nil {
		return "", samples{}, err
	}
	set, err := pickSplit(train, test, f.split, c.Flags().Changed("split"))
	if err != nil {
		return "", samples{}, err
	}
	if set.Size() != m.Input.Len() {
		return "", samples{}, fmt.Errorf("data set %s has %s; model %q takes %s", set.Name, setText(set), m.Config.Name, inputText(m.Input))
	}
	what = f.data
	if test != nil {
		what += " (" + f.split + ")"
	}
	return what, samples{set.Len(), func(dst []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			set.Read(dst[(i-lo)*set.Size():], i)
		}
	}}, nil
}

// npySamples are the images in a .npy file.
func npySamples(m *nn.Model, path string) (samples, error) {
	a, err := trainer.ReadNPY(path)
	if err != nil {
		return samples{}, err
	}
	n, err := countSamples(path, a.Shape, m.Input, m.Config.Name)
	if err != nil {
		return samples{}, err
	}
	if a.DType == "uint8" {
		for i := range a.Data {
			a.Data[i] /= 255
		}
	}
	if i := slices.IndexFunc(a.Data, func(v float32) bool { return !(v >= 0 && v <= 1) }); i >= 0 {
		return samples{}, fmt.Errorf("%s: value %d is %v, want values in [0,1], or uint8", path, i, a.Data[i])
	}
	return arraySamples(a.Data, n), nil
}

// codeSamples are the codes in a .npy file.
func codeSamples(m *nn.Model, path string) (samples, error) {
	if !hasEnding(path, ".npy") {
		return samples{}, fmt.Errorf("file of codes is %s, want a name that ends in .npy", path)
	}
	a, err := trainer.ReadNPY(path)
	if err != nil {
		return samples{}, err
	}
	n, err := countSamples(path, a.Shape, m.Code, m.Config.Name)
	if err != nil {
		return samples{}, err
	}
	finite := func(v float32) bool { return v-v == 0 }
	if i := slices.IndexFunc(a.Data, func(v float32) bool { return !finite(v) }); i >= 0 {
		return samples{}, fmt.Errorf("%s: value %d is %v, want finite codes", path, i, a.Data[i])
	}
	return arraySamples(a.Data, n), nil
}

// pictureSample is one picture of the model's size.
func pictureSample(m *nn.Model, path string) (samples, error) {
	size, ok := trainer.ImageShape(m.Input)
	if !ok {
		return samples{}, fmt.Errorf("model %q takes %s, which is no image: want IN.npy", m.Config.Name, inputText(m.Input))
	}
	img, err := picture.Load(path, size.C)
	if err != nil {
		return samples{}, err
	}
	if img.H != size.H || img.W != size.W {
		return samples{}, fmt.Errorf("%s has %d x %d pixels, model %q takes %d x %d", path, img.W, img.H, m.Config.Name, size.W, size.H)
	}
	return arraySamples(img.Pix, 1), nil
}

func arraySamples(data []float32, n int) samples {
	size := len(data) / n
	return samples{n, func(dst []float32, lo, hi int) { copy(dst, data[lo*size:hi*size]) }}
}

// countSamples returns how many samples of the wanted shape an array holds: many, with their number in front, or one.
func countSamples(path string, shape []int, want backend.Shape, model string) (int, error) {
	forms := [][]int{{want.Len()}}
	if want.H*want.W > 1 {
		if want.C == 1 {
			forms = append(forms, []int{want.H, want.W})
		}
		forms = append(forms, []int{want.H, want.W, want.C})
	} else {
		forms = append(forms, []int{1, 1, want.C})
	}
	for _, f := range forms {
		if len(shape) == len(f)+1 && slices.Equal(shape[1:], f) {
			return shape[0], nil
		}
	}
	for _, f := range forms {
		if slices.Equal(shape, f) {
			return 1, nil
		}
	}
	return 0, fmt.Errorf("%s: shape %s does not suit model %q: want N samples of %s", path, trainer.ShapeText(shape), model, inputText(want))
}

// sampleShape returns the shape of an array of n samples.
func sampleShape(n int, s backend.Shape) []int {
	if s.H*s.W == 1 {
		return []int{n, s.C}
	}
	return []int{n, s.H, s.W, s.C}
}

func inputText(s backend.Shape) string { return trainer.ShapeText(sampleShape(1, s)[1:]) }

// sheetRows lays out images of one size.
func sheetRows(pix []float32, size backend.Shape) []picture.Row {
	var rows []picture.Row
	for i := 0; i*size.Len() < len(pix); i++ {
		if i%sheetColumns == 0 {
			rows = append(rows, picture.Row{})
		}
		last := &rows[len(rows)-1]
		last.Images = append(last.Images, picture.Image{H: size.H, W: size.W, C: size.C, Pix: pix[i*size.Len() : (i+1)*size.Len()]})
	}
	return rows
}
