package use

import (
	"context"
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer/picture"
)

const (
	tileValues = 1 << 20 // values of the tiles that are run together
	mostTiles  = 256     // that are run together
)

// Apply runs a model over an image of any size and returns its output, an image of the same size. See [NewApplied], whose
// errors it returns. When ctx ends, Apply returns its error soon.
func Apply(ctx context.Context, m *nn.Model, dev backend.Device, img picture.Image) (picture.Image, error) {
	if len(img.Pix) != img.H*img.W*img.C {
		return picture.Image{}, fmt.Errorf("an image of %d x %d pixels with %d channels and %d values is none", img.H, img.W, img.C, len(img.Pix))
	}
	result := picture.Image{H: img.H, W: img.W, C: img.C, Pix: make([]float32, 0, len(img.Pix))}
	size := img.W * img.C
	a, err := NewApplied(m, dev, img.H, img.W, img.C, func(dst []float32, y int) { copy(dst, img.Pix[y*size:]) })
	if err != nil {
		return picture.Image{}, err
	}
	defer a.Close()
	for range img.H {
		row, err := a.Next(ctx)
		if err != nil {
			return picture.Image{}, err
		}
		result.Pix = append(result.Pix, row...)
	}
	return result, nil
}

// Applied is a model's output for an image, computed row of tiles by row of tiles as it is read, so that memory for
// floating-point values is taken for these alone, however high the image is.
type Applied struct {
	t       *tiling
	net     *nn.Network
	h       int
	read    func(dst []float32, y int)
	in, out band      // rows of the tiles at hand; below the image's end those of in are mirrored
	x, y    []float32 // tiles that are run together, and their outputs
	rows    int       // of tiles, that are run before their rows are given
	row     int       // next row of tiles
	next    int       // next row to give
	ready   int       // rows before this one are finished
}

// NewApplied runs a model over an image of h x w pixels with c channels, 1 or 3, of which read fills dst with row y: the
// w*c values of its pixels, in [0,1]. It is called for a row at a time, from the first to the last; near the end for
// some twice.
//
// A model of one channel is applied to each channel of a colour image. A model of convolutions, pools and upsamplings
// alone takes tiles of up to about 256 x 256 pixels, any other model tiles of its own input size. An image that is
// smaller than a tile is mirrored at its edges, a larger one is cut into tiles that overlap by a quarter and are
// blended. A model whose input is a vector takes only images of as many values.
//
// It is an error if the model's output is not like its input, or if the image has not the channels or, for a vector,
// the size that the model takes.
func NewApplied(m *nn.Model, dev backend.Device, h, w, c int, read func(dst []float32, y int)) (*Applied, error) {
	t, err := newTiling(m, h, w, c)
	if err != nil {
		return nil, err
	}
	size := t.model.Input.Len()
	batch := min(max(tileValues/size, 1), t.count(), mostTiles)
	net, err := nn.NewNetwork(t.model, dev, nn.NetworkOptions{Batch: batch})
	if err != nil {
		return nil, err
	}
	return &Applied{t: t, net: net, h: h, read: read, in: band{w: w, c: c}, out: band{w: w, c: c},
		x: make([]float32, batch*size), y: make([]float32, batch*size),
		rows: min(max(batch/t.perRow(), 1), len(t.rows.starts))}, nil
}

// Tiles returns the number of tiles that the image is cut into.
func (a *Applied) Tiles() int { return a.t.count() }

// Close gives back what the model takes on the device.
func (a *Applied) Close() { a.net.Close() }

// Next returns the next row of the output, from the first on. It is valid until the next call. When ctx ends, Next returns
// its error soon.
func (a *Applied) Next(ctx context.Context) ([]float32, error) {
	if a.next == a.ready {
		if err := a.run(ctx); err != nil {
			return nil, err
		}
	}
	a.next++
	return a.out.row(a.next - 1), nil
}

// run finishes the rows of the next tiles.
func (a *Applied) run(ctx context.Context) error {
	t := a.t
	starts := t.rows.starts
	lo, hi := a.row, min(a.row+a.rows, len(starts))
	end := starts[hi-1] + t.rows.tile
	for y := a.in.advance(starts[lo], end); y < end; y++ {
		a.read(a.in.row(y), mirror(y, a.h))
	}
	end = min(end, a.h)
	for y := a.out.advance(starts[lo], end); y < end; y++ {
		clear(a.out.row(y))
	}
	size := t.model.Input.Len()
	batch, last := len(a.x)/size, hi*t.perRow()
	for i := lo * t.perRow(); i < last; i += batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(batch, last-i)
		for k := range n {
			t.cut(a.x[k*size:][:size], &a.in, i+k)
		}
		if err := a.net.Predict(a.y[:n*size], a.x[:n*size], n); err != nil {
			return err
		}
		for k := range n {
			t.blend(&a.out, a.y[k*size:][:size], i+k)
		}
	}
	a.row, a.ready = hi, a.h
	if hi < len(starts) {
		a.ready = starts[hi]
	}
	return nil
}
