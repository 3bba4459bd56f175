package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// epilogue is what is done to the result of a product while it is in the cache. A forward pass adds the bias and applies the
// activation; a backward pass multiplies by the derivative of inAct, the activation of the layer before.
type epilogue struct {
	bias  []float32 // nil for none
	act   backend.Act
	inAct backend.Act
	x     []float32     // outputs of inAct, of the result's size
	store backend.DType // of the result
}

// mode tells the product which piece of the epilogue it can do itself.
func (e *epilogue) mode() simd.Mode {
	switch {
	case e.act == backend.ReLU:
		return simd.Relu
	case e.inAct == backend.ReLU:
		return simd.Mask
	}
	return simd.Store
}

// rest does what mode leaves to be done to v, whose first element is element at of the result.
func (e *epilogue) rest(v []float32, at int) {
	if e.act != backend.ReLU {
		activate(e.act, v)
	}
	if e.inAct != backend.Linear && e.inAct != backend.ReLU {
		derive(e.inAct, v, e.x[at:][:len(v)])
	}
}

// finish does the whole epilogue on v: pixels of c channels, the first element of which is element at of the result.
func (e *epilogue) finish(v []float32, c, at int) {
	if e.bias != nil {
		for i := 0; i < len(v); i += c {
			p := v[i:][:c]
			for j, b := range e.bias[:c] {
				p[j] += b
			}
		}
	}
	activate(e.act, v)
	if e.inAct != backend.Linear {
		derive(e.inAct, v, e.x[at:][:len(v)])
	}
}

// correlate computes the lane's piece of the images of a correlation, some of their units. argmax is nil when it is not wanted.
func (l *lane) correlate(c *correlation, src *source, ws *scratch, out []float32, argmax []byte, w []float32, e epilogue) {
	lo, hi := l.piece(src.stored.N * c.units())
	if lo == hi {
		return
	}
	switch c.path {
	case pathFewOut:
		l.correlateFew(c, src, ws, out, w, e, lo, hi)
	case pathWinograd:
		l.correlateTiles(c, src, ws, out, argmax, w, e, lo, hi)
	default:
		l.correlateBands(c, src, ws, out, argmax, w, e, lo, hi)
	}
	round(e.store, out[c.place(lo):c.place(hi)])
}

// correlateBands computes units lo to hi band by band.
func (l *lane) correlateBands(c *correlation, src *source, ws *scratch, out []float32, argmax []byte, w []float32, e epilogue, lo, hi int) {
	frame, rows := ws.take(c.frame), ws.take(c.full)
	c.pairChannels(src, ws)
	c.clearBorder(frame, c.c)
	size := c.y.out * c.x.out * c.n / (c.pool * c.pool)
	for n := lo / c.units(); n*c.units() < hi; n++ {
		src.start(n)
		first, last := c.gridRows(n, lo, hi)
		for q := first; q < last; q += c.band {
			q1 := min(q+c.band, last)
			v := src.image(n)
			if !c.direct {
				from, to := c.y.reach(q, q1)
				v = src.load(frame, n, from, to, c.left, c.width)
			}
			for r := q; r < q1; r += c.strip {
				r1 := min(r+c.strip, q1)
				y, y1 := r*c.y.period, min(r1*c.y.period, c.y.out) // result rows
				at := n*size + y/c.pool*(c.x.out/c.pool)*c.n
				to := out[at:]
				if c.pool > 1 {
					to = rows
				}
				to = to[:(y1-y)*c.x.out*c.n]
				l.products(c, &v, r, r1, to, at, w, &e)
				e.rest(to, at)
				if c.pool > 1 {
					var chosen []byte
					if argmax != nil {
						chosen = argmax[at:]
					}
					maxPool(out[at:], chosen, to, (y1-y)/c.pool, c.pool, c.x.out/c.pool, c.n)
				}
			}
		}
	}
}

// products computes grid rows q to q1 of the result, phase by phase and panel by panel of the weights. They are written to
// to, whose first element is element at of the result.
func (l *lane) products(c *correlation, v *view, q, q1 int, to []float32, at int, w []float32, e *epilogue) {
	p, cols := &l.product, simd.Columns()
	*p = simd.Product{
		CH: c.y.period * c.x.out * c.n, CW: c.x.period * c.n,
		AH: c.y.advance * v.width * c.c, AW: c.x.advance * c.c,
		Mode: e.mode(), Pairs: c.pairs,
	}
	for ry := range c.y.period {
		y, ty := c.y.phase(ry)
		p.H = min(q1, c.y.count(ry)) - q
		for rx := range c.x.period {
			x, tx := c.x.phase(rx)
			together := tx // taps that lie side by side in the source
			if c.path == pathDilated {
				together = 1
			}
			p.W, p.K, p.Taps = c.x.count(rx), together*c.c, l.taps[:ty*tx/max(together, 1)]
			panel := ty * tx * c.c * cols
			if p.H <= 0 || p.W <= 0 {
				w = w[divUp(c.n, cols)*panel:]
				continue
			}
			first := (ry*c.x.out + rx) * c.n
			if panel == 0 {
				c.fill(to[first:], p, e)
				continue
			}
			p.A = v.at(q*c.y.advance+y, x)
			for i := range p.Taps {
				tap := i * together
				p.Taps[i] = (tap/tx*c.y.dilation*v.width + tap%tx*c.x.dilation) * c.c
			}
			for n := 0; n < c.n; n += cols {
				p.N, p.C, p.B = min(cols, c.n-n), to[first+n:], w[:panel]
				w = w[panel:]
				if e.bias != nil {
					p.Bias = e.bias[n:]
				}
				if p.Mode == simd.Mask {
					p.Mask = e.x[at+first+n:]
				}
				simd.Multiply(p)
			}
		}
	}
}

// fill gives a phase without taps its results: no position of the kernel reaches these pixels, so the sum is the bias.
func (c *correlation) fill(to []float32, p *simd.Product, e *epilogue) {
	for y := range p.H {
		for x := range p.W {
			pixel := to[y*p.CH+x*p.CW:][:c.n]
			clear(pixel)
			copy(pixel, e.bias)
			if p.Mode == simd.Relu {
				simd.ReLU(pixel)
			}
		}
	}
}
