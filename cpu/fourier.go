package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/fourier"
)

// line is a row or a column of one channel of images, or of spectra, by the places of its numbers: of the first, from one to the next, and from a
// real part to the imaginary one, 0 where there is none.
type line struct{ first, stride, imaginary int }

// lines has the rows or the columns of a channel transformed, from one tensor to another or in place.
func lines(d fourier.Direction, n int, dst []float32, to line, src []float32, from line) {
	var x, room [fourier.MaxSide]complex128
	for j := range n {
		at, im := from.first+j*from.stride, float32(0)
		if from.imaginary > 0 {
			im = src[at+from.imaginary]
		}
		x[j] = complex(float64(src[at]), float64(im))
	}
	fourier.Transform(d, x[:n], room[:n])
	for j := range n {
		at := to.first + j*to.stride
		dst[at] = float32(real(x[j]))
		if to.imaginary > 0 {
			dst[at+to.imaginary] = float32(imag(x[j]))
		}
	}
}

// Fourier makes the spectrum of each channel: first of its rows, and then of the columns of these.
func (l *lane) Fourier(spectrum, x backend.Tensor) {
	backend.CheckFourier(&spectrum, &x)
	f, in, s := l.floats(spectrum), l.floats(x), x.Shape
	for row := range s.N * s.H {
		for c := range s.C {
			lines(fourier.Forward, s.W, f, line{row*s.W*2*s.C + c, 2 * s.C, s.C}, in, line{row*s.W*s.C + c, s.C, 0})
		}
	}
	columns(fourier.Forward, f, s)
}

// columns transforms the columns of spectra of images of a shape.
func columns(d fourier.Direction, f []float32, s backend.Shape) {
	for n := range s.N {
		for x := range s.W {
			for c := range s.C {
				column := line{(n*s.H*s.W+x)*2*s.C + c, s.W * 2 * s.C, s.C}
				lines(d, s.H, f, column, f, column)
			}
		}
	}
}

// FourierBack is the way back: columns, and then the real parts of rows.
func (l *lane) FourierBack(gradX, gradSpectrum backend.Tensor) {
	backend.CheckFourier(&gradSpectrum, &gradX)
	gx, g, s := l.floats(gradX), l.floats(gradSpectrum), gradX.Shape
	columns(fourier.Inverse, g, s)
	for row := range s.N * s.H {
		for c := range s.C {
			lines(fourier.Inverse, s.W, gx, line{row*s.W*s.C + c, s.C, 0}, g, line{row*s.W*2*s.C + c, 2 * s.C, s.C})
		}
	}
}

// SpectrumMost takes the largest magnitude of each channel's spectrum.
func (l *lane) SpectrumMost(most, spectrum backend.Tensor) {
	backend.CheckSpectrumMost(&most, &spectrum)
	m, f, c := l.floats(most), l.floats(spectrum), most.Shape.C
	clear(m)
	for at := 0; at < len(f); at += 2 * c {
		of := m[at/spectrum.Shape.Image()*c:][:c]
		for k := range of {
			of[k] = max(of[k], magnitude(f[at+k], f[at+c+k]))
		}
	}
}

func magnitude(re, im float32) float32 { return float32(math.Sqrt(float64(re*re + im*im))) }

// Focal adds scale times the sum of |F|³ / most; its gradient is 2 scale |F| / most F.
func (l *lane) Focal(scale float32, loss, partials, grad, spectrum, most backend.Tensor) {
	backend.CheckFocal(&loss, &partials, 0, &grad, &spectrum, &most)
	total, g, f, m, c := l.one(loss), l.floats(grad), l.floats(spectrum), l.floats(most), most.Shape.C
	sum := 0.0
	for at := 0; at < len(f); at += 2 * c {
		of := m[at/spectrum.Shape.Image()*c:][:c]
		for k, most := range of {
			re, im, weight := f[at+k], f[at+c+k], float32(0)
			if most > 0 {
				weight = magnitude(re, im) / most
			}
			sum += float64(weight) * (float64(re)*float64(re) + float64(im)*float64(im))
			if g != nil {
				g[at+k], g[at+c+k] = 2*scale*weight*re, 2*scale*weight*im
			}
		}
	}
	*total += float32(float64(scale) * sum)
}
