package metric

import (
	"math"
	"slices"
	"testing"
)

func TestLosses(t *testing.T) {
	pred, target := []float32{0.5, 0.25, 1, 0}, []float32{0.5, 0, 0, 0.5}
	near(t, "L1", L1(pred, target), (0.25+1+0.5)/4, 1e-15)
	near(t, "Huber", Huber(0.5, pred, target), (0.25*0.25/2+0.5*(1-0.25)+0.5*0.5/2)/4, 1e-15)
	near(t, "Charbonnier", Charbonnier(0.75, pred, target), (0.75+math.Sqrt(0.0625+0.5625)+1.25+math.Sqrt(0.25+0.5625))/4, 1e-15)
	near(t, "TotalVariation", TotalVariation(pred, 2, 2, 1), (0.25+0.5+0.25+1)/4, 1e-15)
	near(t, "TotalVariation of two channels", TotalVariation(pred, 1, 2, 2), (0.5+0.25)/4, 1e-15)
	near(t, "TotalVariation of a pixel", TotalVariation(pred, 1, 1, 4), 0, 0)
	nan := []float32{float32(math.NaN()), 0, 0, 0}
	for name, v := range map[string]float64{"L1": L1(nan, target), "Huber": Huber(1, nan, target), "Charbonnier": Charbonnier(1, nan, target), "TotalVariation": TotalVariation(nan, 2, 2, 1)} {
		if !math.IsNaN(v) {
			t.Errorf("%s of NaN is %v", name, v)
		}
	}
}

// The means of two images are those that PyTorch makes in float64 by its fft2 and the paper's formula.
func TestFocalFrequency(t *testing.T) {
	pred, target := make([]float32, 180), make([]float32, 180)
	for i := range pred {
		pred[i], target[i] = float32(math.Sin(float64(i))), float32(math.Cos(float64(3*i)))
	}
	for n, want := range []float64{0.850116778363143, 0.8251274237114972} {
		near(t, "an image", FocalFrequency(pred[90*n:][:90], target[90*n:][:90], 5, 6, 3), want, 1e-12)
	}
	near(t, "equal images", FocalFrequency(pred[:90], pred[:90], 5, 6, 3), 0, 0)
	pred[7] = float32(math.NaN())
	if v := FocalFrequency(pred[:90], target[:90], 5, 6, 3); !math.IsNaN(v) {
		t.Errorf("of NaN it is %v", v)
	}
}

// A similarity of several scales is 1 of equal images, and less of others.
func TestMSSSIM(t *testing.T) {
	const h, w, c = 176, 180, 2
	target := noise(h*w*c, 1)
	near(t, "equal images", MSSSIM(target, target, h, w, c), 1, 1e-12)
	half := make([]float32, len(target))
	for i, v := range target {
		half[i] = v / 2
	}
	// The structure of halves is near 2/2 / (1 + 1/4) = 0.8 in each scale, and a little nearer to 1 where c2 counts.
	if got := MSSSIM(half, target, h, w, c); !(got > 0.75 && got < 0.95) {
		t.Errorf("half as bright: %v", got)
	}
	image := []float32{1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60}
	want := []float32{(1 + 2 + 4 + 5) / 4., (10 + 20 + 40 + 50) / 4.}
	if got := halved(image, 2, 3, 2); !slices.Equal(got, want) {
		t.Errorf("halved: %v, want %v", got, want)
	}
	near(t, "SSIM", SSIM(half, target, h, w, c), Evaluate(half, target, h, w, c, 1).SSIM, 0)
}
