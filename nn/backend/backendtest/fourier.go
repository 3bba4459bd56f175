package backendtest

import (
	"fmt"
	"math"
	"math/cmplx"

	"github.com/convae/convae/nn/backend"
)

func fourierCases() []Case {
	var cases []Case
	for _, s := range []shape{
		{N: 1, H: 1, W: 1, C: 1}, {N: 2, H: 1, W: 9, C: 2}, {N: 2, H: 6, W: 1, C: 3}, {N: 3, H: 7, W: 5, C: 3}, {N: 1, H: 12, W: 20, C: 1}, {N: 1, H: 2, W: 300, C: 1}, {N: 1, H: 257, W: 2, C: 2},
	} {
		cases = append(cases, fourierCase(s, normal(1)), fourierBackCase(s), mostCase(s), focalCase(s, normal(1), true), focalCase(s, normal(1), false),
			lossInPartials(focalCase(s, normal(1), true), backend.Spectrum(s)))
	}
	s := shape{N: 2, H: 4, W: 6, C: 3}
	constant, zero := fourierCase(s, given(0.25)), focalCase(s, given(0), true)
	constant.Name += "/constant"
	zero.Name += "/zero"
	cases = append(cases, mostCase(shape{N: 16, H: 16, W: 16, C: 3})) // of which every warp of a block has some of the largest
	bench := []Case{fourierCase(shape{N: 2, H: 32, W: 32, C: 3}, normal(1)), focalCase(shape{N: 8, H: 32, W: 32, C: 3}, normal(1), true)}
	for i := range bench {
		bench[i].Bench = true
	}
	return append(append(cases, bench...), constant, zero, bordered(fourierCase(s, normal(1)), "spectrum"), bordered(fourierBackCase(s), "gradX"), bordered(focalCase(s, normal(1), true), "grad"))
}

// refFourier is the transform of each channel of images, or, back, the real part of that of spectra. mag is the sum of the magnitudes of all numbers of the
// channel, by the root of the pixels, for every number.
func refFourier(s shape, x []float64, back bool) value {
	from, to, sign := s.C, 2*s.C, -1.0
	if back {
		from, to, sign = 2*s.C, s.C, 1
	}
	pixels := s.H * s.W
	r, scale := sums(s.N*pixels*to), 1/math.Sqrt(float64(pixels))
	for n := range s.N {
		for c := range s.C {
			at := func(p int) complex128 {
				v := complex(x[(n*pixels+p)*from+c], 0)
				if back {
					v += complex(0, x[(n*pixels+p)*from+s.C+c])
				}
				return v
			}
			size := 0.0
			for p := range pixels {
				size += cmplx.Abs(at(p)) * scale
			}
			for k := range pixels {
				sum := complex(0, 0)
				for p := range pixels {
					turns := float64(k/s.W*(p/s.W)%s.H)/float64(s.H) + float64(k%s.W*(p%s.W)%s.W)/float64(s.W)
					sum += at(p) * cmplx.Rect(scale, sign*2*math.Pi*turns)
				}
				i := (n*pixels+k)*to + c
				r.v[i], r.mag[i] = real(sum), size
				if !back {
					r.v[i+s.C], r.mag[i+s.C] = imag(sum), size
				}
			}
		}
	}
	return r
}

func fourierCase(s shape, x fill) Case {
	return Case{
		Name: fmt.Sprintf("fourier/forward/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"Fourier"},
		args:      []arg{activation("x", s, x), activation("spectrum", backend.Spectrum(s), nil).out(sumBound(s.H + s.W))},
		run:       func(b backend.Backend, t tensors) { b.Fourier(t["spectrum"], t["x"]) },
		reference: func(d data) values { return values{"spectrum": refFourier(s, d["x"], false)} },
	}
}

func fourierBackCase(s shape) Case {
	return Case{
		Name: fmt.Sprintf("fourier/back/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"FourierBack"},
		args: []arg{activation("spectrum", backend.Spectrum(s), normal(1)).inout(backend.Bound{Abs: math.Inf(1)}), activation("gradX", s, nil).out(sumBound(s.H + s.W))},
		run:  func(b backend.Backend, t tensors) { b.FourierBack(t["gradX"], t["spectrum"]) },
		reference: func(d data) values {
			return values{"gradX": refFourier(s, d["spectrum"], true), "spectrum": {v: d["spectrum"]}}
		},
	}
}

// mostOf is the largest magnitude of each channel.
func mostOf(s shape, f []float64) []float64 {
	most := make([]float64, s.N*s.C)
	for i := range s.N * s.H * s.W * s.C {
		p, c := i/s.C, i%s.C
		at := &most[p/(s.H*s.W)*s.C+c]
		*at = max(*at, math.Hypot(f[2*p*s.C+c], f[2*p*s.C+s.C+c]))
	}
	return most
}

func mostCase(s shape) Case {
	return Case{
		Name: fmt.Sprintf("fourier/most/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"SpectrumMost"},
		args:      []arg{activation("spectrum", backend.Spectrum(s), normal(1)), activation("most", shape{N: s.N, H: 1, W: 1, C: s.C}, nil).out(backend.Bound{Rel: 4 * eps})},
		run:       func(b backend.Backend, t tensors) { b.SpectrumMost(t["most"], t["spectrum"]) },
		reference: func(d data) values { return values{"most": {v: mostOf(s, d["spectrum"])}} },
	}
}

func focalCase(s shape, spectrum fill, grad bool) Case {
	const scale = 0.375
	c := Case{
		Name: fmt.Sprintf("fourier/focal/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"LossNeeds", "Focal"},
		args: []arg{activation("spectrum", backend.Spectrum(s), spectrum), activation("most", shape{N: s.N, H: 1, W: 1, C: s.C}, uniform(3, 5)),
			flat("loss", 1, given(0.75)).inout(sumBound(s.Len() + 6))},
	}
	if grad {
		c.args = append(c.args, activation("grad", backend.Spectrum(s), nil).out(backend.Bound{Rel: 8 * eps}))
	} else {
		c.Name += "/value-only"
	}
	c.run = func(b backend.Backend, t tensors) {
		b.Focal(scale, t["loss"], t["partials"], t["grad"], t["spectrum"], t["most"])
	}
	c.reference = func(d data) values {
		total, f := addTo(d["loss"]), d["spectrum"]
		slopes := value{v: make([]float64, len(f))}
		for i := range s.Len() {
			p, c := i/s.C, i%s.C
			at := 2*p*s.C + c
			size := math.Hypot(f[at], f[at+s.C])
			weight := size / d["most"][p/(s.H*s.W)*s.C+c]
			total.v[0] += scale * weight * size * size
			total.mag[0] += scale * weight * size * size
			slopes.v[at], slopes.v[at+s.C] = 2*scale*weight*f[at], 2*scale*weight*f[at+s.C]
		}
		return values{"loss": total, "grad": slopes}
	}
	return c
}
