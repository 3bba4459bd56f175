package metric

import (
	"math"
	"math/cmplx"

	"github.com/convae/convae/nn/fourier"
)

// L1 returns the mean absolute error of an image.
func L1(pred, target []float32) float64 { return mean(pred, target, math.Abs) }

// Huber returns the mean over an image's elements of d²/2, for a difference d of at most delta, and of delta (|d| - delta/2) beyond.
func Huber(delta float64, pred, target []float32) float64 {
	return mean(pred, target, func(d float64) float64 {
		if a := math.Abs(d); !(a <= delta) {
			return delta * (a - delta/2)
		}
		return d * d / 2
	})
}

// Charbonnier returns the mean over an image's elements of the root of the squared difference and epsilon's square.
func Charbonnier(epsilon float64, pred, target []float32) float64 {
	return mean(pred, target, func(d float64) float64 { return math.Sqrt(d*d + epsilon*epsilon) })
}

// mean returns the mean of a function of the differences.
func mean(pred, target []float32, of func(d float64) float64) float64 {
	sum := 0.0
	for i, p := range pred {
		sum += of(float64(p) - float64(target[i]))
	}
	return sum / float64(len(pred))
}

// TotalVariation returns the sum of the absolute differences of neighbours in the rows and columns of an image's channels, divided by the number
// of the image's elements.
func TotalVariation(image []float32, h, w, c int) float64 {
	sum := 0.0
	for i, p := range image {
		if i/c%w < w-1 {
			sum += math.Abs(float64(p) - float64(image[i+c]))
		}
		if i/(w*c) < h-1 {
			sum += math.Abs(float64(p) - float64(image[i+w*c]))
		}
	}
	return sum / float64(len(image))
}

// FocalFrequency returns the mean over the numbers of the spectra of an image's channels, those of what pred and target differ by, of |F|³/most, most being
// the largest |F| of its channel (Jiang and others, "Focal frequency loss for image reconstruction and synthesis", 2021, with alpha 1). Sides are at most
// fourier.MaxSide.
func FocalFrequency(pred, target []float32, h, w, c int) float64 {
	sum := 0.0
	f, room, line := make([]complex128, h*w), make([]complex128, max(h, w)), make([]complex128, h)
	for channel := range c {
		for i := range f {
			f[i] = complex(float64(pred[i*c+channel])-float64(target[i*c+channel]), 0)
		}
		for y := range h {
			fourier.Transform(fourier.Forward, f[y*w:][:w], room[:w])
		}
		most, cubes := 0.0, 0.0
		for x := range w {
			for y := range line {
				line[y] = f[y*w+x]
			}
			fourier.Transform(fourier.Forward, line, room[:h])
			for _, v := range line {
				a := cmplx.Abs(v)
				most, cubes = max(most, a), cubes+a*a*a
			}
		}
		if most != 0 {
			sum += cubes / most
		}
	}
	return sum / float64(len(pred))
}
