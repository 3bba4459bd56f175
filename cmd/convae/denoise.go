package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/picture"
)

type denoiseFlags struct {
	modelFlags
	noise float64
	seed  uint64
}

func denoiseCommand() *cobra.Command {
	var f denoiseFlags
	c := &cobra.Command{
		Use:   "denoise IN OUT.png",
		Short: "Run a model over a picture of any size",
		Long: `Run a model over a PNG or JPEG picture of any size, and write the result as a PNG.

A model of one channel is applied to each channel of a colour picture. Pictures that are larger than the model takes
are cut into tiles that overlap and are blended.

With --noise the picture is first made noisy; what the model was given is written to OUT-noisy.png.`,
		Args: arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0], args[1]) },
	}
	f.add(c)
	c.Flags().Float64Var(&f.noise, "noise", 0, "standard deviation of noise to add first, for a picture in [0,1]")
	within(c.Flags(), "noise", 0, maxStd)
	c.Flags().Uint64Var(&f.seed, "seed", 0, "seed of the noise")
	return c
}

func (f *denoiseFlags) run(c *cobra.Command, in, out string) error {
	noisyOut := strings.TrimSuffix(out, filepath.Ext(out)) + "-noisy.png"
	if err := checkOutput(out, in, ".png"); err != nil {
		return err
	}
	if f.noise > 0 {
		if err := checkOutput(noisyOut, in, ".png"); err != nil {
			return err
		}
	}
	m, _, path, err := f.load()
	if err != nil {
		return err
	}
	clean, err := loadFor(m, in)
	if err != nil {
		return err
	}
	noisy := addNoise(clean, f.noise, f.seed)
	tiles, err := trainer.Tiles(m, noisy)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	dev, _, err := openDevice(f.device)
	if err != nil {
		return err
	}
	defer dev.Close()
	result, err := trainer.Apply(c.Context(), m, dev, noisy)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	about := ""
	if f.noise > 0 {
		if err := writePNG(noisyOut, noisy); err != nil {
			return err
		}
		about = fmt.Sprintf("; noise %g (%s): PSNR %.2f -> %.2f dB", f.noise, noisyOut, psnr(noisy, clean), psnr(result, clean))
	}
	if err := writePNG(out, result); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s -> %s: %d x %d pixels, channels: %d, tiles: %d, with %s on %s%s\n", in, out, result.W, result.H, result.C, tiles, path, dev.Name(), about)
	return err
}

// loadFor reads a picture with the channels that suit the model: a grey one as grey, also if the file has colours that
// are all grey, unless the model takes colours only.
func loadFor(m *nn.Model, path string) (picture.Image, error) {
	img, err := picture.Load(path, 3)
	if err != nil || m.Input.C == 3 || m.Input.Len() == len(img.Pix) || !isGrey(img) {
		return img, err
	}
	grey := picture.Image{H: img.H, W: img.W, C: 1, Pix: make([]float32, img.H*img.W)}
	for i := range grey.Pix {
		grey.Pix[i] = img.Pix[3*i]
	}
	return grey, nil
}

func isGrey(img picture.Image) bool {
	for i := 0; i < len(img.Pix); i += 3 {
		if img.Pix[i] != img.Pix[i+1] || img.Pix[i] != img.Pix[i+2] {
			return false
		}
	}
	return true
}

// addNoise returns the image plus normal noise, clipped to [0,1].
func addNoise(img picture.Image, std float64, seed uint64) picture.Image {
	if std == 0 {
		return img
	}
	noisy := img
	noisy.Pix = make([]float32, len(img.Pix))
	src := rng.Source{Seed: seed, Stream: rng.StreamEvaluate}
	for i := 0; i < len(img.Pix); i += 4 {
		z := src.Normals(uint32(i/4), 0, 0)
		for k := range min(4, len(img.Pix)-i) {
			noisy.Pix[i+k] = min(max(img.Pix[i+k]+float32(std)*z[k], 0), 1)
		}
	}
	return noisy
}

// psnr returns the peak signal-to-noise ratio in dB.
func psnr(img, clean picture.Image) float64 {
	var a metric.Accumulator
	a.Add(img.Pix, clean.Pix, img.H, img.W, img.C)
	return a.Result().PSNR
}

func writePNG(path string, img picture.Image) error {
	return atomicfile.Write(path, func(w io.Writer) error { return picture.EncodePNG(w, img) })
}
