package cuda

import (
	"math/bits"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// ConvNeeds returns the memory of the scratch. The weights are used as they are.
func (l *lane) ConvNeeds(s backend.ConvShape) backend.Needs {
	return needs(s, s.Filters)
}

// ConvPack is never due.
func (l *lane) ConvPack(backend.ConvShape, backend.Tensor, backend.Tensor) {}

// Conv: out = pool(act(conv(upsample(x), w) + bias)). The positions of the maxima are dropped when argmax is zero.
func (l *lane) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &argmax, &x, &p)
	c := correlation{op: "Conv", out: l.at(out), x: l.at(x), act: s.Act}
	if s.Pool > 1 {
		c.argmax = l.at(argmax)
	}
	c.w, c.bias = l.at(p.W), l.at(p.Bias)
	l.correlate(&s, &c)
}

// ConvBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l *lane) ConvBackInput(s backend.ConvShape, gradX, gradOut, argmax backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &argmax, &p, &x)
	c := correlation{op: "ConvBackInput", out: l.at(gradX), x: l.at(gradOut), inAct: s.InAct}
	c.xArgmax, c.mask, c.w = l.backArgmax(&s, argmax), l.mask(s.InAct, x), l.at(p.W)
	l.backInput(s, c)
}

// ConvBackWeights adds to grad.W and grad.Bias.
func (l *lane) ConvBackWeights(s backend.ConvShape, grad backend.Params, gradOut, argmax, x backend.Tensor) {
	s.CheckBackWeights(&grad, partials(s), &gradOut, &argmax, &x)
	g := gradient{op: "ConvBackWeights", w: l.at(grad.W), bias: l.at(grad.Bias), partials: l.at(grad.Partials)}
	g.out, g.argmax, g.x = l.at(gradOut), l.backArgmax(&s, argmax), l.at(x)
	g.rows, g.image, g.filters = g.out, s.Out.H*s.Out.W, s.Filters
	l.backWeights(s, g)
}

// backArgmax is the arg-max of the pool, which a backward pass needs, or 0 when there is no pool.
func (l *lane) backArgmax(s *backend.ConvShape, argmax backend.Tensor) driver.Ptr {
	if s.Pool <= 1 {
		return 0
	}
	return l.at(argmax)
}

// mask is the output of an activation where its derivative needs one, or 0.
func (l *lane) mask(a backend.Act, x backend.Tensor) driver.Ptr {
	if a == backend.Linear {
		return 0
	}
	return l.at(x)
}

// source is the Source of conv.cu: the images that a window moves over.
type source struct {
	p, argmax  driver.Ptr
	c, h, w    int // channels, and the extents of an image as it is read
	row, image int // pixels of a row and of an image as they are stored
	factor     int // pixels that are read for each stored one, in each direction
}

func (s *source) args() [9]uint64 {
	return [...]uint64{ptr(s.p), ptr(s.argmax), i32(s.c), i32(s.h), i32(s.w), i32(s.row), i32(s.image), i32(s.factor), divider(s.factor)}
}

// divider is a Divider of conv.cu, which divides by d.
func divider(d int) uint64 {
	shift := bits.Len(uint(d - 1))
	return uint64(shift)<<32 | (1<<(31+shift)+uint64(d)-1)/uint64(d)
}

// A source is read in one of three forms: stored is a tensor as it is, upsampled is the input of a convolution that upsamples
// it, and unpooled is the gradient of a pool's output, read as the gradient of the pool's input.
func stored(p driver.Ptr, s backend.Shape) source {
	return source{p, 0, s.C, s.H, s.W, s.W, s.H * s.W, 1}
}

func upsampled(s *backend.ConvShape, x driver.Ptr) source {
	return source{x, 0, s.X.C, s.In.H, s.In.W, s.X.W, s.X.H * s.X.W, s.Up}
}

func unpooled(s *backend.ConvShape, g, argmax driver.Ptr) source {
	return source{g, argmax, s.Filters, s.Conv.H, s.Conv.W, s.Out.W, s.Out.H * s.Out.W, s.Pool}
}

// spread sums, in scratch memory, the gradient of the output over the copies of each upsampled pixel. The backward pass of a
// convolution that upsamples reads these sums: a pixel's copies then need one product with the kernel together, where each
// would have needed its own. Both gradients of a layer read them; they are not computed again when the first of the two
// gradients was the last thing done. In branches, the second waits for those of the first.
func (l *lane) spread(op string, s *backend.ConvShape, g, argmax driver.Ptr) source {
	from, to := unpooled(s, g, argmax), spreadShape(s)
	if done := l.spreadOf.in; l.spreadOf == spreadKeyOf(s, g, argmax, done) {
		if l.branches.second {
			l.order(op, func() error { return l.stream.Wait(l.branches.spread) })
		}
		return stored(done, to)
	}
	p := l.workspace(4 * to.Len())
	e, v := wide(from.c, kernels.ConvSpread, kernels.ConvSpread4)
	blocks, a := ceilDiv(to.Image()/v, threads), from.args()
	l.launch(op, e, driver.Dim3{X: to.N * blocks}, driver.Dim3{X: threads}, 0, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8],
		divider(from.c/v), ptr(p), i32(s.Stride), divider(s.Stride), i32(s.Up), i32(to.H), i32(to.W), divider(to.W), i32(blocks))
	if l.stream == l.branches.side {
		l.order(op, func() error { return l.stream.Record(l.branches.spread) })
	}
	return stored(p, to)
}

// spreadKey says of what gradient spread has left its result in which memory.
type spreadKey struct {
	shape         backend.ConvShape
	g, argmax, in driver.Ptr
}

// spreadKeyOf leaves out the activations, which have no part in it.
func spreadKeyOf(s *backend.ConvShape, g, argmax, in driver.Ptr) spreadKey {
	k := spreadKey{*s, g, argmax, in}
	k.shape.Act, k.shape.InAct = backend.Linear, backend.Linear
	return k
}

func spreadShape(s *backend.ConvShape) backend.Shape { return s.Spread().WithN(s.X.N) }

// spreadFloats bounds the scratch of spread, unless an image takes more.
const spreadFloats = 1 << 26

// group is how many images a backward pass takes at a time.
func group(s *backend.ConvShape) int {
	if s.Up == 1 {
		return s.X.N
	}
	one := s.WithN(1)
	return min(max(spreadFloats/spreadShape(&one).Len(), 1), s.X.N)
}

// needs is the memory of a convolution whose bias has so many elements. Only the gradients need any.
func needs(s backend.ConvShape, bias int) backend.Needs {
	rows := partials(s)
	s = s.WithN(group(&s))
	bytes := 4 * rows * (s.Weights().Len() + bias)
	return backend.Needs{Workspace: spreadBytes(&s) + bytes, Partials: rows, PartialBytes: bytes}
}

func spreadBytes(s *backend.ConvShape) int {
	if s.Up == 1 {
		return 0
	}
	return backend.AlignUp(4 * spreadShape(s).Len())
}

// correlation has the tensors of a Correlation of conv.cu: a window moves over x, the values in it are multiplied by the
// weights and summed, and bias, activation and pool, or the derivative of an activation, follow.
type correlation struct {
	op                                     string
	out, argmax, x, xArgmax, w, bias, mask driver.Ptr
	act, inAct                             backend.Act
}

// tile is a form of the correlate kernels: how many positions and channels (columns) of the output a block computes, and
// with how many threads.
type tile struct {
	forward, back               kernels.Entry
	positions, columns, threads int
}

// The forms with a 4 are for sources whose channels are a multiple of 4. In those named each, a thread computes one output.
// All forms give the same bits.
var (
	tileAny     = tile{kernels.ConvForward, kernels.ConvBackInput, 128, 32, 128}
	tile4       = tile{kernels.ConvForward4, kernels.ConvBackInput4, 128, 32, 128}
	tileWide4   = tile{kernels.ConvForwardWide4, kernels.ConvBackInputWide4, 128, 64, 128}
	tileSmall4  = tile{kernels.ConvForwardSmall4, kernels.ConvBackInputSmall4, 32, 32, 64}
	tileNarrow4 = tile{kernels.ConvForwardNarrow4, kernels.ConvBackInputNarrow4, 128, 4, 64}
	each        = tile{kernels.ConvForwardEach, kernels.ConvBackInputEach, threads, 1, threads}
	each4       = tile{kernels.ConvForwardEach4, kernels.ConvBackInputEach4, threads, 1, threads}
)

const (
	fewColumns = 4   // so few output channels, or fewer, are not worth a tile of 32
	busyBlocks = 256 // so many blocks keep a large device busy
)

// blocks is the number of blocks for that many windows of a pool and columns.
func (t *tile) blocks(windows, pool, columns int) int {
	perBlock := t.positions
	if t.columns > 1 {
		perBlock /= pool * pool
	}
	return ceilDiv(windows, perBlock) * ceilDiv(columns, t.columns)
}

// window says how the window of a correlation moves over the source, and which outputs there are.
type window struct {
	kh, kw, stride, top, left int
	residues                  int // of the stride, in each direction: outputs of one residue see the same taps
	out                       backend.Shape
	pool                      int
}

// outputs is the number of outputs, in pixels, of the largest residue.
func (w *window) outputs() int {
	return w.out.N * ceilDiv(w.out.H, w.residues) * ceilDiv(w.out.W, w.residues)
}

// tileFor chooses the form for a window on a source of that many channels.
func tileFor(channels int, w *window) *tile {
	pool, columns := w.pool, w.out.C
	switch {
	case pool*pool > tile4.positions, columns <= fewColumns && channels%4 != 0:
		return eachFor(channels)
	case columns <= fewColumns:
		return &tileNarrow4
	case channels%4 != 0:
		return &tileAny
	}
	t := &tile4
	if columns > t.columns {
		t = &tileWide4
	}
	if pool*pool <= tileSmall4.positions && t.blocks(w.outputs(), pool, columns)*w.residues*w.residues < busyBlocks {
		return &tileSmall4
	}
	return t
}

func eachFor(channels int) *tile {
	if channels%4 == 0 {
		return &each4
	}
	return &each
}

// correlate is the forward pass: out = pool(act(x * w + bias)) act'(mask).
func (l *lane) correlate(s *backend.ConvShape, c *correlation) {
	src := stored(c.x, s.X)
	w := window{s.KernelH, s.KernelW, s.Stride, s.PadTop, s.PadLeft, s.Up, s.Out, s.Pool}
	t := tileFor(src.c, &w)
	if s.Up > 1 && s.Stride*s.Pool > 1 { // rare, and not worth a tile
		src, w.residues, t = upsampled(s, c.x), 1, eachFor(s.X.C)
	}
	l.product(t.forward, t, &src, c, &w)
}

// backInput is the gradient of the input, c.out, from that of the output, c.x.
func (l *lane) backInput(s backend.ConvShape, c correlation) {
	n, all := group(&s), s.X.N
	for done := 0; done < all; done += n {
		s = s.WithN(min(n, all-done))
		src, w := unpooled(&s, c.x, c.xArgmax), window{s.KernelH, s.KernelW, 1, s.PadTop, s.PadLeft, s.Stride, s.X, 1}
		if s.Up > 1 {
			src = l.spread(c.op, &s, c.x, c.xArgmax)
			w = window{s.KernelH, s.KernelW, s.Up, s.PadTop + s.Up - 1, s.PadLeft + s.Up - 1, 1, s.X, 1}
		}
		t := tileFor(src.c, &w)
		l.product(t.back, t, &src, &c, &w)
		c.x, c.xArgmax = skip(c.x, 4*s.Out.Len()), skip(c.xArgmax, s.Out.Len())
		c.out, c.mask = skip(c.out, 4*s.X.Len()), skip(c.mask, 4*s.X.Len())
	}
}

// skip returns the address n bytes on; 0 stays 0.
func skip(p driver.Ptr, n int) driver.Ptr {
	if p == 0 {
		return 0
	}
	return p + driver.Ptr(n)
}

// product launches a correlate kernel.
func (l *lane) product(e kernels.Entry, t *tile, src *source, c *correlation, w *window) {
	grid := driver.Dim3{X: t.blocks(w.outputs(), w.pool, w.out.C), Y: 1, Z: w.residues * w.residues}
	a := src.args()
	l.launch(c.op, e, grid, driver.Dim3{X: t.threads}, 0, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], divider(src.c),
		ptr(c.w), ptr(c.bias), ptr(c.mask), ptr(c.out), ptr(c.argmax), i32(w.out.N), i32(w.out.C), i32(w.stride), i32(w.top), i32(w.left),
		i32(w.kh), i32(w.kw), i32(w.residues), i32(w.out.H), i32(w.out.W), i32(w.pool), act(c.act), act(c.inAct))
}

// gradient has the tensors of the gradients of weights and bias: out is the gradient of a convolution's output, x its input.
// The gradient of the bias is the sum of rows of filters elements, of which there are image for each image.
type gradient struct {
	op             string
	w, bias        driver.Ptr
	partials       driver.Ptr // of both, or 0
	out, argmax, x driver.Ptr
	rows           driver.Ptr
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

// splits is the number of partial sums that the weights' gradient is summed in: as many as make the fewest waves that are full
// to three quarters, because all blocks take the same time, and a wave with few of them takes as long as a full one.
func splits(s *backend.ConvShape) int {
	_, _, positions := gradSize(s)
	most, blocks := ceilDiv(positions*s.X.N, splitPositions), gradTileFor(s).blocks(s)
	for waves := splitWave; ; waves += splitWave {
		if count := waves / blocks; 4*count*blocks >= 3*waves {
			return min(count, most)
		}
	}
}

// partials is the number of partial sums that the gradients are left in, 0 if they are made in one sum.
func partials(s backend.ConvShape) int {
	s.Check()
	rows := 0
	for n, rest := group(&s), s.X.N; rest > 0; rest -= n {
		s = s.WithN(min(n, rest))
		rows += splits(&s)
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
		if s.Up > 1 && l.err == nil {
			l.spreadOf = spreadKeyOf(&s, g.out, g.argmax, l.workspace(spreadBytes(&s))) // the partial sums lie behind it
		}
		row += splits(&s)
		g.out, g.argmax = skip(g.out, 4*s.Out.Len()), skip(g.argmax, s.Out.Len())
		g.x, g.rows = skip(g.x, 4*s.X.Len()), skip(g.rows, 4*s.X.N*g.image*g.filters)
	}
	if to.rows > 0 && g.partials == 0 {
		spread := l.spreadOf
		l.sum(g.op, []sums{to})
		l.spreadOf = spread // the partial sums lie behind it
	}
}

// destination is where the partial sums of the gradients go; without any rows, they are added to the gradients.
func (l *lane) destination(s *backend.ConvShape, g *gradient) sums {
	to := sums{partials: g.partials, w: g.w, bias: g.bias, nw: s.Weights().Len(), rows: partials(*s)}
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
	w, bias, columns, count, rows, add := to.w, to.bias, to.nw+to.nb, splits(s), s.X.N*g.image, uint64(1)
	if to.rows > 0 {
		w, add = to.partials+driver.Ptr(4*row*columns), 0
		bias = w + driver.Ptr(4*to.nw)
	}
	l.addProduct(s, g, w, count, columns, add)
	if to.nb > 0 {
		grid, block := columnSums(to.nb)
		grid.Y = count
		l.launch(g.op, kernels.ConvBackBias, grid, block, 0, ptr(g.rows), ptr(bias), i32(rows), i32(to.nb), i32(ceilDiv(rows, count)),
			uint64(columns), add)
	}
}

// addProduct launches the kernel of the weights' gradient, whose partial sums lie size elements apart.
func (l *lane) addProduct(s *backend.ConvShape, g *gradient, to driver.Ptr, count, size int, add uint64) {
	taps, row := s.KernelH*s.KernelW, s.Weights().Image()
	other, under := unpooled(s, g.out, g.argmax), stored(g.x, s.X)
	stride, top, left := s.Stride, s.PadTop, s.PadLeft
	first, perM, perTap, perCh := 0, row, s.X.C, 1
	if s.Up > 1 {
		other, under = stored(g.x, s.X), l.spread(g.op, s, g.out, g.argmax)
		stride, top, left = s.Up, s.KernelH-s.Up-s.PadTop, s.KernelW-s.Up-s.PadLeft
		first, perM, perTap, perCh = (taps-1)*s.X.C, 1, -s.X.C, row
	}
	t, positions, o, u := gradTileFor(s), other.h*other.w*s.X.N, other.args(), under.args()
	l.launch(g.op, t.entry, driver.Dim3{X: t.blocks(s), Y: 1, Z: count}, driver.Dim3{X: t.threads}, 0,
		o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8], u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8],
		divider(other.w), divider(other.h), i32(positions), i32(ceilDiv(positions, count)), i32(stride), i32(top), i32(left),
		i32(s.KernelH), i32(s.KernelW), ptr(to), uint64(first), uint64(perM), uint64(perTap), uint64(perCh), uint64(size), add)
}

// columnSums is the grid and block of sums over the rows of a matrix with n columns.
func columnSums(n int) (grid, block driver.Dim3) {
	columns := min(1<<bits.Len(uint(n-1)), 32)
	return driver.Dim3{X: ceilDiv(n, columns)}, driver.Dim3{X: columns, Y: threads / columns}
}
