package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Upsample repeats every pixel Factor times in both directions.
func (l *lane) Upsample(s backend.UpsampleShape, out, x backend.Tensor) {
	s.Check(&out, &x)
	o, in := l.floats(out), l.floats(x)
	c, row := s.X.C, s.Out.W*s.Out.C
	l.pieceOf(s.X.W*c, &in)
	l.pieceOf(s.Factor*row, &o)
	for y := range len(o) / (s.Factor * row) {
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
	for y := range s.X.N * s.X.H {
		for p := range s.X.W {
			sum, first := gx[(y*s.X.W+p)*c:][:c], g[y*s.Factor*row+p*s.Factor*c:]
			copy(sum, first)
			for f := 1; f < s.Factor*s.Factor; f++ {
				simd.Sum(sum, sum, first[f/s.Factor*row+f%s.Factor*c:][:c])
			}
		}
	}
	round(gradX.Type, gx)
}

// Bilinear interpolates between pixels.
func (l *lane) Bilinear(s backend.UpsampleShape, out, x backend.Tensor) {
	s.Check(&out, &x)
	o, in := l.floats(out), l.floats(x)
	lo, hi := l.piece(s.X.N * s.Out.H)
	own := o[lo*s.Out.W*s.X.C : hi*s.Out.W*s.X.C]
	clear(own)
	corners(&s, lo, hi, func(output, input int, share float32) {
		simd.Axpy(o[output:][:s.X.C], share, in[input:][:s.X.C])
	})
	round(out.Type, own)
}

// BilinearBack gives each pixel its shares of the gradients of those that were made of it.
func (l *lane) BilinearBack(s backend.UpsampleShape, gradX, gradOut backend.Tensor) {
	s.Check(&gradOut, &gradX)
	gx, g := l.floats(gradX), l.floats(gradOut)
	clear(gx)
	corners(&s, 0, s.X.N*s.Out.H, func(output, input int, share float32) {
		simd.Axpy(gx[input:][:s.X.C], share, g[output:][:s.X.C])
	})
	round(gradX.Type, gx)
}

// corners visits the pixels in rows lo to hi of all images of the output and, of each, those of the input that it lies between, with their shares. Pixels are given by the
// place of their first element.
func corners(s *backend.UpsampleShape, lo, hi int, visit func(output, input int, share float32)) {
	parts := 2 * s.Factor
	output := lo * s.Out.W * s.X.C
	for row := lo; row < hi; row++ {
		n := row / s.Out.H
		y, down := s.Between(row % s.Out.H)
		for ox := range s.Out.W {
			x, right := s.Between(ox)
			for k := range 4 {
				// Of the corners, the lower have bit 1 and the right ones bit 0.
				wy, wx, py, px := parts-down, parts-right, y, x
				if k&2 != 0 {
					wy, py = down, min(y+1, s.X.H-1)
				}
				if k&1 != 0 {
					wx, px = right, min(x+1, s.X.W-1)
				}
				if wy*wx != 0 {
					visit(output, ((n*s.X.H+py)*s.X.W+px)*s.X.C, float32(wy*wx)/float32(parts*parts))
				}
			}
			output += s.X.C
		}
	}
}
