package backend

import "github.com/convae/convae/nn/fourier"

// Spectrum is the shape of the spectrum of images of a shape: real parts of all channels, and then imaginary ones.
func Spectrum(x Shape) Shape { return Shape{x.N, x.H, x.W, 2 * x.C} }

// CheckFourier checks the arguments of Fourier, and those of FourierBack.
func CheckFourier(spectrum, x *Tensor) {
	x.activation(x.Shape)
	spectrum.activation(Spectrum(x.Shape))
	if max(x.Shape.H, x.Shape.W) > fourier.MaxSide {
		panic(MistakeShape)
	}
}

// CheckSpectrumMost checks the arguments of SpectrumMost.
func CheckSpectrumMost(most, spectrum *Tensor) {
	most.activation(Shape{most.Shape.N, 1, 1, most.Shape.C})
	s := spectrum.Shape
	spectrum.activation(Shape{most.Shape.N, s.H, s.W, 2 * most.Shape.C})
}

// CheckFocal checks the arguments of Focal. A backend makes count partial sums.
func CheckFocal(loss, partials *Tensor, count int, grad, spectrum, most *Tensor) {
	CheckLoss(loss, partials, count, grad, spectrum, spectrum)
	CheckSpectrumMost(most, spectrum)
}
