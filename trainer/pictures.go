package trainer

import (
	"fmt"
	"image/png"
	"io"
	"maps"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
	"github.com/convae/convae/trainer/picture"
)

// sampleCount is the number of images in a row of samples, unless they are so large that it is fewer.
const sampleCount = 10

// Spread chooses n samples to show, or all of fewer: as many of each label, if there are labels, in their order, and
// evenly from all of them. Of more than n labels it takes some evenly from all.
func Spread(set *dataset.Set, n int) []int {
	n = min(n, set.Len())
	if set.Labels == nil {
		return spreadOver(set.Len(), n)
	}
	byLabel := map[uint8][]int{}
	for i, l := range set.Labels {
		byLabel[l] = append(byLabel[l], i)
	}
	labels := slices.Sorted(maps.Keys(byLabel))
	if len(labels) > n {
		chosen := make([]uint8, n)
		for k, at := range spreadOver(len(labels), n) {
			chosen[k] = labels[at]
		}
		labels = chosen
	}
	// One of each label after the other, as long as it has more.
	counts := make([]int, len(labels))
	for k, left := 0, n; left > 0; k = (k + 1) % len(labels) {
		if counts[k] < len(byLabel[labels[k]]) {
			counts[k]++
			left--
		}
	}
	picked := make([]int, 0, n)
	for k, l := range labels {
		for _, at := range spreadOver(len(byLabel[l]), counts[k]) {
			picked = append(picked, byLabel[l][at])
		}
	}
	return picked
}

// spreadOver returns n of the numbers below size, evenly from all.
func spreadOver(size, n int) []int {
	picked := make([]int, n)
	for i := range picked {
		picked[i] = i * size / n
	}
	return picked
}

// writeSamples draws what the model makes of a few validation images.
func writeSamples(path string, net *nn.Network, set *dataset.Set, noise float64, seed uint64) error {
	rows, caption, err := SampleRows(net, set, noise, seed)
	if err != nil {
		return err
	}
	return WriteSheet(path, rows, picture.SheetOptions{Title: set.Name, Caption: caption})
}

// SampleRows are ten images of a set, or fewer if they are large, as Spread chooses them, and what the model makes of
// them: rows of clean, noisy and denoised images or, without noise, of original and reconstructed ones. The last row is
// the model's output, the one before it was its input. The caption has their PSNR and SSIM.
func SampleRows(net *nn.Network, set *dataset.Set, noise float64, seed uint64) (rows []picture.Row, caption string, err error) {
	rows = []picture.Row{{Label: "clean"}, {Label: "noisy"}, {Label: "denoised"}}
	if noise == 0 {
		rows = []picture.Row{{}, {Label: "original"}, {Label: "reconstructed"}}
	}
	size := set.Size()
	var before, after metric.Accumulator
	for _, i := range Spread(set, samplesShown(set.H, set.W, set.C)) {
		clean, noisy, out := make([]float32, size), make([]float32, size), make([]float32, size)
		Corrupt(clean, noisy, set, i, i+1, noise, rng.Source{Seed: seed, Stream: rng.StreamEvaluate})
		if err := net.Predict(out, noisy, 1); err != nil {
			return nil, "", err
		}
		before.Add(noisy, clean, set.H, set.W, set.C)
		after.Add(out, clean, set.H, set.W, set.C)
		for k, v := range [][]float32{clean, noisy, out} {
			rows[k].Images = append(rows[k].Images, picture.Image{H: set.H, W: set.W, C: set.C, Pix: v})
		}
	}
	a, b := after.Result(), before.Result()
	if noise > 0 {
		return rows, fmt.Sprintf("PSNR %.1f dB before, %.1f dB after; SSIM %.3f before, %.3f after", b.PSNR, a.PSNR, b.SSIM, a.SSIM), nil
	}
	return rows[1:], fmt.Sprintf("PSNR %.1f dB, SSIM %.3f", a.PSNR, a.SSIM), nil
}

// Images cuts samples, one after the other, into images of that shape.
func Images(samples []float32, shape backend.Shape) []picture.Image {
	images := make([]picture.Image, len(samples)/shape.Len())
	for i := range images {
		images[i] = picture.Image{H: shape.H, W: shape.W, C: shape.C, Pix: samples[i*shape.Len():][:shape.Len()]}
	}
	return images
}

// WriteSheet writes rows of images as a PNG.
func WriteSheet(path string, rows []picture.Row, o picture.SheetOptions) error {
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, picture.Sheet(rows, o)) })
}

// LossCurves are the losses of a history, to be drawn.
func LossCurves(epochs []Epoch) (training, validation picture.Curve) {
	training.Name, validation.Name = "training", "validation"
	for _, e := range epochs {
		training.X, training.Y = append(training.X, float64(e.Epoch)), append(training.Y, e.Loss)
		validation.X, validation.Y = append(validation.X, float64(e.Epoch)), append(validation.Y, e.ValLoss)
	}
	return training, validation
}

// WriteLossCurves draws losses as a PNG, on a logarithmic axis if they span more than a decade.
func WriteLossCurves(path string, curves ...picture.Curve) error {
	return WritePlot(path, picture.Losses{Curves: curves, CurveOptions: picture.CurveOptions{Title: "Loss", LogY: picture.SpanDecade(curves)}})
}

// WritePlot writes plots as a PNG: several side by side, three in a row.
func WritePlot(path string, plots ...picture.Plot) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		if len(plots) == 1 {
			return picture.WritePlot(w, plots[0])
		}
		return picture.WritePanels(w, plots, plotColumns)
	})
}

const plotColumns = 3
