package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Where a precision allows it, a convolution of 3x3 taps is made tile by tile: the 6x6 pixels of the source that a tile of 4x4 results reads are
// transformed to 36 positions, and so are the weights. At each position of its own there is a product of the matrix of tiles and channels with
// that of the weights, and the transform of these 36 products is the tile: a quarter of the multiplications. The gradient of the weights takes
// the 4x4 gradients of a tile in place of the weights, and sums over tiles in place of channels.

const (
	tileSide    = 4
	tileReach   = tileSide + 2         // pixels of the source that a tile reads
	tileOverlap = tileReach - tileSide // those that the next one reads too
	positions   = tileReach * tileReach

	leastChannels = 16      // of either side, below which the transforms take longer than they save
	leastTiles    = 16      // of an image, likewise
	chunkTiles    = 64      // wanted tiles of a product: each reads all weights anew
	chunkFloats   = 1 << 20 // most floats that are multiplied at once and their products, unless a single row of tiles has more
)

// tiling is how an image is cut into tiles: down by across, of which rows of them are multiplied at once.
type tiling struct{ down, across, rows int }

// minimal reports whether a convolution is made tile by tile: where that takes half the multiplications or fewer, which tiles that are mostly empty do not.
func minimal(s *backend.ConvShape) bool {
	if !s.Winograd || s.Multiply != backend.Float32 || s.KernelH != 3 || s.KernelW != 3 || s.Stride*s.Dilation*s.Up > 1 {
		return false
	}
	tiles := divUp(s.Conv.H, tileSide) * divUp(s.Conv.W, tileSide)
	return min(s.X.C, s.Filters) >= leastChannels && tiles >= leastTiles && 2*positions*tiles <= s.KernelH*s.KernelW*s.Conv.H*s.Conv.W
}

// tileUp cuts a grid of height by width results, each position of a tile of which takes that many floats, in multiples of unit rows of tiles.
func tileUp(height, width, floats, unit int) tiling {
	t := tiling{down: divUp(height, tileSide), across: divUp(width, tileSide)}
	t.rows = max(min(divUp(chunkTiles, t.across), chunkFloats/(positions*t.across*floats))/unit, 1) * unit
	t.rows = min(t.rows, divUp(t.down, unit)*unit)
	return t
}

// plane is the floats from one position to the next of n vectors of c floats, an odd number of cache lines, so that not all fall into the same set of the cache.
func plane(n, c int) int { return (lineUp(n*c)/lineFloats | 1) * lineFloats }

// len is the floats of a chunk of tiles of c channels, at all positions.
func (t *tiling) len(c int) int { return positions * plane(t.rows*t.across, c) }

// plan chooses the tiles of a correlation; see window.cut.
func (t *tiling) plan(w *window, floats, unit int) {
	*t = tileUp(w.y.out, w.x.out, floats, unit)
	first, _ := w.x.phase(0)
	w.left = max(-first, 0)
	w.width = w.left + max(first+t.across*tileSide+tileOverlap, w.x.in)
	w.frame = (t.rows*tileSide + tileOverlap + 2*(w.rows-1)) * w.width * w.c
}

// planTiles chooses the tiles of a convolution or of the gradient of its input.
func (c *correlation) planTiles() {
	c.path = pathWinograd
	c.tiling.plan(&c.window, c.c+c.n, c.unit()/tileSide)
	if c.pool > 1 {
		c.full = c.tiling.rows * tileSide * c.x.out * c.n
	}
	if c.y.out%tileSide+c.x.out%tileSide > 0 {
		c.edge = tileSide * tileSide * c.tiling.across * c.n
	}
}

// packTransformed writes the transformed weights: position after position, and in each of them panels as pack writes them.
func (c *correlation) packTransformed(s *backend.ConvShape, dst, w []float32) {
	cols, size := simd.Columns(), c.c*panels(c.n)
	for i := range s.KernelH {
		for j := range s.KernelW {
			f := c.under(s, 0, i, 0, j)
			for n := 0; n < c.n; n += cols {
				f.pack(dst[(i*tileReach+j)*size+n*c.c:], w, n, min(cols, c.n-n), c.c)
			}
		}
	}
	t := simd.Tiles{Dst: dst, DstRow: tileReach * size, DstCol: size, Src: dst, SrcRow: tileReach * size, SrcCol: size, Tiles: 1, N: size}
	t.Apply(simd.WinogradKernel)
}

// chunk transforms rows q to q1 of tiles of an image: their first pixels are first and then side apart. Tile after tile goes to each position of dst.
func (t *tiling) chunk(f simd.Transform, dst []float32, u *view, q, q1, y, x int) {
	size := plane(t.rows*t.across, u.c)
	for r := q; r < q1; r++ {
		k := simd.Tiles{
			Dst: dst[(r-q)*t.across*u.c:], DstRow: tileReach * size, DstCol: size, DstTile: u.c,
			Src: u.at(r*tileSide+y, x), SrcRow: u.width * u.c, SrcCol: u.c, SrcTile: tileSide * u.c,
			Tiles: t.across, N: u.c,
		}
		k.Apply(f)
	}
}

// correlateTiles computes units lo to hi tile by tile.
func (l *lane) correlateTiles(c *correlation, src *source, ws *scratch, out []float32, argmax []byte, w []float32, e epilogue, lo, hi int) {
	t := &c.tiling
	frame, from, to, rows, edge := ws.take(c.frame), ws.take(t.len(c.c)), ws.take(t.len(c.n)), ws.take(c.full), ws.take(c.edge)
	if e.bias == nil {
		e.bias = ws.take(c.n)
		clear(e.bias)
	}
	c.clearBorder(frame, c.c)
	y, _ := c.y.phase(0)
	x, _ := c.x.phase(0)
	size := c.y.out * c.x.out / (c.pool * c.pool) * c.n
	for n := lo / c.units(); n*c.units() < hi; n++ {
		top, bottom := c.gridRows(n, lo, hi)
		for q := top / tileSide; q < divUp(bottom, tileSide); q += t.rows {
			q1 := min(q+t.rows, divUp(bottom, tileSide))
			u := src.load(frame, n, q*tileSide+y, q1*tileSide+y+tileOverlap, c.left, c.width)
			t.chunk(simd.WinogradInput, from, &u, q, q1, y, x)
			l.multiplyPositions(c, (q1-q)*t.across, to, from, w)
			first, last := q*tileSide, min(q1*tileSide, c.y.out) // result rows
			at := n*size + first/c.pool*(c.x.out/c.pool)*c.n
			dst := out[at:]
			if c.pool > 1 {
				dst = rows
			}
			dst = dst[:(last-first)*c.x.out*c.n]
			c.results(dst, to, edge, q1-q, &e)
			e.rest(dst, at)
			if e.inAct == backend.ReLU {
				derive(e.inAct, dst, e.x[at:])
			}
			if c.pool > 1 {
				var chosen []byte
				if argmax != nil {
					chosen = argmax[at:]
				}
				maxPool(out[at:], chosen, dst, (last-first)/c.pool, c.pool, c.x.out/c.pool, c.n)
			}
		}
	}
}

// multiplyPositions multiplies, at each position, the matrix of tiles and channels by that of the weights.
func (l *lane) multiplyPositions(c *correlation, tiles int, to, from, w []float32) {
	p, cols := &l.product, simd.Columns()
	a, b := plane(c.tiling.rows*c.tiling.across, c.c), plane(c.tiling.rows*c.tiling.across, c.n)
	*p = simd.Product{CW: c.n, AW: c.c, Taps: l.taps[:1], K: c.c, H: 1, W: tiles}
	p.Taps[0] = 0
	for i := range positions {
		p.A = from[i*a:]
		for n := 0; n < c.n; n += cols {
			p.N, p.C, p.B = min(cols, c.n-n), to[i*b+n:], w[(i*panels(c.n)+n)*c.c:]
			simd.Multiply(p)
		}
	}
}

// results transforms rows of tiles back to dst, with the bias and ReLU. Tiles that reach beyond the image go by way of edge.
func (c *correlation) results(dst, from, edge []float32, rows int, e *epilogue) {
	t, width := &c.tiling, c.x.out*c.n
	size := plane(t.rows*t.across, c.n)
	k := simd.Tiles{
		DstCol: c.n, DstTile: tileSide * c.n, SrcRow: tileReach * size, SrcCol: size, SrcTile: c.n, Tiles: t.across, N: c.n,
		Bias: e.bias, ReLU: e.act == backend.ReLU,
	}
	for r := range rows {
		k.Src, k.Dst, k.DstRow = from[r*t.across*c.n:], dst[min(r*tileSide*width, len(dst)):], width
		if len(edge) > 0 {
			k.Dst, k.DstRow = edge, tileSide*t.across*c.n
		}
		k.Apply(simd.WinogradOutput)
		if len(edge) > 0 {
			for i := range min(tileSide, len(dst)/width-r*tileSide) {
				copy(dst[(r*tileSide+i)*width:][:width], edge[i*k.DstRow:])
			}
		}
	}
}

// planTiles chooses the tiles of the gradient of the weights.
func (p *weightGradient) planTiles(s *backend.ConvShape) {
	p.path, p.window = pathWinograd, forwardWindow(s)
	p.tiling.plan(&p.window, s.X.C+s.Filters, s.Pool/gcd(s.Pool, tileSide))
	p.full = p.tiling.rows * tileSide * p.tiling.across * tileSide * s.Filters
	p.small = positions * plane(s.Filters, s.X.C)
}

// backWeightsTiles adds to the gradient of the weights tile by tile.
func (l *lane) backWeightsTiles(p *weightGradient, ws *scratch, gradW []float32, under, at *source) {
	t, c, filters := &p.tiling, under.stored.C, at.stored.C
	frame, full, sums, from, grad := ws.take(p.frame), ws.take(p.full), ws.take(p.small), ws.take(t.len(c)), ws.take(t.len(filters))
	p.clearBorder(frame, c)
	clear(full)
	y, _ := p.y.phase(0)
	x, _ := p.x.phase(0)
	size, a, b := plane(filters, c), plane(t.rows*t.across, filters), plane(t.rows*t.across, c)
	for n := range under.stored.N {
		for q := 0; q < t.down; q += t.rows {
			q1 := min(q+t.rows, t.down)
			u := under.load(frame, n, q*tileSide+y, q1*tileSide+y+tileOverlap, p.left, p.width)
			t.chunk(simd.WinogradInput, from, &u, q, q1, y, x)
			g := at.load(full, n, q*tileSide, q1*tileSide, 0, t.across*tileSide)
			t.chunk(simd.WinogradGradient, grad, &g, q, q1, 0, 0)
			o := &l.outer
			*o = simd.Outer{CM: c, AW: filters, BW: c, H: 1, W: (q1 - q) * t.across, M: filters, N: c, Set: n+q == 0}
			for i := range positions {
				o.C, o.A, o.B = sums[i*size:], grad[i*a:], from[i*b:]
				simd.AddOuter(o)
			}
		}
	}
	k := simd.Tiles{
		Dst: gradW, DstRow: 3 * c, DstCol: c, DstTile: 9 * c, Src: sums, SrcRow: tileReach * size, SrcCol: size, SrcTile: c,
		Tiles: filters, N: c,
	}
	k.Apply(simd.WinogradTaps)
}
