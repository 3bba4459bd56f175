package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// The forms of conv_wgmma.cuh multiply by warpgroups, on devices of compute capability 9.0 alone, from weights that were packed.

const (
	wgmmaChunk   = 16        // words of a pixel that are brought to shared memory at a time
	wgmmaTile    = 8         // rows and pixels of a tile
	wgmmaThreads = 256       // of a block
	wgmmaStages  = 5         // of the ring, at most
	wgmmaBytes   = 220 << 10 // of dynamic shared memory that a block takes at most
	wgmmaHalf    = 110 << 10 // with which two blocks fit
)

// wgmmaForm is a form of the correlate_warpgroups kernels: how many positions and columns a block computes, and of how many rows of tiles one
// below the other an image is.
type wgmmaForm struct {
	forward, back            kernels.Entry
	fedForward, fedBack      kernels.Entry // those that are fed, or 0
	positions, columns, rows int
}

// wgmmaForms are the forms of a precision, of 64 columns and of 128, the best one first. All of as many columns give the same bits.
type wgmmaForms [2][]wgmmaForm

var (
	wgmmaRounded = wgmmaForms{{ // of factors rounded to TF32
		{kernels.ConvForwardWGMMATurned, kernels.ConvBackInputWGMMATurned, 0, 0, 256, 64, 2},
		{kernels.ConvForwardWGMMATall, kernels.ConvBackInputWGMMATall, 0, 0, 256, 64, 1},
		{kernels.ConvForwardWGMMA, kernels.ConvBackInputWGMMA, 0, 0, 128, 64, 1},
	}, {
		{kernels.ConvForwardWGMMALarge, kernels.ConvBackInputWGMMALarge, 0, 0, 256, 128, 1},
		{kernels.ConvForwardWGMMAWide, kernels.ConvBackInputWGMMAWide, 0, 0, 128, 128, 1},
	}}
	wgmmaPairs = wgmmaForms{{ // of bfloat16s
		{kernels.ConvForwardWGMMABF16Turned, kernels.ConvBackInputWGMMABF16Turned, 0, 0, 256, 64, 2},
		{kernels.ConvForwardWGMMABF16Tall, kernels.ConvBackInputWGMMABF16Tall, 0, 0, 256, 64, 1},
		{kernels.ConvForwardWGMMABF16, kernels.ConvBackInputWGMMABF16, 0, 0, 128, 64, 1},
	}, {
		{kernels.ConvForwardWGMMABF16Large, kernels.ConvBackInputWGMMABF16Large, kernels.ConvWGMMAFedForwardLarge, kernels.ConvWGMMAFedBackInputLarge, 256, 128, 1},
		{kernels.ConvForwardWGMMABF16Wide, kernels.ConvBackInputWGMMABF16Wide, kernels.ConvWGMMAFedForward, kernels.ConvWGMMAFedBackInput, 128, 128, 1},
	}}
)

// wgmmaLaunch is a launch of a form: how windows are dealt to blocks, and the Ring of ring.cuh.
type wgmmaLaunch struct {
	*wgmmaForm
	strips
	stages, pools int
	feed          feed // without boxes if the kernel copies itself
}

// feed is the Feed of conv_wgmma_fed.sm_90a.cu: pixels in so many boxes, each of rows rows of a strip, and of taps taps.
type feed struct{ boxes, rows, taps int }

const (
	fedThreads = wgmmaThreads + 32 // a warp more feeds
	fedStages  = 8                 // at most
	fedColumns = 8                 // of weights whose 128 bytes are a row of a box
)

// wgmmaFor chooses the form for a window on a source, or returns false if none fits.
func (d *Device) wgmmaFor(c *correlation, src *source, w *window, back bool) (wgmmaLaunch, bool) {
	if c.packed == 0 || src.narrow != (c.multiply == backend.BFloat16) {
		return wgmmaLaunch{}, false
	}
	l, ok := d.wgmmaLaunch(c.multiply, src, w, back)
	if ok && d.dev.Info().TakesTensorMaps() {
		l.fedBy(wordsOf(c.multiply, src.c), src, w, back)
	}
	return l, ok
}

// takesWGMMA says whether there is a form for a window on a source of factors of a type. That depends on the shape of an image alone.
func (d *Device) takesWGMMA(t backend.DType, src *source, w *window, back bool) bool {
	_, ok := d.wgmmaLaunch(t, src, w, back)
	return ok
}

func (d *Device) wgmmaLaunch(t backend.DType, src *source, w *window, back bool) (wgmmaLaunch, bool) {
	if info := d.dev.Info(); info.Major != 9 || info.Minor != 0 {
		return wgmmaLaunch{}, false
	}
	forms, words := &wgmmaRounded, wordsOf(t, src.c)
	switch t {
	case backend.TF32:
	case backend.BFloat16:
		forms = &wgmmaPairs
	default:
		return wgmmaLaunch{}, false
	}
	if words%8 != 0 || src.c%8 != 0 || w.out.C%4 != 0 || w.out.C <= roundedForms.few.columns || w.stride > 1 || back && w.residues > 1 || w.kh < w.residues || w.kw < w.residues {
		return wgmmaLaunch{}, false
	}
	list := forms[0]
	if w.out.C > list[0].columns {
		list = forms[1]
	}
	small, ok := list[len(list)-1].launch(words, src, w, back)
	if !ok {
		return small, false
	}
	for i := range list[:len(list)-1] {
		if large, ok := list[i].launch(words, src, w, back); ok && large.grid(w).X*large.grid(w).Z >= busyBlocks/2 {
			return large, true
		}
	}
	return small, true
}

// launch is false if windows do not make whole tiles, or the form does not fit in shared memory.
func (f *wgmmaForm) launch(words int, src *source, w *window, back bool) (wgmmaLaunch, bool) {
	l := wgmmaLaunch{wgmmaForm: f, strips: stripsOf(w, f.positions, back, 1)}
	height, across := ceilDiv(w.out.H, w.residues)*w.pool, l.width*w.pool
	if w.out.H%w.residues != 0 || w.out.W%w.residues != 0 || height%(f.rows*wgmmaTile) != 0 || across != wgmmaTile && across != 2*wgmmaTile || wgmmaTile%w.pool != 0 {
		return l, false
	}
	kh, kw := w.taps(back)
	chunks := ceilDiv(words, wgmmaChunk)
	steps := chunks * kh
	quads := wgmmaChunk / 4
	pool := quads * ((l.pixels+5)/8*8 + 2)
	if back && src.argmax != 0 {
		pool += placeUnits(l.pixels, quads, words < src.c)
	}
	// With 64 columns two blocks have room for their sums in registers: one computes while the other begins or ends.
	for _, most := range []int{wgmmaHalf, wgmmaBytes} {
		if most == wgmmaHalf && l.columns > 64 {
			continue
		}
		for l.stages = min(wgmmaStages, steps); l.stages >= min(3, steps); l.stages-- {
			l.pools = min(chunks, poolsOf(l.stages, w))
			l.bytes = max(tensorUnit*(l.pools*pool+l.stages*kw*quads*(l.columns+2))+8*l.pixels, 4*l.positions*(l.columns+8+16/4))
			if l.bytes <= most {
				return l, true
			}
		}
	}
	return l, false
}

// poolsOf is how many pools so many stages need, so that none is filled while a stage with its pixels is still read. The residue that sees the fewest taps has
// the fewest bands of a chunk.
func poolsOf(stages int, w *window) int { return ceilDiv(stages-1, ceilDiv(w.kh, w.residues)) + 1 }

func (l *wgmmaLaunch) grid(w *window) driver.Dim3 {
	return driver.Dim3{X: ceilDiv(l.windows, l.positions/(w.pool*w.pool)) * ceilDiv(w.out.C, l.columns), Y: 1, Z: w.residues * w.residues}
}

// fedBy makes a launch one that is fed, if the device takes tensor maps and the shape suits: factors as they lie in memory, and a block has rows of one
// strip or whole strips.
func (l *wgmmaLaunch) fedBy(words int, src *source, w *window, back bool) bool {
	height, across := ceilDiv(w.out.H, w.residues)*w.pool, l.width*w.pool
	rows := l.positions / across
	if l.fedForward == 0 || src.argmax != 0 || src.factor != 1 || w.out.C%fedColumns != 0 || height%rows != 0 && rows%height != 0 {
		return false
	}
	f := *l
	kh, kw := w.taps(back)
	f.feed = feed{max(rows/height, 1), min(rows, height) + kh - 1, kw}
	f.pitch = across + kw - 1
	f.pixels = ceilDiv(f.feed.rows*f.pitch, 8) * 8 // of a plane, which begins at a multiple of 128 bytes
	quads := wgmmaChunk / 4
	f.stack = quads * f.pixels
	chunks := ceilDiv(words, wgmmaChunk)
	for f.stages = min(fedStages, chunks*kh); f.stages >= min(3, chunks*kh); f.stages-- {
		f.pools = min(chunks, poolsOf(f.stages, w))
		f.bytes = max(tensorUnit*(f.pools*f.feed.boxes*f.stack+f.stages*kw*quads*l.columns), 4*l.positions*(l.columns+8+16/4))
		if f.bytes <= wgmmaBytes {
			*l = f
			return true
		}
	}
	return false
}

// productFed launches a correlate_fed kernel, which has pixels and weights by their maps alone.
func (l *lane) productFed(t *wgmmaLaunch, e kernels.Entry, src *source, c *correlation, w *window) {
	kh, kw := w.taps(e == t.fedBack)
	words, quads := wordsOf(c.multiply, src.c), wgmmaChunk/4
	pixels := driver.Tiled{Type: driver.ElementBFloat16, Base: src.p, Sizes: []int{src.c, src.w, src.h, w.out.N},
		Strides: []int{2 * src.c, 2 * src.c * src.row, 2 * src.c * src.image}, Box: []int{8, t.pitch, t.feed.rows, 1}}
	column := 2 * tensorUnit / 4 // elements of four words
	weights := driver.Tiled{Type: driver.ElementBFloat16, Base: c.packed, Sizes: []int{fedColumns * column, w.out.C / fedColumns, words / 4, w.residues * w.residues * kh * kw},
		Strides: []int{fedColumns * tensorUnit, w.out.C * tensorUnit, w.out.C * tensorUnit * words / 4}, Box: []int{fedColumns * column, t.columns / fedColumns, quads, t.feed.taps}}
	from, without := *src, *c
	from.p, without.packed = 0, 0
	a := packedArgs(&from, &without, w)
	a.addStrips(&t.strips)
	a.add(i32(t.stages), i32(t.pools), i32(t.feed.boxes), i32(t.feed.rows*t.pitch*tensorUnit), i32(t.feed.taps))
	l.launchMaps(c.op, e, t.grid(w), driver.Dim3{X: fedThreads}, t.bytes, []driver.Tiled{pixels, weights}, a.all()...)
}

// productWGMMA launches a correlate_warpgroups kernel.
func (l *lane) productWGMMA(t *wgmmaLaunch, src *source, c *correlation, w *window, back bool) {
	e := t.forward
	if back {
		e = t.back
	}
	if t.feed.boxes > 0 {
		if e = t.fedForward; back {
			e = t.fedBack
		}
		l.productFed(t, e, src, c, w)
		return
	}
	a := packedArgs(src, c, w)
	a.addStrips(&t.strips)
	a.add(i32(t.stages), i32(t.pools))
	l.launch(c.op, e, t.grid(w), driver.Dim3{X: wgmmaThreads}, t.bytes, a.all()...)
}
