package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/fourier"
)

// lines are the rows or the columns of images or of spectra; see kernels/fourier.cu.
type lines struct {
	p                               driver.Ptr
	image, other, stride, imaginary int
}

// imageRows and spectrumColumns are those of images of a shape, or of their spectra, which have twice the channels.
func imageRows(p driver.Ptr, s backend.Shape, parts int) lines {
	c := parts * s.C
	return lines{p, s.H * s.W * c, s.W * c, c, (parts - 1) * s.C}
}

func spectrumColumns(p driver.Ptr, s backend.Shape) lines {
	return lines{p, s.Image() * 2, 2 * s.C, s.W * 2 * s.C, s.C}
}

// transform transforms lines of a length, of which each channel of each image has so many others.
func (l *lane) transform(op string, d fourier.Direction, length, others int, to, from lines, s backend.Shape) {
	l.launch(op, kernels.FourierLines, driver.Dim3{X: s.N * others * s.C}, driver.Dim3{X: threads}, 16*length,
		ptr(to.p), uint64(to.image), i32(to.other), i32(to.stride), i32(to.imaginary), ptr(from.p), uint64(from.image), i32(from.other), i32(from.stride), i32(from.imaginary),
		i32(length), i32(others), i32(s.C), f32(float32(d)))
}

// Fourier makes the spectrum of each channel: first of its rows, and then of the columns of these.
func (l *lane) Fourier(spectrum, x backend.Tensor) {
	backend.CheckFourier(&spectrum, &x)
	s, f := x.Shape, l.at(spectrum)
	l.transform("Fourier", fourier.Forward, s.W, s.H, imageRows(f, s, 2), imageRows(l.at(x), s, 1), s)
	l.transform("Fourier", fourier.Forward, s.H, s.W, spectrumColumns(f, s), spectrumColumns(f, s), s)
}

// FourierBack is the way back: columns, and then the real parts of rows.
func (l *lane) FourierBack(gradX, gradSpectrum backend.Tensor) {
	backend.CheckFourier(&gradSpectrum, &gradX)
	s, g := gradX.Shape, l.at(gradSpectrum)
	l.transform("FourierBack", fourier.Inverse, s.H, s.W, spectrumColumns(g, s), spectrumColumns(g, s), s)
	l.transform("FourierBack", fourier.Inverse, s.W, s.H, imageRows(l.at(gradX), s, 1), imageRows(g, s, 2), s)
}

// SpectrumMost takes the largest magnitude of each channel's spectrum.
func (l *lane) SpectrumMost(most, spectrum backend.Tensor) {
	backend.CheckSpectrumMost(&most, &spectrum)
	s := spectrum.Shape
	l.launch("SpectrumMost", kernels.FourierMost, driver.Dim3{X: most.Shape.Len()}, driver.Dim3{X: threads}, 0, ptr(l.at(most)), ptr(l.at(spectrum)), i32(s.H*s.W), i32(most.Shape.C))
}

// Focal adds scale times the sum of |F|³ / most.
func (l *lane) Focal(scale float32, loss, partials, grad, spectrum, most backend.Tensor) {
	blocks := lossBlocks(spectrum.Shape.Len())
	backend.CheckFocal(&loss, &partials, blocks, &grad, &spectrum, &most)
	sums, s := l.at(partials), spectrum.Shape
	if partials.IsZero() {
		sums = l.partials
	}
	block := driver.Dim3{X: threads}
	l.launch("Focal", kernels.FourierFocal, driver.Dim3{X: blocks}, block, 0, ptr(sums), ptr(l.at(grad)), ptr(l.at(spectrum)), ptr(l.at(most)), i32(s.Len()/2), f32(scale),
		i32(s.H*s.W), i32(most.Shape.C))
	if partials.IsZero() {
		l.launch("Focal", kernels.LossTotal, driver.Dim3{X: 1}, block, 0, ptr(l.at(loss)), ptr(sums), i32(blocks), f32(1))
	}
}
