package trainer

import (
	"fmt"
	"image/png"
	"io"

	"convae/nn"
	"convae/nn/rng"
	"convae/trainer/atomicfile"
	"convae/trainer/dataset"
	"convae/trainer/metric"
	"convae/trainer/picture"
)

// sampleCount is the number of images in a row of samples.
const sampleCount = 10

// pickSamples chooses images to show: the first of each label, then the first ones.
func pickSamples(set *dataset.Set, n int) []int {
	var picked []int
	seen := map[uint8]bool{}
	for i, l := range set.Labels {
		if !seen[l] && len(picked) < n {
			seen[l] = true
			picked = append(picked, i)
		}
	}
	if len(picked) == n {
		byLabel := make([]int, n)
		for _, i := range picked {
			if int(set.Labels[i]) >= n {
				return picked
			}
			byLabel[set.Labels[i]] = i
		}
		return byLabel
	}
	picked = picked[:0]
	for i := range min(n, set.Len()) {
		picked = append(picked, i)
	}
	return picked
}

// writeSamples draws what the model makes of a few validation images.
func writeSamples(path string, net *nn.Network, set *dataset.Set, noise float64, seed uint64) error {
	rows := []picture.Row{{Label: "clean"}, {Label: "noisy"}, {Label: "denoised"}}
	if noise == 0 {
		rows = []picture.Row{{Label: "original"}, {}, {Label: "reconstructed"}}
	}
	size := set.Size()
	clean, noisy, out := make([]float32, size), make([]float32, size), make([]float32, size)
	var before, after metric.Accumulator
	for _, i := range pickSamples(set, sampleCount) {
		Corrupt(clean, noisy, set, i, i+1, noise, rng.Source{Seed: seed, Stream: rng.StreamEvaluate})
		if err := net.Predict(out, noisy, 1); err != nil {
			return err
		}
		before.Add(noisy, clean, set.H, set.W, set.C)
		after.Add(out, clean, set.H, set.W, set.C)
		for k, v := range [][]float32{clean, noisy, out} {
			rows[k].Images = append(rows[k].Images, picture.Image{H: set.H, W: set.W, C: set.C, Pix: append([]float32(nil), v...)})
		}
	}
	a, b := after.Result(), before.Result()
	caption := fmt.Sprintf("PSNR %.1f dB, SSIM %.3f", a.PSNR, a.SSIM)
	if noise > 0 {
		caption = fmt.Sprintf("PSNR %.1f dB before, %.1f dB after; SSIM %.3f before, %.3f after", b.PSNR, a.PSNR, b.SSIM, a.SSIM)
	} else {
		rows = []picture.Row{rows[0], rows[2]}
	}
	return WriteSheet(path, rows, picture.SheetOptions{Title: set.Name, Caption: caption})
}

// WriteSheet writes rows of images as a PNG.
func WriteSheet(path string, rows []picture.Row, o picture.SheetOptions) error {
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, picture.Sheet(rows, o)) })
}

func writeLossCurve(path string, epochs []Epoch) error {
	train, val := picture.Curve{Name: "training"}, picture.Curve{Name: "validation"}
	for _, e := range epochs {
		train.X, train.Y = append(train.X, float64(e.Epoch)), append(train.Y, e.Loss)
		val.X, val.Y = append(val.X, float64(e.Epoch)), append(val.Y, e.ValLoss)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		return picture.LossCurve(w, []picture.Curve{train, val}, picture.CurveOptions{Title: "Loss"})
	})
}
