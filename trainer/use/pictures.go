package use

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

// SheetSamples is the number of images in a row of samples, unless they are so large that it is fewer.
const SheetSamples = 10

// Spread chooses n samples to show, or all of fewer: as many of each label, if there are labels, in their order, and
// evenly from all of them. Of more than n labels it takes some evenly from all.
func Spread(set *dataset.Set, n int) []int {
	n = min(n, set.Len())
	if set.Labels == nil {
		return dataset.Evenly(set.Len(), n)
	}
	byLabel := map[uint8][]int{}
	for i, l := range set.Labels {
		byLabel[l] = append(byLabel[l], i)
	}
	labels := slices.Sorted(maps.Keys(byLabel))
	if len(labels) > n {
		chosen := make([]uint8, n)
		for k, at := range dataset.Evenly(len(labels), n) {
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
		for _, at := range dataset.Evenly(len(byLabel[l]), counts[k]) {
			picked = append(picked, byLabel[l][at])
		}
	}
	return picked
}

// SampleRows are ten images of a set, or fewer if they are large, as Spread chooses them, and what the model makes of
// them: rows of clean, noisy and denoised images (corrupted and restored ones) or, if they are not made worse, of original and reconstructed ones. The last row is
// the model's output, the one before it was its input. The caption has their PSNR and SSIM.
func SampleRows(net *nn.Network, set *dataset.Set, worse Corruption, seed uint64) (rows []picture.Row, caption string, err error) {
	rows = []picture.Row{{Label: "clean"}, {Label: "noisy"}, {Label: "denoised"}}
	if len(worse.Then) > 0 {
		rows = []picture.Row{{Label: "clean"}, {Label: "corrupted"}, {Label: "restored"}}
	}
	if worse.IsZero() {
		rows = []picture.Row{{}, {Label: "original"}, {Label: "reconstructed"}}
	}
	size := set.Size()
	var before, after metric.Accumulator
	for _, i := range Spread(set, samplesShown(set.H, set.W, set.C)) {
		clean, noisy, out := make([]float32, size), make([]float32, size), make([]float32, size)
		if err := Corrupt(clean, noisy, set, i, i+1, worse, rng.Source{Seed: seed, Stream: rng.StreamEvaluate}); err != nil {
			return nil, "", err
		}
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
	if !worse.IsZero() {
		return rows, fmt.Sprintf("PSNR %.1f dB before, %.1f dB after; SSIM %.3f before, %.3f after", b.PSNR, a.PSNR, b.SSIM, a.SSIM), nil
	}
	return rows[1:], fmt.Sprintf("PSNR %.1f dB, SSIM %.3f", a.PSNR, a.SSIM), nil
}

// WorstRows draws the inputs with the highest scores, what the model makes of them, and the differences, so many columns
// wide.
func WorstRows(net *nn.Network, set *dataset.Set, worst []Score, columns int) (rows []picture.Row, err error) {
	for part := range slices.Chunk(worst, columns) {
		group := []picture.Row{{Label: "input"}, {Label: "output"}, {Label: "difference"}}
		for _, s := range part {
			x, y, d := make([]float32, set.Size()), make([]float32, set.Size()), make([]float32, set.Size())
			if err := set.Read(x, s.Index, s.Index+1); err != nil {
				return nil, err
			}
			if err := net.Predict(y, x, 1); err != nil {
				return nil, err
			}
			for i := range d {
				d[i] = max(x[i]-y[i], y[i]-x[i])
			}
			for k, pix := range [][]float32{x, y, d} {
				group[k].Images = append(group[k].Images, picture.Image{H: set.H, W: set.W, C: set.C, Pix: pix})
			}
		}
		rows = append(rows, group...)
	}
	return rows, nil
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

const (
	sampleRows    = 3         // of SampleRows at the most
	sheetBytes    = 256 << 20 // that they and the sheet take at the most, if one column is not larger
	picturesFixed = 2 << 20   // for fonts, a PNG that is being written, and curves
)

// samplesShown is how many samples of those pictures go on a sheet.
func samplesShown(h, w, c int) int { return max(min(SheetSamples, sheetBytes/sampleBytes(h, w, c)), 1) }

// sampleBytes is what a column of SampleRows takes, with its part of the sheet.
func sampleBytes(h, w, c int) int {
	return sampleRows*4*h*w*c + picture.SheetBytes(sampleRows, 1, h, w)
}

// PicturesBytes is what drawing n validation samples takes. Without a set they are taken for images of the model's shape.
func PicturesBytes(m *nn.Model, set *dataset.Set, n int) int {
	h, w, c := m.Input.H, m.Input.W, m.Input.C
	if set != nil {
		h, w, c = set.H, set.W, set.C
		if !set.Images() {
			return picturesFixed
		}
	}
	n = min(n, samplesShown(h, w, c))
	return picturesFixed + n*sampleRows*4*h*w*c + picture.SheetBytes(sampleRows, n, h, w)
}
