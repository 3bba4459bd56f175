package metric

import (
	"math"
	"testing"
)

func TestPixelwiseByHand(t *testing.T) {
	pred := []float32{0.5, 0.25, 1, 0.75}
	target := []float32{0, 0.5, 1, 0.25}
	v := Pixelwise(pred, target)
	near(t, "MSE", v.MSE, (0.25+0.0625+0+0.25)/4, 0)
	near(t, "MAE", v.MAE, (0.5+0.25+0+0.5)/4, 0)
	near(t, "MaxAbs", v.MaxAbs, 0.5, 0)
	near(t, "PSNR", v.PSNR, 8.519374645445623, 1e-12) // -10 log10(0.140625)
	// ln 2; (ln 4 + ln 4/3)/2; 0; (ln 4/3)/4 + 3/4 ln 4
	want := (math.Ln2 + (math.Log(4)+math.Log(4.0/3))/2 + 0 + math.Log(4.0/3)/4 + 0.75*math.Log(4)) / 4
	near(t, "BCE", v.BCE, want, 1e-7)
}

// A certain and wrong prediction costs -ln(1e-7), not infinity.
func TestCrossEntropyClips(t *testing.T) {
	const worst = 16.11809565095832
	near(t, "p=0 t=1", -crossEntropy(0, 1), worst, 1e-9)
	near(t, "p=1 t=0", -crossEntropy(1, 0), worst, 1e-9)
	near(t, "p=-2 t=1", -crossEntropy(-2, 1), worst, 1e-9)
	near(t, "p=1 t=1", -crossEntropy(1, 1), 1e-7, 1e-12)
	near(t, "p=0 t=0", -crossEntropy(0, 0), 1e-7, 1e-12)
	near(t, "p=0.3 t=0.3", -crossEntropy(0.3, 0.3), 0.6108643020548935, 1e-12)
}

func TestPSNR(t *testing.T) {
	target := filled(64, 0.25)
	near(t, "error 0.1", Pixelwise(filled(64, 0.35), target).PSNR, 20, 1e-5)
	near(t, "error 1", Pixelwise(filled(64, 1.25), target).PSNR, 0, 1e-12)
	near(t, "identical", Pixelwise(target, target).PSNR, MaxPSNR, 1e-12)
	near(t, "error 1e-6", Pixelwise(filled(64, 0.250001), target).PSNR, MaxPSNR, 1e-12)
}
