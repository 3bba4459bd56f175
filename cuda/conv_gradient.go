package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// gradient has the tensors of the gradients of weights and bias: out is the gradient of a convolution's output, x its input.
// The gradient of the bias is the sum of rows of filters elements, of which there are image for each image.
type gradient struct {
	op             string
	w, bias        driver.Ptr
	partials       driver.Ptr // of both, or 0
	out, x         values
	argmax         driver.Ptr
	rows           values
	image, filters int
}

// gradTile is a form of the kernel of the weights' gradient: channels and window values that a block computes, and its
// threads.
type gradTile struct {
	entry         kernels.Entry
	m, k, threads int
}

var (
	gradAny  = gradTile{kernels.ConvBackWeights, 32, 32, 64}
	gradFew4 = gradTile{kernels.ConvBackWeightsFew4, 32, 16, 32} // m a multiple of 4
	grad4    = gradTile{kernels.ConvBackWeights4, 32, 64, 32}    // and the channels of the window too
)

// gradSize is the size of the weights' gradient as a sum of outer products over the positions of an image: each is of m
// channels of one factor, and of ch channels of the other at each tap.
func gradSize(s *backend.ConvShape) (m, ch, positions int) {
	if s.Up > 1 {
		return s.X.C, s.Filters, s.X.H * s.X.W
	}
	return s.Filters, s.X.C, s.Conv.H * s.Conv.W
}

func gradTileFor(s *backend.ConvShape) *gradTile {
	m, ch, _ := gradSize(s)
	switch {
	case m%4 != 0:
		return &gradAny
	case ch%4 != 0:
		return &gradFew4
	}
	return &grad4
}

func (t *gradTile) blocks(s *backend.ConvShape) int {
	m, ch, _ := gradSize(s)
	return ceilDiv(m, t.m) * ceilDiv(s.KernelH*s.KernelW*ch, t.k)
}

// The gradient's kernels let an SM hold eight blocks (see their launch bounds in conv.cu), and all that fit on a device at
// once are a wave. How many splits there are decides the order of summation. So that results do not depend on the card, the
// wave is that of one nominal device.
const (
	nominalSMs     = 132
	splitWave      = 8 * nominalSMs
	splitPositions = 64 // each split of the weights' gradient sums at least so many positions
)

// splits is the number of partial sums that the weights' gradient is summed in.
func (d *Device) splits(s *backend.ConvShape) int {
	if t, ok := d.wgmmaGradientFor(s); ok {
		return fullWaves(nominalSMs, t.tiles, t.units)
	}
	if t, ok := d.tensorGradientFor(s); ok {
		return fullWaves(tensorBlocks*nominalSMs, t.tiles, t.units)
	}
	if t, ok := d.fewTensorGradientFor(s); ok {
		return fullWaves(tensorBlocks*nominalSMs, t.tiles, t.units)
	}
	if h, ok := haloGradientFor(s); ok {
		return fullWaves(haloWave, h.tiles, h.units)
	}
	if f, ok := fewGradientFor(s); ok {
		return fullWaves(fewWave, f.tiles, f.units)
	}
	_, _, positions := gradSize(s)
	return fullWaves(splitWave, gradTileFor(s).blocks(s), ceilDiv(positions*s.X.N, splitPositions))
}

// fullWaves is how many times so many blocks make the fewest waves that are full to three quarters, but not more than most: all blocks
// take the same time, and a wave with few of them takes as long as a full one.
func fullWaves(wave, blocks, most int) int {
	for all := wave; ; all += wave {
		if count := all / blocks; 4*count*blocks >= 3*all {
			return min(count, most)
		}
	}
}

// partials is the number of partial sums that the gradients are left in, 0 if they are made in one sum.
func (d *Device) partials(s backend.ConvShape) int {
	s.Check()
	rows := 0
	for n, rest := group(&s), s.X.N; rest > 0; rest -= n {
		s = s.WithN(min(n, rest))
		rows += d.splits(&s)
	}
	if rows == 1 {
		return 0
	}
	return rows
}

// backWeights adds to the gradients of the weights and of the bias. If they are made in partial sums, these go where the caller wants
// them, or to scratch, where they are added up at once. The window moves over the input; or, if that is upsampled, over the
// gradient summed over copies, with the taps in reverse.
func (l *lane) backWeights(s backend.ConvShape, g gradient) {
	n, all := group(&s), s.X.N
	to, row := l.destination(&s, &g), 0
	for done := 0; done < all; done += n {
		s = s.WithN(min(n, all-done))
		l.addGradient(&s, &g, &to, row)
		if s.Up > 1 && !l.dev.gradientSums(&s, &g) && l.err == nil {
			l.spreadOf = spreadKeyOf(&s, g.out, g.argmax, l.workspace(spreadBytes(&s))) // the partial sums lie behind it
		}
		row += l.dev.splits(&s)
		g.out, g.argmax = g.out.from(s.Out.Len()), skip(g.argmax, s.Out.Len())
		g.x, g.rows = g.x.from(s.X.Len()), g.rows.from(s.X.N*g.image*g.filters)
	}
	if to.rows > 0 && g.partials == 0 {
		spread := l.spreadOf
		l.sum(g.op, []sums{to})
		l.spreadOf = spread // the partial sums lie behind it
	}
}

// destination is where the partial sums of the gradients go; without any rows, they are added to the gradients.
func (l *lane) destination(s *backend.ConvShape, g *gradient) sums {
	to := sums{partials: g.partials, w: g.w, bias: g.bias, nw: s.Weights().Len(), rows: l.dev.partials(*s)}
	if g.bias != 0 {
		to.nb = g.filters
	}
	if to.rows > 0 && to.partials == 0 {
		one := s.WithN(group(s))
		spread := spreadBytes(&one)
		to.partials = l.workspace(spread+4*to.rows*(to.nw+to.nb)) + driver.Ptr(spread)
	}
	return to
}

// addGradient makes the partial sums from that row on, or adds to the gradients.
func (l *lane) addGradient(s *backend.ConvShape, g *gradient, to *sums, row int) {
	d := to.part(row)
	pairs := g.x.narrow && (g.out.narrow || s.Up > 1)
	if t, ok := l.dev.wgmmaGradientFor(s); ok && pairs {
		l.gradientWGMMA(s, g, &t, &d)
	} else if t, ok := l.dev.tensorGradientFor(s); ok && (t.size == 4 || pairs) {
		l.gradientTensor(s, g, &t, &d)
	} else if f, ok := l.dev.fewTensorGradientOf(s, g); ok {
		l.gradientFewTensor(s, g, &f, &d)
	} else if h, ok := haloGradientFor(s); ok {
		l.gradientHalo(s, g, &h, &d)
	} else if f, ok := fewGradientFor(s); ok {
		l.gradientFew(s, g, &f, &d)
	} else {
		l.gradientTile(s, g, gradTileFor(s), &d)
	}
}

// gradientSums says whether the kernel sums the gradient of the output over the copies of upsampled pixels itself.
func (d *Device) gradientSums(s *backend.ConvShape, g *gradient) bool {
	if _, ok := d.fewTensorGradientOf(s, g); ok {
		return true
	}
	f, few := fewGradientFor(s)
	return few && f.entry == kernels.ConvBackWeightsFew12 && sumsAsRead(s)
}

// factors are the two tensors of a Gradient of conv.cu: the window moves over under, and the product with the value of other at
// channel m belongs to element first + m*perM + tap*perTap + ch*perCh.
type factors struct {
	other, under               source
	stride, top, left          int
	first, perM, perTap, perCh int
}

func (l *lane) factors(s *backend.ConvShape, g *gradient) factors {
	taps, row := s.KernelH*s.KernelW, s.Weights().Image()
	if s.Up > 1 {
		under := summed(s, g.out)
		if !l.dev.gradientSums(s, g) {
			under = l.spread(g.op, s, g.out, g.argmax)
		}
		return factors{stored(g.x, s.X), under, s.Up, s.KernelH - s.Up - s.PadTop, s.KernelW - s.Up - s.PadLeft,
			(taps - 1) * s.X.C, 1, -s.X.C, row}
	}
	return factors{unpooled(s, g.out, g.argmax), stored(g.x, s.X), s.Stride, s.PadTop, s.PadLeft, 0, row, s.X.C, 1}
}

// addPart adds the parameters of a Gradient that say where it goes, addBias those of its BiasSum.
func (a *arguments) addPart(f *factors, d *part) {
	a.add(ptr(d.w), uint64(f.first), uint64(f.perM), uint64(f.perTap), uint64(f.perCh), uint64(d.size), d.add)
}

func (a *arguments) addBias(g *gradient, d *part, images int) {
	a.add(ptr(g.rows.p), ptr(d.bias), i32(images*g.image), i32(d.nb), narrow(g.rows))
}

// biasColumns is how many columns of the bias's gradient a block has.
const biasColumns = 32

// gradientTile launches a kernel of the weights' gradient, with blocks for the bias's.
func (l *lane) gradientTile(s *backend.ConvShape, g *gradient, t *gradTile, d *part) {
	f, parts := l.factors(s, g), l.dev.splits(s)
	positions := f.other.h * f.other.w * s.X.N
	var a arguments
	a.addSource(&f.other)
	a.addSource(&f.under)
	a.add(divider(f.other.w), divider(f.other.h), i32(positions), i32(parts), i32(f.stride), i32(f.top), i32(f.left),
		i32(s.KernelH), i32(s.KernelW))
	a.addPart(&f, d)
	a.addBias(g, d, s.X.N)
	a.add(rounding(s.Multiply), i32(s.Dilation))
	blocks := (t.blocks(s) + ceilDiv(d.nb, biasColumns)) * parts
	l.launch(g.op, t.entry, driver.Dim3{X: blocks}, driver.Dim3{X: t.threads}, 0, a.all()...)
}
