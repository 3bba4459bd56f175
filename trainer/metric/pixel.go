package metric

import "math"

// MaxPSNR is the PSNR in dB given to identical images, whose PSNR is infinite
// and would leave no mean, and to all with a mean squared error below 1e-10.
const MaxPSNR = 100

const (
	leastMSE = 1e-10 // the mean squared error at MaxPSNR
	epsilon  = 1e-7  // keras.backend.epsilon(), the clipping of the BCE
)

// Pixelwise returns the metrics of one image that compare pixel with pixel.
func Pixelwise(pred, target []float32) Values {
	var se, ae, bce, largest float64
	for i, p32 := range pred {
		p, t := float64(p32), float64(target[i])
		d := math.Abs(p - t)
		se += d * d
		ae += d
		// The built-in max keeps a NaN, a comparison would lose it.
		largest = max(largest, d)
		bce -= crossEntropy(p, t)
	}
	n := float64(len(pred))
	mse := se / n
	return Values{
		N:           1,
		MSE:         mse,
		MAE:         ae / n,
		BCE:         bce / n,
		PSNR:        PSNR(mse),
		MaxAbs:      largest,
		MaxDistance: math.Sqrt(se),
	}
}

// PSNR returns the peak signal-to-noise ratio, in dB and for a peak of 1, of
// images with that mean squared error: at most [MaxPSNR].
func PSNR(mse float64) float64 { return -10 * math.Log10(max(mse, leastMSE)) }

// crossEntropy returns t*log(p) + (1-t)*log(1-p), without the logarithms that
// a target of 0 or 1 multiplies by zero.
func crossEntropy(p, t float64) float64 {
	p = min(max(p, epsilon), 1-epsilon)
	switch t {
	case 0:
		return math.Log(1 - p)
	case 1:
		return math.Log(p)
	}
	return t*math.Log(p) + (1-t)*math.Log(1-p)
}
