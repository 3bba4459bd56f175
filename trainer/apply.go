package trainer

import (
	"context"
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer/picture"
)

const (
	tileSide   = 256     // pixels; the tiles of models that take any size are about as large
	tileValues = 1 << 20 // values of the tiles that are run together
)

// Apply runs a model over an image of any size and returns its output, an image of the same size.
//
// A model of one channel is applied to each channel of a colour image. A model of convolutions, pools and upsamplings
// alone takes tiles of up to about 256 x 256 pixels, any other model tiles of its own input size. An image that is
// smaller than a tile is mirrored at its edges, a larger one is cut into tiles that overlap by a quarter and are
// blended. A model whose input is a vector takes only images of as many values.
//
// It is an error if the model's output is not like its input, or if the image has not the channels or, for a vector,
// the size that the model takes. When ctx ends, Apply returns its error soon.
func Apply(ctx context.Context, m *nn.Model, dev backend.Device, img picture.Image) (picture.Image, error) {
	t, err := newTiling(m, img)
	if err != nil {
		return picture.Image{}, err
	}
	size := t.model.Input.Len()
	batch := min(max(tileValues/size, 1), t.count())
	net, err := nn.NewNetwork(t.model, dev, nn.NetworkOptions{Batch: min(batch, 256)})
	if err != nil {
		return picture.Image{}, err
	}
	defer net.Close()

	result := picture.Image{H: img.H, W: img.W, C: img.C, Pix: make([]float32, len(img.Pix))}
	in, out := make([]float32, batch*size), make([]float32, batch*size)
	for lo := 0; lo < t.count(); lo += batch {
		if err := ctx.Err(); err != nil {
			return picture.Image{}, err
		}
		n := min(batch, t.count()-lo)
		for i := range n {
			t.cut(in[i*size:][:size], img, lo+i)
		}
		if err := net.Predict(out[:n*size], in[:n*size], n); err != nil {
			return picture.Image{}, err
		}
		for i := range n {
			t.blend(result, out[i*size:][:size], lo+i)
		}
	}
	return result, nil
}

// Tiles returns the number of tiles that [Apply] cuts an image into, with the same errors.
func Tiles(m *nn.Model, img picture.Image) (int, error) {
	t, err := newTiling(m, img)
	if err != nil {
		return 0, err
	}
	return t.count(), nil
}

// tiling says how an image is cut into tiles that a model takes.
type tiling struct {
	model         *nn.Model // with a tile for its input
	channels      int       // of a tile
	planes        int       // of the image, each of that many channels
	rows, columns axis
}

func newTiling(m *nn.Model, img picture.Image) (*tiling, error) {
	if img.H < 1 || img.W < 1 || img.C != 1 && img.C != 3 || len(img.Pix) != img.H*img.W*img.C {
		return nil, fmt.Errorf("an image of %d x %d pixels with %d channels and %d values is none", img.H, img.W, img.C, len(img.Pix))
	}
	name, in, out := m.Config.Name, m.Input, m.Output
	if flat := in.H*in.W == 1 || out.H*out.W == 1; out.Len() != in.Len() || out != in && !flat {
		return nil, fmt.Errorf("model %q makes %d x %d x %d values of %d x %d x %d: want an output like the input", name, out.H, out.W, out.C, in.H, in.W, in.C)
	}
	if len(m.Config.Input) == 1 {
		area := img.H * img.W
		if in.C != area && in.C != area*img.C {
			return nil, fmt.Errorf("model %q takes images of %d values, the image has %d x %d pixels", name, in.C, img.H, img.W)
		}
		return &tiling{m, in.C / area, area * img.C / in.C, newAxis(img.H, img.H, 1), newAxis(img.W, img.W, 1)}, nil
	}
	if in.C != 1 && in.C != img.C {
		return nil, fmt.Errorf("model %q takes images of %d channels, the image has %d", name, in.C, img.C)
	}
	grid, any := strides(m)
	if any {
		var err error
		if m, err = resized(m, tileExtent(img.H, in.H, grid), tileExtent(img.W, in.W, grid)); err != nil {
			return nil, err
		}
	}
	return &tiling{m, in.C, img.C / in.C, newAxis(img.H, m.Input.H, grid), newAxis(img.W, m.Input.W, grid)}, nil
}

// strides returns the product of a model's strides, and whether it takes images of other sizes. A shift of the input
// by that many pixels shifts the output as much, and an input larger by that many gives an output as much larger.
func strides(m *nn.Model) (grid int, any bool) {
	grid = 1
	for _, info := range m.Layers {
		switch l := info.Layer.(type) {
		case *nn.Dense, *nn.Flatten, *nn.Reshape:
			return 1, false
		case *nn.Conv2D:
			grid *= max(l.Stride, 1)
		case *nn.MaxPool2D:
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

func (t *tiling) count() int { return t.planes * len(t.rows.starts) * len(t.columns.starts) }

// place returns the first channel, the row and the column of tile i.
func (t *tiling) place(i int) (channel, row, column int) {
	rows, columns := len(t.rows.starts), len(t.columns.starts)
	return i / (rows * columns) * t.channels, i / columns % rows, i % columns
}

// cut copies tile i of an image, mirrored at the edges, to dst.
func (t *tiling) cut(dst []float32, img picture.Image, i int) {
	channel, row, column := t.place(i)
	y0, x0 := t.rows.starts[row], t.columns.starts[column]
	for y := range t.rows.tile {
		line := img.Pix[mirror(y0+y, img.H)*img.W*img.C:][:img.W*img.C]
		for x := range t.columns.tile {
			dst = dst[copy(dst[:t.channels], line[mirror(x0+x, img.W)*img.C+channel:]):]
		}
	}
}

// blend adds tile i of the output, weighted, to the result.
func (t *tiling) blend(result picture.Image, tile []float32, i int) {
	channel, row, column := t.place(i)
	y0, x0 := t.rows.starts[row], t.columns.starts[column]
	for y := range min(t.rows.tile, result.H-y0) {
		wy := t.rows.weights[row][y]
		for x := range min(t.columns.tile, result.W-x0) {
			w := wy * t.columns.weights[column][x]
			if w == 0 {
				continue
			}
			to := ((y0+y)*result.W+x0+x)*result.C + channel
			from := (y*t.columns.tile + x) * t.channels
			for c := range t.channels {
				result.Pix[to+c] += w * tile[from+c]
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
