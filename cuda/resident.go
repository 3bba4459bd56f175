package cuda

import (
	"cmp"
	"slices"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

const (
	residentThreads  = 384 // of a block
	residentWarps    = residentThreads / 32
	residentElements = 9       // of a filter, whose gradients in the first layer are summed at a time
	residentLayers   = 6       // at most
	residentStatic   = 4 << 10 // bytes of shared memory that the kernel takes besides
	residentBlocks   = 132     // at most, whatever the device: it decides the order of summation
)

// residentLayer is a Layer of resident.sm_80.cu: what of it lies where in shared memory, in bytes.
type residentLayer struct {
	*backend.ConvShape
	kind                                    int
	weights, weightsBack, x, argmax, raw, u piece
	scratch                                 piece // of its gradients; of no bytes where that is the place of the weights on the way back
}

// piece is a piece of shared memory: its bytes, the first and the last of the phases in which it is needed, and where it is.
type piece struct{ bytes, first, last, at int }

const (
	residentFirst = iota // Kind of resident.sm_80.cu
	residentMiddle
	residentLast
)

// resident is a plan of a step for resident_step.
type resident struct {
	layers          []residentLayer
	target, scratch piece
	bytes           int
}

// residentFor plans a step, or returns false if the kernel does not do it on this device.
func (d *Device) residentFor(s *backend.ResidentStep) (r resident, ok bool) {
	n := len(s.Layers)
	if !d.tensorCores() || n < 3 || n > residentLayers {
		return r, false
	}
	for i := range s.Layers {
		l := residentLayer{ConvShape: &s.Layers[i], kind: residentMiddle}
		switch i {
		case 0:
			l.kind = residentFirst
		case n - 1:
			l.kind = residentLast
		}
		if !l.fits() || l.Multiply != s.Layers[0].Multiply {
			return r, false
		}
		r.layers = append(r.layers, l)
	}
	r.place()
	return r, r.bytes <= sharedOf(d.dev.Info())-residentStatic
}

// sharedOf is the shared memory that a block may ask for.
func sharedOf(i driver.Info) int {
	switch {
	case i.Major >= 9:
		return 227 << 10
	case i.Major == 8 && i.Minor != 0 && i.Minor != 7:
		return 99 << 10
	}
	return 163 << 10
}

// fits reports whether the kernel takes a layer of that kind.
func (l *residentLayer) fits() bool {
	const extent, channels, few = 255, 128, 4
	top := max(l.X.H, l.X.W, l.Conv.H, l.Conv.W)
	if l.Multiply == backend.BFloat16 || l.Stride*l.Dilation != 1 || l.Up > 2 || l.Pool > 2 || top > extent || top*top*top >= 1<<16 || l.X.C > channels || l.Filters > channels {
		return false
	}
	hidden := (l.Act == backend.Linear || l.Act == backend.ReLU) && l.Filters%8 == 0
	switch l.kind {
	case residentFirst:
		return hidden && l.X.C <= few && l.Up == 1
	case residentLast:
		return l.X.C%8 == 0 && l.Filters <= few && l.Pool == 1
	}
	return hidden && l.X.C%8 == 0 && l.Up*l.Pool <= 2
}

// spread reports whether the products of a layer's gradients take its output's gradient by taps.
func (l *residentLayer) spread() bool { return l.kind == residentLast || l.Up > 1 }

// matrix returns the rows and columns of the layer's weights, padded.
func (l *residentLayer) matrix() (rows, columns int) {
	taps := l.KernelH * l.KernelW
	if l.kind == residentLast {
		return alignUp8(l.Filters * taps), l.X.C
	}
	return l.Filters, alignUp8(taps * l.X.C)
}

func alignUp8(n int) int { return ceilDiv(n, 8) * 8 }

// plane is how pixels lie in shared memory: how far rows are apart, and how many pixels there are with those around them.
type plane struct{ pitch, pixels int }

// planes returns the planes of the input, and of the gradient that is multiplied. What is behind a row is also before the next. Rows of both are as
// far apart, so that one number says where a pair of factors lies in them.
func (l *residentLayer) planes() (x, u plane) {
	size := [2]int{l.X.H, l.X.W}
	out, kernel, pad := [2]int{l.Conv.H, l.Conv.W}, [2]int{l.KernelH, l.KernelW}, [2]int{l.PadTop, l.PadLeft}
	var before, behind, ahead, after [2]int
	of := out // what the gradient's rows are
	for i := range 2 {
		if l.kind != residentLast {
			before[i], behind[i] = ceilDiv(pad[i], l.Up), max((out[i]+kernel[i]-2-pad[i])/l.Up-size[i]+1, 0)
		}
		if l.spread() {
			of[i] = size[i]
		} else {
			ahead[i], after[i] = kernel[i]-1-pad[i], max(size[i]+pad[i]-out[i], 0)
		}
	}
	pitch := max(size[1]+max(before[1], behind[1]), of[1]+max(ahead[1], after[1]))
	return plane{pitch, before[1] + (before[0]+size[0]+behind[0])*pitch}, plane{pitch, ahead[1] + (ahead[0]+of[0]+after[0])*pitch}
}

// parts is the scratch memory of a product of so many units, of so many floats each, in so many steps.
func parts(units, steps, floats int) int {
	if units >= residentWarps {
		return 0
	}
	n := min(residentWarps/units, steps)
	return 4 * floats * units * (n - ceilDiv(n, 4)) // of four parts that are added up one stays in registers
}

// productParts is that of a product of so many columns for all pixels of an image, which may be pooled.
func productParts(h, w, pool, columns, steps int) int {
	tiles, chunks := ceilDiv(w, 8)*ceilDiv(h, 2), ceilDiv(columns, 32)
	if pool > 1 {
		return parts(ceilDiv((h/2)*(w/2), 8)*chunks, steps, 1024)
	}
	if units := ceilDiv(tiles, 2) * chunks; units >= residentWarps/2 {
		return parts(units, steps, 1024)
	}
	return parts(tiles*chunks, steps, 512)
}

// place sets the pieces. A step has a phase for the samples, one for each layer forward and one for the loss; then, of each layer but the first,
// those of the gradients of its weights and of its input, and one in which the latter is prepared for the layer before.
func (r *resident) place() {
	n := len(r.layers)
	lossPhase := n + 1
	back := func(i int) int { return n + 2 + 3*(n-1-i) } // of layer i's weights
	end := back(0)
	var pieces []*piece
	give := func(p *piece, floats, first, last int) {
		if *p = (piece{bytes: ceilDiv(floats, 4) * 16, first: first, last: last}); floats > 0 {
			pieces = append(pieces, p)
		}
	}
	forward := 0
	for i := range r.layers {
		l := &r.layers[i]
		rows, columns := l.matrix()
		weights := rows*(columns+4) + ceilDiv(l.Filters, 4)*4
		x, u := l.planes()
		taps, h, w := l.KernelH*l.KernelW, l.Conv.H, l.Conv.W // of what the products of gradients go over
		last, steps := back(i)+1, taps*l.X.C/8
		backSteps, tiles, m := taps*l.Filters/8, columns/8, l.Filters
		switch {
		case l.kind == residentLast:
			steps, backSteps, tiles, m, h, w = l.X.C/8, rows/8, rows/8, l.X.C, l.X.H, l.X.W
		case l.Up > 1:
			tiles, m, h, w = taps*l.Filters/8, l.X.C, l.X.H, l.X.W
		}
		scratch := parts(ceilDiv(tiles, 3)*ceilDiv(m, 32), ceilDiv((h-1)*x.pitch+w, 8), 768)
		switch l.kind {
		case residentFirst:
			give(&l.x, x.pixels*l.X.C, 0, end)
			give(&l.weights, weights, 0, 1)
			last, scratch = end, 4*residentThreads*(residentElements+1)
		case residentLast:
			give(&l.x, x.pixels*(l.X.C+4), i, last)
			give(&l.weights, weights, i, last)
			give(&l.u, u.pixels*(rows+4), i+1, last)
			give(&l.raw, l.Conv.Image(), lossPhase, lossPhase)
			forward = max(forward, productParts(l.X.H, l.X.W, 1, rows, steps))
		default:
			give(&l.x, x.pixels*(l.X.C+4), i, last)
			give(&l.weights, weights, max(i-1, 0), i+1)
			if i > 1 {
				l.weights.first = i
			}
			give(&l.weightsBack, weights, back(i+1), last)
			step := l.Filters + 4
			if l.Up > 1 {
				step = taps*l.Filters + 4
			}
			give(&l.u, u.pixels*step, back(i)-1, last)
			forward = max(forward, productParts(l.Conv.H, l.Conv.W, l.Pool, l.Filters, steps))
		}
		if l.kind != residentLast {
			rawLast := back(i) - 1
			if l.kind == residentFirst {
				rawLast = end
			}
			give(&l.raw, l.Out.H*l.Out.W*(l.Filters+4), back(i+1), rawLast)
		}
		if l.Pool > 1 {
			give(&l.argmax, ceilDiv(l.Out.Image(), 4), i+1, max(back(i)-1, rawOnly(l.kind, end)))
		}
		if i > 0 {
			if back := productParts(l.X.H, l.X.W, 1, l.X.C, backSteps); scratch > 0 || back > 4*rows*(columns+4) {
				scratch = max(scratch, back)
			}
		}
		give(&l.scratch, scratch/4, back(i), last)
		if l.kind == residentLast {
			l.weightsBack = l.weights
		}
	}
	give(&r.target, r.layers[n-1].Conv.Image(), 0, lossPhase)
	give(&r.scratch, forward/4, 1, n)
	r.bytes = arrange(pieces)
	r.layers[n-1].weightsBack.at = r.layers[n-1].weights.at
	for i := range r.layers {
		if l := &r.layers[i]; l.scratch.bytes == 0 {
			l.scratch.at = l.weightsBack.at
		}
	}
}

func rawOnly(kind, end int) int {
	if kind == residentFirst {
		return end
	}
	return 0
}

// arrange gives pieces places so that those needed at the same time do not overlap, and returns the bytes of all: each as low as it can be, the
// largest first or, if that takes less, those that are needed longest.
func arrange(pieces []*piece) (bytes int) {
	longest := func(a, b *piece) int { return cmp.Compare(b.last-b.first, a.last-a.first) }
	largest := func(a, b *piece) int { return cmp.Compare(b.bytes, a.bytes) }
	slices.SortStableFunc(pieces, longest)
	long := stack(pieces)
	slices.SortStableFunc(pieces, largest)
	if bytes = stack(pieces); bytes <= long {
		return bytes
	}
	slices.SortStableFunc(pieces, longest)
	return stack(pieces)
}

// stack places pieces in their order.
func stack(pieces []*piece) (bytes int) {
	for i, p := range pieces {
		placed := slices.Clone(pieces[:i])
		slices.SortStableFunc(placed, func(a, b *piece) int { return cmp.Compare(a.at, b.at) })
		p.at = 0
		for _, q := range placed {
			if q.last < p.first || p.last < q.first {
				continue
			}
			if p.at+p.bytes <= q.at {
				break
			}
			p.at = max(p.at, q.at+q.bytes)
		}
		bytes = max(bytes, p.at+p.bytes)
	}
	return bytes
}

// ResidentPartials returns a partial sum for each block, if the step fits into shared memory.
func (l *lane) ResidentPartials(s *backend.ResidentStep) int {
	if _, ok := l.dev.residentFor(s); !ok {
		return 0
	}
	return min(s.Layers[0].X.N, residentBlocks)
}

// ResidentPays is by prediction for an H100: no block of a nominal device has more than one sample, or most of them have two. In float32, where
// products take three times as long, half of the blocks must have one, and none may have two.
func (l *lane) ResidentPays(s *backend.ResidentStep) bool {
	n := s.Layers[0].X.N
	if s.Layers[0].Multiply == backend.Float32 {
		return n >= residentBlocks/2 && n <= residentBlocks
	}
	return n <= residentBlocks || n >= residentBlocks*15/8 && n <= 2*residentBlocks
}

// ResidentStep does a step for each sample in the shared memory of a block.
func (l *lane) ResidentStep(s *backend.ResidentStep, a *backend.ResidentArgs) {
	x := s.Layers[0].X
	blocks := min(x.N, residentBlocks)
	r, ok := l.dev.residentFor(s)
	if !ok {
		panic("cuda: a resident step that does not fit")
	}
	backend.CheckResidentStep(s, a, blocks)
	data, index, now, loss := l.at(a.Samples), l.at(a.Order), l.at(a.StepParams), l.at(a.Loss)
	staged := 0
	if a.Samples.Role == backend.Staged {
		staged = 1
	}
	k0, k1, stream := key(a.Source)
	clock := l.takeClock(now)
	var args arguments
	args.add(ptr(data), ptr(index), ptr(now))
	args.add(clock[:]...)
	args.add(i32(x.N), i32(a.Samples.Shape.N), i32(a.Order.Shape.Len()), i32(a.First), k0, k1, stream, f32(a.Std), i32(staged), ptr(loss), f32(a.Scale))
	common := word(r.target.at/16, 16, r.scratch.at/16, 16, len(r.layers), 8)
	if s.BCE {
		common |= 1 << 40
	}
	args.add(common)
	for i := range residentLayers {
		if i >= len(r.layers) {
			args.add(0, 0, 0, 0, 0, 0)
			continue
		}
		g, p := &r.layers[i], &a.Layers[i]
		args.add(ptr(l.at(p.W)), ptr(l.at(p.Bias)), ptr(l.at(p.Partials)),
			word(g.X.H, 8, g.X.W, 8, g.X.C, 8, g.Filters, 8, g.KernelH, 4, g.KernelW, 4, g.PadTop, 4, g.PadLeft, 4, g.Up, 4, g.Pool, 4, int(g.Act), 4, g.kind, 4),
			word(g.Conv.H, 8, g.Conv.W, 8, g.weights.at/16, 16, g.x.at/16, 16, g.argmax.at/16, 16),
			word(g.raw.at/16, 16, g.u.at/16, 16, g.weightsBack.at/16, 16, g.scratch.at/16, 16))
	}
	entry := kernels.ResidentStep
	if s.Layers[0].Multiply == backend.Float32 {
		entry = kernels.ResidentStepSplit
	}
	l.launch("ResidentStep", entry, driver.Dim3{X: blocks}, driver.Dim3{X: residentThreads}, r.bytes, args.all()...)
}

// word packs values, each followed by its number of bits, the first lowest.
func word(list ...int) (w uint64) {
	at := 0
	for i := 0; i < len(list); i += 2 {
		w |= uint64(list[i]) << at
		at += list[i+1]
	}
	return w
}

var _ backend.Resident = (*lane)(nil)
