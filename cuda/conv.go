package cuda

import (
	"math/bits"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// ConvNeeds returns the memory of the scratch and of the packed weights. Most kernels use the weights as they are.
func (l *lane) ConvNeeds(s backend.ConvShape) backend.Needs {
	return l.dev.needs(s, s.Filters)
}

// Conv: out = pool(act(conv(upsample(x), w) + bias)). The positions of the maxima are dropped when argmax is zero.
func (l *lane) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &argmax, &x, &p)
	c := correlation{op: "Conv", out: l.values(out), x: l.values(x), act: s.Act}
	if s.Pool > 1 {
		c.argmax = l.at(argmax)
	}
	c.w, c.packed, c.bias = l.at(p.W), l.at(p.Packed), l.at(p.Bias)
	l.correlate(&s, &c)
}

// ConvBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l *lane) ConvBackInput(s backend.ConvShape, gradX, gradOut, argmax backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &argmax, &p, &x)
	c := correlation{op: "ConvBackInput", out: l.values(gradX), x: l.values(gradOut), inAct: s.InAct}
	c.xArgmax, c.mask, c.w, c.packed = l.backArgmax(&s, argmax), l.mask(s.InAct, x), l.at(p.W), l.at(p.Packed)
	l.backInput(s, c)
}

// ConvBackWeights adds to grad.W and grad.Bias.
func (l *lane) ConvBackWeights(s backend.ConvShape, grad backend.Params, gradOut, argmax, x backend.Tensor) {
	s.CheckBackWeights(&grad, l.dev.partials(s), &gradOut, &argmax, &x)
	g := gradient{op: "ConvBackWeights", w: l.at(grad.W), bias: l.at(grad.Bias), partials: l.at(grad.Partials)}
	g.out, g.argmax, g.x = l.values(gradOut), l.backArgmax(&s, argmax), l.values(x)
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

// mask is the output of an activation where its derivative needs one, or at 0.
func (l *lane) mask(a backend.Act, x backend.Tensor) values {
	if a == backend.Linear {
		return values{}
	}
	return l.values(x)
}

// source is the Source of conv.cu: the images that a window moves over.
type source struct {
	values
	argmax     driver.Ptr
	c, h, w    int  // channels, and the extents of an image as it is read
	row, image int  // pixels of a row and of an image as they are stored
	factor     int  // pixels that are read for each stored one, in each direction
	summed     bool // over the copies of an upsampled pixel, of which there are factor in each direction
}

// addSource adds the parameters of a Source.
func (a *arguments) addSource(s *source) {
	a.add(ptr(s.p), ptr(s.argmax), i32(s.c), i32(s.h), i32(s.w), i32(s.row), i32(s.image), i32(s.factor), divider(s.factor), narrow(s.values))
}

// divider is a Divider of conv.cu, which divides by d.
func divider(d int) uint64 {
	shift := bits.Len(uint(d - 1))
	return uint64(shift)<<32 | (1<<(31+shift)+uint64(d)-1)/uint64(d)
}

// A source is read in one of three forms: stored is a tensor as it is, upsampled is the input of a convolution that upsamples
// it, and unpooled is the gradient of a pool's output, read as the gradient of the pool's input.
func stored(v values, s backend.Shape) source {
	return source{v, 0, s.C, s.H, s.W, s.W, s.H * s.W, 1, false}
}

func upsampled(s *backend.ConvShape, x values) source {
	return source{x, 0, s.X.C, s.In.H, s.In.W, s.X.W, s.X.H * s.X.W, s.Up, false}
}

func unpooled(s *backend.ConvShape, g values, argmax driver.Ptr) source {
	return source{g, argmax, s.Filters, s.Conv.H, s.Conv.W, s.Out.W, s.Out.H * s.Out.W, s.Pool, false}
}

// summed is what spread makes of the gradient of the output, for a kernel of few channels that does so itself as it reads it.
func summed(s *backend.ConvShape, g values) source {
	to := spreadShape(s)
	return source{g, 0, s.Filters, to.H, to.W, s.Out.W, s.Out.H * s.Out.W, s.Up, true}
}

// sumsAsRead says whether such a kernel can: one that sums the gradients of up by up neighbours, and no others.
func sumsAsRead(s *backend.ConvShape) bool { return s.Up > 1 && s.Stride*s.Pool == 1 }

// spread sums, in scratch memory, the gradient of the output over the copies of each upsampled pixel. The backward pass of a
// convolution that upsamples reads these sums: a pixel's copies then need one product with the kernel together, where each
// would have needed its own. Both gradients of a layer read them; they are not computed again when the first of the two
// gradients was the last thing done. What is rounded to bfloat16 as a factor is kept so. In branches, the second waits for those of the first.
func (l *lane) spread(op string, s *backend.ConvShape, g values, argmax driver.Ptr) source {
	from, to := unpooled(s, g, argmax), spreadShape(s)
	if done := l.spreadOf.in; l.spreadOf == spreadKeyOf(s, g, argmax, done) {
		if l.branches.second {
			l.order(op, func() error { return l.stream.Wait(l.branches.spread) })
		}
		return stored(spreadValues(s, done), to)
	}
	sums := spreadValues(s, 0)
	sums.p = l.workspace(sums.bytes(to.Len()))
	e, v := wide(from.c, kernels.ConvSpread, kernels.ConvSpread4)
	blocks := ceilDiv(to.Image()/v, threads)
	var a arguments
	a.addSource(&from)
	a.add(divider(from.c/v), ptr(sums.p), i32(s.Stride), divider(s.Stride), i32(s.Up), i32(to.H), i32(to.W), divider(to.W), i32(blocks), narrow(sums))
	l.launch(op, e, driver.Dim3{X: to.N * blocks}, driver.Dim3{X: threads}, 0, a.all()...)
	if l.stream == l.branches.side {
		l.order(op, func() error { return l.stream.Record(l.branches.spread) })
	}
	return stored(sums, to)
}

// spreadKey says of what gradient spread has left its result in which memory.
type spreadKey struct {
	shape      backend.ConvShape
	g          values
	argmax, in driver.Ptr
}

// spreadKeyOf leaves out the activations, which have no part in it.
func spreadKeyOf(s *backend.ConvShape, g values, argmax, in driver.Ptr) spreadKey {
	k := spreadKey{*s, g, argmax, in}
	k.shape.Act, k.shape.InAct = backend.Linear, backend.Linear
	return k
}

func spreadValues(s *backend.ConvShape, p driver.Ptr) values {
	return values{p, s.Multiply == backend.BFloat16}
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
func (d *Device) needs(s backend.ConvShape, bias int) backend.Needs {
	forward, back := d.packing(&s)
	rows := d.partials(s)
	s = s.WithN(group(&s))
	bytes := 4 * rows * (s.Weights().Len() + bias)
	return backend.Needs{Packed: 4 * (forward.words + back.words), Workspace: spreadBytes(&s) + bytes, Partials: rows, PartialBytes: bytes}
}

func spreadBytes(s *backend.ConvShape) int {
	if s.Up == 1 {
		return 0
	}
	return backend.AlignUp(spreadValues(s, 0).bytes(spreadShape(s).Len()))
}

// correlation has the tensors of a Correlation of conv.cu: a window moves over x, the values in it are multiplied by the
// weights and summed, and bias, activation and pool, or the derivative of an activation, follow.
type correlation struct {
	op                       string
	out, x, mask             values
	argmax, xArgmax, w, bias driver.Ptr
	packed                   driver.Ptr // the weights as conv_pack makes them, or 0
	act, inAct               backend.Act
	multiply                 backend.DType // both factors are rounded to it
}

// tile is a form of the correlate kernels: how many positions and channels (columns) of the output a block computes, and
// with how many threads.
type tile struct {
	forward, back               kernels.Entry
	positions, columns, threads int
}

// The forms with a 4 are for sources whose channels are a multiple of 4. In those named each, a thread computes one output. The
// small form, for what makes few blocks, sums in four parts of a block that work side by side; all others give the same bits.
var (
	tileAny    = tile{kernels.ConvForward, kernels.ConvBackInput, 128, 32, 128}
	tile4      = tile{kernels.ConvForward4, kernels.ConvBackInput4, 128, 32, 128}
	tileWide4  = tile{kernels.ConvForwardWide4, kernels.ConvBackInputWide4, 128, 64, 128}
	tileSmall4 = tile{kernels.ConvForwardSmall4, kernels.ConvBackInputSmall4, 32, 32, 256}
	each       = tile{kernels.ConvForwardEach, kernels.ConvBackInputEach, threads, 1, threads}
	each4      = tile{kernels.ConvForwardEach4, kernels.ConvBackInputEach4, threads, 1, threads}
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
	dilation                  int // of the taps
	residues                  int // of the stride, in each direction: outputs of one residue see the same taps
	out                       backend.Shape
	pool                      int
}

// forwardWindow is that over the input, backWindow that over the gradient of the output, summed over copies if the input is upsampled.
func forwardWindow(s *backend.ConvShape) window {
	return window{s.KernelH, s.KernelW, s.Stride, s.PadTop, s.PadLeft, s.Dilation, s.Up, s.Out, s.Pool}
}

func backWindow(s *backend.ConvShape) window {
	if s.Up > 1 {
		return window{s.KernelH, s.KernelW, s.Up, s.PadTop + s.Up - 1, s.PadLeft + s.Up - 1, 1, 1, s.X, 1}
	}
	more := s.Dilation - 1 // pixels between taps: kernels count the padding of a window without any
	return window{s.KernelH, s.KernelW, 1, s.PadTop - (s.KernelH-1)*more, s.PadLeft - (s.KernelW-1)*more, s.Dilation, s.Stride, s.X, 1}
}

// outputs is the number of outputs, in pixels, of the largest residue.
func (w *window) outputs() int {
	return w.out.N * ceilDiv(w.out.H, w.residues) * ceilDiv(w.out.W, w.residues)
}

// tileFor chooses the form for a window on a source of that many channels.
func tileFor(channels int, w *window) *tile {
	pool, columns := w.pool, w.out.C
	switch {
	case pool*pool > tile4.positions, columns <= fewColumns:
		return eachFor(channels)
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
	c.multiply = s.Multiply
	src := stored(c.x, s.X)
	w := forwardWindow(s)
	if s.Dilation > 1 { // which the general forms alone take
		t := tileFor(src.c, &w)
		l.product(t.forward, t, &src, c, &w)
	} else if s.Up > 1 && s.Stride*s.Pool > 1 { // rare, and not worth a tile
		src, w.residues = upsampled(s, c.x), 1
		t := eachFor(s.X.C)
		l.product(t.forward, t, &src, c, &w)
	} else if f, ok := l.dev.wgmmaFor(c, &src, &w, false); ok {
		l.productWGMMA(&f, &src, c, &w, false)
	} else if f, ok := l.dev.tensorFor(c, &src, &w, false); ok {
		l.productTensor(&f, f.forward, &src, c, &w)
	} else if f, ok := l.dev.fewPairsFor(c, &src, &w, false); ok {
		l.productFewPairs(&f, &src, c, &w)
	} else if f, ok := l.dev.fewTensorFor(c, &src, &w, false); ok {
		l.productFew(&f, &src, c, &w)
	} else if f, ok := fewFor(&src, &w, false); ok {
		l.productFew(&f, &src, c, &w)
	} else if f, ok := l.dev.lanesTensorFor(s.Multiply, &src, &w); ok {
		l.productLanesTensor(&f, &src, c, &w)
	} else if f, ok := lanesFor(src.c, &w, false); ok {
		l.productLanes(&f, &src, c, &w)
	} else if f, strips := l.dev.haloFor(src.c, &w, false); f != nil && c.multiply == backend.Float32 {
		l.productHalo(f.forward, f, &strips, &src, c, &w)
	} else {
		t := tileFor(src.c, &w)
		l.product(t.forward, t, &src, c, &w)
	}
}

// backInput is the gradient of the input, c.out, from that of the output, c.x.
func (l *lane) backInput(s backend.ConvShape, c correlation) {
	n, all := group(&s), s.X.N
	c.multiply = s.Multiply
	if forward, _ := l.dev.packing(&s); c.packed != 0 {
		c.packed += driver.Ptr(4 * forward.words)
	}
	for done := 0; done < all; done += n {
		s = s.WithN(min(n, all-done))
		src, w := unpooled(&s, c.x, c.xArgmax), backWindow(&s)
		if s.Up > 1 {
			src = summed(&s, c.x)
			if _, few := fewFor(&src, &w, true); !few || !sumsAsRead(&s) {
				src = l.spread(c.op, &s, c.x, c.xArgmax)
			}
		}
		if s.Dilation > 1 {
			t := tileFor(src.c, &w)
			l.product(t.back, t, &src, &c, &w)
		} else if f, ok := l.dev.wgmmaFor(&c, &src, &w, true); ok {
			l.productWGMMA(&f, &src, &c, &w, true)
		} else if f, ok := l.dev.tensorFor(&c, &src, &w, true); ok {
			l.productTensor(&f, f.back, &src, &c, &w)
		} else if f, ok := l.dev.fewPairsFor(&c, &src, &w, true); ok {
			l.productFewPairs(&f, &src, &c, &w)
		} else if f, ok := l.dev.fewTensorFor(&c, &src, &w, true); ok {
			l.productFew(&f, &src, &c, &w)
		} else if f, ok := fewFor(&src, &w, true); ok {
			l.productFew(&f, &src, &c, &w)
		} else if f, ok := lanesFor(src.c, &w, true); ok {
			l.productLanes(&f, &src, &c, &w)
		} else if f, strips := l.dev.haloFor(src.c, &w, true); f != nil && c.multiply == backend.Float32 {
			l.productHalo(f.back, f, &strips, &src, &c, &w)
		} else {
			t := tileFor(src.c, &w)
			l.product(t.back, t, &src, &c, &w)
		}
		c.x, c.xArgmax = c.x.from(s.Out.Len()), skip(c.xArgmax, s.Out.Len())
		c.out, c.mask = c.out.from(s.X.Len()), c.mask.from(s.X.Len())
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
	a := productArgs(src, c, w)
	a.add(rounding(c.multiply), i32(w.dilation))
	l.launch(c.op, e, grid, driver.Dim3{X: t.threads}, 0, a.all()...)
}

// rounding is the parameter of that name of the kernels that round factors themselves; conv.cuh has the same numbers.
func rounding(multiply backend.DType) uint64 {
	switch multiply {
	case backend.TF32:
		return 1
	case backend.BFloat16:
		return 2
	}
	return 0
}

// productArgs are the parameters of a Correlation.
func productArgs(src *source, c *correlation, w *window) (a arguments) {
	a.addSource(src)
	a.add(divider(src.c), ptr(c.w), ptr(c.bias), ptr(c.mask.p), ptr(c.out.p), ptr(c.argmax), i32(w.out.N), i32(w.out.C), i32(w.stride), i32(w.top),
		i32(w.left), i32(w.kh), i32(w.kw), i32(w.residues), i32(w.out.H), i32(w.out.W), i32(w.pool), act(c.act), act(c.inAct), narrow(c.out, c.mask))
	return a
}
