package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

const (
	tensorJoined  = 4       // JOINED of conv_tensor_gradient.cuh
	tensorRowTaps = 3       // ROW_TAPS
	tensorTapRows = 3       // TAP_ROWS
	tensorBlocks  = 2       // of a form that an SM holds, by their launch bounds
	tensorSums    = 32 * 96 // of a warp
)

// tensorGradForm is a form of the gradient_tensor kernels: how many 32 channels m a block has, how many of its warps share the columns of a
// unit, and how many columns a unit has at most.
type tensorGradForm struct {
	rounded, pairs, split kernels.Entry // of factors rounded to TF32, of bfloat16s, of float32 in two parts
	tiles, share, columns int
}

var (
	tensorGradWide  = tensorGradForm{kernels.ConvBackWeightsTensor, kernels.ConvBackWeightsTensorBF16, kernels.ConvBackWeightsTensorSplit, 2, 1, 10}
	tensorGradSmall = tensorGradForm{kernels.ConvBackWeightsTensorSmall, kernels.ConvBackWeightsTensorBF16Small, kernels.ConvBackWeightsTensorSplitSmall,
		1, 2, 16}
)

// warps is the number of warps of a block.
func (f *tensorGradForm) warps() int { return tensorTapRows * f.tiles * f.share }

// tensorGradient says how the positions of a gradient are dealt to the blocks of gradient_tensor.
type tensorGradient struct {
	form                 *tensorGradForm
	size                 int // bytes of a value
	stride, pool         int
	width, strips, bands int // a unit is a band of rows of a strip
	units                int
	tilesM, tiles        int // of channels m, and of both channels and taps
	bytes                int // of shared memory
}

// tensorGradientFor returns false if the device or the kernel does not fit. In bf16 it is for narrow tensors alone.
func (d *Device) tensorGradientFor(s *backend.ConvShape) (tensorGradient, bool) {
	m, ch, _ := gradSize(s)
	size := 4
	if s.Multiply == backend.BFloat16 {
		size = 2
	}
	if !d.tensorCores() || m%(tensorUnit/size) != 0 || ch%(tensorUnit/size) != 0 || s.KernelH*s.KernelW == 1 || s.Dilation > 1 {
		return tensorGradient{}, false
	}
	t := tensorGradient{form: &tensorGradSmall, size: size, stride: s.Stride, pool: s.Pool}
	height, across := s.Conv.H, s.Conv.W
	if s.Up > 1 {
		height, across, t.stride, t.pool = s.X.H, s.X.W, s.Up, 1
	}
	if m > haloTile {
		t.form = &tensorGradWide
	}
	for columns := min(t.form.columns, across); ; columns-- {
		if columns == 0 {
			return tensorGradient{}, false
		}
		t.width = ceilDiv(across, ceilDiv(across, columns))
		if t.bytes = t.shared(s); t.bytes <= moreBytes && t.pitch(s.KernelW) <= 32*t.form.warps()/(haloTile/4) {
			break
		}
	}
	t.strips, t.bands = ceilDiv(across, t.width), ceilDiv(height, t.band())
	t.units = s.X.N * t.strips * t.bands
	t.tilesM = ceilDiv(m, haloTile*t.form.tiles)
	t.tiles = t.tilesM * ceilDiv(ch, haloTile) * ceilDiv(s.KernelH*ceilDiv(s.KernelW, tensorRowTaps), tensorTapRows)
	return t, true
}

// band is the number of rows of a unit.
func (t *tensorGradient) band() int { return tensorJoined * 8 / t.size }

// pitch is the number of pixels of a row of a unit.
func (t *tensorGradient) pitch(kernelW int) int {
	return (t.width-1)*t.stride + ceilDiv(kernelW, tensorRowTaps)*tensorRowTaps
}

// shared is the shared memory of a block: the Stage of conv_tensor_gradient.cuh, or the sums that warps leave each other.
func (t *tensorGradient) shared(s *backend.ConvShape) int {
	m, pitch, pad := haloTile*t.form.tiles, t.pitch(s.KernelW), 8
	if t.stride == 2 {
		pad = 4
	}
	cells := cells(t.width, t.pool) * cells(t.band(), t.pool) * m
	copied := (((t.band()-1)*t.stride+s.KernelH)*pitch*haloTile + cells) * t.size / 4
	if t.pool > 1 {
		copied += cells / 4
	}
	prepared := ((tensorJoined-1)*t.stride+s.KernelH)*(pitch*2*haloTile+pad) + tensorJoined*(t.width*2*m+8)
	return 4 * max(copied+prepared, tensorSums*t.form.warps()/t.form.share*(t.form.share-1))
}

// cells is the number of windows of a pool that n positions meet, which begin with a window where the pool divides n.
func cells(n, pool int) int {
	if n%pool == 0 {
		return n / pool
	}
	return n/pool + 2
}

// gradientTensor launches a kernel of the weights' gradient on tensor cores, whose blocks make the bias's too.
func (l *lane) gradientTensor(s *backend.ConvShape, g *gradient, t *tensorGradient, d *part) {
	f, parts := l.factors(s, g), l.dev.splits(s)
	var a arguments
	a.addSource(&f.other)
	a.addSource(&f.under)
	a.add(i32(t.units/parts), i32(t.units%parts), i32(f.stride), i32(f.top), i32(f.left), i32(s.KernelH), i32(s.KernelW))
	a.addPart(&f, d)
	a.add(i32(t.width), i32(t.strips), i32(t.bands), divider(t.width), divider(t.strips), divider(t.bands), divider(t.pitch(s.KernelW)), divider(cells(t.width, t.pool)))
	a.addBias(g, d, s.X.N)
	grid := driver.Dim3{X: t.tilesM, Y: t.tiles / t.tilesM, Z: parts}
	entry := t.form.split
	switch s.Multiply {
	case backend.TF32:
		entry = t.form.rounded
	case backend.BFloat16:
		entry = t.form.pairs
	}
	l.launch(g.op, entry, grid, driver.Dim3{X: 32 * t.form.warps()}, t.bytes, a.all()...)
}
