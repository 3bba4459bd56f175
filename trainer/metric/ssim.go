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

// filter computes SSIM and keeps its scratch from image to image: as many rows of an image as the window has, each twice, so
// that those of a window lie one after the other wherever it starts.
type filter struct {
	h, w       int       // image size for which the rest is made
	rows, cols []float64 // Gaussian window down and across
	line       []moments // one row of the image
	across     []moments // [2*len(rows)][w-len(cols)+1] rows averaged across; row r is in place r modulo len(rows), and len(rows) after it
}

// ssim returns the structural similarity of two images, the mean over the
// positions at which the window lies within the image ("valid") and over the
// channels. Along a side shorter than the window, the window shrinks to the
// largest odd length that fits.
func (f *filter) ssim(x, y []float32, h, w, c int) float64 {
	f.resize(h, w)
	var sum float64
	for ch := range c {
		channel := 0.0
		for r := range h {
			f.averageAcross(x, y, r, c, ch)
			if first := r - len(f.rows) + 1; first >= 0 {
				channel = f.sumRow(channel, first)
			}
		}
		sum += channel
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
	f.across = make([]moments, 2*len(f.rows)*(w-len(f.cols)+1))
}

// ScratchBytes is what an Accumulator of so many workers keeps for images of w pixels a row, besides its sums.
func ScratchBytes(workers, w int) int { return workers * (2*ssimWindow + 1) * w * 32 }

// averageAcross averages row r of channel ch of the c channels of x and y.
func (f *filter) averageAcross(x, y []float32, r, c, ch int) {
	at := r*f.w*c + ch
	for i := range f.line {
		p, q := float64(x[at]), float64(y[at])
		f.line[i] = moments{p, q, p*p + q*q, p * q}
		at += c
	}
	width := f.w - len(f.cols) + 1
	out := f.across[r%len(f.rows)*width:][:width]
	for i := range out {
		out[i] = average(f.line[i:], f.cols, 1)
	}
	copy(f.across[(r%len(f.rows)+len(f.rows))*width:], out)
}

// sumRow adds to sum the SSIM index, formula (13) of the paper, at the positions whose window starts in row first.
func (f *filter) sumRow(sum float64, first int) float64 {
	width := f.w - len(f.cols) + 1
	window := f.across[first%len(f.rows)*width:]
	for i := range width {
		m := average(window[i:], f.rows, width)
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
