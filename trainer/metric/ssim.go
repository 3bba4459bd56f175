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
	structure  bool      // without the factor of the means
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
		sum += f.channel(x, y, c, ch)
	}
	return sum / float64(f.positions()*c)
}

// positions is how many the window has.
func (f *filter) positions() int { return (f.h - len(f.rows) + 1) * (f.w - len(f.cols) + 1) }

// channel returns the sum over the positions of channel ch of c.
func (f *filter) channel(x, y []float32, c, ch int) float64 {
	sum := 0.0
	for r := range f.h {
		f.averageAcross(x, y, r, c, ch)
		if first := r - len(f.rows) + 1; first >= 0 {
			sum = f.sumRow(sum, first)
		}
	}
	return sum
}

// SSIM returns the structural similarity of an image of h by w pixels of c channels to its target, at most 1.
func SSIM(pred, target []float32, h, w, c int) float64 {
	return new(filter).ssim(pred, target, h, w, c)
}

// scaleWeights are the powers of the scales of a similarity: Z. Wang, E. P. Simoncelli and A. C. Bovik, "Multiscale structural similarity for image
// quality assessment", 2003.
var scaleWeights = [5]float64{0.0448, 0.2856, 0.3001, 0.2363, 0.1333}

// MSSSIM returns the structural similarity of five scales, the mean over the channels: the product of the means of the structure in all scales
// but the last, and of the similarity there, each to the power of its weight. From one scale to the next four pixels become their mean. Means
// below 1e-6 count as that.
func MSSSIM(pred, target []float32, h, w, c int) float64 {
	products := make([]float64, c)
	for j, weight := range scaleWeights {
		f := filter{structure: j < len(scaleWeights)-1}
		f.resize(h, w)
		for ch := range products {
			if j == 0 {
				products[ch] = 1
			}
			products[ch] *= math.Pow(max(f.channel(pred, target, c, ch)/float64(f.positions()), 1e-6), weight)
		}
		pred, target, h, w = halved(pred, h, w, c), halved(target, h, w, c), h/2, w/2
	}
	sum := 0.0
	for _, p := range products {
		sum += p
	}
	return sum / float64(c)
}

// halved returns the means of four pixels each; the last of an odd number of rows or columns is left out.
func halved(image []float32, h, w, c int) []float32 {
	half := make([]float32, 0, h/2*(w/2)*c)
	for i := range h / 2 * (w / 2) * c {
		at := (2*(i/(w/2*c))*w+2*(i/c%(w/2)))*c + i%c
		half = append(half, (image[at]+image[at+c]+image[at+w*c]+image[at+w*c+c])/4)
	}
	return half
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
		luminance := (2*product + ssimC1) / (squares + ssimC1)
		if f.structure {
			luminance = 1
		}
		sum += luminance * (2*(m[3]-product) + ssimC2) / (m[2] - squares + ssimC2)
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
