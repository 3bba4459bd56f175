package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// fewPairs is a launch of correlate_few_pairs, which multiplies bfloat16s.
type fewPairs struct {
	valueRows
	entry         kernels.Entry
	groups, tiles int // groups of fewGroup columns that a block has, and blocks of columns
}

// fewPairsFor is false for what correlate_few_pairs does not do, or does not fit. It is for a source of floats and a narrow output: a first layer, and
// the gradient of a last one's input.
func (d *Device) fewPairsFor(c *correlation, src *source, w *window, back bool) (f fewPairs, ok bool) {
	if c.multiply != backend.BFloat16 || src.narrow || !c.out.narrow || c.mask.p != 0 && !c.mask.narrow || w.out.C%8 != 0 ||
		src.factor > 1 && !(src.summed && src.factor == w.stride) || w.residues > 1 {
		return f, false
	}
	f.valueRows, ok = d.valueRowsFor(w.out, src.c, w.kh, w.kw, w.stride, w.pool, src.factor)
	forms := [2]kernels.Entry{kernels.ConvFewPairsForward, kernels.ConvFewPairsForwardSmall}
	switch {
	case back && src.factor > 1:
		forms = [2]kernels.Entry{kernels.ConvFewPairsBackInputUp2, kernels.ConvFewPairsBackInputSmallUp2}
	case back:
		forms = [2]kernels.Entry{kernels.ConvFewPairsBackInput, kernels.ConvFewPairsBackInputSmall}
	case w.pool > 1:
		forms = [2]kernels.Entry{kernels.ConvFewPairsForwardPool2, kernels.ConvFewPairsForwardSmallPool2}
	}
	if f.entry = forms[0]; f.matrices == 2 {
		f.entry = forms[1]
	}
	f.groups, f.tiles = fewGroupsFor(w.out.C)
	return f, ok
}

// productFewPairs launches a correlate_few_pairs kernel, of as many blocks as the nominal device holds at once: each goes over many units.
func (l *lane) productFewPairs(f *fewPairs, src *source, c *correlation, w *window) {
	a := productArgs(src, c, w)
	a.add(i32(f.units), i32(f.groups))
	a.addValueRows(&f.valueRows)
	grid := driver.Dim3{X: f.tiles, Y: 1, Z: min(f.units, max(tensorBlocks*nominalSMs/f.tiles, 1))}
	l.launch(c.op, f.entry, grid, driver.Dim3{X: threads}, f.bytes, a.all()...)
}
