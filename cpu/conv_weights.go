package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// weightGradient is how the gradient of weights is computed: as a sum of outer products, one for each pixel of a grid. There
// are two ways. Either the grid is the output's, and each product is of the output's gradient at the pixel and the inputs that
// a row of the kernel covers there; or the grid is the input's, and each product is of the input at the pixel and the
// gradients that a row of the kernel covers. The choice follows from the shape alone.
type weightGradient struct {
	window
	images  int
	weights int // elements
	path    path
	strip   int  // grid rows that all taps go over before the next
	over    bool // the kernel covers gradients, not inputs: the second way
	full    int  // floats of scratch: a band of the grid's image, where that is not read as it is stored
	small   int  // floats of scratch: sums that lie in another order than the weights
	other   int  // floats of scratch: rows of the grid's image before they are made pairs
	tiling
}

func planWeights(s *backend.ConvShape) weightGradient {
	p := weightGradient{images: s.X.N, weights: s.Weights().Len(), path: pathTile, over: s.Up > 1}
	in, out := s.KernelW*s.X.C, s.KernelW*s.Filters
	one := s.KernelH*s.KernelW == 1
	if minimal(s) {
		p.planTiles(s)
		return p
	}
	switch {
	case s.Dilation > 1:
		p.path = pathDilated
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
	grid, under := s.Conv.W*s.Filters, s.X.C // floats of a grid row, and channels of what the kernel covers
	if p.over {
		p.window, grid, under = backWindow(s), s.X.W*s.X.C, s.Filters
		p.cut(floats, 1, s.Filters, grid)
	} else {
		p.window = forwardWindow(s)
		p.cut(floats, s.Pool, s.X.C, grid)
	}
	if p.rounded || s.Pool > 1 && !p.over {
		p.full = p.band * grid
	}
	if p.direct {
		p.frame = 0
	}
	if p.pairs {
		p.stage, p.other = p.window.rows*(p.width+p.x.advance)*under, (p.x.out+1)*grid/p.x.out
		if p.gradients(s) == unpooled {
			p.other *= s.Pool
		}
	}
	p.strip = max(outerFloats/(p.y.advance*p.width*under+grid), divUp(outerPixels, p.x.out))
	p.strip = divUp(p.band, divUp(p.band, p.strip)) // strips as equal as can be
	return p
}

const (
	outerFloats = 8 << 10 // wanted size of a strip of both factors: it stays in the L1 cache while every tap and tile goes over it
	outerPixels = 128     // at least in a strip, or loading and storing the sums would take longer
)

// scratchLen is the size of the scratch.
func (p *weightGradient) scratchLen(s *backend.ConvShape) int {
	n := gradientsLen(s, p.gradients(s)) + lineUp(p.frame) + lineUp(p.full) + lineUp(p.small) + lineUp(p.stage) + lineUp(p.other)
	if p.path == pathWinograd {
		n += lineUp(p.tiling.len(s.X.C)) + lineUp(p.tiling.len(s.Filters))
	}
	return n
}

// gradients says in which form the output's gradient is read.
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
	if p.path == pathWinograd {
		l.backWeightsTiles(&p, &ws, gradW, &under, &at)
		return
	}
	if p.over {
		under, at = at, under
	}
	frame, full, small := ws.take(p.frame), ws.take(p.full), ws.take(p.small)
	if p.pairs {
		under.pairPixels(ws.take(p.stage), p.x.advance)
		at.pairPixels(ws.take(p.other), 1)
	}
	p.clearBorder(frame, under.stored.C)
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
			for r := q; r < q1; r += p.strip {
				l.outerProducts(&p, s, gradW, small, &u, &a, r, min(r+p.strip, q1))
			}
		}
	}
	p.addSmall(s, gradW, small)
}

// factor is one of the two factors of outer products: a vector of n floats for each pixel of a grid. Vectors that are
// neighbours in a row are pixel floats apart, and those of neighbouring rows are row floats apart.
type factor struct {
	v             []float32
	row, pixel, n int
}

// outerProducts adds the outer products of grid rows q to q1. u is the image that the kernel covers, at the image whose
// pixels are those of the grid.
func (l *lane) outerProducts(p *weightGradient, s *backend.ConvShape, gradW, small []float32, u, at *view, q, q1 int) {
	y, _ := p.y.phase(0)
	x, _ := p.x.phase(0)
	taps, c, filters := s.KernelH*s.KernelW, s.X.C, s.Filters
	l.outer.H, l.outer.W, l.outer.Pairs = q1-q, p.x.out, p.pairs
	step := 1 // pixels
	if p.pairs {
		l.outer.W, step = divUp(p.x.out, 2), 2
	}
	a := factor{at.at(q, 0), at.width * at.c, step * at.c, at.c}
	for i := range s.KernelH {
		b := factor{u.at(q*p.y.advance+y+i, x), p.y.advance * u.width * u.c, step * p.x.advance * u.c, s.KernelW * u.c}
		switch p.path {
		case pathTile:
			l.addOuter(gradW[i*b.n:], taps*c, a, b)
		case pathDilated:
			for j := range s.KernelW {
				b.v, b.n = u.at(q*p.y.advance+y+i*s.Dilation, x+j*s.Dilation), c
				l.addOuter(gradW[(i*s.KernelW+j)*c:], taps*c, a, b)
			}
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

// addOuter adds the outer products of a and b to the matrix c, whose rows begin ld floats apart.
func (l *lane) addOuter(c []float32, ld int, a, b factor) {
	o := &l.outer
	o.C, o.CM, o.M, o.N, o.Set = c, ld, a.n, b.n, false
	o.A, o.AH, o.AW = a.v, a.row, a.pixel
	o.B, o.BH, o.BW = b.v, b.row, b.pixel
	simd.AddOuter(o)
}

// addSmall adds to the gradient what the paths have summed in another order than that of the weights.
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
