package use

import (
	"math"
	"testing"
)

// The values are scipy.ndimage.gaussian_filter's (1.10, its defaults).
func TestSmooth(t *testing.T) {
	image := []float64{1, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 2}
	newSmoother(0.8, 3, 4).smooth(image)
	want := []float64{0.5741543370821419, 0.2739325582174458, 0.0692838070092097, 0.03753447520843839, 0.6830125584226294, 1.0729129257264878,
		0.5878389752003857, 0.40866687757863085, 1.4724700047326769, 2.94101522474975, 1.6921560682560866, 1.1870221878161216}
	for i, w := range want {
		if math.Abs(image[i]-w) > 1e-12 {
			t.Errorf("pixel %d is %v, want %v", i, image[i], w)
		}
	}
	same := []float64{3, 1}
	if newSmoother(0, 1, 2).smooth(same); same[0] != 3 || same[1] != 1 {
		t.Errorf("not smoothed, but %v", same)
	}
	one := []float64{7}
	if newSmoother(5, 1, 1).smooth(one); math.Abs(one[0]-7) > 1e-12 {
		t.Errorf("a pixel alone becomes %v", one[0])
	}
}
