package op

// Fourier makes the spectra of the channels of images.
type Fourier struct{ Spectrum, X Value }

func (o *Fourier) Name() string { return "Fourier" }
func (o *Fourier) Args(visit func(v *Value, u Use)) {
	visit(&o.Spectrum, Write)
	visit(&o.X, Read)
}
func (o *Fourier) Run(f *Frame) { f.B.Fourier(f.At(o.Spectrum), f.At(o.X)) }

// FourierBack makes the gradient of images of that of their spectra, which it overwrites.
type FourierBack struct{ GradX, GradSpectrum Value }

func (o *FourierBack) Name() string { return "FourierBack" }
func (o *FourierBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradSpectrum, Add)
}
func (o *FourierBack) Run(f *Frame) { f.B.FourierBack(f.At(o.GradX), f.At(o.GradSpectrum)) }

// SpectrumMost takes the largest magnitude of each spectrum.
type SpectrumMost struct{ Most, Spectrum Value }

func (o *SpectrumMost) Name() string { return "SpectrumMost" }
func (o *SpectrumMost) Args(visit func(v *Value, u Use)) {
	visit(&o.Most, Write)
	visit(&o.Spectrum, Read)
}
func (o *SpectrumMost) Run(f *Frame) { f.B.SpectrumMost(f.At(o.Most), f.At(o.Spectrum)) }

// Focal is a loss of the spectrum of what images differ by, the prediction; the target is its largest magnitudes.
type Focal struct{ Term }

func (o *Focal) Name() string { return "Focal" }
func (o *Focal) Run(f *Frame) {
	scale, loss, partials, grad, spectrum, most := o.tensors(f)
	f.B.Focal(scale, loss, partials, grad, spectrum, most)
}
