package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Times multiplies two tensors, of one shape or the second one a pixel for each image.
func (l *lane) Times(out, a, b backend.Tensor) {
	backend.CheckTimes(&out, &a, &b)
	o, p, q := l.floats(out), l.floats(a), l.floats(b)
	if a.Shape == b.Shape {
		simd.Times(o, p, q)
	} else {
		c, image := a.Shape.C, a.Shape.Image()
		for at := 0; at < len(o); at += c {
			simd.Times(o[at:][:c], p[at:][:c], q[at/image*c:][:c])
		}
	}
	round(out.Type, o)
}

// SumPixels adds up the pixels of each image, times those of b if there is one.
func (l *lane) SumPixels(scale float32, out, a, b backend.Tensor) {
	backend.CheckSumPixels(&out, &a, &b)
	o, p := l.floats(out), l.floats(a)
	s, c := a.Shape, a.Shape.C
	clear(o)
	for n := range s.N {
		sum, image := o[n*c:][:c], p[n*s.Image():][:s.Image()]
		if b.IsZero() {
			simd.AddColumns(sum, image, s.H, s.W*c, s.W, c)
		} else {
			other := l.floats(b)[n*s.Image():][:s.Image()]
			for at := 0; at < len(image); at += c {
				x, y := image[at:][:c], other[at:][:c]
				for k := range sum {
					sum[k] += x[k] * y[k]
				}
			}
		}
		for k := range sum {
			sum[k] *= scale
		}
	}
	round(out.Type, o)
}

// SpreadPixels gives all pixels of an image the same values.
func (l *lane) SpreadPixels(scale float32, out, x backend.Tensor) {
	backend.CheckSpreadPixels(&out, &x)
	o, in := l.floats(out), l.floats(x)
	s, c := out.Shape, out.Shape.C
	for n := range s.N {
		image, first := o[n*s.Image():][:s.Image()], o[n*s.Image():][:c]
		for k, v := range in[n*c:][:c] {
			first[k] = scale * v
		}
		for at := c; at < len(image); at += c {
			copy(image[at:], first)
		}
	}
	round(out.Type, o)
}
