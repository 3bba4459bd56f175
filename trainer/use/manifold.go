package use

import (
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/convae/convae/trainer/picture"
)

// PriorAxis returns n numbers between which a standard normal code falls equally often: quantiles (i+1/2)/n.
func PriorAxis(n int) []float64 {
	axis := make([]float64, n)
	for i := range axis {
		axis[i] = distuv.UnitNormal.Quantile((float64(i) + 0.5) / float64(n))
	}
	return axis
}

// ManifoldCodes returns the codes of two numbers on a grid, the first number along x and the second along y: len(x)*len(y)
// of them, row by row as the grid is drawn, with the last of y above and the first of x at the left. What a decoder makes
// of them is its manifold.
func ManifoldCodes(x, y []float64) []float32 {
	codes := make([]float32, 0, 2*len(x)*len(y))
	for j := len(y) - 1; j >= 0; j-- {
		for _, v := range x {
			codes = append(codes, float32(v), float32(y[j]))
		}
	}
	return codes
}

// WriteManifold draws the images of ManifoldCodes, a grid of so many columns, as a PNG.
func WriteManifold(path string, images []picture.Image, columns int) error {
	all := picture.Mosaic(images, columns, 0)
	side := max(all.H, all.W)
	scale := max(1, (manifoldSide+side/2)/side)
	return WriteSheet(path, []picture.Row{{Images: []picture.Image{all}}}, picture.SheetOptions{Scale: scale})
}

// manifoldSide is about the side of a drawn manifold in pixels.
const manifoldSide = 900
