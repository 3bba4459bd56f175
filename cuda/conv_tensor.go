package cuda

import (
	"math/bits"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// The forms of conv_tensor.cuh multiply on tensor cores, on devices of compute capability 8.0 and newer.

const (
	tensorOctet  = 8         // channels of a product of matrices
	tensorOctets = 4         // that are brought to shared memory at a time, at most: 128 bytes of a pixel
	tensorUnit   = 16        // bytes of four channels
	tensorStages = 4         // of the ring, at most
	tensorBytes  = moreBytes // of dynamic shared memory that a block takes at most
	tensorRing   = 72 << 10  // that more than two stages take at most
	largeImage   = 64 * 64   // so many positions of an image make many blocks
)

// tensorForms are the forms of a precision: for large images, for many columns, for few, and for small images.
type tensorForms struct{ wide, deep, few, small correlateForm }

var (
	roundedForms = tensorForms{ // of factors rounded to TF32
		correlateForm{kernels.ConvForwardTensorWide, kernels.ConvBackInputTensorWide, 256, 64, 128, 1},
		correlateForm{kernels.ConvForwardTensorDeep, kernels.ConvBackInputTensorDeep, 128, 64, 128, 2},
		correlateForm{kernels.ConvForwardTensor, kernels.ConvBackInputTensor, 64, 32, 128, 4},
		correlateForm{kernels.ConvForwardTensorSmall, kernels.ConvBackInputTensorSmall, 32, 32, 128, 4},
	}
	pairForms = tensorForms{ // of bfloat16s
		correlateForm{kernels.ConvForwardTensorBF16Wide, kernels.ConvBackInputTensorBF16Wide, 256, 64, 128, 1},
		correlateForm{kernels.ConvForwardTensorBF16Deep, kernels.ConvBackInputTensorBF16Deep, 128, 64, 128, 2},
		correlateForm{kernels.ConvForwardTensorBF16, kernels.ConvBackInputTensorBF16, 64, 32, 128, 4},
		correlateForm{kernels.ConvForwardTensorBF16Small, kernels.ConvBackInputTensorBF16Small, 32, 32, 128, 4},
	}
	splitForms = tensorForms{ // of float32 in two parts
		correlateForm{kernels.ConvForwardTensorSplitWide, kernels.ConvBackInputTensorSplitWide, 256, 64, 128, 1},
		correlateForm{kernels.ConvForwardTensorSplitDeep, kernels.ConvBackInputTensorSplitDeep, 128, 64, 128, 2},
		correlateForm{kernels.ConvForwardTensorSplit, kernels.ConvBackInputTensorSplit, 64, 32, 128, 4},
		correlateForm{kernels.ConvForwardTensorSplitSmall, kernels.ConvBackInputTensorSplitSmall, 32, 32, 128, 4},
	}
)

// tensorLaunch is a launch of a form: how windows are dealt to blocks, and the Ring of conv_tensor.cuh.
type tensorLaunch struct {
	*correlateForm
	strips
	stages, pools, octets int
	pairs                 bool // factors are pairs of bfloat16s
}

// tensorFor chooses the form for a window on a source, or returns false if none fits. The choice does not depend on the number of images, for
// forms differ in the order of summation.
func (d *Device) tensorFor(c *correlation, src *source, w *window, back bool) (tensorLaunch, bool) {
	forms, pairs := &splitForms, c.multiply == backend.BFloat16
	if c.multiply == backend.TF32 {
		forms = &roundedForms
	}
	switch {
	case !d.tensorCores() || src.factor > 1 && !back || w.out.C <= fewColumns:
		return tensorLaunch{}, false
	case !pairs && (src.c%4 != 0 || back && w.out.C%4 != 0):
		return tensorLaunch{}, false
	case pairs && (!packs(src.c) || !src.narrow || c.packed == 0):
		return tensorLaunch{}, false
	case pairs:
		forms = &pairForms
	}
	for _, f := range forms.list(w) {
		if f == nil || w.pool*w.pool > f.positions {
			continue
		}
		if l, ok := f.launch(src, w, back, pairs); ok {
			return l, true
		}
	}
	return tensorLaunch{}, false
}

// list lists forms for a window, the best first. Some may be nil.
func (f *tensorForms) list(w *window) [3]*correlateForm {
	positions := ceilDiv(w.out.H, w.residues) * ceilDiv(w.out.W, w.residues) * w.pool * w.pool
	switch {
	case w.out.W == 1 || w.residues == 1 && positions <= smallImage:
		return [3]*correlateForm{&f.small}
	case w.out.C <= f.few.columns:
		return [3]*correlateForm{&f.few, &f.small}
	case positions >= largeImage:
		return [3]*correlateForm{&f.wide, &f.few, &f.small}
	}
	return [3]*correlateForm{&f.deep, &f.few, &f.small}
}

// launch is false if the form does not fit in shared memory. It takes as many channels at a time as can be, up to those whose pixels are 128
// bytes, and then stages.
func (f *correlateForm) launch(src *source, w *window, back, pairs bool) (tensorLaunch, bool) {
	l := tensorLaunch{correlateForm: f, strips: stripsOf(w, f.positions, back, w.stride), pairs: pairs}
	l.layQuietly(w)
	l.octets = 1
	for l.octets < tensorOctets && l.octets*tensorOctet < l.words(src) {
		l.octets *= 2
	}
	for ; l.octets >= 1; l.octets /= 2 {
		for l.stages = tensorStages; l.stages >= 1; l.stages-- {
			if steps := l.deal(src, w, back); (l.stages >= 3 && l.bytes <= tensorRing || l.stages <= 2 && l.bytes <= tensorBytes) && l.stages >= min(steps, 2) {
				return l, true
			}
		}
	}
	return l, false
}

// words is the number of words of a pixel: its channels, or the pairs of them.
func (l *tensorLaunch) words(src *source) int {
	if l.pairs {
		return src.c / 2
	}
	return src.c
}

// deal sets what follows from the octets and the number of stages, which becomes no larger than the number of steps that it returns.
func (l *tensorLaunch) deal(src *source, w *window, back bool) (steps int) {
	kh, kw := w.taps(back)
	bands, taps := kh, kw
	if !back && !l.pairs && w.residues > 1 {
		bands, taps = 1, w.kh*w.kw
	}
	chunks := ceilDiv(l.words(src), tensorOctet*l.octets)
	steps = chunks * bands
	l.stages = min(l.stages, steps)
	least := bands // of all residues
	switch {
	case back:
		least = max(w.kh/w.residues, 1)
	case l.pairs:
		least = ceilDiv(w.kh, w.residues)
	}
	l.pools = max(l.chunksAhead(chunks, bands), l.chunksAhead(chunks, least))

	quads := 2 * l.octets
	pool := quads * ((l.pixels+7-4/l.octets)/8*8 + 4/l.octets)
	if back && src.argmax != 0 {
		pool += placeUnits(l.pixels, quads, l.pairs)
	}
	units := l.pools*pool + l.stages*l.octets*taps*2*l.columns
	l.bytes = max(tensorUnit*units+8*l.pixels, 4*l.groups*l.positions*(l.columns+4))
	return steps
}

// placeUnits is how many units of shared memory the places of the maxima of so many pixels take, which are a byte a channel: of each quad of
// words they begin in banks of their own.
func placeUnits(pixels, quads int, pairs bool) int {
	bytes := 4
	if pairs {
		bytes = 8
	}
	line := 128 / bytes
	return quads * (ceilDiv(pixels-line/quads, line)*line + line/quads) * bytes / tensorUnit
}

// chunksAhead is of how many chunks pixels are in use or under way at a time, when a chunk is so many steps.
func (l *tensorLaunch) chunksAhead(chunks, bands int) int {
	if chunks*bands <= l.stages {
		return chunks
	}
	return min(chunks, ceilDiv(l.stages-1, bands)+1)
}

// layQuietly makes rows of pixels as long, and strips as far apart, as it takes that rows of matrices that are read at once lie in different
// banks as often as can be: the windows of the next strip then lie where more of the row would.
func (l *tensorLaunch) layQuietly(w *window) {
	pitch, least := l.pitch, -1
	for p := l.pitch; p < l.pitch+8; p++ {
		if n := l.conflicts(w, p); least < 0 || n < least {
			pitch, least = p, n
		}
	}
	height := ceilDiv(w.out.H, w.residues)
	l.lay(pitch, (l.width*w.pool-(l.ofStrip-(height-1)*w.pool)*pitch)&7)
}

// conflicts is how many of the rows of matrices wait for others within a strip, if rows of pixels are so long. Those that are read at once are
// eight neighbours or, with a pool of 2, eight of 16.
func (l *tensorLaunch) conflicts(w *window, pitch int) (n int) {
	windows, rows := w.pool*w.pool, 16
	if w.pool > 2 {
		rows = l.positions
	}
	for start := 0; start < l.width; start += gcd(l.width, max(rows/windows, 1)) {
		for first := 0; first < rows; first += 8 {
			var in [8]int // in each eighth of the banks
			for row := first; row < first+8; row++ {
				r := rowOf(row, w.pool)
				window, place := r/windows+start, r%windows
				y, x := window/l.width*w.pool+place/w.pool, window%l.width*w.pool+place%w.pool
				in[(y*pitch+x)%8]++
			}
			for _, r := range in {
				n += max(r-1, 0)
			}
		}
	}
	return n
}

// gcd is the greatest common divisor of positive numbers.
func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// rowOf is row_of of conv_tensor.cuh.
func rowOf(row, pool int) int {
	if pool != 2 {
		return row
	}
	return row&^15 | row&6<<1 | row>>2&2 | row&1
}

// productTensor launches a correlate_tensor kernel.
func (l *lane) productTensor(t *tensorLaunch, e kernels.Entry, src *source, c *correlation, w *window) {
	blocks := ceilDiv(t.windows, t.positions/(w.pool*w.pool)) * ceilDiv(w.out.C, t.columns)
	grid := driver.Dim3{X: blocks, Y: 1, Z: w.residues * w.residues}
	a := productArgs(src, c, w)
	if t.pairs {
		a = packedArgs(src, c, w)
	}
	a.addStrips(&t.strips)
	a.add(i32(t.stages), i32(t.pools), i32(bits.TrailingZeros(uint(t.octets))))
	l.launch(c.op, e, grid, driver.Dim3{X: t.threads}, t.bytes, a.all()...)
}

// packs says whether the weights of a window on a source of so many channels are packed for tensor cores in bf16: a unit is of whole pixels.
func packs(channels int) bool { return channels%(2*tensorUnit/4) == 0 }
