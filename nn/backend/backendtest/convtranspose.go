package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

// convTransposeCase is a transposed convolution of which the table has the forward pass and both backward passes.
type convTransposeCase struct {
	backend.ConvTransposeSpec
	noBias bool
	images int
	bench  bool
}

func convTransposeCases() []Case {
	acts := []backend.Act{backend.Linear, backend.ReLU, backend.Sigmoid, backend.Tanh}
	var table []convTransposeCase
	add := func(n, h, w, c, filters, kh, kw, stride int, p backend.Padding) {
		i := len(table)
		table = append(table, convTransposeCase{noBias: i%5 == 3, ConvTransposeSpec: backend.ConvTransposeSpec{
			X: shape{N: n, H: h, W: w, C: c}, Filters: filters, KernelH: kh, KernelW: kw, Stride: stride, Padding: p,
			Act: acts[i%4], InAct: acts[i/4%4]}})
	}
	channels := []int{1, 2, 3, 5, 8, 16}
	for k := 1; k <= backend.MaxKernel; k++ {
		for stride := 1; stride <= 4; stride++ {
			if (k > 7 || stride > 2) && (k+stride)%2 == 0 {
				continue
			}
			i := len(table)
			add(1+i%3, 4+i%3, 6-i%2, channels[i%6], channels[(i/2+3)%6], k, k, stride, same)
			add(1+i%2, 5-i%2, 3+i%4, channels[(i+2)%6], channels[i%6], k, k, stride, valid)
		}
	}
	for i, stride := range []int{5, 7, backend.MaxStride} {
		add(1+i%2, 2+i, 3, channels[i], channels[i+3], 3+4*i, 2+3*i, stride, same)
		add(2-i%2, 3, 2+i, channels[i+3], channels[i+1], 1+5*i, 4+3*i, stride, valid)
	}
	for _, k := range [][2]int{{1, 3}, {5, 3}, {2, 7}, {6, 4}} {
		add(2, 5, 4, 3, 5, k[0], k[1], 1, same)
		add(1, 4, 5, 8, 3, k[0], k[1], 2, same)
		add(2, 3, 6, 2, 4, k[0], k[1], 1, valid)
		add(3, 4, 3, 5, 8, k[0], k[1], 2, valid)
	}
	for _, s := range [][2]int{{1, 1}, {1, 31}, {33, 2}, {129, 3}, {2, 257}} {
		add(2, s[0], s[1], 3, 4, 3, 3, 2, same)
		add(1, s[0], s[1], 2, 8, 3, 3, 1, same)
	}
	for _, c := range [][2]int{{1, 64}, {64, 1}, {31, 33}, {33, 32}, {32, 31}, {64, 64}, {1, 1}} {
		add(2, 4, 5, c[0], c[1], 3, 3, 2, same)
	}
	add(3, 4, 5, 8, 5, 3, 3, 2, same)
	table[len(table)-1].images = 4
	add(7, 7, 7, 32, 32, 3, 3, 2, same)
	table[len(table)-1].bench = true
	for _, p := range []backend.Padding{same, valid} {
		add(2, 17, 15, 18, 21, 3, 3, 1, p)
		table[len(table)-1].Winograd = true
	}
	var cases []Case
	for i, c := range table {
		cases = append(cases, c.forward(), c.backInput(), c.backWeights())
		if i%3 == 0 {
			s := c.shape()
			cases = append(cases, inPartials(c.backWeights(), func(b backend.Backend) backend.Needs { return b.ConvTransposeNeeds(s) }, grads))
		}
	}
	edge := convTransposeCase{ConvTransposeSpec: backend.ConvTransposeSpec{X: shape{N: 2, H: 3, W: 4, C: 3}, Filters: 5,
		KernelH: 3, KernelW: 3, Stride: 2, InAct: backend.ReLU}}
	return append(cases, bordered(edge.forward(), "out"), bordered(edge.backInput(), "gradX"))
}

func (c convTransposeCase) shape() backend.ConvTransposeShape {
	return must(backend.NewConvTranspose(c.ConvTransposeSpec))
}

func (c convTransposeCase) base(what, op string) Case {
	s, x := c.shape(), c.X
	name := fmt.Sprintf("convtranspose/%s/%dx%dx%dx%d-%d/%dx%d-s%d-%v-%v-after-%v", what, x.N, x.H, x.W, x.C, s.Filters,
		s.KernelH, s.KernelW, s.Stride, s.Padding, s.Act, s.InAct)
	if c.noBias {
		name += "-nobias"
	}
	if c.images > 0 {
		name += fmt.Sprintf("-of%d", c.images)
	}
	if c.Winograd {
		name += "-winograd"
	}
	name += suffix(s.Multiply)
	return Case{
		Name: name, Ops: []string{"ConvTransposeNeeds", op}, MACs: s.MACs(), Bench: c.bench,
		workspace: func(b backend.Backend) int { return b.ConvTransposeNeeds(s).Workspace },
	}
}

// params are the weights and their packed form.
func (c convTransposeCase) params(s backend.ConvTransposeShape) []arg {
	w := param("w", s.Weights(), normal(1/math.Sqrt(float64(s.KernelH*s.KernelW*s.X.C))))
	packed := func(b backend.Backend) int { return b.ConvTransposeNeeds(s).Packed }
	return []arg{w, {name: "packed", role: backend.Packed, use: scratch, packed: packed}}
}

func convTransposePack(s backend.ConvTransposeShape) func(backend.Backend, tensors) {
	return func(b backend.Backend, t tensors) {
		if p := params(t); !p.Packed.IsZero() {
			b.ConvTransposePack(s, p.Packed, p.W)
		}
	}
}

func (c convTransposeCase) forward() Case {
	s := c.shape()
	k := c.base("forward", "ConvTranspose")
	k.Ops = append(k.Ops, "ConvTransposePack")
	x, y := activation("x", s.X, outputs(s.InAct)), activation("out", s.Out, nil)
	x.images, y.images = c.images, c.images
	bound := backend.Bound{Abs: actBound(backend.Function{Act: s.Act}).Abs, Rel: productBound(s.Multiply, s.KernelH*s.KernelW*s.X.C+1).Rel}
	k.args = append(c.params(s), x, y.out(bound))
	if !c.noBias {
		k.args = append(k.args, param("bias", backend.Vec(s.Filters), normal(0.3)))
	}
	k.setup = convTransposePack(s)
	k.run = func(b backend.Backend, t tensors) { b.ConvTranspose(s, t["out"], t["x"], params(t)) }
	k.reference = func(d data) values {
		v, mag := refConvTranspose(s, d["x"], d["w"], d["bias"])
		v, mag = refAct(s.Act, v, mag)
		return values{"out": {v: v, mag: mag}}
	}
	return k
}

func (c convTransposeCase) backInput() Case {
	s := c.shape()
	k := c.base("backInput", "ConvTransposeBackInput")
	g, gradX := activation("gradOut", s.Out, normal(1)), activation("gradX", s.X, nil)
	x := activation("x", s.X, outputs(s.InAct))
	g.images, gradX.images, x.images = c.images, c.images, c.images
	k.args = append(c.params(s), g, gradX.out(productBound(s.Multiply, s.KernelH*s.KernelW*s.Filters)))
	if s.InAct != backend.Linear {
		k.args = append(k.args, x)
	}
	k.setup = convTransposePack(s)
	k.run = func(b backend.Backend, t tensors) {
		b.ConvTransposeBackInput(s, t["gradX"], t["gradOut"], params(t), t["x"])
	}
	k.reference = func(d data) values {
		v, mag := refConvTransposeBackInput(s, d["gradOut"], d["w"])
		return values{"gradX": refActBack(s.InAct, v, mag, d["x"])}
	}
	return k
}

func (c convTransposeCase) backWeights() Case {
	s := c.shape()
	k := c.base("backWeights", "ConvTransposeBackWeights")
	g, x := activation("gradOut", s.Out, normal(1)), activation("x", s.X, outputs(s.InAct))
	g.images, x.images = c.images, c.images
	terms := s.Out.N*s.Out.H*s.Out.W + 1
	k.args = []arg{g, x, param("gradW", s.Weights(), normal(1)).inout(productBound(s.Multiply, terms))}
	if !c.noBias {
		k.args = append(k.args, param("gradBias", backend.Vec(s.Filters), normal(1)).inout(sumBound(terms)))
	}
	k.run = func(b backend.Backend, t tensors) {
		b.ConvTransposeBackWeights(s, grads(t), t["gradOut"], t["x"])
	}
	k.reference = func(d data) values {
		return refConvTransposeBackWeights(s, d["gradW"], d["gradBias"], d["gradOut"], d["x"])
	}
	return k
}

// eachTransposeTap visits the pairs of an input position and an output position to which it adds, with the position in the
// kernel.
func eachTransposeTap(s backend.ConvTransposeShape, visit func(o, i, tap int)) {
	for n := range s.X.N {
		for y := range s.X.H {
			for x := range s.X.W {
				i := ((n*s.X.H+y)*s.X.W + x) * s.X.C
				for ky := range s.KernelH {
					for kx := range s.KernelW {
						oy, ox := y*s.Stride+ky-s.Dual.PadTop, x*s.Stride+kx-s.Dual.PadLeft
						if oy < 0 || oy >= s.Out.H || ox < 0 || ox >= s.Out.W {
							continue
						}
						visit(((n*s.Out.H+oy)*s.Out.W+ox)*s.Filters, i, (ky*s.KernelW+kx)*s.Filters)
					}
				}
			}
		}
	}
}

// refConvTranspose is the transposed convolution before the activation.
func refConvTranspose(s backend.ConvTransposeShape, x, w, bias []float64) (v, mag []float64) {
	x, w = rounded(s.Multiply, x), rounded(s.Multiply, w)
	r := value{v: make([]float64, s.Out.Len()), mag: make([]float64, s.Out.Len())}
	if bias != nil {
		for i := range r.v {
			r.add(i, bias[i%s.Filters])
		}
	}
	image := s.Weights().Image()
	eachTransposeTap(s, func(o, i, tap int) {
		for c := range s.X.C {
			for f, w := range w[c*image+tap:][:s.Filters] {
				r.add(o+f, x[i+c]*w)
			}
		}
	})
	return r.v, r.mag
}

// refConvTransposeBackInput is the gradient of the input before the derivative of InAct.
func refConvTransposeBackInput(s backend.ConvTransposeShape, gradOut, w []float64) (v, mag []float64) {
	gradOut, w = rounded(s.Multiply, gradOut), rounded(s.Multiply, w)
	r := value{v: make([]float64, s.X.Len()), mag: make([]float64, s.X.Len())}
	image := s.Weights().Image()
	eachTransposeTap(s, func(o, i, tap int) {
		for c := range s.X.C {
			for f, w := range w[c*image+tap:][:s.Filters] {
				r.add(i+c, gradOut[o+f]*w)
			}
		}
	})
	return r.v, r.mag
}

// refConvTransposeBackWeights adds the gradients to gradW and gradBias; the latter may be nil.
func refConvTransposeBackWeights(s backend.ConvTransposeShape, gradW, gradBias, gradOut, x []float64) values {
	gw, gb := addTo(gradW), addTo(gradBias)
	g, x := rounded(s.Multiply, gradOut), rounded(s.Multiply, x)
	image := s.Weights().Image()
	eachTransposeTap(s, func(o, i, tap int) {
		for c := range s.X.C {
			for f := range s.Filters {
				gw.add(c*image+tap+f, g[o+f]*x[i+c])
			}
		}
	})
	for i, g := range gradOut {
		if gradBias != nil {
			gb.add(i%s.Filters, g)
		}
	}
	return values{"gradW": gw, "gradBias": gb}
}
