package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
)

// SSIMNeeds returns the memory of what windows along the rows of a channel make of it.
func (l *lane) SSIMNeeds(s backend.SSIMShape) backend.Needs {
	n := 4 * lineUp(5*s.X.H*s.X.W)
	return backend.Needs{Workspace: n, Forward: n}
}

// ssimWindow is the window's weights along rows and columns.
type ssimWindow struct {
	rows, columns [backend.MaxSSIMWindow]float64
}

func newSSIMWindow(s *backend.SSIMShape) (w ssimWindow) {
	s.Weights(w.rows[:s.Rows])
	s.Weights(w.columns[:s.Columns])
	return w
}

// SSIM makes the index of every position of the window, and its derivatives.
func (l *lane) SSIM(s backend.SSIMShape, index, slopes, x, y backend.Tensor) {
	s.CheckForward(&index, &slopes, &x, &y)
	to, d, a, b := l.floats(index), l.floats(slopes), l.floats(x), l.floats(y)
	ws := scratch(l.ws)
	across, w, channels, height, width := ws.take(5*s.X.H*s.X.W), newSSIMWindow(&s), s.X.C, s.Out.H, s.Out.W
	for image := range s.X.N * channels {
		n, c := image/channels, image%channels
		for r := range s.X.H {
			for p := range width {
				var m [5]float64
				for k, weight := range w.columns[:s.Columns] {
					at := ((n*s.X.H+r)*s.X.W+p+k)*channels + c
					u, v := float64(a[at]), float64(b[at])
					m[0] += weight * u
					m[1] += weight * v
					m[2] += weight * u * u
					m[3] += weight * v * v
					m[4] += weight * u * v
				}
				for i, v := range m {
					across[5*(r*width+p)+i] = float32(v)
				}
			}
		}
		for r := range height {
			for p := range width {
				var m [5]float64
				for k, weight := range w.rows[:s.Rows] {
					for i, v := range across[5*((r+k)*width+p):][:5] {
						m[i] += weight * float64(v)
					}
				}
				at := (n*height+r)*width + p
				v, by := similarity(&s, m)
				to[at*channels+c] = float32(v)
				if d != nil {
					for i, slope := range by {
						d[(3*at+i)*channels+c] = float32(slope)
					}
				}
			}
		}
	}
}

// similarity is the index of a window with the means m of x, y, x², y² and x y, and its derivatives by those of x, x² and x y.
func similarity(s *backend.SSIMShape, m [5]float64) (index float64, slopes [3]float64) {
	x, y, c1, c2 := m[0], m[1], float64(s.K1)*float64(s.K1), float64(s.K2)*float64(s.K2)
	spread := m[2] - x*x + m[3] - y*y + c2
	structure := (2*(m[4]-x*y) + c2) / spread
	luminance, slope := 1.0, 0.0
	if !s.Structure {
		sum := x*x + y*y + c1
		luminance = (2*x*y + c1) / sum
		slope = 2 * (y - luminance*x) / sum
	}
	return luminance * structure, [3]float64{structure*slope + luminance*2*(structure*x-y)/spread, -luminance * structure / spread, 2 * luminance / spread}
}

// SSIMBack gathers, for each element of x, the derivatives of the positions of the window that have it.
func (l *lane) SSIMBack(s backend.SSIMShape, scale float32, gradX, slopes, gradSums, x, y backend.Tensor) {
	s.CheckBack(&gradX, &slopes, &gradSums, &x, &y)
	g, d, sums, a, b := l.floats(gradX), l.floats(slopes), l.floats(gradSums), l.floats(x), l.floats(y)
	ws := scratch(l.ws)
	across, w, channels, height, width := ws.take(3*s.X.H*s.X.W), newSSIMWindow(&s), s.X.C, s.Out.H, s.Out.W
	for image := range s.X.N * channels {
		n, c := image/channels, image%channels
		for r := range height {
			for p := range s.X.W {
				var m [3]float64
				for k := max(0, p-width+1); k < min(s.Columns, p+1); k++ {
					at := (n*height+r)*width + p - k
					for i := range m {
						m[i] += w.columns[k] * float64(d[(3*at+i)*channels+c])
					}
				}
				for i, v := range m {
					across[3*(r*s.X.W+p)+i] = float32(v)
				}
			}
		}
		by := float64(scale) * float64(sums[image])
		for r := range s.X.H {
			for p := range s.X.W {
				var m [3]float64
				for k := max(0, r-height+1); k < min(s.Rows, r+1); k++ {
					for i, v := range across[3*((r-k)*s.X.W+p):][:3] {
						m[i] += w.rows[k] * float64(v)
					}
				}
				at := ((n*s.X.H+r)*s.X.W+p)*channels + c
				g[at] = float32(by * (m[0] + 2*float64(a[at])*m[1] + float64(b[at])*m[2]))
			}
		}
	}
}

// leastMean is what a mean of several scales counts as that is below.
const leastMean = 1e-6

// SSIMLoss multiplies the scales.
func (l *lane) SSIMLoss(o backend.ScaleWeights, scale float32, loss, gradMeans, means backend.Tensor) {
	o.Check(&loss, &gradMeans, &means)
	total, g, m, channels, sum := l.one(loss), l.floats(gradMeans), l.floats(means), means.Shape.C/o.Scales, 0.0
	for image := range len(m) / o.Scales {
		at := image/channels*means.Shape.C + image%channels
		product := float64(m[at])
		if o.Scales > 1 {
			product = 1
			for j, w := range o.Of[:o.Scales] {
				product *= math.Pow(max(float64(m[at+j*channels]), leastMean), float64(w))
			}
		}
		sum += 1 - product
		for j, w := range o.Of[:o.Scales] {
			slope := 1.0
			if v := float64(m[at+j*channels]); v < leastMean && o.Scales > 1 {
				slope = 0
			} else if o.Scales > 1 {
				slope = float64(w) * product / v
			}
			g[at+j*channels] = float32(-float64(scale) * slope)
		}
	}
	*total += float32(float64(scale) * sum)
}
