package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// sourceKind tells what is read of a stored image.
type sourceKind uint8

const (
	stored    sourceKind = iota // the image
	upsampled                   // every pixel repeated
	unpooled                    // a gradient before the pool
	summed                      // a gradient before the pool, summed over the copies of an upsampled pixel
)

// source is the images that a correlation, or the gradient of weights, reads.
type source struct {
	kind   sourceKind
	s      backend.ConvShape
	h, w   int           // of an image as it is read
	stored backend.Shape // as it is stored
	data   []float32
	argmax []byte    // of a gradient, when there is a pool
	row    []float32 // scratch of kind summed: a row, and the image before the pool
	full   []float32

	// What load makes of rows that are to be pairs of bfloat16: words of a pixel, of pairs of channels, or else pairs of pixels that are apart.
	words, apart int
	stage        []float32 // scratch: the rows before that
}

// pairChannels has load make pairs of channels, where the factors are such.
func (w *window) pairChannels(v *source, ws *scratch) {
	if w.pairs {
		v.words, v.stage = w.c, ws.take(w.stage)
	}
}

// pairPixels has load make pairs of pixels that are apart, of all that lie in rows of width pixels and of zeros behind them. Its stage has as many rows
// as load makes at once.
func (v *source) pairPixels(stage []float32, apart int) {
	v.apart, v.stage = apart, stage
	clear(stage)
}

// round rounds factors, or narrow activations, in place.
func round(d backend.DType, v []float32) {
	switch d {
	case backend.TF32:
		for i, x := range v {
			v[i] = backend.RoundTF32(x)
		}
	case backend.BFloat16:
		for i, x := range v {
			v[i] = backend.RoundBF16(x)
		}
	}
}

// inputs and gradients are the two kinds of sources: a convolution's input, and the gradient of its output.
func inputs(s *backend.ConvShape, k sourceKind, x []float32) source {
	v := source{kind: k, s: *s, h: s.X.H, w: s.X.W, stored: s.X, data: x}
	if k == upsampled {
		v.h, v.w = s.In.H, s.In.W
	}
	return v
}

func gradients(s *backend.ConvShape, k sourceKind, g []float32, argmax []byte, ws *scratch) source {
	v := source{kind: k, s: *s, h: s.Conv.H, w: s.Conv.W, stored: s.Out, data: g, argmax: argmax}
	if k == summed {
		v.h, v.w = copiesExtent(s)
		v.row = ws.take(s.Conv.W * s.Filters)
		if s.Pool > 1 {
			v.full = ws.take(s.Conv.Image())
		}
	}
	return v
}

// gradientsLen is the size of the scratch that gradients takes.
func gradientsLen(s *backend.ConvShape, k sourceKind) int {
	if k != summed {
		return 0
	}
	n := lineUp(s.Conv.W * s.Filters)
	if s.Pool > 1 {
		n += lineUp(s.Conv.Image())
	}
	return n
}

// view is some rows of an image, with zeros where they reach beyond it. data begins with row top of the image, and left
// pixels before the row's own first pixel; a row has width pixels of c channels.
type view struct {
	data                []float32
	top, left, width, c int
}

// at returns the elements from a pixel of the image on.
func (v *view) at(y, x int) []float32 { return v.data[((y-v.top)*v.width+x+v.left)*v.c:] }

// image is all of image n, without zeros round it.
func (v *source) image(n int) view {
	return view{v.data[n*v.stored.Image():][:v.stored.Image()], 0, 0, v.stored.W, v.stored.C}
}

// clearBorder clears what lies before and behind the columns of an image in all rows of a frame: load and multiplyTaps write those columns alone.
func (w *window) clearBorder(frame []float32, pixel int) {
	left, right, row := w.left*pixel, (w.left+w.x.in)*pixel, w.width*pixel
	if len(frame) == 0 || right-left == row {
		return
	}
	clear(frame[:left])
	for at := right; at < len(frame); at += row {
		clear(frame[at:min(at+row-right+left, len(frame))]) // with the next row's left border
	}
}

// load copies rows from to to of image n to a frame, whose columns outside of the image are zero already, and rounds them, or makes pairs of them. Below a
// pool it can only make all rows of a window at once, so there may be more rows at either end; the frame has room for them.
func (v *source) load(frame []float32, n, from, to, left, width int) view {
	c, rows := v.stored.C, 1
	f := view{frame, from, left, width, c}
	if v.words > 0 {
		f.c = v.words
	}
	if v.kind == unpooled {
		rows = v.s.Pool
		f.top = divDown(from, rows) * rows
	}
	img, size := v.image(n), v.w*c
	lo, hi := left*f.c, (left+v.w)*f.c // what is written of a row of the frame
	first, ld := lo, width*c           // where rows are made before they are pairs, and from one to the next
	switch {
	case v.words > 0:
		first, ld = 0, size
	case v.apart > 0:
		lo, hi = 0, width*c
		ld += v.apart * c
	}
	for y := f.top; y < to; y += rows {
		out := frame[(y-f.top)*width*f.c:]
		if y < 0 || y >= v.h {
			for i := range rows {
				clear(out[i*width*f.c:][lo:hi])
			}
			continue
		}
		row := out[first:]
		if v.stage != nil {
			row = v.stage[first:]
		}
		switch v.kind {
		case stored:
			copy(row[:size], img.data[y*size:])
		case upsampled:
			for x := range v.w {
				copy(row[x*c:][:c], img.at(y/v.s.Up, x/v.s.Up))
			}
		case unpooled:
			at := (n*v.stored.H + y/rows) * v.stored.W * c
			simd.Unpool(row, ld, v.data[at:], v.argmax[at:], rows, v.stored.W, c)
		case summed:
			v.sumRow(row[:size], img.data, y)
		}
		for i := range rows {
			to := out[i*width*f.c:][lo:hi]
			switch {
			case v.words > 0:
				simd.PairChannels(to, row[i*ld:][:size], v.w, c)
			case v.apart > 0:
				from := v.stage[i*ld:][:ld]
				simd.PairRows(to, from[:len(to)], from[v.apart*c:])
			default:
				round(v.s.Multiply, to)
			}
		}
	}
	return f
}

// copiesExtent is the size of a gradient that is summed over copies.
func copiesExtent(s *backend.ConvShape) (h, w int) {
	return s.Stride*(s.Conv.H-1) + s.Up, s.Stride*(s.Conv.W-1) + s.Up
}

// sumRow makes row y of a gradient that is summed over the Up x Up copies of an upsampled pixel. Element (a, b) is the sum of
// the gradients of the outputs (i, j) with a-Up < i*Stride <= a and b-Up < j*Stride <= b. The copies of a pixel then need
// one product with the kernel together, where each would have needed its own.
func (v *source) sumRow(dst, g []float32, y int) {
	s, c := &v.s, v.s.Filters
	if v.full != nil {
		g = v.full
	}
	size := s.Conv.W * c
	first, last := max(divUp(y-s.Up+1, s.Stride), 0), min(y/s.Stride, s.Conv.H-1)
	clear(dst)
	row := g[first*size:][:size]
	for i := first + 1; i <= last; i++ {
		simd.Sum(v.row, row, g[i*size:][:size])
		row = v.row
	}
	for u := range s.Up {
		if s.Stride == 1 {
			to := dst[u*c:][:size]
			simd.Sum(to, to, row)
			continue
		}
		for x := range s.Conv.W {
			to := dst[(x*s.Stride+u)*c:][:c]
			simd.Sum(to, to, row[x*c:][:c])
		}
	}
}

// start prepares for loading image n: where sumRow is used below a pool, it makes the gradient before the pool.
func (v *source) start(n int) {
	if v.full == nil {
		return
	}
	size := v.stored.Image()
	unpool(v.full, v.data[n*size:], v.argmax[n*size:], v.stored.H, v.s.Pool, v.stored.W, v.stored.C)
}
