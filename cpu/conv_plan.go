package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// An axis is one direction, rows or columns, of a convolution or of the gradient of its input. It says which positions of
// the source each position of the result is a sum over. With upsampling or a stride not all results are alike: they repeat
// with a period. Result period*q+r, the q-th of phase r, reads the source at advance*q+first and so on, taps times, dilation apart, where
// first, taps and the weights depend on r alone. So the results of one phase are a plain convolution with stride advance.
type axis struct {
	in, out         int // extents of the source and of the result
	kernel          int
	dilation        int // positions of the source from one tap to the next
	stride, up      int
	pad             int
	back            bool
	period, advance int
}

// maxPeriod is the largest upsampling factor that is done in phases: the phases have weights of their own.
const maxPeriod = 4

// forwardAxis is the axis of a convolution: result y reads y*stride-pad to y*stride-pad+kernel-1 of the source with each
// position repeated up times. With up > 1 several taps of the kernel read copies of one position. They are one tap, whose
// weight is their sum.
func forwardAxis(in, out, kernel, dilation, stride, up, pad int) axis {
	d := gcd(stride, up)
	return axis{in: in, out: out, kernel: kernel, dilation: dilation, stride: stride, up: up, pad: pad, period: up / d, advance: stride / d}
}

// backAxis is the axis of the gradient of a convolution's input: each input reads the gradients of the outputs that it
// contributed to, with the taps in reverse order. With a stride, an input contributed through every stride-th tap only, and
// which ones these are depends on the residue of its position.
func backAxis(in, out, kernel, dilation, stride, pad int) axis {
	return axis{in: in, out: out, kernel: kernel, dilation: dilation, stride: stride, up: 1, pad: pad, back: true, period: stride, advance: 1}
}

// backCopiesAxis is backAxis for an upsampled input. Its source is the gradient summed over the copies of each input; see
// sumRow.
func backCopiesAxis(in, out, kernel, up, pad int) axis {
	return axis{in: in, out: out, kernel: kernel, dilation: 1, stride: 1, up: 1, pad: pad + up - 1, back: true, period: 1, advance: up}
}

// phase returns which positions of the source the first result of phase r reads.
func (a *axis) phase(r int) (first, taps int) {
	if a.back {
		skipped := (r + a.pad) % a.stride
		taps = divUp(a.kernel-skipped, a.stride)
		return (r+a.pad-skipped)/a.stride - (taps-1)*a.dilation, taps
	}
	at := r*a.stride - a.pad
	first = divDown(at, a.up)
	return first, divDown(at+a.kernel-1, a.up) - first + 1
}

// under returns the range of the kernel's rows or columns that make tap i of phase r.
func (a *axis) under(r, i int) (lo, hi int) {
	first, taps := a.phase(r)
	if a.back {
		k := (r+a.pad)%a.stride + a.stride*(taps-1-i)
		return k, k + 1
	}
	at := (first+i)*a.up - r*a.stride + a.pad
	return max(at, 0), min(at+a.up, a.kernel)
}

// grid is the number of results of the largest phase, count that of phase r.
func (a *axis) grid() int       { return a.count(0) }
func (a *axis) count(r int) int { return divUp(a.out-r, a.period) }

// allTaps is the number of taps of all phases.
func (a *axis) allTaps() (taps int) {
	for r := range a.period {
		_, n := a.phase(r)
		taps += n
	}
	return taps
}

// reach returns the range of the source that results lo to hi of every phase read.
func (a *axis) reach(lo, hi int) (from, to int) {
	from, to = lo*a.advance, lo*a.advance // a phase may read nothing
	for r := range a.period {
		first, taps := a.phase(r)
		if taps > 0 {
			from, to = min(from, lo*a.advance+first), max(to, (hi-1)*a.advance+first+(taps-1)*a.dilation+1)
		}
	}
	return from, to
}

// window is how a source is read: in bands of rows of the grid of results. Where a band reaches beyond the image it is copied
// to scratch with a border of zeros: rows of width pixels, the first left of which lie before the image.
type window struct {
	y, x        axis
	channels    int
	c           int // floats of a pixel of the copy that is multiplied: the channels, or pairs of them
	source      sourceKind
	rounded     bool // the source is rounded as it is copied
	pairs       bool // to pairs of bfloat16
	rows        int  // rows of the source that can only be read together: those of a window of the pool
	direct      bool // the image itself is read, because no band reaches beyond it and nothing is rounded
	left, width int
	band        int // grid rows
	frame       int // floats of scratch: a band with its border
	stage       int // floats of scratch: rows of the source before they are made pairs
}

// pairing reports whether there are instructions for pairs; tests change it.
var pairing = simd.Pairs

func pairs(s *backend.ConvShape) bool { return s.Multiply == backend.BFloat16 && pairing() }

// forwardWindow is how a convolution reads its input; in phases unless the input is upsampled too much.
func forwardWindow(s *backend.ConvShape) window {
	w := window{channels: s.X.C, c: s.X.C, rows: 1, rounded: s.Multiply != backend.Float32, pairs: pairs(s)}
	height, width, up := s.X.H, s.X.W, s.Up
	if copied(s) {
		w.source = upsampled
		height, width, up = s.In.H, s.In.W, 1
	}
	w.y = forwardAxis(height, s.Conv.H, s.KernelH, s.Dilation, s.Stride, up, s.PadTop)
	w.x = forwardAxis(width, s.Conv.W, s.KernelW, s.Dilation, s.Stride, up, s.PadLeft)
	return w
}

// copied reports whether a convolution reads an upsampled copy. Sums of weights that are to be rounded are made in phases.
func copied(s *backend.ConvShape) bool { return s.Up > maxPeriod && s.Multiply == backend.Float32 }

// backWindow is how the gradient of a convolution's input reads that of its output.
func backWindow(s *backend.ConvShape) window {
	w := window{channels: s.Filters, c: s.Filters, rows: 1, rounded: s.Multiply != backend.Float32, pairs: pairs(s)}
	if s.Up > 1 {
		w.source = summed
		height, width := copiesExtent(s)
		w.y = backCopiesAxis(height, s.X.H, s.KernelH, s.Up, s.PadTop)
		w.x = backCopiesAxis(width, s.X.W, s.KernelW, s.Up, s.PadLeft)
		return w
	}
	if s.Pool > 1 {
		w.source, w.rows = unpooled, s.Pool
	}
	w.y = backAxis(s.Conv.H, s.X.H, s.KernelH, s.Dilation, s.Stride, s.PadTop)
	w.x = backAxis(s.Conv.W, s.X.W, s.KernelW, s.Dilation, s.Stride, s.PadLeft)
	return w
}

// bandFloats is the wanted size of a band: it shares the L2 cache with a panel of weights.
const bandFloats = 64 << 10

// cut chooses the bands: a multiple of rows grid rows that take about floats floats together, where a pixel of the source
// takes pixel floats, and each grid row takes more floats besides.
func (w *window) cut(floats, rows, pixel, more int) {
	height := w.y.grid()
	from, to := w.x.reach(0, w.x.grid())
	w.left = max(-from, 0)
	w.width = w.left + max(to, w.x.in)
	from, to = w.y.reach(0, height)
	w.direct = !w.rounded && w.source == stored && w.width == w.x.in && from >= 0 && to <= w.y.in
	row := w.width * pixel
	from, to = w.y.reach(0, 1)
	w.band = max((floats-(to-from)*row)/(w.y.advance*row+more), 4)
	w.band = min(divUp(w.band, rows)*rows, height)
	from, to = w.y.reach(0, w.band)
	w.frame = (to - from + 2*(w.rows-1)) * row
}

// correlation is how a convolution or the gradient of its input is computed: products of strided rows of the source and
// packed weights. It follows from the shape alone.
type correlation struct {
	window
	images int
	path   path
	n      int // channels of the result
	pool   int // of the result
	strip  int // grid rows that are multiplied at once: as many as are pooled at once, or a band
	full   int // floats of scratch: a strip of the result before the pool, or for the path of few results a band of the source, rounded
	tiling
	edge int // floats of scratch: a row of tiles that reach beyond the image
}

// stripFloats is the wanted size of a strip that is pooled: it stays in the L1 cache.
const stripFloats = 4 << 10

// forward is a convolution.
func forward(s *backend.ConvShape) correlation {
	c := correlation{window: forwardWindow(s), images: s.X.N, n: s.Filters, pool: s.Pool, path: pathTile}
	switch {
	case copied(s):
		c.path = pathUpsampled
	case s.Up > 1:
		c.path = pathPhases
	case s.Dilation > 1:
		c.path = pathDilated
	}
	c.plan(s)
	return c
}

// backward is the gradient of a convolution's input.
func backward(s *backend.ConvShape) correlation {
	c := correlation{window: backWindow(s), images: s.X.N, n: s.X.C, pool: 1, path: pathTile}
	switch {
	case s.Up > 1:
		c.path = pathCopies
	case s.Stride > 1:
		c.path = pathResidues
	case s.Dilation > 1:
		c.path = pathDilated
	}
	c.plan(s)
	return c
}

func (c *correlation) plan(s *backend.ConvShape) {
	if minimal(s) {
		c.planTiles()
		return
	}
	if c.pairs {
		c.c = simd.Words(c.channels)
		c.stage = c.window.rows * c.x.in * c.channels
	}
	if c.few() {
		c.path = pathFewOut
		c.cut(bandFloats, 1, c.columns(), 0)
		if c.rounded {
			c.full = c.frame / c.width / c.columns() * c.x.in * c.c
		}
		return
	}
	unit := c.unit()
	c.cut(bandFloats, unit, c.c, 0)
	if c.strip = c.band; c.pool > 1 {
		row := c.y.period * c.x.out * c.n
		c.strip = max(stripFloats/(row*unit), 1) * unit
		c.full = c.strip * row
	}
	if c.direct {
		c.frame = 0
	}
}

// A unit is what lanes that compute an image together share out: as few grid rows as make whole windows of the pool, and whole tiles.
func (c *correlation) unit() int {
	if c.path == pathWinograd {
		return c.pool / gcd(c.pool, tileSide) * tileSide
	}
	return c.pool / gcd(c.pool, c.y.period)
}

// units is the number of units of an image, the last of which may be smaller.
func (c *correlation) units() int { return divUp(c.y.grid(), c.unit()) }

// gridRows returns which grid rows of image n are in units lo to hi of all images.
func (c *correlation) gridRows(n, lo, hi int) (first, last int) {
	lo, hi = lo-n*c.units(), hi-n*c.units()
	return max(lo, 0) * c.unit(), min(hi*c.unit(), c.y.grid())
}

// place is the first element of the result that is in unit u of all images, or behind it.
func (c *correlation) place(u int) int {
	rows, row := c.y.out/c.pool, c.x.out/c.pool*c.n
	return (u/c.units()*rows + min(u%c.units()*c.unit()*c.y.period/c.pool, rows)) * row
}

// columns is the number of columns of few's product: every tap of every phase, and every channel of the result.
func (c *correlation) columns() int { return c.y.allTaps() * c.x.allTaps() * c.n }

// few reports whether a result has so few channels that it is less work to multiply the source once by the weights of
// all taps, and to add up for each pixel of the result what it gets. Vectors are taken as of 16 floats; an addition of
// the sum costs about as much as three of their products.
func (c *correlation) few() bool {
	if c.source != stored || c.pool > 1 || c.y.kernel*c.x.kernel == 1 || c.path == pathDilated {
		return false
	}
	columns := c.columns()
	tile := columns / c.n * c.c * divUp(c.n, 16)
	return 2*(c.y.advance*c.x.advance*c.c*divUp(columns, 16)+3*columns) < tile
}

// packedLen is the size of the packed weights.
func (c *correlation) packedLen() int {
	switch c.path {
	case pathFewOut:
		return c.c * panels(c.columns())
	case pathWinograd:
		return positions * c.c * panels(c.n)
	}
	return c.y.allTaps() * c.x.allTaps() * c.c * panels(c.n)
}

// panels rounds a number of columns up to whole panels of packed weights.
func panels(n int) int { return divUp(n, simd.Columns()) * simd.Columns() }

// scratchLen is the size of the scratch.
func (c *correlation) scratchLen() int {
	n := lineUp(c.frame) + lineUp(c.full) + lineUp(c.stage)
	if c.path == pathWinograd {
		n += lineUp(c.tiling.len(c.c)) + lineUp(c.tiling.len(c.n)) + lineUp(c.edge) + lineUp(c.n)
	}
	return n
}

// divUp and divDown are a/b rounded up and down, b > 0.
func divUp(a, b int) int { return -divDown(-a, b) }
func divDown(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}
