package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// The forms of conv_back_weights_wgmma.sm_90a.cu make the gradient of weights by warpgroups, of bfloat16s, on devices of compute capability 9.0 alone.

const (
	groupTaps      = 3                  // GROUP_TAPS of conv_back_weights_wgmma.sm_90a.cu
	groupColumns   = 128                // GROUP_COLUMNS
	groupPositions = 64                 // GROUP_POSITIONS
	groupRows      = 64                 // channels of the window that a warpgroup has
	groupBuffers   = 3                  // of units that were pooled
	groupBytes     = wgmmaBytes - 9<<10 // of dynamic shared memory at most, beside the sums of the bias
)

// wgmmaGradient says how the positions of a gradient are dealt to the blocks of gradient_warpgroups.
type wgmmaGradient struct {
	entry         kernels.Entry
	width         int // positions of a row of a unit, of which there are groupPositions in all
	strips, bands int // a unit is a band of rows of a strip
	units         int
	run, pitch    int // pixels of a row under a unit that are a stride apart, and all of them
	tilesM, tiles int // of channels m, and of both channels and taps
	stages, bytes int // of shared memory
}

// wgmmaGradientFor returns false if the device or the kernel does not fit.
func (d *Device) wgmmaGradientFor(s *backend.ConvShape) (wgmmaGradient, bool) {
	m, ch, _ := gradSize(s)
	if info := d.dev.Info(); info.Major != 9 || info.Minor != 0 || s.Multiply != backend.BFloat16 || m%8 != 0 || ch%8 != 0 ||
		m <= groupColumns/2 || ch <= groupRows/2 || s.KernelW == 1 || s.Dilation > 1 {
		return wgmmaGradient{}, false
	}
	t, stride, pool, height, across := wgmmaGradient{}, s.Stride, s.Pool, s.Conv.H, s.Conv.W
	if s.Up > 1 {
		stride, pool, height, across = s.Up, 1, s.X.H, s.X.W
	}
	few := ch <= groupRows
	switch {
	case pool == 1 && few:
		t.entry = kernels.ConvBackWeightsWGMMABF16Few
	case pool == 1:
		t.entry = kernels.ConvBackWeightsWGMMABF16
	case pool == 2 && few:
		t.entry = kernels.ConvBackWeightsWGMMABF16FewPool2
	case pool == 2:
		t.entry = kernels.ConvBackWeightsWGMMABF16Pool2
	default:
		return wgmmaGradient{}, false
	}
	// The widest rows that are not longer than those of an image, unless narrower ones leave fewer positions that there are not.
	least := 0
	for width := 8; width <= 32; width *= 2 {
		strips, bands := ceilDiv(across, width), ceilDiv(height, groupPositions/width)
		if units := s.X.N * strips * bands; least == 0 || units <= least {
			least = units
			t.width, t.strips, t.bands, t.units = width, strips, bands, units
		}
	}
	t.run = ceilDiv((t.width-1)*stride+groupTaps, stride)
	t.pitch = t.run * stride
	channels, shared := 2*groupRows, 0
	if few {
		channels = groupRows
		shared = 4 * groupRows * groupColumns * groupTaps // what two warpgroups leave each other
	}
	stage := channels / 8 * (groupPositions/t.width*t.pitch | 1)
	others, buffers := groupColumns/8*(groupPositions+1), 0
	if pool == 2 {
		cells := groupColumns / 8 * groupPositions / 4
		stage, buffers = stage+cells+cells/2, groupBuffers*others
	} else {
		stage += others
	}
	for t.stages = wgmmaStages; ; t.stages-- {
		if t.bytes = 16*(t.stages*stage+buffers) + 8*groupPositions/t.width*t.pitch; t.bytes <= groupBytes {
			break
		}
		if t.stages == 3 {
			return wgmmaGradient{}, false
		}
	}
	t.bytes = max(t.bytes, shared)
	t.tilesM = ceilDiv(m, groupColumns)
	t.tiles = t.tilesM * ceilDiv(ch, channels) * s.KernelH * ceilDiv(s.KernelW, groupTaps)
	return t, true
}

// gradientWGMMA launches a gradient_warpgroups kernel, whose blocks make the bias's gradient too.
func (l *lane) gradientWGMMA(s *backend.ConvShape, g *gradient, t *wgmmaGradient, d *part) {
	f, parts := l.factors(s, g), l.dev.splits(s)
	summed := 0 // whether the gradient of the bias is the sum of the other tensor
	if f.other.p == g.rows.p {
		summed = 1
	}
	var a arguments
	a.addSource(&f.other)
	a.addSource(&f.under)
	a.add(i32(t.units/parts), i32(t.units%parts), i32(f.stride), i32(f.top), i32(f.left), i32(s.KernelH), i32(s.KernelW))
	a.addPart(&f, d)
	a.add(i32(t.width), i32(t.strips), i32(t.bands), i32(t.stages), divider(t.strips), divider(t.bands), divider(t.pitch), divider(t.run), i32(summed))
	a.addBias(g, d, s.X.N)
	grid := driver.Dim3{X: t.tilesM, Y: t.tiles / t.tilesM, Z: parts}
	l.launch(g.op, t.entry, grid, driver.Dim3{X: wgmmaThreads}, t.bytes, a.all()...)
}
