package backend

import (
	"fmt"
	"math"
)

// SSIMSpec is what defines a structural similarity of images whose values have a range of 1.
type SSIMSpec struct {
	X         Shape
	Window    int     // side of the Gaussian window, odd
	Sigma     float32 // its standard deviation
	K1, K2    float32 // c1 and c2 are their squares
	Structure bool    // without the factor of the means
}

// SSIMShape is a validated SSIMSpec. Make it with NewSSIM. The window lies within the image; along a side that is shorter it shrinks to the
// largest odd length that fits.
type SSIMShape struct {
	SSIMSpec
	Rows, Columns int   // of the window
	Out           Shape // its positions
}

// MaxSSIMWindow bounds the window.
const MaxSSIMWindow = 15

// NewSSIM validates a similarity.
func NewSSIM(c SSIMSpec) (SSIMShape, error) {
	s := SSIMShape{SSIMSpec: c}
	if min(c.X.N, c.X.H, c.X.W, c.X.C) < 1 {
		return s, fmt.Errorf("an input %v, want at least 1 of each", c.X)
	}
	if c.Window < 1 || c.Window > MaxSSIMWindow || c.Window%2 == 0 {
		return s, fmt.Errorf("a window of %d, want an odd number of 1 to %d", c.Window, MaxSSIMWindow)
	}
	if !(c.Sigma > 0 && c.K1 > 0 && c.K2 > 0) {
		return s, fmt.Errorf("sigma is %v, k1 %v and k2 %v, want more than 0", c.Sigma, c.K1, c.K2)
	}
	side := func(n int) int { return min(c.Window, n-1+n%2) }
	s.Rows, s.Columns = side(c.X.H), side(c.X.W)
	s.Out = Shape{c.X.N, c.X.H - s.Rows + 1, c.X.W - s.Columns + 1, c.X.C}
	return s, checkSizes(c.X, s.Slopes())
}

// Slopes is the shape of what the gradient is made of.
func (s *SSIMShape) Slopes() Shape { return Shape{s.Out.N, s.Out.H, s.Out.W, 3 * s.Out.C} }

// Positions is how many the window has in an image.
func (s *SSIMShape) Positions() int { return s.Out.H * s.Out.W }

// Weights fills w with a window's weights, which add up to 1.
func (s *SSIMShape) Weights(w []float64) {
	sum := 0.0
	for i := range w {
		d := float64(i-len(w)/2) / float64(s.Sigma)
		w[i] = math.Exp(-d * d / 2)
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
}

// ScaleWeights are the powers of the scales of a similarity, 1 to 5.
type ScaleWeights struct {
	Scales int
	Of     [5]float32
}

// check panics unless the shape is one that NewSSIM makes.
func (s *SSIMShape) check(x, y *Tensor) {
	if min(s.Rows, s.Columns, s.Out.N, s.Out.H, s.Out.W, s.Out.C) < 1 || max(s.Rows, s.Columns) > MaxSSIMWindow {
		panic(MistakeGeometry)
	}
	x.activation(s.X)
	y.activation(s.X)
}

// CheckForward checks the arguments of SSIM.
func (s *SSIMShape) CheckForward(index, slopes, x, y *Tensor) {
	s.check(x, y)
	index.activation(s.Out)
	if !slopes.IsZero() {
		slopes.activation(s.Slopes())
	}
}

// CheckBack checks the arguments of SSIMBack.
func (s *SSIMShape) CheckBack(gradX, slopes, gradSums, x, y *Tensor) {
	s.check(x, y)
	gradX.activation(s.X)
	slopes.activation(s.Slopes())
	gradSums.activation(Shape{s.X.N, 1, 1, s.X.C})
}

// Check checks the arguments of SSIMLoss.
func (o *ScaleWeights) Check(loss, gradMeans, means *Tensor) {
	if o.Scales < 1 || o.Scales > len(o.Of) {
		panic(MistakeGeometry)
	}
	loss.one()
	means.activation(Shape{means.Shape.N, 1, 1, means.Shape.C})
	gradMeans.activation(means.Shape)
	if means.Shape.C%o.Scales != 0 {
		panic(MistakeChannels)
	}
}
