package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// weightGradient is how the gradient of weights is computed: sums over the grid of outer products of the gradient at a
// pixel and the input under a row of the kernel; or of the gradient under the kernel and the input at a pixel. It
// follows from the shape alone.
type weightGradient struct {
	window
	path  path
	over  bool // the window reads the gradient
	full  int  // floats of scratch: a band of the gradient before the pool
	small int  // sums whose order is not that of the weights
}

func planWeights(s *backend.ConvShape) weightGradient {
	p := weightGradient{path: pathTile, over: s.Up > 1}
	in, out := s.KernelW*s.X.C, s.KernelW*s.Filters
	one := s.KernelH*s.KernelW == 1
	switch {
	case !one && s.Filters < 4 && s.Filters < s.X.C && (s.Up > 1 || s.Stride == 1):
		p.path, p.over = pathFewGrad, true
		p.small = s.KernelH * out * s.X.C
	case s.Up > 1:
		p.path = pathCopies
	case !one && in*divUp(s.Filters, 16) < s.Filters*divUp(in, 16): // vectors of multiply-adds
		p.path = pathFewIn
		p.small = s.KernelH * in * s.Filters
	}
	floats := bandFloats
	if p.small > 0 {
		floats = stripFloats // all rows of the kernel go over a band in turn, and the sums are small
	}
	if p.over {
		p.window = backWindow(s)
		p.cut(floats, 1, s.Filters, s.X.W*s.X.C)
	} else {
		p.window = forwardWindow(s)
		p.cut(floats, s.Pool, s.X.C, s.Conv.W*s.Filters)
		if s.Pool > 1 {
			p.full = p.band * s.Conv.W * s.Filters
		}
	}
	if p.direct {
		p.frame = 0
	}
	return p
}

// scratchLen is the size of the scratch.
func (p *weightGradient) scratchLen(s *backend.ConvShape) int {
	return gradientsLen(s, p.gradients(s)) + lineUp(p.frame) + lineUp(p.full) + lineUp(p.small)
}

// gradients tells how the gradient is read.
func (p *weightGradient) gradients(s *backend.ConvShape) sourceKind {
	switch {
	case p.over:
		return p.source
	case s.Pool > 1:
		return unpooled
	}
	return stored
}

// backWeights adds to the gradient of the weights.
func (l *lane) backWeights(s *backend.ConvShape, gradW, g []float32, argmax []byte, x []float32) {
	p, ws := planWeights(s), scratch(l.ws)
	under, at := inputs(s, stored, x), gradients(s, p.gradients(s), g, argmax, &ws)
	if p.over {
		under, at = at, under
	}
	frame, full, small := ws.take(p.frame), ws.take(p.full), ws.take(p.small)
	clear(frame)
	clear(small)
	for n := range s.X.N {
		under.start(n)
		for q := 0; q < p.y.grid(); q += p.band {
			q1 := min(q+p.band, p.y.grid())
			u, a := under.image(n), at.image(n)
			if !p.direct {
				from, to := p.y.reach(q, q1)
				u = under.load(frame, n, from, to, p.left, p.width)
			}
			if p.full > 0 {
				a = at.load(full, n, q, q1, 0, p.x.out)
			}
			l.outerProducts(&p, s, gradW, small, &u, &a, q, q1)
		}
	}
	p.addSmall(s, gradW, small)
}

// factor is one of the two of outer products: vectors, some floats apart from row to row and from pixel to pixel.
type factor struct {
	v             []float32
	row, pixel, n int
}

// outerProducts adds those of grid rows q to q1: u is what is under the kernel, at what is at the grid's pixels.
func (l *lane) outerProducts(p *weightGradient, s *backend.ConvShape, gradW, small []float32, u, at *view, q, q1 int) {
	y, _ := p.y.phase(0)
	x, _ := p.x.phase(0)
	taps, c, filters := s.KernelH*s.KernelW, s.X.C, s.Filters
	l.outer.H, l.outer.W = q1-q, p.x.out
	a := factor{at.at(q, 0), at.width * at.c, at.c, at.c}
	for i := range s.KernelH {
		b := factor{u.at(q*p.y.advance+y+i, x), p.y.advance * u.width * u.c, p.x.advance * u.c, s.KernelW * u.c}
		switch p.path {
		case pathTile:
			l.addOuter(gradW[i*b.n:], taps*c, a, b)
		case pathFewIn:
			l.addOuter(small[i*b.n*filters:], filters, b, a)
		case pathFewGrad:
			l.addOuter(small[i*b.n*c:], c, b, a)
		case pathCopies:
			for j := range s.KernelW {
				b.v, b.n = u.at(q*p.y.advance+y+i, x+j), filters
				l.addOuter(gradW[(taps-1-i*s.KernelW-j)*c:], taps*c, b, a)
			}
		}
	}
}

// addOuter adds the outer products of a and b, rows of which are ld apart in c.
func (l *lane) addOuter(c []float32, ld int, a, b factor) {
	o := &l.outer
	o.C, o.CM, o.M, o.N = c, ld, a.n, b.n
	o.A, o.AH, o.AW = a.v, a.row, a.pixel
	o.B, o.BH, o.BW = b.v, b.row, b.pixel
	simd.AddOuter(o)
}

// addSmall adds the sums of the paths whose order is not that of the weights.
func (p *weightGradient) addSmall(s *backend.ConvShape, gradW, small []float32) {
	taps, c := s.KernelH*s.KernelW, s.X.C
	switch p.path {
	case pathFewIn:
		for f := range s.Filters {
			for t := range taps * c {
				gradW[f*taps*c+t] += small[t*s.Filters+f]
			}
		}
	case pathFewGrad:
		for t := range taps {
			for f := range s.Filters {
				to := gradW[(f*taps+taps-1-t)*c:][:c]
				simd.Sum(to, to, small[(t*s.Filters+f)*c:][:c])
			}
		}
	}
}
