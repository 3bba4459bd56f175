package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/picture"
	"github.com/convae/convae/trainer/use"
)

type denoiseFlags struct {
	modelFlags
	noise float64
	seed  uint64
	skip  bool
}

func denoiseCommand() *cobra.Command {
	var f denoiseFlags
	c := &cobra.Command{
		Use:   "denoise IN OUT.png | denoise IN... FOLDER",
		Short: "Run a model over pictures of any size",
		Long: `Run a model over a picture of any size (` + picture.Formats + `, of which the first image is read), and write the
result as a PNG: upright, as its EXIF orientation says, grey or in colours and with 8 or 16 bits a channel as the picture has, and with
its alpha. IN or OUT.png may be -, the standard input or output.

Of several pictures, or of a folder with those in it and below it, also where links lead to, the results keep their names, as PNGs, in FOLDER, which is made if need be.
With --skip-unreadable pictures that cannot be read are left out with a note; else the first of them is an error, and what was written before it
stays.

A model of one channel is applied to each channel of a colour picture. Pictures that are larger than the model takes
are cut into tiles that overlap and are blended, row by row: besides the decoded picture, of 1 GiB at the most, only the
tiles of a row take memory.

With --noise the pictures are first made noisy; what the model was given is written to OUT-noisy.png.`,
		Args: arguments(2, many),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[:len(args)-1], args[len(args)-1]) },
	}
	f.add(c)
	c.Flags().Float64Var(&f.noise, "noise", 0, "standard deviation of noise to add first, for a picture in [0,1]")
	within(c.Flags(), "noise", 0, maxStd)
	c.Flags().Uint64Var(&f.seed, "seed", 0, "seed of the noise")
	c.Flags().BoolVar(&f.skip, "skip-unreadable", false, skipHelp)
	return c
}

func (f *denoiseFlags) run(c *cobra.Command, in []string, out string) error {
	files, notes, err := pictureFiles(in, out)
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(c.ErrOrStderr(), "note:", note)
	}
	for _, file := range files {
		if f.noise == 0 {
			break
		}
		if file.out == standard {
			return errors.New("--noise writes two pictures: want a file for the output, not -")
		}
		if err := checkOutput(noisyName(file.out), file.in, ".png"); err != nil {
			return err
		}
	}
	m, _, path, err := f.load()
	if err != nil {
		return err
	}
	dev, _, err := openDevice(f.device)
	if err != nil {
		return err
	}
	defer dev.Close()
	done := 0
	for _, file := range files {
		decoded, err := openPicture(file.in, c.InOrStdin())
		if err != nil && f.skip {
			fmt.Fprintln(c.ErrOrStderr(), "convae: left out:", oneLine(err))
			continue
		}
		if err != nil {
			return err
		}
		if err := f.denoise(c, m, dev, decoded, file, path); err != nil {
			return err
		}
		done++
	}
	if done == 0 {
		return fmt.Errorf("nothing was done: of %s no picture can be read", strings.Join(in, ", "))
	}
	return nil
}

// noisyName is where the noisy picture is written beside an output.
func noisyName(out string) string { return strings.TrimSuffix(out, filepath.Ext(out)) + "-noisy.png" }

// denoise runs the model over a picture and says what it wrote.
func (f *denoiseFlags) denoise(c *cobra.Command, m *nn.Model, dev backend.Device, decoded image.Image, file pictureFile, model string) (err error) {
	d := denoising{ctx: c.Context(), clean: rowsFor(m, decoded), noise: f.noise, seed: f.seed, stdout: c.OutOrStdout()}
	if d.applied, err = use.NewApplied(m, dev, d.clean.H, d.clean.W, d.clean.C, d.read); err != nil {
		return fmt.Errorf("%s: %w", file.in, err)
	}
	defer d.applied.Close()
	if file.folder {
		if err := os.MkdirAll(filepath.Dir(file.out), 0o777); err != nil {
			return err
		}
	}
	if err := d.write(file.out, d.nextOutput); err != nil {
		return fmt.Errorf("%s: %w", file.in, err)
	}
	about := ""
	if f.noise > 0 {
		noisy := noisyName(file.out)
		if err := d.write(noisy, d.nextNoisy); err != nil {
			return err
		}
		about = fmt.Sprintf("; noise %g (%s): PSNR %.2f -> %.2f dB", f.noise, noisy, d.before.psnr(), d.after.psnr())
	}
	_, err = fmt.Fprintf(telling(c, file.out), "%s -> %s: %d x %d pixels, channels: %d, tiles: %d, with %s on %s%s\n", file.in, file.out, d.clean.W, d.clean.H, d.clean.C, d.applied.Tiles(), model, dev.Name(), about)
	return err
}

// rowsFor reads a picture with the channels that suit the model: a grey one as grey, also if the file has colours that
// are all grey, unless the model takes colours only.
func rowsFor(m *nn.Model, decoded image.Image) *picture.Rows {
	b := decoded.Bounds()
	if m.Input.C == 3 || m.Input.Len() == b.Dx()*b.Dy()*3 || !picture.IsGrey(decoded) {
		return picture.NewRows(decoded, 3)
	}
	return picture.NewRows(decoded, 1)
}

// denoising is a picture on its way through a model, row by row.
type denoising struct {
	ctx           context.Context
	clean         *picture.Rows
	noise         float64
	seed          uint64
	applied       *use.Applied
	row           []float32 // noisy
	clear         []float32
	y             int // next row of the output at hand
	before, after squares
	stdout        io.Writer
}

// read fills dst with row y of what the model is given.
func (d *denoising) read(dst []float32, y int) {
	d.clean.Read(dst, y)
	addNoise(dst, y*len(dst), d.noise, d.seed)
}

// nextNoisy returns the next row of what the model is given.
func (d *denoising) nextNoisy() ([]float32, error) {
	if err := d.ctx.Err(); err != nil {
		return nil, err
	}
	d.read(d.row, d.y)
	d.compare(&d.before, d.row)
	return d.row, nil
}

// nextOutput returns the next row of what the model makes of it.
func (d *denoising) nextOutput() ([]float32, error) {
	row, err := d.applied.Next(d.ctx)
	if err == nil && d.noise > 0 {
		d.compare(&d.after, row)
	}
	return row, err
}

// compare compares the next row with the clean one.
func (d *denoising) compare(s *squares, row []float32) {
	d.clean.Read(d.clear, d.y)
	s.add(row, d.clear)
	d.y++
}

// write writes a PNG of the rows that next gives.
func (d *denoising) write(path string, next func() ([]float32, error)) error {
	size := d.clean.W * d.clean.C
	d.row, d.clear, d.y = make([]float32, size), make([]float32, size), 0
	return writeFile(path, d.stdout, func(w io.Writer) error { return d.clean.EncodePNG(w, next) })
}

// addNoise adds normal noise to values of an image, of which the first is the one with that number, and clips them to
// [0,1].
func addNoise(values []float32, first int, std float64, seed uint64) {
	if std == 0 {
		return
	}
	src := rng.Source{Seed: seed, Stream: rng.StreamEvaluate}
	z := src.Normals(uint32(first/4), 0, 0)
	for k, v := range values {
		i := first + k
		if i%4 == 0 {
			z = src.Normals(uint32(i/4), 0, 0)
		}
		values[k] = min(max(v+float32(std)*z[i%4], 0), 1)
	}
}

// squares sums squared errors.
type squares struct {
	sum float64
	n   int
}

func (s *squares) add(a, b []float32) {
	for i, v := range a {
		d := float64(v) - float64(b[i])
		s.sum += d * d
	}
	s.n += len(a)
}

// psnr returns the peak signal-to-noise ratio in dB.
func (s *squares) psnr() float64 { return metric.PSNR(s.sum / float64(s.n)) }
