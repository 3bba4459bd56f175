package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// The forms of conv_back_weights_few.sm_80.cu make the gradient of weights on tensor cores where few values lie under a window, in bf16.

// fewTensorGradient says how the windows of a gradient are dealt to the blocks of gradient_few_tensor: units of rows of a strip, width windows wide.
type fewTensorGradient struct {
	entry         kernels.Entry
	groups        int // of fewGroup channels that a block has
	tiles         int // of channels
	rows, width   int
	strips, bands int // strips of an image, and units of a strip
	units         int
	plane, row    int // pixels of a row that are a stride apart, and floats of a row
	eights        int // positions of a row, and what makes them a multiple of 8
	pool          int
	bytes         int // of shared memory
}

const (
	fewGroup  = 32  // WARP_CHANNELS of conv_back_weights_few.sm_80.cu
	fewPlaces = 512 // a unit has positions for so many rows of values, or for fewer
)

// fewTensorGradientFor is false for what gradient_few_tensor does not do, or does not fit.
func (d *Device) fewTensorGradientFor(s *backend.ConvShape) (f fewTensorGradient, ok bool) {
	m, ch, _ := gradSize(s)
	values := ch * s.KernelH * s.KernelW
	if s.Multiply != backend.BFloat16 || !d.tensorCores() || values >= fewValues || ch%4 == 0 || m%4 != 0 || s.Dilation > 1 {
		return f, false
	}
	other, stride, copies := s.Out, s.Stride, 1
	f.pool = s.Pool
	entries := [2]kernels.Entry{kernels.ConvBackWeightsFewTensorBF16, kernels.ConvBackWeightsFewTensorBF16Small}
	switch {
	case s.Up == 2 && sumsAsRead(s):
		other, stride, copies = s.X, 2, 2
		entries = [2]kernels.Entry{kernels.ConvBackWeightsFewTensorBF16Up2, kernels.ConvBackWeightsFewTensorBF16SmallUp2}
	case s.Up == 1 && s.Pool == 2:
		entries = [2]kernels.Entry{kernels.ConvBackWeightsFewTensorBF16Pool2, kernels.ConvBackWeightsFewTensorBF16SmallPool2}
	case s.Up > 1 || s.Pool > 1:
		return f, false
	}
	matrices := 4 // of eight values, or of the 1 behind them
	f.entry = entries[0]
	if values < 16 {
		f.entry, matrices = entries[1], 2
	}
	for f.groups = 1; f.groups < 4 && f.groups*fewGroup < m; {
		f.groups *= 2
	}
	f.tiles = ceilDiv(m, f.groups*fewGroup)

	places := f.pool * f.pool
	f.width = min(other.W, fewPlaces/places/2)
	f.rows = min(other.H, max(fewPlaces/places/f.width, 1))
	f.strips, f.bands = ceilDiv(other.W, f.width), ceilDiv(other.H, f.rows)
	f.units = s.X.N * f.strips * f.bands
	pixel, across := ch|1, (f.width*f.pool-1)*stride+s.KernelW+copies-1
	f.plane, f.eights = ceilDiv(across, stride), ceilDiv(f.width*f.pool, 8)*8
	for stride > 1 && 32%stride == 0 && f.plane*pixel%32 != 32/stride { // copies of neighbours go to different banks
		f.plane++
	}
	f.row = stride * f.plane * pixel
	for least := f.row; (stride*f.row-f.eights*pixel)%32 != 0 && f.row < least+32; { // and the end of a row and the next one lie in different ones
		f.row++
	}
	down := (f.rows*f.pool-1)*stride + s.KernelH + copies - 1
	f.bytes = tensorUnit * (ceilDiv(down*f.row, 4) + places*(f.rows*ceilDiv(f.width, 16)*16+4)*(matrices+1))
	f.bytes = max(f.bytes, 4*threads*8*matrices)
	return f, f.bytes <= tensorBytes
}

// fewTensorGradientOf is fewTensorGradientFor for a gradient: of narrow activations on the side of many channels and floats on the other.
func (d *Device) fewTensorGradientOf(s *backend.ConvShape, g *gradient) (f fewTensorGradient, ok bool) {
	other, under := g.out, g.x
	if s.Up > 1 {
		other, under = g.x, g.out
	}
	f, ok = d.fewTensorGradientFor(s)
	return f, ok && other.narrow && !under.narrow && g.rows.p == g.out.p
}

// gradientFewTensor launches a gradient_few_tensor kernel, which makes the bias's gradient too.
func (l *lane) gradientFewTensor(s *backend.ConvShape, g *gradient, h *fewTensorGradient, d *part) {
	f, parts := l.factors(s, g), l.dev.splits(s)
	var a arguments
	a.addSource(&f.other)
	a.addSource(&f.under)
	a.add(i32(h.units), i32(parts), i32(f.stride), i32(f.top), i32(f.left), i32(s.KernelH), i32(s.KernelW))
	a.addPart(&f, d)
	a.add(i32(h.groups), i32(h.rows), i32(h.width), i32(h.strips), i32(h.bands), i32(h.plane), i32(h.row))
	a.add(divider(f.under.c), divider(h.eights), divider(h.strips), divider(h.bands), ptr(d.bias), i32(d.nb))
	l.launch(g.op, h.entry, driver.Dim3{X: h.tiles, Y: 1, Z: parts}, driver.Dim3{X: threads}, h.bytes, a.all()...)
}
