package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/convae/convae/nn/backend"
)

// convCase is a convolution of which the table has the forward pass and both backward passes.
type convCase struct {
	backend.ConvSpec
	noBias bool
	exact  bool // small multiples of a power of two: no sum rounds, and maxima are shared
	images int  // images allocated
	bench  bool
}

const (
	same  = backend.Same
	valid = backend.Valid
)

func convTable() []convCase {
	acts := []backend.Act{backend.Linear, backend.ReLU, backend.Sigmoid, backend.Tanh}
	var table []convCase
	add := func(c convCase) {
		i := len(table)
		if c.KernelH == 0 {
			c.KernelH, c.KernelW = 3, 3
		}
		// Every activation on either side and both biases come up in turn, unless the entry says them.
		if c.Act == backend.Linear && !c.exact {
			c.Act = acts[i%4]
		}
		if c.InAct == backend.Linear && !c.exact {
			c.InAct = acts[i/4%4]
		}
		c.noBias = c.noBias || i%5 == 3
		table = append(table, c)
	}
	spec := func(n, h, w, c, filters int) convCase {
		return convCase{ConvSpec: backend.ConvSpec{X: shape{N: n, H: h, W: w, C: c}, Filters: filters}}
	}
	kernel := func(c convCase, kh, kw, stride int, p backend.Padding) convCase {
		c.KernelH, c.KernelW, c.Stride, c.Padding = kh, kw, stride, p
		return c
	}

	// Kernels, strides and paddings.
	batches, channels := []int{1, 2, 3, 7}, []int{1, 2, 3, 5, 8, 16}
	for k := 1; k <= backend.MaxKernel; k++ {
		for stride := 1; stride <= 4; stride++ {
			if (k > 7 || stride > 2) && (k+stride)%2 == 0 { // every other one is enough of these
				continue
			}
			for _, p := range []backend.Padding{same, valid} {
				i := len(table)
				add(kernel(spec(batches[i%4], max(8+i%4, k), max(7+i%3, k), channels[i%6], channels[(i/2+3)%6]), k, k, stride, p))
			}
		}
	}
	for i, stride := range []int{5, 6, 7, backend.MaxStride} {
		for j, k := range []int{1, 3, 8, backend.MaxKernel} {
			add(kernel(spec(1+i%2, 13+i, 12+j, channels[(i+j)%6], channels[(i+2*j+1)%6]), k, k, stride, []backend.Padding{same, valid}[(i+j)%2]))
		}
	}
	for i, dilation := range []int{2, 3, backend.MaxDilation} {
		for j, k := range [][2]int{{3, 3}, {2, 3}, {5, 1}, {1, 1}} {
			for n, p := range []backend.Padding{same, valid} {
				c := kernel(spec(1+j%2, 7+5*dilation*n, 9+3*dilation*n, channels[(i+2*j)%6], channels[(2*i+j+3*n+2)%6]), k[0], k[1], 1, p)
				c.Dilation, c.Pool = dilation, []int{1, 1, 1, 2}[(i+j)%4]
				if s, err := backend.NewConv(c.ConvSpec); err != nil || s.Out.H == 0 {
					c.Pool = 1
				}
				add(c)
			}
		}
	}
	add(kernel(spec(6, 15, 13, 8, 12), 3, 3, 2, same)) // residues of unequal height, of which a block sees several images
	for _, k := range [][2]int{{1, 3}, {3, 1}, {5, 3}, {2, 7}, {7, 2}, {4, 6}} {
		add(kernel(spec(2, 9, 8, 3, 5), k[0], k[1], 1, same))
		add(kernel(spec(1, 8, 9, 8, 3), k[0], k[1], 2, same))
		add(kernel(spec(2, 10, 11, 2, 4), k[0], k[1], 1, valid))
		add(kernel(spec(3, 11, 10, 5, 8), k[0], k[1], 2, valid))
	}
	// Sizes, down to images that the kernel sticks out of on all sides.
	for _, s := range [][2]int{{1, 1}, {1, 31}, {31, 1}, {33, 31}, {257, 3}, {2, 257}, {1, 5}} {
		add(spec(2, s[0], s[1], 3, 4))
		add(kernel(spec(1, s[0], s[1], 2, 8), 5, 5, 2, same))
	}
	add(kernel(spec(3, 7, 7, 3, 9), 7, 7, 1, valid))
	add(kernel(spec(2, 1, 1, 33, 31), 1, 1, 1, valid))
	// Channels round the widths of vectors and tiles.
	for _, c := range [][2]int{{1, 64}, {64, 1}, {2, 31}, {31, 33}, {33, 32}, {32, 5}, {5, 16}, {16, 8}, {8, 3}, {64, 64}, {3, 3}, {1, 1}} {
		add(spec(2, 5, 6, c[0], c[1]))
	}
	add(kernel(spec(1, 5, 6, 20, 33), 5, 5, 2, same))
	add(kernel(spec(1, 7, 8, 4, 18), 7, 7, 2, same))
	add(spec(1, 3, 4, 40, 50))
	// Rows of any width, and few channels in.
	for w := 1; w <= 15; w++ {
		add(spec(1, 2, w, 1+w%4, 17))
	}
	// Few filters.
	for up := 1; up <= 3; up++ {
		c := spec(1, 3, 4, 32, 1)
		c.Up = up
		add(c)
		c = spec(2, 4, 3, 40, 3)
		c.Up = up
		add(c)
	}
	// What can be fused: input upsampled, output pooled, activations.
	for up := 1; up <= 3; up++ {
		for pool := 1; pool <= 3; pool++ {
			c := spec(2, 6, 12, 3, 5)
			c.Up, c.Pool = up, pool
			add(c)
			c = spec(1, 6, 6, 8, 16)
			c.Up, c.Pool, c.noBias = up, pool, true
			add(c)
		}
	}
	for _, a := range acts[1:] {
		c := spec(3, 6, 10, 4, 32)
		c.Pool, c.Act = 2, a
		add(c)
		c = spec(3, 5, 7, 32, 4)
		c.Up, c.InAct = 2, a
		add(c)
	}
	odd := kernel(spec(2, 7, 5, 3, 6), 3, 3, 2, same)
	odd.Up = 2
	add(odd)
	odd = kernel(spec(2, 5, 4, 3, 6), 4, 5, 1, valid)
	odd.Up, odd.Pool = 3, 2 // 12x8 positions
	add(odd)
	odd = kernel(spec(1, 11, 7, 2, 3), 3, 3, 2, same)
	odd.Pool = 2
	add(odd)
	odd = spec(1, 3, 2, 2, 3)
	odd.Up, odd.Pool = 5, 5
	add(odd)
	// Part of a micro-batch.
	for _, pool := range []int{1, 2} {
		c := spec(3, 6, 8, 8, 5)
		c.Pool, c.images = pool, 4
		add(c)
		c = spec(1, 6, 8, 3, 32)
		c.Pool, c.images, c.Up = pool, 4, 2
		add(c)
	}
	// No rounding: the arg-max must be the first maximum, after the activation.
	for _, a := range acts[:2] {
		for _, up := range []int{1, 2} {
			c := spec(2, 6, 6, 3, 9)
			c.Pool, c.Up, c.Act, c.exact = 2, up, a, true
			add(c)
			c.X.C, c.Filters, c.Pool = 32, 32, 3
			add(c)
		}
	}
	// Images that a GPU cuts into strips, the last of which is not full.
	add(spec(1, 4, 21, 4, 8))
	wide := spec(2, 6, 38, 8, 36)
	wide.Pool = 2
	add(wide)
	return table
}

// denoiser is the layers of the convolutional denoiser for n images.
func denoiser(n int) []convCase {
	layer := func(size, channels, filters, up, pool int, inAct, act backend.Act) convCase {
		return convCase{ConvSpec: backend.ConvSpec{X: shape{N: n, H: size, W: size, C: channels}, Filters: filters,
			KernelH: 3, KernelW: 3, Up: up, Pool: pool, InAct: inAct, Act: act}}
	}
	return []convCase{
		layer(28, 1, 32, 1, 2, backend.Linear, backend.ReLU),
		layer(14, 32, 32, 1, 2, backend.ReLU, backend.ReLU),
		layer(7, 32, 32, 1, 1, backend.ReLU, backend.ReLU),
		layer(7, 32, 32, 2, 1, backend.ReLU, backend.ReLU),
		layer(14, 32, 1, 2, 1, backend.ReLU, backend.Linear),
	}
}

func convCases() []Case {
	table := convTable()
	for _, n := range []int{1, 3} {
		table = append(table, denoiser(n)...)
	}
	for _, c := range denoiser(4) {
		c.bench = true
		table = append(table, c)
	}
	big := convCase{ConvSpec: backend.ConvSpec{X: shape{N: 1, H: 14, W: 14, C: 64}, Filters: 64, KernelH: 3, KernelW: 3,
		InAct: backend.ReLU, Act: backend.ReLU}, bench: true}
	table = append(table, big)
	var cases []Case
	for i, c := range table {
		cases = append(cases, c.forward(), c.backInput(), c.backWeights())
		if i%3 == 0 {
			s := c.shape()
			cases = append(cases, inPartials(c.backWeights(), func(b backend.Backend) backend.Needs { return b.ConvNeeds(s) }, grads))
		}
	}
	edge := convCase{ConvSpec: backend.ConvSpec{X: shape{N: 2, H: 6, W: 4, C: 3}, Filters: 5, KernelH: 3, KernelW: 3}}
	cases = append(cases, bordered(edge.forward(), "out"), bordered(edge.backInput(), "gradX"))
	edge.Up, edge.Pool, edge.X.C, edge.Filters, edge.InAct = 2, 2, 32, 8, backend.ReLU
	cases = append(cases, winogradCases()...)
	return append(cases, bordered(edge.forward(), "out"), bordered(edge.backInput(), "gradX"), withoutArgmax(edge.forward()))
}

func (c convCase) shape() backend.ConvShape { return must(backend.NewConv(c.ConvSpec)) }

func (c convCase) name() string {
	x := c.X
	s := fmt.Sprintf("%dx%dx%dx%d-%d/%dx%d-s%d-%v", x.N, x.H, x.W, x.C, c.Filters, c.KernelH, c.KernelW, max(c.Stride, 1), c.Padding)
	if c.Dilation > 1 {
		s += fmt.Sprintf("-d%d", c.Dilation)
	}
	if c.Up > 1 {
		s += fmt.Sprintf("-up%d", c.Up)
	}
	if c.Pool > 1 {
		s += fmt.Sprintf("-pool%d", c.Pool)
	}
	s += "-" + c.Act.String() + "-after-" + c.InAct.String()
	if c.noBias {
		s += "-nobias"
	}
	if c.images > 0 {
		s += fmt.Sprintf("-of%d", c.images)
	}
	if c.exact {
		s += "-exact"
	}
	if c.Winograd {
		s += "-winograd"
	}
	return s + suffix(c.Multiply)
}

// convPacked is the packed form of a convolution's weights.
func convPacked(name string, s backend.ConvShape) arg {
	return arg{name: name, role: backend.Packed, use: scratch, packed: func(b backend.Backend) int { return b.ConvNeeds(s).Packed }}
}

func convPack(b backend.Backend, s backend.ConvShape, p backend.Params) {
	if !p.Packed.IsZero() {
		b.ConvPack(s, p.Packed, p.W)
	}
}

func params(t tensors) backend.Params {
	return backend.Params{W: t["w"], Bias: t["bias"], Packed: t["packed"]}
}

// base is what the three cases of a convolution share.
func (c convCase) base(what string, s backend.ConvShape, op string) Case {
	return Case{
		Name: "conv/" + what + "/" + c.name(), Ops: []string{"ConvNeeds", op}, MACs: s.MACs(), Bench: c.bench,
		workspace: func(b backend.Backend) int { return b.ConvNeeds(s).Workspace },
	}
}

// fills are those of input, weights and upstream gradient.
func (c convCase) fills(s backend.ConvShape) (x, w, g fill) {
	if s.Multiply != backend.Float32 && s.Up > 1 {
		// Sums of dozens of these are exact in float32: what they are rounded to does not depend on the order of a sum.
		return outputs(c.InAct), grid(-1<<15, 1<<15, 1.0/(1<<16)), grid(-1<<15, 1<<15, 1.0/(1<<14))
	}
	if !c.exact {
		return outputs(c.InAct), normal(1 / math.Sqrt(float64(s.Weights().Image()))), normal(1)
	}
	lo := -2
	if c.InAct == backend.ReLU {
		lo = 0
	}
	return grid(lo, 2, 1), grid(-2, 2, 0.125), grid(-3, 3, 1)
}

func (c convCase) forward() Case {
	s := c.shape()
	k := c.base("forward", s, "Conv")
	k.Ops = append(k.Ops, "ConvPack")
	fx, fw, _ := c.fills(s)
	bound := c.bound(s.Weights().Image()+1, c.Act)
	x, y := activation("x", s.X, fx), activation("out", s.Out, nil).out(bound)
	argmax := argmaxArg("argmax", s.Out, nil).out(exact)
	x.images, y.images, argmax.images = c.images, c.images, c.images
	k.args = []arg{x, param("w", s.Weights(), fw), convPacked("packed", s), y}
	if !c.noBias {
		k.args = append(k.args, param("bias", backend.Vec(s.Filters), grid(-3, 3, 0.125)))
	}
	if s.Pool > 1 {
		k.args = append(k.args, argmax)
	}
	k.setup = func(b backend.Backend, t tensors) { convPack(b, s, params(t)) }
	k.run = func(b backend.Backend, t tensors) { b.Conv(s, t["out"], t["argmax"], t["x"], params(t)) }
	k.reference = func(d data) values {
		v, mag := refConv(s, d["x"], d["w"], d["bias"])
		v, mag = refAct(s.Act, v, c.nearby(s.Conv, mag))
		return refConvPool(s, v, mag, bound)
	}
	return k
}

func (c convCase) backInput() Case {
	s := c.shape()
	k := c.base("backInput", s, "ConvBackInput")
	fx, fw, fg := c.fills(s)
	x, g := activation("x", s.X, fx), activation("gradOut", s.Out, fg)
	argmax := argmaxArg("argmax", s.Out, grid(0, s.Pool*s.Pool-1, 1))
	gradX := activation("gradX", s.X, nil).out(c.bound(s.KernelH*s.KernelW*s.Filters*s.Up*s.Up, backend.Linear))
	x.images, g.images, argmax.images, gradX.images = c.images, c.images, c.images, c.images
	k.args = []arg{g, param("w", s.Weights(), fw), convPacked("packed", s), gradX}
	if s.InAct != backend.Linear {
		k.args = append(k.args, x)
	}
	if s.Pool > 1 {
		k.args = append(k.args, argmax)
	}
	k.setup = func(b backend.Backend, t tensors) { convPack(b, s, params(t)) }
	k.run = func(b backend.Backend, t tensors) {
		b.ConvBackInput(s, t["gradX"], t["gradOut"], t["argmax"], params(t), t["x"])
	}
	k.reference = func(d data) values {
		v, mag := refConvBackInput(s, d["gradOut"], d["argmax"], d["w"])
		return values{"gradX": refActBack(s.InAct, v, c.nearby(s.X, mag), d["x"])}
	}
	return k
}

// nearby is, where sums are made tile by tile, the largest magnitude of a result in the same tile, wherever tiles begin: the transforms of a tile
// round what all of its results are made of.
func (c convCase) nearby(s shape, mag []float64) []float64 {
	const side = 4
	if !c.Winograd {
		return mag
	}
	most := make([]float64, len(mag))
	for n := range s.N {
		for y := range s.H {
			for x := range s.W {
				at := most[((n*s.H+y)*s.W+x)*s.C:][:s.C]
				for i := max(y-side+1, 0); i < min(y+side, s.H); i++ {
					for j := max(x-side+1, 0); j < min(x+side, s.W); j++ {
						for k := range at {
							at[k] = max(at[k], mag[((n*s.H+i)*s.W+j)*s.C+k])
						}
					}
				}
			}
		}
	}
	return most
}

// winogradCases are convolutions that may be made tile by tile: of whole tiles and of others, in one and several chunks, and some that are too small.
func winogradCases() []Case {
	spec := roundedConv(backend.Float32)
	padding := func(k *convCase) { k.Padding = valid }
	var cases []Case
	for _, c := range []convCase{
		spec(1, 16, 16, 16, 16, 3, 3, nil),
		spec(2, 17, 14, 20, 37, 3, 3, nil),
		spec(1, 13, 30, 33, 16, 3, 3, padding),
		spec(2, 16, 20, 16, 24, 3, 3, pool(2)),
		spec(1, 18, 15, 18, 17, 3, 3, pool(3)),
		spec(1, 35, 55, 17, 16, 3, 3, pool(5)),
		spec(1, 12, 12, 16, 16, 3, 3, nil), // too few tiles
		spec(1, 16, 16, 8, 16, 3, 3, nil),  // too few channels
		spec(1, 16, 16, 16, 16, 3, 3, stride(2)),
		spec(1, 16, 16, 16, 16, 3, 3, up(2)),
		spec(1, 16, 16, 16, 16, 5, 3, nil),
	} {
		c.Winograd, c.noBias = true, len(cases)%2 == 1
		s := c.shape()
		cases = append(cases, c.forward(), c.backInput(), c.backWeights(),
			inPartials(c.backWeights(), func(b backend.Backend) backend.Needs { return b.ConvNeeds(s) }, grads))
	}
	return cases
}

func (c convCase) backWeights() Case {
	s := c.shape()
	k := c.base("backWeights", s, "ConvBackWeights")
	fx, fw, fg := c.fills(s)
	bound := c.bound(s.X.N*s.Conv.H*s.Conv.W+1, backend.Linear)
	x, g := activation("x", s.X, fx), activation("gradOut", s.Out, fg)
	argmax := argmaxArg("argmax", s.Out, grid(0, s.Pool*s.Pool-1, 1))
	x.images, g.images, argmax.images = c.images, c.images, c.images
	k.args = []arg{g, x, param("gradW", s.Weights(), fw).inout(bound)}
	if !c.noBias {
		k.args = append(k.args, param("gradBias", backend.Vec(s.Filters), grid(-3, 3, 1)).inout(c.biasBound(s)))
	}
	if s.Pool > 1 {
		k.args = append(k.args, argmax)
	}
	k.run = func(b backend.Backend, t tensors) {
		b.ConvBackWeights(s, grads(t), t["gradOut"], t["argmax"], t["x"])
	}
	k.reference = func(d data) values {
		return refConvBackWeights(s, d["gradW"], d["gradBias"], d["gradOut"], d["argmax"], d["x"])
	}
	return k
}

// bound is that of sums of k terms, then activated.
func (c convCase) bound(k int, a backend.Act) backend.Bound {
	if c.exact {
		return backend.Bound{Abs: actBound(backend.Function{Act: a}).Abs}
	}
	return backend.Bound{Abs: actBound(backend.Function{Act: a}).Abs, Rel: productBound(c.Multiply, k).Rel}
}

// biasBound is that of the gradient of the bias, which is a sum of what is not rounded.
func (c convCase) biasBound(s backend.ConvShape) backend.Bound {
	c.Multiply = backend.Float32
	return c.bound(s.X.N*s.Conv.H*s.Conv.W+1, backend.Linear)
}

// eachTap visits the pairs of an output position and an input position that it reads, with the position in the kernel: first
// elements of the output's, the input's and the kernel's channels.
func eachTap(s backend.ConvShape, visit func(o, i, tap int)) {
	for n := range s.X.N {
		for oy := range s.Conv.H {
			for ox := range s.Conv.W {
				o := ((n*s.Conv.H+oy)*s.Conv.W + ox) * s.Filters
				for ky := range s.KernelH {
					for kx := range s.KernelW {
						y, x := oy*s.Stride+ky*s.Dilation-s.PadTop, ox*s.Stride+kx*s.Dilation-s.PadLeft
						if y < 0 || y >= s.In.H || x < 0 || x >= s.In.W {
							continue
						}
						i := ((n*s.X.H+y/s.Up)*s.X.W + x/s.Up) * s.X.C
						visit(o, i, (ky*s.KernelW+kx)*s.X.C)
					}
				}
			}
		}
	}
}

// meeting is what eachTap visits.
type meeting struct{ o, i, tap int }

// eachSum visits the meetings of which one factor is summed before it is multiplied by what they share: forward, the weights by the
// pixel on which they fall; back, the gradients by the pixel, under one tap, of which their outputs read copies.
func eachSum(s backend.ConvShape, back bool, visit func(same []meeting)) {
	var order [][2]int
	groups := map[[2]int][]meeting{}
	one := make([]meeting, 1)
	eachTap(s, func(o, i, tap int) {
		if s.Up == 1 {
			one[0] = meeting{o, i, tap}
			visit(one)
			return
		}
		key := [2]int{o, i}
		if back {
			key = [2]int{i, tap}
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], meeting{o, i, tap})
	})
	for _, key := range order {
		visit(groups[key])
	}
}

// sumGradients is, of each filter, the sum of the gradients of the outputs, rounded, and that of their magnitudes.
func sumGradients(s backend.ConvShape, g []float64, same []meeting) (sum, abs []float64) {
	sum, abs = make([]float64, s.Filters), make([]float64, s.Filters)
	for _, m := range same {
		for f, g := range g[m.o:][:s.Filters] {
			sum[f] += g
			abs[f] += math.Abs(g)
		}
	}
	return rounded(s.Multiply, sum), abs
}

// refConv is the convolution before the activation.
func refConv(s backend.ConvShape, x, w, bias []float64) (v, mag []float64) {
	v, mag = make([]float64, s.Conv.Len()), make([]float64, s.Conv.Len())
	for i := range v {
		if bias != nil {
			v[i] = bias[i%s.Filters]
			mag[i] = math.Abs(v[i])
		}
	}
	image := s.Weights().Image()
	x = rounded(s.Multiply, x)
	sum, abs := make([]float64, s.X.C), make([]float64, s.X.C)
	eachSum(s, false, func(same []meeting) {
		o, i := same[0].o, same[0].i
		for f := range s.Filters {
			clear(sum)
			clear(abs)
			for _, m := range same {
				for c, w := range w[f*image+m.tap:][:s.X.C] {
					sum[c] += w
					abs[c] += math.Abs(w)
				}
			}
			for c, w := range rounded(s.Multiply, sum) {
				v[o+f] += x[i+c] * w
				mag[o+f] += math.Abs(x[i+c]) * abs[c]
			}
		}
	})
	return v, mag
}

// refConvPool pools activated values. Another position is as good as the arg-max if its value is within the bound of the
// maximum.
func refConvPool(s backend.ConvShape, v, mag []float64, bound backend.Bound) values {
	if s.Pool == 1 {
		return values{"out": {v: v, mag: mag}}
	}
	p := must(backend.NewPool(backend.PoolSpec{X: s.Conv, Size: s.Pool, Padding: valid}))
	best, arg := refMaxPool(p, v)
	bestMag := make([]float64, len(best))
	eachWindow(p, func(o, i, _ int) { bestMag[o] = max(bestMag[o], mag[i]) })
	near := func(at int, position float32) (ok bool) {
		eachWindow(p, func(o, i, k int) {
			if o == at && float64(k) == float64(position) {
				ok = v[i] >= best[o]-2*(bound.Abs+bound.Rel*bestMag[o])
			}
		})
		return ok
	}
	a := value{v: arg}
	if bound != exact {
		a.near = near
	}
	return values{"out": {v: best, mag: bestMag}, "argmax": a}
}

// refUnpool takes the gradient at the pooled resolution to that of the convolution.
func refUnpool(s backend.ConvShape, gradOut, argmax []float64) []float64 {
	if s.Pool == 1 {
		return gradOut
	}
	p := must(backend.NewPool(backend.PoolSpec{X: s.Conv, Size: s.Pool, Padding: valid}))
	g, _ := refMaxPoolBack(p, gradOut, argmax)
	return g
}

// refConvBackInput is the gradient of the input before the derivative of InAct.
func refConvBackInput(s backend.ConvShape, gradOut, argmax, w []float64) (v, mag []float64) {
	g := refUnpool(s, gradOut, argmax)
	v, mag = make([]float64, s.X.Len()), make([]float64, s.X.Len())
	image := s.Weights().Image()
	w = rounded(s.Multiply, w)
	eachSum(s, true, func(same []meeting) {
		i, tap := same[0].i, same[0].tap
		sum, abs := sumGradients(s, g, same)
		for f, g := range sum {
			for c, w := range w[f*image+tap:][:s.X.C] {
				v[i+c] += g * w
				mag[i+c] += abs[f] * math.Abs(w)
			}
		}
	})
	return v, mag
}

// refConvBackWeights adds the gradients to gradW and gradBias; the latter may be nil.
func refConvBackWeights(s backend.ConvShape, gradW, gradBias, gradOut, argmax, x []float64) values {
	g := refUnpool(s, gradOut, argmax)
	gw, gb := addTo(gradW), addTo(gradBias)
	image := s.Weights().Image()
	x = rounded(s.Multiply, x)
	eachSum(s, true, func(same []meeting) {
		i, tap := same[0].i, same[0].tap
		sum, abs := sumGradients(s, g, same)
		for f, g := range sum {
			v, mag := gw.v[f*image+tap:][:s.X.C], gw.mag[f*image+tap:][:s.X.C]
			for c, x := range x[i : i+s.X.C] {
				v[c] += g * x
				mag[c] += abs[f] * math.Abs(x)
			}
		}
	})
	for i, g := range g {
		if gradBias != nil {
			gb.add(i%s.Filters, g)
		}
	}
	return values{"gradW": gw, "gradBias": gb}
}

// addTo starts sums, with their magnitudes, at the values v.
func addTo(v []float64) value {
	s := value{v: slices.Clone(v), mag: make([]float64, len(v))}
	for i, x := range v {
		s.mag[i] = math.Abs(x)
	}
	return s
}

func (s value) add(i int, x float64) {
	s.v[i] += x
	s.mag[i] += math.Abs(x)
}

// fusedCases run a fused convolution and, on the same backend, what it is made of one after another.
func fusedCases() []Case {
	var cases []Case
	spec := func(up, pool int, act, inAct backend.Act, channels, filters int) {
		c := convCase{ConvSpec: backend.ConvSpec{X: shape{N: 2, H: 6, W: 6, C: channels}, Filters: filters, KernelH: 3, KernelW: 3,
			Up: up, Pool: pool, Act: act, InAct: inAct}, exact: inAct <= backend.ReLU}
		cases = append(cases, c.fused())
	}
	for up := 1; up <= 3; up++ {
		for pool := 1; pool <= 3; pool++ {
			spec(up, pool, backend.ReLU, backend.ReLU, 3, 5)
		}
	}
	for a := range backend.Tanh + 1 {
		spec(2, 2, a, backend.Linear, 8, 32)
		spec(2, 2, backend.ReLU, a, 32, 8)
	}
	return cases
}

func (c convCase) fused() Case {
	s := c.shape()
	up := must(backend.NewUpsample(s.X, s.Up))
	plain := must(backend.NewConv(backend.ConvSpec{X: s.In, Filters: s.Filters, KernelH: s.KernelH, KernelW: s.KernelW,
		Stride: s.Stride, Padding: s.Padding}))
	pool := must(backend.NewPool(backend.PoolSpec{X: s.Conv, Size: s.Pool, Padding: valid}))

	// Each reference is one of the three cases' own.
	forward, backInput, backWeights := c.forward(), c.backInput(), c.backWeights()
	k := c.base("fused", s, "Conv")
	k.Name = "fused/" + c.name()
	k.Ops = append(k.Ops, "ConvBackInput", "ConvBackWeights", "Upsample", "UpsampleBack", "Activate", "ActivateBack", "MaxPool", "MaxPoolBack")
	k.workspace = func(b backend.Backend) int { return max(b.ConvNeeds(s).Workspace, b.ConvNeeds(plain).Workspace) }
	for _, a := range slices.Concat(forward.args, backInput.args, backWeights.args) {
		if a.name == "argmax" {
			a = argmaxArg("argmax", s.Out, nil).out(exact)
		}
		if !slices.ContainsFunc(k.args, func(b arg) bool { return a.name == b.name }) {
			k.args = append(k.args, a)
		}
	}
	for _, name := range []string{"out", "gradX", "gradW", "gradBias"} {
		if i := slices.IndexFunc(k.args, func(a arg) bool { return a.name == name }); i >= 0 {
			if k.args[i].use == inout {
				k.args[i].fill = given(1, -2, 3) // the same for both
			}
			a := k.args[i]
			a.name += "2"
			k.args = append(k.args, a)
			k.equal = append(k.equal, [2]string{name, a.name})
		}
	}
	k.args = append(k.args, argmaxArg("argmax2", s.Out, nil).out(exact), convPacked("packed2", plain))
	if s.Pool > 1 {
		k.equal = append(k.equal, [2]string{"argmax", "argmax2"})
	}
	k.args = append(k.args, activation("up", s.In, nil).scratch(), activation("gradUp", s.In, nil).scratch(),
		activation("pre", s.Conv, nil).scratch(), activation("gradPre", s.Conv, nil).scratch())
	plainParams := func(t tensors) backend.Params {
		return backend.Params{W: t["w"], Bias: t["bias"], Packed: t["packed2"]}
	}
	k.setup = func(b backend.Backend, t tensors) {
		convPack(b, s, params(t))
		convPack(b, plain, plainParams(t))
	}
	k.run = func(b backend.Backend, t tensors) {
		none := backend.Tensor{}
		b.Conv(s, t["out"], t["argmax"], t["x"], params(t))
		b.ConvBackInput(s, t["gradX"], t["gradOut"], t["argmax"], params(t), t["x"])
		b.ConvBackWeights(s, backend.Params{W: t["gradW"], Bias: t["gradBias"]}, t["gradOut"], t["argmax"], t["x"])

		b.Upsample(up, t["up"], t["x"])
		b.Conv(plain, t["pre"], none, t["up"], plainParams(t))
		b.Activate(backend.Function{Act: s.Act}, t["pre"], t["pre"])
		b.MaxPool(pool, t["out2"], t["argmax2"], t["pre"])
		b.MaxPoolBack(pool, t["gradPre"], t["gradOut"], t["argmax2"])
		b.ConvBackInput(plain, t["gradUp"], t["gradPre"], none, plainParams(t), none)
		b.ConvBackWeights(plain, backend.Params{W: t["gradW2"], Bias: t["gradBias2"]}, t["gradPre"], none, t["up"])
		b.UpsampleBack(up, t["gradX2"], t["gradUp"])
		b.ActivateBack(backend.Function{Act: s.InAct}, t["gradX2"], t["gradX2"], t["x"])
	}
	k.reference = func(d data) values {
		r := forward.reference(d)
		if s.Pool == 1 {
			r["argmax"] = value{v: make([]float64, s.Out.Len())}
		}
		d["argmax"] = r["argmax"].v
		r["gradX"] = backInput.reference(d)["gradX"]
		for name, v := range backWeights.reference(d) {
			r[name] = v
		}
		d["gradW"], d["gradBias"] = d["gradW2"], d["gradBias2"]
		for name, v := range backWeights.reference(d) {
			r[name+"2"] = v
		}
		r["out2"], r["argmax2"], r["gradX2"] = r["out"], r["argmax"], r["gradX"]
		return r
	}
	return k
}
