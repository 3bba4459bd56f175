package metric_test

import (
	"fmt"

	"github.com/convae/convae/trainer/metric"
)

// Compares two images of 12 x 12 pixels that differ by a tenth in one.
func ExampleEvaluate() {
	target := make([]float32, 144)
	image := append([]float32(nil), target...)
	image[70] = 0.1
	v := metric.Evaluate(image, target, 12, 12, 1, 1)
	fmt.Printf("MSE %.6f, MAE %.6f, max error %.1f, PSNR %.2f dB\n", v.MSE, v.MAE, v.MaxAbs, v.PSNR)
	// Output: MSE 0.000069, MAE 0.000694, max error 0.1, PSNR 41.58 dB
}

// One of three units is the same for all samples.
func ExampleCodes() {
	var c metric.Codes
	c.Add([]float32{0, 1, 5, 1, 0, 5, 0, 0, 5}, 3)
	v := c.Result(12)
	fmt.Printf("%d of %d units active, compression %.0f\n", v.Active, v.Units, v.Compression)
	// Output: 2 of 3 units active, compression 4
}
