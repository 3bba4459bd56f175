package cpu

import "convae/nn/backend"

// The packed weights are, when a row of the weights is not a multiple of alignRow, the weights with padded rows, and
// then, for each residue of the backward window, a row for each input channel: its weights tap by tap, in reverse, and
// filter by filter.

// ConvNeeds returns the memory of the packed weights and of the scratch.
func (l *lane) ConvNeeds(s backend.ConvShape) backend.Needs { return needs(whole(s)) }

// ConvPack makes the packed weights.
func (l *lane) ConvPack(s backend.ConvShape, dst, w backend.Tensor) {
	s = whole(s)
	pack(&s, l.packed(dst, packedLen(&s)), l.param(w, s.Weights()))
}

// Conv: out = pool(act(conv(upsample(x), w) + bias)). The places of the maxima are dropped when argmax is zero.
func (l *lane) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	o, arg, in := l.activation(out, s.Out), l.places(&s, argmax), l.activation(x, s.X)
	s = whole(s)
	w := l.param(p.W, s.Weights())
	e := epilogue{bias: l.bias(p.Bias, s.Filters), act: s.Act}
	l.correlate(&s, o, arg, in, w, l.packed(p.Packed, packedLen(&s)), e)
}

// ConvBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l *lane) ConvBackInput(s backend.ConvShape, gradX, gradOut, argmax backend.Tensor, p backend.Params, x backend.Tensor) {
	gx, g, arg := l.activation(gradX, s.X), l.activation(gradOut, s.Out), l.argmax(&s, argmax)
	e := epilogue{inAct: s.InAct}
	if s.InAct != backend.Linear {
		e.x = l.activation(x, s.X)
	}
	s = whole(s)
	l.param(p.W, s.Weights())
	l.backInput(&s, gx, g, arg, l.packed(p.Packed, packedLen(&s)), e)
}

// ConvBackWeights adds to grad.W and grad.Bias.
func (l *lane) ConvBackWeights(s backend.ConvShape, grad backend.Params, gradOut, argmax, x backend.Tensor) {
	g, arg, in := l.activation(gradOut, s.Out), l.argmax(&s, argmax), l.activation(x, s.X)
	s = whole(s)
	l.backWeights(&s, l.param(grad.W, s.Weights()), g, arg, in)
	if b := l.bias(grad.Bias, s.Filters); b != nil {
		columnSums(b, g, s.Out.N*s.Out.H*s.Out.W)
	}
}

// places is argmax, or nil when it is not wanted.
func (l *lane) places(s *backend.ConvShape, t backend.Tensor) []byte {
	if t.IsZero() {
		return nil
	}
	return l.argmax(s, t)
}

// argmax is nil when there is no pool.
func (l *lane) argmax(s *backend.ConvShape, t backend.Tensor) []byte {
	if s.Pool <= 1 {
		return nil
	}
	return l.bytes(t, s.Out)
}

// whole returns a convolution of single pixels, which knows no images or rows, as one of a single image of one column.
func whole(s backend.ConvShape) backend.ConvShape {
	if s.Stride < 1 || s.Up < 1 || s.Pool < 1 {
		panic(errGeometry)
	}
	if s.KernelH*s.KernelW*s.Stride*s.Up*s.Pool == 1 {
		n := s.X.N * s.X.H * s.X.W
		s.X = backend.Shape{N: 1, H: n, W: 1, C: s.X.C}
		s.In = s.X
		s.Conv = backend.Shape{N: 1, H: n, W: 1, C: s.Filters}
		s.Out = s.Conv
	}
	return s
}

// epilogue is what follows a product while its result is in the cache.
type epilogue struct {
	bias  []float32 // nil for none
	act   backend.Act
	inAct backend.Act
	x     []float32 // outputs of inAct, of the result's size
}

// finish applies the epilogue to elements at and on of the result, whole pixels of c channels.
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
		derive(e.inAct, v, e.x[at:])
	}
}

// rowBlockFloats is the wanted size of a block of rows under the kernel: it shares the L2 cache with the weights.
const rowBlockFloats = 16 << 10

// gridRows is how many grid rows are taken at a time: a multiple of the pool, unless that is all.
func gridRows(g *window, pool int) int {
	n := rowBlockFloats / max(g.w*rowUp(g.k()), 1)
	return min(max(n/pool, 1)*pool, g.h)
}

// correlate is the forward pass: the rows under the kernel times the rows of the weights.
func (l *lane) correlate(s *backend.ConvShape, out []float32, argmax []byte, x, w, packed []float32, e epilogue) {
	g := forward(s)
	k, c := g.k(), s.Filters
	ldw := rowUp(k)
	if ldw != k {
		w = packed
	}
	block := gridRows(&g, s.Pool)
	ws := scratch(l.ws)
	var rows, full []float32
	if !g.same() {
		rows = ws.take(block * g.w * ldw)
	}
	if s.Pool > 1 {
		full = ws.take(block * g.w * c)
	}
	for n := range s.X.N {
		image := x[n*s.X.Image():][:s.X.Image()]
		for y := 0; y < g.h; y += block {
			y1 := min(y+block, g.h)
			a, lda := rows, ldw
			if g.same() {
				a, lda = image[y*g.w*k:], k
			} else {
				g.rows(rows, ldw, image, y, y1)
			}
			m := (y1 - y) * g.w
			at := (n*s.Out.H*s.Out.W + y/s.Pool*s.Out.W) * c
			to := full
			if s.Pool == 1 {
				to = out[at:]
			}
			to = to[:m*c]
			product(false, m, c, k, a, lda, w, ldw, to, c)
			e.finish(to, c, at)
			if s.Pool > 1 {
				var places []byte
				if argmax != nil {
					places = argmax[at:]
				}
				poolRows(s, out[at:], places, to, (y1-y)/s.Pool)
			}
		}
	}
}

// poolRows pools the windows of n rows of the output; argmax is nil when it is not wanted.
func poolRows(s *backend.ConvShape, out []float32, argmax []byte, full []float32, n int) {
	c, row := s.Filters, s.Conv.W*s.Filters
	for y := range n {
		for x := range s.Out.W {
			at := (y*s.Out.W + x) * c
			best, window := out[at:][:c], full[(y*s.Conv.W+x)*s.Pool*c:]
			var arg []byte
			if argmax != nil {
				arg = argmax[at:][:c]
				clear(arg)
			}
			copy(best, window)
			for k := 1; k < s.Pool*s.Pool; k++ {
				pixel := window[k/s.Pool*row+k%s.Pool*c:][:c]
				if arg != nil {
					poolMax(best, arg, pixel, byte(k))
					continue
				}
				for i, v := range pixel {
					best[i] = max(best[i], v) // NaN if either is
				}
			}
		}
	}
}

// unpool gives the gradient of an image before the pool.
func unpool(s *backend.ConvShape, full, g []float32, argmax []byte) {
	c := s.Filters
	var places [256]int
	for k := range s.Pool * s.Pool {
		places[k] = (k/s.Pool*s.Conv.W + k%s.Pool) * c
	}
	clear(full)
	for y := range s.Out.H {
		for x := range s.Out.W {
			at := (y*s.Out.W + x) * c
			window := full[(y*s.Conv.W+x)*s.Pool*c:]
			for i, a := range argmax[at:][:c] {
				window[places[a]+i] = g[at+i]
			}
		}
	}
}

// backInput is the gradient of the input: the rows of the gradient under the backward window times the packed weights.
func (l *lane) backInput(s *backend.ConvShape, gradX, g []float32, argmax []byte, packed []float32, e epilogue) {
	c, ws := s.X.C, scratch(l.ws)
	full, sums := gradScratch(s, &ws)
	rows := ws.take(backRows(s))
	for n := range s.X.N {
		grad := gradient(s, n, g, argmax, full, sums)
		image := gradX[n*s.X.Image():][:s.X.Image()]
		w := packed[forwardPacked(s):]
		for ry := range step(s) {
			for rx := range step(s) {
				v, _, _ := backward(s, ry, rx)
				l.backResidue(s, &v, image, grad, rows, w, ry, rx)
				w = w[c*rowUp(v.k()):]
			}
		}
		e.finish(image, c, n*s.X.Image())
	}
}

// backResidue is backInput for the pixels of one residue.
func (l *lane) backResidue(s *backend.ConvShape, v *window, image, grad, rows, w []float32, ry, rx int) {
	c, k := s.X.C, v.k()
	if v.h == 0 || v.w == 0 {
		return
	}
	t, ldw, block := step(s), rowUp(k), gridRows(v, 1)
	for y := 0; y < v.h; y += block {
		y1 := min(y+block, v.h)
		a, lda := rows, ldw
		if v.same() {
			a, lda = grad[y*v.w*k:], k
		} else {
			v.rows(rows, ldw, grad, y, y1)
		}
		if t == 1 {
			product(false, (y1-y)*v.w, c, k, a, lda, w, ldw, image[y*v.w*c:], c)
			continue
		}
		for i := y; i < y1; i++ {
			product(false, v.w, c, k, a[(i-y)*v.w*lda:], lda, w, ldw, image[((i*t+ry)*s.X.W+rx)*c:], t*c)
		}
	}
}

// gradient returns the gradient of image n as the backward window wants it: before the pool, and summed over copies.
func gradient(s *backend.ConvShape, n int, g []float32, argmax []byte, full, sums []float32) []float32 {
	size := s.Out.Image()
	g = g[n*size:][:size]
	if s.Pool > 1 {
		unpool(s, full, g, argmax[n*size:][:size])
		g = full
	}
	if s.Up > 1 {
		spread(s, sums, g)
		g = sums
	}
	return g
}

// gradScratch takes what gradient writes to.
func gradScratch(s *backend.ConvShape, ws *scratch) (full, sums []float32) {
	if s.Pool > 1 {
		full = ws.take(s.Conv.Image())
	}
	if s.Up > 1 {
		h, w := spreadExtent(s)
		sums = ws.take(h * w * s.Filters)
	}
	return full, sums
}

// gradScratchLen is its size.
func gradScratchLen(s *backend.ConvShape) int {
	n := 0
	if s.Pool > 1 {
		n += lineUp(s.Conv.Image())
	}
	if s.Up > 1 {
		h, w := spreadExtent(s)
		n += lineUp(h * w * s.Filters)
	}
	return n
}

// backRows is the size of the largest block of rows of backInput.
func backRows(s *backend.ConvShape) int {
	n := 0
	for ry := range step(s) {
		for rx := range step(s) {
			if v, _, _ := backward(s, ry, rx); v.h > 0 && v.w > 0 && v.k() > 0 && !v.same() {
				n = max(n, gridRows(&v, 1)*v.w*rowUp(v.k()))
			}
		}
	}
	return n
}

// weightPlan is how backWeights cuts a batch: images of it, or grid rows of one image, at a time.
type weightPlan struct {
	v            window // its columns are made: of x, or, when x is upsampled, of the gradient
	a, b         int    // channels of v's image, channels of the other factor
	images, rows int
	ld           int // places, padded
}

// columnFloats is the wanted size of the columns of backWeights, and minPlaces and maxPlaces bound the length of the dot
// products.
const (
	columnFloats = 128 << 10
	minPlaces    = 64
	maxPlaces    = 512
)

func planWeights(s *backend.ConvShape) weightPlan {
	p := weightPlan{v: forward(s), a: s.X.C, b: s.Filters}
	if s.Up > 1 {
		p.v, _, _ = backward(s, 0, 0)
		p.a, p.b = s.Filters, s.X.C
	}
	want := min(max(columnFloats/p.v.k(), minPlaces), maxPlaces)
	p.rows, p.images = p.v.h, 1
	if places := p.v.h * p.v.w; places > want {
		p.rows = max(want/p.v.w, 1)
	} else {
		p.images = min(want/places, s.X.N)
	}
	p.ld = rowUp(p.images * p.rows * p.v.w)
	return p
}

// planes is the size of v's image by channels.
func (p *weightPlan) planes() int {
	if p.v.same() {
		return 0
	}
	return p.v.srcH * p.v.srcW * p.a
}

// backWeights adds the products of the values under the window and the other factor, over all places.
func (l *lane) backWeights(s *backend.ConvShape, gradW, g []float32, argmax []byte, x []float32) {
	p, ws := planWeights(s), scratch(l.ws)
	full, sums := gradScratch(s, &ws)
	planes, columns, others := ws.take(p.planes()), ws.take(p.v.k()*p.ld), ws.take(p.b*p.ld)
	taps := s.KernelH * s.KernelW
	k := taps * s.X.C
	for n := 0; n < s.X.N; n += p.images {
		images := min(p.images, s.X.N-n)
		for y := 0; y < p.v.h; y += p.rows {
			y1 := min(y+p.rows, p.v.h)
			size := (y1 - y) * p.v.w
			for i := range images {
				under, other := x[(n+i)*s.X.Image():][:s.X.Image()], g
				if y == 0 || s.Pool*s.Up == 1 {
					other = gradient(s, n+i, g, argmax, full, sums)
				} else if s.Pool > 1 {
					other = full
				}
				if s.Up > 1 {
					under, other = sums, under
				}
				to := columns[i*size:]
				if p.v.same() {
					transpose(to, p.ld, under[y*p.v.w*p.a:], size, p.a)
				} else {
					if y == 0 {
						transpose(planes, p.v.srcH*p.v.srcW, under, p.v.srcH*p.v.srcW, p.a)
					}
					p.v.columns(to, p.ld, planes, y, y1)
				}
				transpose(others[i*size:], p.ld, other[y*p.v.w*p.b:], size, p.b)
			}
			if s.Up == 1 {
				product(true, p.b, k, images*size, others, p.ld, columns, p.ld, gradW, k)
				continue
			}
			for t := range taps {
				product(true, p.a, p.b, images*size, columns[(taps-1-t)*p.a*p.ld:], p.ld, others, p.ld, gradW[t*s.X.C:], k)
			}
		}
	}
}

// forwardPacked is the size of the padded weights, 0 when they need no padding.
func forwardPacked(s *backend.ConvShape) int {
	k := s.KernelH * s.KernelW * s.X.C
	if rowUp(k) == k {
		return 0
	}
	return lineUp(s.Filters * rowUp(k))
}

func packedLen(s *backend.ConvShape) int {
	n := forwardPacked(s)
	for ry := range step(s) {
		for rx := range step(s) {
			v, _, _ := backward(s, ry, rx)
			n += s.X.C * rowUp(v.k())
		}
	}
	return n
}

func pack(s *backend.ConvShape, dst, w []float32) {
	taps, c := s.KernelH*s.KernelW, s.X.C
	k := taps * c
	if n := forwardPacked(s); n > 0 {
		for f := range s.Filters {
			copy(dst[f*rowUp(k):], w[f*k:][:k])
		}
		dst = dst[n:]
	}
	for ry := range step(s) {
		for rx := range step(s) {
			v, oy, ox := backward(s, ry, rx)
			ld := rowUp(v.k())
			for i := range v.kh {
				for j := range v.kw {
					tap := (oy+step(s)*(v.kh-1-i))*s.KernelW + ox + step(s)*(v.kw-1-j)
					for f := range s.Filters {
						from := w[(f*taps+tap)*c:][:c]
						at := (i*v.kw+j)*s.Filters + f
						for ci, x := range from {
							dst[ci*ld+at] = x
						}
					}
				}
			}
			dst = dst[c*ld:]
		}
	}
}

// needs is the memory of a convolution, as whole has it.
func needs(s backend.ConvShape) backend.Needs {
	g := forward(&s)
	ahead := 0
	block := gridRows(&g, s.Pool)
	if !g.same() {
		ahead = lineUp(block * g.w * rowUp(g.k()))
	}
	if s.Pool > 1 {
		ahead += lineUp(block * g.w * s.Filters)
	}
	p := planWeights(&s)
	weights := lineUp(p.planes()) + lineUp(p.v.k()*p.ld) + lineUp(p.b*p.ld)
	return backend.Needs{
		Packed:    4 * packedLen(&s),
		Workspace: 4 * max(ahead, gradScratchLen(&s)+max(lineUp(backRows(&s)), weights)),
	}
}
