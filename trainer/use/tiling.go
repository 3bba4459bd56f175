package use

import (
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/layer"
)

// tileSide is about the largest side, in pixels, of the tiles of models that take any size.
const tileSide = 256

// tiling says how an image is cut into tiles that a model takes.
type tiling struct {
	model         *nn.Model // with a tile for its input
	channels      int       // of a tile
	planes        int       // of the image, each of that many channels
	rows, columns axis
}

// newTiling cuts an image of h x w pixels and c channels into tiles.
func newTiling(m *nn.Model, h, w, c int) (*tiling, error) {
	if h < 1 || w < 1 || c != 1 && c != 3 {
		return nil, fmt.Errorf("an image of %d x %d pixels with %d channels is none", h, w, c)
	}
	name, in, out := m.Config.Name, m.Input, m.Output
	if flat := in.H*in.W == 1 || out.H*out.W == 1; out.Len() != in.Len() || out != in && !flat {
		return nil, fmt.Errorf("model %q makes %d x %d x %d values of %d x %d x %d: want an output like the input", name, out.H, out.W, out.C, in.H, in.W, in.C)
	}
	if len(m.Config.Input) == 1 {
		area := h * w
		if in.C != area && in.C != area*c {
			return nil, fmt.Errorf("model %q takes rows of %d values, the image has %d x %d pixels", name, in.C, h, w)
		}
		return &tiling{m, in.C / area, area * c / in.C, newAxis(h, h, 1), newAxis(w, w, 1)}, nil
	}
	if in.C != 1 && in.C != c {
		return nil, fmt.Errorf("model %q takes images of %d channels, the image has %d", name, in.C, c)
	}
	grid, any := strides(m)
	if any {
		var err error
		if m, err = resized(m, tileExtent(h, in.H, grid), tileExtent(w, in.W, grid)); err != nil {
			return nil, err
		}
	}
	return &tiling{m, in.C, c / in.C, newAxis(h, m.Input.H, grid), newAxis(w, m.Input.W, grid)}, nil
}

// strides returns the product of a model's strides, and whether it takes images of other sizes. A shift of the input
// by that many pixels shifts the output as much, and an input larger by that many gives an output as much larger.
func strides(m *nn.Model) (grid int, any bool) {
	grid = 1
	for _, info := range m.Layers {
		switch l := info.Layer.(type) {
		case *layer.Dense, *layer.Flatten, *layer.Reshape:
			return 1, false
		case *layer.Conv2D:
			grid *= max(l.Stride, 1)
		case *layer.MaxPool2D:
			if l.Stride > 0 {
				grid *= l.Stride
			} else {
				grid *= l.Size
			}
		}
		if grid > tileSide {
			return 1, false // too coarse for tiles of the wanted size
		}
	}
	return grid, true
}

// tileExtent returns the least extent of a tile that covers the image, as far as tileSide, and differs from the
// model's own by a multiple of grid.
func tileExtent(image, own, grid int) int {
	want := min(image, tileSide)
	return want + ((own-want)%grid+grid)%grid
}

// resized returns the model with its weights for another size of input. If that is too small for the model, it takes
// its own size.
func resized(m *nn.Model, h, w int) (*nn.Model, error) {
	r, err := rebuilt(m, h, w)
	if err != nil {
		return rebuilt(m, max(h, m.Input.H), max(w, m.Input.W))
	}
	return r, nil
}

func rebuilt(m *nn.Model, h, w int) (*nn.Model, error) {
	c := m.Config
	c.Input = []int{h, w, m.Input.C}
	r, err := nn.New(c, 0)
	if err != nil {
		return nil, err
	}
	if r.Output != r.Input {
		return nil, fmt.Errorf("model %q makes %d x %d pixels of %d x %d", c.Name, r.Output.H, r.Output.W, h, w)
	}
	for i := range r.Params {
		r.Params[i].Data = m.Params[i].Data
	}
	return r, nil
}

func (t *tiling) count() int { return len(t.rows.starts) * t.perRow() }

// perRow returns the number of tiles in a row of them.
func (t *tiling) perRow() int { return t.planes * len(t.columns.starts) }

// place returns the row, the first channel and the column of tile i.
func (t *tiling) place(i int) (row, channel, column int) {
	columns := len(t.columns.starts)
	return i / t.perRow(), i % t.perRow() / columns * t.channels, i % columns
}

// band is some of the rows of an image.
type band struct {
	first, end int // rows
	w, c       int
	pix        []float32
}

func (b *band) row(y int) []float32 { return b.pix[(y-b.first)*b.w*b.c:][:b.w*b.c] }

// advance makes the band one of the rows first to end-1. Those that it had are kept; it returns the first new one.
func (b *band) advance(first, end int) (fresh int) {
	size := b.w * b.c
	fresh = max(b.end, first)
	kept := b.pix[(min(first, b.end)-b.first)*size : (b.end-b.first)*size]
	pix := b.pix[:cap(b.pix)]
	if len(pix) < (end-first)*size {
		pix = make([]float32, (end-first)*size)
	}
	copy(pix, kept)
	b.first, b.end, b.pix = first, end, pix[:(end-first)*size]
	return fresh
}

// cut copies tile i of an image, mirrored at the right edge, to dst. The band has its rows.
func (t *tiling) cut(dst []float32, img *band, i int) {
	row, channel, column := t.place(i)
	y0, x0 := t.rows.starts[row], t.columns.starts[column]
	for y := range t.rows.tile {
		line := img.row(y0 + y)
		for x := range t.columns.tile {
			dst = dst[copy(dst[:t.channels], line[mirror(x0+x, img.w)*img.c+channel:]):]
		}
	}
}

// blend adds tile i of the output, weighted, to the result, as far as it has those rows.
func (t *tiling) blend(result *band, tile []float32, i int) {
	row, channel, column := t.place(i)
	y0, x0 := t.rows.starts[row], t.columns.starts[column]
	for y := range min(t.rows.tile, result.end-y0) {
		wy, line := t.rows.weights[row][y], result.row(y0+y)
		for x := range min(t.columns.tile, result.w-x0) {
			w := wy * t.columns.weights[column][x]
			if w == 0 {
				continue
			}
			to := (x0+x)*result.c + channel
			from := (y*t.columns.tile + x) * t.channels
			for c := range t.channels {
				line[to+c] += w * tile[from+c]
			}
		}
	}
}

// mirror maps a pixel beyond the end of n pixels to the one that a mirror there shows.
func mirror(i, n int) int {
	if i %= 2 * n; i >= n {
		i = 2*n - 1 - i
	}
	return i
}

// axis is one direction of a tiling.
type axis struct {
	tile    int         // extent in pixels
	starts  []int       // first pixel of each tile
	weights [][]float32 // of each tile's pixels; those of the tiles over a pixel of the image add up to 1
}

// newAxis covers the pixels of an image with tiles that start at multiples of grid and overlap by at least a quarter.
func newAxis(image, tile, grid int) axis {
	overlap := tile / 4
	step := tile - overlap
	if grid > step {
		grid = 1
	}
	step -= step % grid
	last := 0
	if image > tile {
		last = ceilDiv(image-tile, step)
		step = min(step, ceilDiv(ceilDiv(image-tile, last), grid)*grid)
	}
	// The outermost pixels of a tile, which its edge may have changed most, do not count where another tile has them
	// further inside; linear ramps follow.
	ramp := func(inside float64) float64 {
		if overlap == 0 {
			return 1
		}
		return min(max(2*inside/float64(overlap)-0.5, 0), 1)
	}
	a := axis{tile: tile}
	sum := make([]float64, last*step+tile)
	weight := func(i, q int) float64 {
		w := 1.0
		if i > 0 {
			w *= ramp(float64(q) + 0.5)
		}
		if i < last {
			w *= ramp(float64(tile-q) - 0.5)
		}
		return w
	}
	for i := range last + 1 {
		a.starts = append(a.starts, i*step)
		for q := range tile {
			sum[i*step+q] += weight(i, q)
		}
	}
	for i, start := range a.starts {
		w := make([]float32, tile)
		for q := range w {
			w[q] = float32(weight(i, q) / sum[start+q])
		}
		a.weights = append(a.weights, w)
	}
	return a
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
