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
)

// wgmmaForm is a form of the correlate_warpgroups kernels: how many positions and columns a block computes.
type wgmmaForm struct {
	forward, back      kernels.Entry
	positions, columns int
}

// wgmmaForms are the forms of a precision, of 64 columns and of 128, the larger one first. All give the same bits.
type wgmmaForms [2][2]wgmmaForm

var (
	wgmmaRounded = wgmmaForms{{ // of factors rounded to TF32
		{kernels.ConvForwardWGMMATall, kernels.ConvBackInputWGMMATall, 256, 64},
		{kernels.ConvForwardWGMMA, kernels.ConvBackInputWGMMA, 128, 64},
	}, {
		{kernels.ConvForwardWGMMALarge, kernels.ConvBackInputWGMMALarge, 256, 128},
		{kernels.ConvForwardWGMMAWide, kernels.ConvBackInputWGMMAWide, 128, 128},
	}}
	wgmmaPairs = wgmmaForms{{ // of bfloat16s
		{kernels.ConvForwardWGMMABF16Tall, kernels.ConvBackInputWGMMABF16Tall, 256, 64},
		{kernels.ConvForwardWGMMABF16, kernels.ConvBackInputWGMMABF16, 128, 64},
	}, {
		{kernels.ConvForwardWGMMABF16Large, kernels.ConvBackInputWGMMABF16Large, 256, 128},
		{kernels.ConvForwardWGMMABF16Wide, kernels.ConvBackInputWGMMABF16Wide, 128, 128},
	}}
)

// wgmmaLaunch is a launch of a form: how windows are dealt to blocks, and the Ring of ring.cuh.
type wgmmaLaunch struct {
	*wgmmaForm
	strips
	stages, pools int
}

// wgmmaFor chooses the form for a window on a source, or returns false if none fits.
func (d *Device) wgmmaFor(c *correlation, src *source, w *window, back bool) (wgmmaLaunch, bool) {
	if c.packed == 0 || src.narrow != (c.multiply == backend.BFloat16) {
		return wgmmaLaunch{}, false
	}
	return d.wgmmaLaunch(c.multiply, src, w, back)
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
	wide := &forms[0]
	if w.out.C > wide[0].columns {
		wide = &forms[1]
	}
	small, ok := wide[1].launch(words, src, w, back)
	if !ok {
		return small, false
	}
	if large, ok := wide[0].launch(words, src, w, back); ok && large.grid(w).X*large.grid(w).Z >= busyBlocks/2 {
		return large, true
	}
	return small, true
}

// launch is false if windows do not make whole tiles, or the form does not fit in shared memory.
func (f *wgmmaForm) launch(words int, src *source, w *window, back bool) (wgmmaLaunch, bool) {
	l := wgmmaLaunch{wgmmaForm: f, strips: stripsOf(w, f.positions, back)}
	height, across := ceilDiv(w.out.H, w.residues)*w.pool, l.width*w.pool
	if w.out.H%w.residues != 0 || w.out.W%w.residues != 0 || height%wgmmaTile != 0 || across != wgmmaTile && across != 2*wgmmaTile || wgmmaTile%w.pool != 0 {
		return l, false
	}
	kh, kw := w.taps(back)
	chunks := ceilDiv(words, wgmmaChunk)
	steps := chunks * kh
	quads := wgmmaChunk / 4
	pool := quads * ((l.rows*l.pitch+5)/8*8 + 2)
	if back && src.argmax != 0 {
		pool += pool * src.c / words / 4 // a byte a channel, and four words a unit of 16 bytes
	}
	for l.stages = min(wgmmaStages, steps); l.stages >= min(3, steps); l.stages-- {
		l.pools = min(chunks, ceilDiv(l.stages-1, kh)+1)
		l.bytes = max(tensorUnit*(l.pools*pool+l.stages*kw*quads*(l.columns+2))+8*l.rows*l.pitch, 4*l.positions*(l.columns+8))
		if l.bytes <= wgmmaBytes {
			return l, true
		}
	}
	return l, false
}

func (l *wgmmaLaunch) grid(w *window) driver.Dim3 {
	return driver.Dim3{X: ceilDiv(l.windows, l.positions/(w.pool*w.pool)) * ceilDiv(w.out.C, l.columns), Y: 1, Z: w.residues * w.residues}
}

// productWGMMA launches a correlate_warpgroups kernel.
func (l *lane) productWGMMA(t *wgmmaLaunch, e kernels.Entry, src *source, c *correlation, w *window) {
	a := packedArgs(src, c, w)
	a.addStrips(&t.strips)
	a.add(i32(t.stages), i32(t.pools))
	l.launch(c.op, e, t.grid(w), driver.Dim3{X: wgmmaThreads}, t.bytes, a.all()...)
}
