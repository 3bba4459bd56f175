package metric

import "math"

// The constants of Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli,
// "Image quality assessment: from error visibility to structural similarity",
// IEEE Transactions on Image Processing 13(4), 2004, section III-C, for a
// dynamic range L of 1.
const (
	ssimWindow = 11
	ssimSigma  = 1.5
	ssimC1     = 0.01 * 0.01 // (K1 L)²
	ssimC2     = 0.03 * 0.03 // (K2 L)²
)

// moments are the quantities of a pair of pixels x, y that the window averages:
// x, y, x²+y² and xy. The two variances are needed only as their sum.
type moments [4]float64

// filter computes SSIM and keeps its scratch from image to image.
type filter struct {
	h, w       int       // image size for which the rest is made
	rows, cols []float64 // Gaussian window down and across
	line       []moments // one row of the image
	across     []moments // [h][w-len(cols)+1] rows averaged across
}

// ssim returns the structural similarity of two images, the mean over the
// positions at which the window lies within the image ("valid") and over the
// channels. Along a side shorter than the window, the window shrinks to the
// largest odd length that fits.
func (f *filter) ssim(x, y []float32, h, w, c int) float64 {
	f.resize(h, w)
	var sum float64
	for ch := range c {
		f.averageAcross(x, y, c, ch)
		sum += f.sumDown()
	}
	positions := (h - len(f.rows) + 1) * (w - len(f.cols) + 1)
	return sum / float64(positions*c)
}

// resize prepares f for images of h by w pixels.
func (f *filter) resize(h, w int) {
	if f.h == h && f.w == w {
		return
	}
	f.h, f.w = h, w
	f.rows, f.cols = gaussian(windowLength(h)), gaussian(windowLength(w))
	f.line = make([]moments, w)
	f.across = make([]moments, h*(w-len(f.cols)+1))
}

// averageAcross fills f.across from channel ch of the c channels of x and y.
func (f *filter) averageAcross(x, y []float32, c, ch int) {
	width := f.w - len(f.cols) + 1
	for r := range f.h {
		at := r*f.w*c + ch
		for i := range f.line {
			p, q := float64(x[at]), float64(y[at])
			f.line[i] = moments{p, q, p*p + q*q, p * q}
			at += c
		}
		out := f.across[r*width:][:width]
		for i := range out {
			out[i] = average(f.line[i:], f.cols, 1)
		}
	}
}

// sumDown averages f.across down and returns the sum of the SSIM index, formula
// (13) of the paper, over all positions.
func (f *filter) sumDown() float64 {
	width := f.w - len(f.cols) + 1
	var sum float64
	for i := range (f.h - len(f.rows) + 1) * width {
		m := average(f.across[i:], f.rows, width)
		mx, my := m[0], m[1]
		squares, product := mx*mx+my*my, mx*my
		sum += (2*product + ssimC1) * (2*(m[3]-product) + ssimC2) /
			((squares + ssimC1) * (m[2] - squares + ssimC2))
	}
	return sum
}

// average returns the mean of every stride'th of m, weighted by window.
func average(m []moments, window []float64, stride int) moments {
	var x, y, squares, product float64
	at := 0
	for _, g := range window {
		v := &m[at]
		x += g * v[0]
		y += g * v[1]
		squares += g * v[2]
		product += g * v[3]
		at += stride
	}
	return moments{x, y, squares, product}
}

// windowLength returns the length of the window along a side of n pixels.
func windowLength(n int) int {
	return min(ssimWindow, n-1+n%2)
}

// gaussian returns a window of odd length n whose weights add up to 1.
func gaussian(n int) []float64 {
	g := make([]float64, n)
	var sum float64
	for i := range g {
		d := float64(i-n/2) / ssimSigma
		g[i] = math.Exp(-d * d / 2)
		sum += g[i]
	}
	for i := range g {
		g[i] /= sum
	}
	return g
}
