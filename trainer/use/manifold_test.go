package use

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/convae/convae/trainer/picture"
)

// A standard normal number falls equally often between any two of the quantiles.
func TestPriorAxis(t *testing.T) {
	axis := PriorAxis(4)
	for i, v := range axis {
		if share := (1 + math.Erf(v/math.Sqrt2)) / 2; math.Abs(share-(float64(i)+0.5)/4) > 1e-9 {
			t.Errorf("%v is the quantile %v", v, share)
		}
	}
}

// The first number rises to the right, the second upwards.
func TestManifold(t *testing.T) {
	codes := ManifoldCodes([]float64{1, 2, 3}, []float64{0.1, 0.2})
	if want := []float32{1, 0.2, 2, 0.2, 3, 0.2, 1, 0.1, 2, 0.1, 3, 0.1}; !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	// Images of one pixel, in the order of the codes.
	path := filepath.Join(t.TempDir(), "manifold.png")
	shades := []float32{0, 0.2, 0.4, 0.6, 0.8, 1}
	var images []picture.Image
	for _, v := range shades {
		images = append(images, picture.Image{H: 1, W: 1, C: 1, Pix: []float32{v}})
	}
	if err := WriteManifold(path, images, 3); err != nil {
		t.Fatal(err)
	}
	m, err := picture.Load(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	const margin, side = 24, 300
	if m.W != 3*side+2*margin || m.H < 2*side+2*margin {
		t.Fatalf("%d x %d pixels", m.W, m.H)
	}
	for i, want := range shades {
		x, y := margin+i%3*side+side/2, margin+i/3*side+side/2
		if got := m.Pix[y*m.W+x]; math.Abs(float64(got-want)) > 1e-2 {
			t.Errorf("image %d is %v, want %v", i, got, want)
		}
	}
}
