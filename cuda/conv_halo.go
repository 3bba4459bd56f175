package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Of conv.cu there are forms whose blocks bring the pixels under all their windows, with a halo, to shared memory once. They take
// sources of a multiple of 4 channels, and kernels that have more than one tap and fit. They copy what they multiply as it is, and so
// do not round it.

const (
	haloChunk = 8        // CHUNK of halo.cuh: the channels of a step
	haloTile  = 32       // TILE of halo_gradient.cuh: the channels of each factor of a block
	haloTaps  = 9        // TAPS of halo_gradient.cuh
	haloGroup = 2        // GROUPS of halo_gradient.cuh
	haloStrip = 16       // positions across a strip, at most
	haloBytes = 64 << 10 // of shared memory that a block takes at most: what a device of compute capability 7.5 has
	moreBytes = 96 << 10 // what newer ones have
	haloUnit  = 64       // positions that are brought to shared memory at a time for a gradient, about
)

// correlateForm is a form of the correlate_halo or of the correlate_tensor kernels: how many positions and columns a block computes, with how many threads, in how
// many groups, each of which takes its share of the channels.
type correlateForm struct {
	forward, back                       kernels.Entry
	positions, columns, threads, groups int
}

var (
	halo4      = correlateForm{kernels.ConvForwardHalo4, kernels.ConvBackInputHalo4, 64, 32, 128, 2}
	haloWide4  = correlateForm{kernels.ConvForwardHaloWide4, kernels.ConvBackInputHaloWide4, 128, 64, 128, 1}
	haloSmall4 = correlateForm{kernels.ConvForwardHaloSmall4, kernels.ConvBackInputHaloSmall4, 32, 32, 256, 4}
)

// smallImage is how many positions of an image are so few that blocks get few of them, and share out the channels instead.
const smallImage = 64

// strips is the Strips of strips.cuh. In each of the parts that rows of pixels are split into, a strip with its halo is of so many rows, and a
// block needs at most so many, which lie in one strip more than there are crossings.
type strips struct {
	width, count, pitch, stack, pixels int
	bytes                              int // of shared memory
	windows                            int // of all strips
	split, ofStrip, rows, crossings    int
}

// haloFor chooses the form for a window on a source of that many channels, or returns nil if none fits. The choice does not depend
// on the number of images, for forms differ in the order of summation.
func (d *Device) haloFor(channels int, w *window, back bool) (*correlateForm, strips) {
	most := haloBytes
	if d.dev.Info().Major >= 8 {
		most = moreBytes
	}
	if channels%4 != 0 || w.out.C <= fewColumns || w.kh*w.kw == 1 || back && w.out.C%4 != 0 {
		return nil, strips{}
	}
	forms := []*correlateForm{&halo4}
	switch {
	case w.out.C > halo4.columns:
		forms = []*correlateForm{&haloWide4, &halo4}
	case w.out.H*w.out.W*w.pool*w.pool <= smallImage:
		forms = []*correlateForm{&haloSmall4, &halo4}
	}
	for _, f := range forms {
		if w.pool*w.pool > f.positions {
			continue
		}
		if s := f.strips(channels, w, back); s.bytes <= most {
			return f, s
		}
	}
	return nil, strips{}
}

// strips deals the windows to blocks.
func (f *correlateForm) strips(channels int, w *window, back bool) strips {
	s := stripsOf(w, f.positions, back, 1)
	kh, kw := w.taps(back)
	buffers := 1
	if channels > haloChunk*f.groups {
		buffers = 2
	}
	weights := kh * kw * 2 * (4*f.columns + 16)
	s.bytes = 4*f.groups*buffers*(s.pixels*haloChunk+weights) + 8*s.pixels
	s.bytes = max(s.bytes, 4*f.groups*f.positions*(f.columns+16))
	return s
}

// stripsOf deals the windows of the largest residue to blocks of so many positions, with rows of pixels split as often as the stride or not, into 1.
func stripsOf(w *window, positions int, back bool, split int) strips {
	height, across := ceilDiv(w.out.H, w.residues), ceilDiv(w.out.W, w.residues)
	kh, kw := w.taps(back)
	kh, kw = ceilDiv(kh, split), ceilDiv(kw, split)
	step := w.stride / split
	s := strips{count: ceilDiv(across, max(haloStrip/w.pool, 1)), split: split}
	s.width = ceilDiv(across, s.count)
	s.ofStrip = (height*w.pool-1)*step + kh
	s.windows = w.out.N * s.count * height * s.width

	// A block's windows lie in so many rows of the strips, of which the pixels of those that are of one strip overlap. The strips of some residues
	// may be a row of windows lower.
	perBlock, least := positions/(w.pool*w.pool), max(w.out.H/w.residues, 1)
	rows := (perBlock+s.width-2)/s.width + 1
	if perBlock%s.width == 0 {
		rows = perBlock / s.width
	}
	if perBlock%s.width != 0 || height%rows != 0 || least < height {
		s.crossings = ceilDiv(rows-1, least)
	}
	s.rows = (rows-1)*w.pool*step + s.crossings*(max(kh-step, 0)+(height-least)*w.pool*step) + (w.pool-1)*step + kh
	s.lay(split*((s.width*w.pool-1)*step+kw), 0)
	return s
}

// lay makes rows of pixels so long, with so many pixels more between one strip and the next.
func (s *strips) lay(pitch, between int) {
	s.pitch, s.stack, s.pixels = pitch, s.ofStrip*pitch+between, s.split*(s.rows*pitch+s.crossings*between)
}

// taps is the extent of the window on the largest residue.
func (w *window) taps(back bool) (kh, kw int) {
	if back {
		return ceilDiv(w.kh, w.residues), ceilDiv(w.kw, w.residues)
	}
	return (w.kh+w.residues-2)/w.residues + 1, (w.kw+w.residues-2)/w.residues + 1
}

// productHalo launches a correlate_halo kernel.
func (l *lane) productHalo(e kernels.Entry, f *correlateForm, s *strips, src *source, c *correlation, w *window) {
	blocks := ceilDiv(s.windows, f.positions/(w.pool*w.pool)) * ceilDiv(w.out.C, f.columns)
	grid := driver.Dim3{X: blocks, Y: 1, Z: w.residues * w.residues}
	a := productArgs(src, c, w)
	a.addStrips(s)
	l.launch(c.op, e, grid, driver.Dim3{X: f.threads}, s.bytes, a.all()...)
}

// addStrips adds the parameters of a Strips.
func (a *arguments) addStrips(s *strips) {
	a.add(i32(s.width), i32(s.count), i32(s.pitch), i32(s.stack), i32(s.pixels), divider(s.width), divider(s.count), divider(s.pitch), divider(s.stack))
}

// haloGradient says how the positions of a gradient are dealt to the blocks of gradient_halo.
type haloGradient struct {
	width, strips, rows int // a unit is so many rows of a strip
	byRows              int // 1 if the groups of a block share out the rows of a unit, 0 if they do the positions of each row
	units               int
	tiles               int // of channels and taps
	threads             int
	bytes               int // of shared memory
}

// haloGradientFor returns false if the kernel does not fit.
func haloGradientFor(s *backend.ConvShape) (haloGradient, bool) {
	m, ch, _ := gradSize(s)
	taps := s.KernelH * s.KernelW
	if m%4 != 0 || ch%4 != 0 || taps == 1 || s.Dilation > 1 || s.Multiply != backend.Float32 {
		return haloGradient{}, false
	}
	height, across, stride, pool := s.Conv.H, s.Conv.W, s.Stride, s.Pool
	if s.Up > 1 {
		height, across, stride, pool = s.X.H, s.X.W, s.Up, 1
	}
	h := haloGradient{strips: ceilDiv(across, haloStrip), threads: 32 * haloGroup * min(taps, haloTaps)}
	even := 2 * pool // strips that do not end with the image end with a pair of positions and with a window of the pool
	if h.width = across; h.strips > 1 {
		h.width = ceilDiv(ceilDiv(across, h.strips), even) * even
	}
	h.strips = ceilDiv(across, h.width)
	rows := min(ceilDiv(max(haloUnit/h.width, 1), pool)*pool, ceilDiv(height, pool)*pool)
	for h.setRows(s, rows, stride); h.bytes > haloBytes && rows > pool; rows -= pool {
		h.setRows(s, rows-pool, stride)
	}
	// As few units as before, and as equal as can be.
	h.setRows(s, ceilDiv(ceilDiv(height, ceilDiv(height, h.rows)), pool)*pool, stride)
	if h.bytes > haloBytes {
		return haloGradient{}, false
	}
	h.units = s.X.N * h.strips * ceilDiv(height, h.rows)
	h.tiles = ceilDiv(m, haloTile) * ceilDiv(ch, haloTile) * ceilDiv(taps, haloTaps)
	return h, true
}

// setRows makes a unit so many rows. Its groups share out what leaves the least to the one that gets most.
func (h *haloGradient) setRows(s *backend.ConvShape, rows, stride int) {
	h.rows, h.byRows = rows, 0
	multiple := 2 * haloGroup
	if ceilDiv(rows, haloGroup)*ceilDiv(h.width, 2) < rows*ceilDiv(h.width, multiple) {
		h.byRows, multiple = 1, 2
	}
	width := ceilDiv(h.width, multiple) * multiple
	unit := haloTile * (((rows-1)*stride+s.KernelH)*((width-1)*stride+s.KernelW) + rows*width)
	// Two units and a float a thread for the bias; then the sums that the groups exchange.
	h.bytes = max(4*(2*unit+h.threads), 64*h.threads)
}

// haloWave is how many blocks of gradient_halo are on the nominal device at once.
const haloWave = nominalSMs

// gradientHalo launches the kernel of the weights' gradient, which makes the bias's too.
func (l *lane) gradientHalo(s *backend.ConvShape, g *gradient, h *haloGradient, d *part) {
	f, parts := l.factors(s, g), l.dev.splits(s)
	var a arguments
	a.addSource(&f.other)
	a.addSource(&f.under)
	a.add(i32(h.units), i32(parts), i32(f.stride), i32(f.top), i32(f.left), i32(s.KernelH), i32(s.KernelW))
	a.addPart(&f, d)
	a.add(i32(h.width), i32(h.strips), i32(h.rows), i32(h.byRows))
	a.addBias(g, d, s.X.N)
	tilesM := ceilDiv(f.other.c, haloTile)
	l.launch(g.op, kernels.ConvBackWeightsHalo4, driver.Dim3{X: tilesM, Y: h.tiles / tilesM, Z: parts}, driver.Dim3{X: h.threads}, h.bytes, a.all()...)
}
