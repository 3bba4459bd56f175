package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// The forms of conv_few.cuh are for few channels on one side of a convolution: the first layer of a model and the last.

const (
	fewValues        = 32       // under a window, at most: a lane has all products of a channel with them
	fewValues12      = 12       // under a window, for the form with fewer registers
	fewPositions     = 96       // the rows of an image that a block takes at a time have about so many positions
	fewBytes         = 48 << 10 // of shared memory that a block takes at most
	fewColumnsOfTile = 32       // COLUMNS of correlate_few
	lanesPositions   = 128      // POSITIONS of correlate_lanes, whose own shared memory takes 32 bytes for each
)

// rowsOf is how many rows of an image a block takes at a time.
func rowsOf(s backend.Shape) int { return min(s.H, ceilDiv(fewPositions, s.W)) }

// fewForm is a launch of correlate_few.
type fewForm struct {
	entry       kernels.Entry
	rows, pitch int
	bytes       int // of shared memory
}

// fewFor is false if the window is not one over a source of few channels, or does not fit.
func fewFor(src *source, w *window, back bool) (f fewForm, ok bool) {
	values := src.c * w.kh * w.kw
	if values > fewValues || src.c%4 == 0 || src.factor > 1 && !src.summed || w.residues > 1 || w.pool > 2 || w.out.C <= fewColumns {
		return f, false
	}
	f = fewForm{entry: kernels.ConvForwardFew, rows: rowsOf(w.out), pitch: (w.out.W*w.pool-1)*w.stride + w.kw}
	switch {
	case back:
		f.entry = kernels.ConvBackInputFew
	case w.pool == 2:
		f.entry = kernels.ConvForwardFewPool2
	}
	height := (f.rows*w.pool-1)*w.stride + w.kh
	f.bytes = 4 * (values*fewColumnsOfTile + height*f.pitch*src.c)
	return f, f.bytes <= fewBytes
}

// productFew launches a correlate_few kernel.
func (l *lane) productFew(f *fewForm, src *source, c *correlation, w *window) {
	blocks := w.out.N * ceilDiv(w.out.H, f.rows) * ceilDiv(w.out.C, fewColumnsOfTile)
	a := productArgs(src, c, w)
	a.add(i32(f.rows), i32(f.pitch), divider(w.out.W), rounding(c.multiply))
	l.launch(c.op, f.entry, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, f.bytes, a.all()...)
}

// lanesForm is a launch of correlate_lanes.
type lanesForm struct {
	entry kernels.Entry
	bytes int // of shared memory: the weights
}

// lanesFor is false if the window has more than a few columns, or does not fit.
func lanesFor(channels int, w *window, back bool) (f lanesForm, ok bool) {
	if channels%4 != 0 || w.out.C > fewColumns || w.pool*w.pool > lanesPositions {
		return f, false
	}
	columns := fewColumns
	switch {
	case w.out.C > 1 && back:
		f.entry = kernels.ConvBackInputLanes4
	case w.out.C > 1:
		f.entry = kernels.ConvForwardLanes4
	case back:
		f.entry, columns = kernels.ConvBackInputLanes1, 1
	default:
		f.entry, columns = kernels.ConvForwardLanes1, 1
	}
	kh, kw := w.taps(back)
	f.bytes = 4 * columns * kh * kw * channels
	return f, f.bytes <= fewBytes-32*lanesPositions
}

// productLanes launches a correlate_lanes kernel.
func (l *lane) productLanes(f *lanesForm, src *source, c *correlation, w *window) {
	grid := driver.Dim3{X: ceilDiv(w.outputs(), lanesPositions/(w.pool*w.pool)), Y: 1, Z: w.residues * w.residues}
	a := productArgs(src, c, w)
	a.add(rounding(c.multiply))
	l.launch(c.op, f.entry, grid, driver.Dim3{X: threads}, f.bytes, a.all()...)
}

// fewGradient says how the positions of a gradient are dealt to the blocks of gradient_few.
type fewGradient struct {
	entry       kernels.Entry
	rows, pitch int // of a unit
	units       int
	tiles       int // of channels
	bytes       int // of shared memory
}

// fewGradientFor is false if there are too many values under the window, or they do not fit.
func fewGradientFor(s *backend.ConvShape) (f fewGradient, ok bool) {
	m, ch, _ := gradSize(s)
	values := ch * s.KernelH * s.KernelW
	if values > fewValues || ch%4 == 0 {
		return f, false
	}
	f = fewGradient{entry: kernels.ConvBackWeightsFew32, tiles: ceilDiv(m, biasColumns)}
	sums := fewValues
	if values <= fewValues12 {
		f.entry, sums = kernels.ConvBackWeightsFew12, fewValues12
	}
	other, stride, pool := s.Out, s.Stride, s.Pool
	if s.Up > 1 {
		other, stride, pool = s.X, s.Up, 1
	}
	f.rows, f.pitch = rowsOf(other), (other.W*pool-1)*stride+s.KernelW
	pixels := ((f.rows*pool-1)*stride + s.KernelH) * f.pitch
	f.bytes = 4 * max(pixels*ch, threads*sums)
	f.units = s.X.N * ceilDiv(other.H, f.rows)
	return f, f.bytes <= fewBytes
}

// fewWave is how many blocks of gradient_few, beside as many of the bias's gradient, are on the nominal device at once.
const fewWave = 2 * nominalSMs

// gradientFew launches the kernel of the weights' gradient, with blocks for the bias's.
func (l *lane) gradientFew(s *backend.ConvShape, g *gradient, h *fewGradient, d *part) {
	f, parts := l.factors(s, g), l.dev.splits(s)
	var a arguments
	a.addSource(&f.other)
	a.addSource(&f.under)
	a.add(divider(f.other.row), i32(h.units), i32(parts), i32(f.stride), i32(f.top), i32(f.left), i32(s.KernelH), i32(s.KernelW))
	a.addPart(&f, d)
	a.add(i32(h.rows), i32(h.pitch))
	a.addBias(g, d, s.X.N)
	a.add(rounding(s.Multiply))
	blocks := (h.tiles + ceilDiv(d.nb, biasColumns)) * parts
	l.launch(g.op, h.entry, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, h.bytes, a.all()...)
}
