package metric

import "math"

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
