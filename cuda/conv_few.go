package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// The forms of conv_few.cuh are for few channels on one side of a convolution: the first layer of a model and the last.

const (
	fewValues          = 32       // under a window, at most: a lane has all products of a channel with them
	fewValues12        = 12       // under a window, for the form with fewer registers
	fewPositions       = 96       // the rows of an image that a block takes at a time have about so many positions
	fewTensorPositions = 256      // the same on tensor cores, where a block takes half an image at the most
	fewBytes           = 48 << 10 // of shared memory that a block takes at most
	fewColumnsOfTile   = 32       // COLUMNS of correlate_few
	fewSteps           = 5        // FEW_STEPS of conv_few_tensor.cuh: of two units
	fewRow             = 40       // FEW_ROW
	lanesMatrix        = 68       // MATRIX of correlate_lanes_tensor
	lanesUnits         = 8        // LANE_UNITS
	lanesPositions     = 128      // POSITIONS of correlate_lanes, whose own shared memory takes 32 bytes for each

	lanesPairsPositions = 256 // a block of correlate_lanes_tensor has so many of Pairs, where they fit, and else lanesPositions
)

// fewTensorFor is fewFor for correlate_few_tensor.
func (d *Device) fewTensorFor(c *correlation, src *source, w *window, back bool) (f fewForm, ok bool) {
	f, ok = fewFor(src, w, back)
	f.values, f.ofRow, f.wide = w.kw*src.c, 1, ceilDiv(f.pitch, 8)*8
	if f.values > tensorUnit/4 {
		f.values, f.ofRow = src.c, w.kw
	}
	units := w.kh * f.ofRow
	if !ok || c.multiply != backend.TF32 || !d.tensorCores() || src.c > tensorUnit/4 || units > 2*fewSteps {
		return f, false
	}
	f.entry = map[kernels.Entry]kernels.Entry{
		kernels.ConvForwardFew:      kernels.ConvForwardFewTensor,
		kernels.ConvForwardFewPool2: kernels.ConvForwardFewTensorPool2,
		kernels.ConvBackInputFew:    kernels.ConvBackInputFewTensor,
	}[f.entry]
	apart := w.pool * w.stride
	f.plane = ceilDiv(f.wide, apart)
	for apart > 1 && 8%apart == 0 && f.plane%8 != 8/apart {
		f.plane++
	}
	f.pitch = f.plane*(apart-1) + ceilDiv(f.wide, apart)
	for least := f.pitch; (f.pitch*apart-w.out.W)%8 != 0 && f.pitch < least+8; {
		f.pitch++
	}
	for f.rows = min(ceilDiv(w.out.H, 2), ceilDiv(fewTensorPositions, w.out.W)); f.rows > 0; f.rows-- {
		height := (f.rows*w.pool-1)*w.stride + w.kh
		if f.bytes = 4*8*fewRow*ceilDiv(units, 2) + tensorUnit*(1+height*f.pitch); f.bytes <= fewBytes {
			return f, true
		}
	}
	return f, false
}

// rowsOf is how many rows of an image a block takes at a time.
func rowsOf(s backend.Shape) int { return min(s.H, ceilDiv(fewPositions, s.W)) }

// fewForm is a launch of correlate_few or correlate_few_tensor.
type fewForm struct {
	entry       kernels.Entry
	rows, pitch int
	bytes       int // of shared memory

	values, ofRow, wide, plane int // FewUnits of conv_few_tensor.cuh
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

// productFew launches a correlate_few or correlate_few_tensor kernel.
func (l *lane) productFew(f *fewForm, src *source, c *correlation, w *window) {
	blocks := w.out.N * ceilDiv(w.out.H, f.rows) * ceilDiv(w.out.C, fewColumnsOfTile)
	a := productArgs(src, c, w)
	a.add(i32(f.rows), i32(f.pitch), divider(w.out.W))
	if f.values > 0 {
		a.add(i32(f.values), i32(f.ofRow), i32(f.wide), i32(f.plane), divider(f.wide))
	} else {
		a.add(rounding(c.multiply))
	}
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

// lanesTensor is a launch of correlate_lanes_tensor.
type lanesTensor struct {
	entry       kernels.Entry
	h, w        int // outputs of a residue
	rows, pitch int
	bytes       int // of shared memory
}

// lanesTensorFor is false for what correlate_lanes_tensor does not do, or does not fit.
func (d *Device) lanesTensorFor(t backend.DType, src *source, w *window) (f lanesTensor, ok bool) {
	columns, step := w.out.C, w.residues
	if t == backend.Float32 || !d.tensorCores() || src.c%4 != 0 || columns > fewColumns || w.pool*w.stride > 1 || step > 2 {
		return f, false
	}
	matrices, channels, positions := 1, 4, lanesPositions
	forms := [2]kernels.Entry{kernels.ConvForwardLanesTensor, kernels.ConvForwardLanesTensor2}
	if t == backend.BFloat16 && src.narrow && src.c%8 == 0 {
		channels, positions = 8, lanesPairsPositions
		forms = [2]kernels.Entry{kernels.ConvLanesPairsForward, kernels.ConvLanesPairsForward2}
	}
	if step*step*columns > 8 {
		matrices = 2
	}
	f.entry = forms[matrices-1]
	seen := func(kernel, pad int) int { return (kernel+step-2-pad)/step + ceilDiv(pad, step) + 1 }
	high, wide := seen(w.kh, w.top), seen(w.kw, w.left)
	steps := ceilDiv(src.c, 2*channels)
	f.h, f.w = ceilDiv(w.out.H, step), ceilDiv(w.out.W, step)
	for f.pitch = f.w + wide - 1; f.w%8 != 0 && (f.pitch-f.w)%8 != 0; { // neighbours stay neighbours where a row ends
		f.pitch++
	}
	for f.rows = min(ceilDiv(f.h, 2), max(positions/f.w, 1)); f.rows > 0; f.rows-- {
		plane := ceilDiv((f.rows+high-1)*f.pitch-1, 8)*8 + 1
		f.bytes = 4*high*wide*ceilDiv(steps*matrices*lanesMatrix, 32)*32 + tensorUnit*min(2*steps, lanesUnits)*plane
		if f.bytes <= tensorBytes {
			return f, true
		}
	}
	return f, false
}

// productLanesTensor launches a correlate_lanes_tensor kernel.
func (l *lane) productLanesTensor(f *lanesTensor, src *source, c *correlation, w *window) {
	a := productArgs(src, c, w)
	a.add(i32(f.rows), i32(f.pitch), divider(f.w), divider(f.pitch), rounding(c.multiply))
	blocks := w.out.N * ceilDiv(f.h, f.rows)
	l.launch(c.op, f.entry, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, f.bytes, a.all()...)
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
	if values > fewValues || ch%4 == 0 || s.Dilation > 1 {
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
