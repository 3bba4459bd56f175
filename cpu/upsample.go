package cpu

import "github.com/convae/convae/nn/backend"

// Upsample repeats every pixel Factor times in both directions.
func (l *lane) Upsample(s backend.UpsampleShape, out, x backend.Tensor) {
	s.Check(&out, &x)
	o, in := l.floats(out), l.floats(x)
	c, row := s.X.C, s.Out.W*s.Out.C
	for y := range s.X.N * s.X.H {
		first := o[y*s.Factor*row:][:row]
		for p := range s.X.W {
			pixel := in[(y*s.X.W+p)*c:][:c]
			for f := range s.Factor {
				copy(first[(p*s.Factor+f)*c:], pixel)
			}
		}
		for f := 1; f < s.Factor; f++ {
			copy(o[(y*s.Factor+f)*row:][:row], first)
		}
	}
	round(out.Type, o)
}

// UpsampleBack gives every pixel the sum of the gradients of its copies.
func (l *lane) UpsampleBack(s backend.UpsampleShape, gradX, gradOut backend.Tensor) {
	s.Check(&gradOut, &gradX)
	gx, g := l.floats(gradX), l.floats(gradOut)
	c, row := s.X.C, s.Out.W*s.Out.C
	clear(gx)
	for y := range s.Out.N * s.Out.H {
		for p := range s.Out.W {
			pixel := gx[(y/s.Factor*s.X.W+p/s.Factor)*c:][:c]
			for i, v := range g[y*row+p*c:][:c] {
				pixel[i] += v
			}
		}
	}
	round(gradX.Type, gx)
}
