package backendtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/convae/convae/nn/backend"
)

// denseCase is a dense layer of which the table has the forward pass and both backward passes.
type denseCase struct {
	backend.DenseSpec
	noBias bool
	images int
	bench  bool
	wide   bool // one of wideDenses
	// special puts an infinity and a NaN, of all bits set, among the inputs.
	special bool
}

// wideDenses are layers of rows, inputs and units for which a GPU has larger tiles, of the outputs, of the gradient of the input or of that of
// the weights: the other two products of each are no news, and not in the table. Of longDenses it shares out the sums of gradients.
var (
	wideDenses = [][3]int{{1100, 12, 740}, {1100, 740, 12}, {12, 740, 1100}, {580, 20, 740}, {580, 740, 20}, {20, 740, 580}}
	longDenses = [][3]int{{2100, 36, 5}, {3100, 12, 8}}
)

func denseCases() []Case {
	acts := []backend.Act{backend.Linear, backend.ReLU, backend.Sigmoid, backend.Tanh}
	var table []denseCase
	for i, d := range [][3]int{ // rows, inputs, units
		{1, 1, 1}, {2, 1, 3}, {3, 2, 1}, {7, 3, 5}, {1, 5, 2}, {2, 8, 16}, {3, 16, 8}, {7, 31, 33}, {33, 33, 31}, {1, 32, 64},
		{2, 64, 32}, {3, 257, 31}, {7, 31, 257}, {31, 1, 257}, {257, 3, 2}, {1, 784, 33}, {5, 33, 784}, {32, 32, 32}, {64, 64, 64},
		{17, 65, 129}, {1, 343, 200},
	} {
		table = append(table, denseCase{DenseSpec: backend.DenseSpec{N: d[0], In: d[1], Out: d[2], Act: acts[i%4], InAct: acts[i/4%4]}, noBias: i%5 == 3})
	}
	table = append(table,
		denseCase{DenseSpec: backend.DenseSpec{N: 3, In: 33, Out: 5, Act: backend.ReLU, InAct: backend.Sigmoid}, images: 4},
		denseCase{DenseSpec: backend.DenseSpec{N: 32, In: 784, Out: 128, Act: backend.ReLU}, bench: true})
	for _, d := range longDenses {
		table = append(table, denseCase{DenseSpec: backend.DenseSpec{N: d[0], In: d[1], Out: d[2], Act: backend.ReLU, InAct: backend.Tanh}})
	}
	for _, d := range wideDenses {
		table = append(table, denseCase{DenseSpec: backend.DenseSpec{N: d[0], In: d[1], Out: d[2], Act: backend.ReLU, InAct: backend.Tanh}, wide: true})
	}
	var cases []Case
	for _, c := range table {
		s := c.shape()
		for _, k := range c.products() {
			cases = append(cases, k)
			if slices.Contains(k.Ops, "DenseBackWeights") {
				cases = append(cases, inPartials(k, func(b backend.Backend) backend.Needs { return b.DenseNeeds(s) }, grads))
			}
		}
	}
	edge := denseCase{DenseSpec: backend.DenseSpec{N: 3, In: 9, Out: 5, InAct: backend.ReLU}}
	return append(cases, bordered(edge.forward(), "out"), bordered(edge.backInput(), "gradX"))
}

// products returns the cases of the layer: all three products, or, if it is wide, that of the largest matrix.
func (c denseCase) products() []Case {
	switch least := min(c.N, c.In, c.Out); {
	case !c.wide:
		return []Case{c.forward(), c.backInput(), c.backWeights()}
	case c.In == least:
		return []Case{c.forward()}
	case c.Out == least:
		return []Case{c.backInput()}
	}
	return []Case{c.backWeights()}
}

func (c denseCase) shape() backend.DenseShape { return must(backend.NewDense(c.DenseSpec)) }

func (c denseCase) base(what, op string) Case {
	s := c.shape()
	name := fmt.Sprintf("dense/%s/%dx%d-%d/%v-after-%v", what, s.N, s.In, c.Out, s.Act, s.InAct)
	if c.noBias {
		name += "-nobias"
	}
	if c.images > 0 {
		name += fmt.Sprintf("-of%d", c.images)
	}
	name += suffix(s.Multiply)
	return Case{
		Name: name, Ops: []string{"DenseNeeds", op}, MACs: s.MACs(), Bench: c.bench,
		workspace: func(b backend.Backend) int { return b.DenseNeeds(s).Workspace },
	}
}

func (c denseCase) params(s backend.DenseShape) []arg {
	w := param("w", s.Weights(), normal(1/math.Sqrt(float64(s.In))))
	packed := func(b backend.Backend) int { return b.DenseNeeds(s).Packed }
	return []arg{w, {name: "packed", role: backend.Packed, use: scratch, packed: packed}}
}

func densePack(s backend.DenseShape) func(backend.Backend, tensors) {
	return func(b backend.Backend, t tensors) {
		if p := params(t); !p.Packed.IsZero() {
			b.DensePack(s, p.Packed, p.W)
		}
	}
}

func (c denseCase) forward() Case {
	s := c.shape()
	k := c.base("forward", "Dense")
	k.Ops = append(k.Ops, "DensePack")
	x, y := activation("x", s.XShape(), outputs(s.InAct)), activation("out", s.OutShape(), nil)
	if c.special {
		x.fill = mixed(x.fill, float32(math.Inf(1)), 1, math.Float32frombits(math.MaxInt32))
	}
	x.images, y.images = c.images, c.images
	k.args = append(c.params(s), x, y.out(backend.Bound{Abs: actBound(backend.Function{Act: s.Act}).Abs, Rel: productBound(s.Multiply, s.In+1).Rel}))
	if !c.noBias {
		k.args = append(k.args, param("bias", backend.Vec(c.Out), normal(0.3)))
	}
	k.setup = densePack(s)
	k.run = func(b backend.Backend, t tensors) { b.Dense(s, t["out"], t["x"], params(t)) }
	k.reference = func(d data) values {
		v, mag := refDense(s, d["x"], d["w"], d["bias"])
		v, mag = refAct(s.Act, v, mag)
		return values{"out": {v: v, mag: mag}}
	}
	return k
}

func (c denseCase) backInput() Case {
	s := c.shape()
	k := c.base("backInput", "DenseBackInput")
	g, gradX := activation("gradOut", s.OutShape(), normal(1)), activation("gradX", s.XShape(), nil)
	x := activation("x", s.XShape(), outputs(s.InAct))
	g.images, gradX.images, x.images = c.images, c.images, c.images
	k.args = append(c.params(s), g, gradX.out(productBound(s.Multiply, c.Out)))
	if s.InAct != backend.Linear {
		k.args = append(k.args, x)
	}
	k.setup = densePack(s)
	k.run = func(b backend.Backend, t tensors) {
		b.DenseBackInput(s, t["gradX"], t["gradOut"], params(t), t["x"])
	}
	k.reference = func(d data) values {
		v, mag := refDenseBackInput(s, d["gradOut"], d["w"])
		return values{"gradX": refActBack(s.InAct, v, mag, d["x"])}
	}
	return k
}

func (c denseCase) backWeights() Case {
	s := c.shape()
	k := c.base("backWeights", "DenseBackWeights")
	g, x := activation("gradOut", s.OutShape(), normal(1)), activation("x", s.XShape(), outputs(s.InAct))
	g.images, x.images = c.images, c.images
	k.args = []arg{g, x, param("gradW", s.Weights(), normal(1)).inout(productBound(s.Multiply, s.N+1))}
	if !c.noBias {
		k.args = append(k.args, param("gradBias", backend.Vec(c.Out), normal(1)).inout(sumBound(s.N+1)))
	}
	k.run = func(b backend.Backend, t tensors) {
		b.DenseBackWeights(s, grads(t), t["gradOut"], t["x"])
	}
	k.reference = func(d data) values {
		return refDenseBackWeights(s, d["gradW"], d["gradBias"], d["gradOut"], d["x"])
	}
	return k
}

// refDense is x wᵀ + bias.
func refDense(s backend.DenseShape, x, w, bias []float64) (v, mag []float64) {
	units := s.OutShape().C
	x, w = rounded(s.Multiply, x), rounded(s.Multiply, w)
	r := value{v: make([]float64, s.N*units), mag: make([]float64, s.N*units)}
	for n := range s.N {
		for o := range units {
			if bias != nil {
				r.add(n*units+o, bias[o])
			}
			for i := range s.In {
				r.add(n*units+o, x[n*s.In+i]*w[o*s.In+i])
			}
		}
	}
	return r.v, r.mag
}

// refDenseBackInput is gradOut w.
func refDenseBackInput(s backend.DenseShape, gradOut, w []float64) (v, mag []float64) {
	units := s.OutShape().C
	gradOut, w = rounded(s.Multiply, gradOut), rounded(s.Multiply, w)
	r := value{v: make([]float64, s.N*s.In), mag: make([]float64, s.N*s.In)}
	for n := range s.N {
		for o := range units {
			for i := range s.In {
				r.add(n*s.In+i, gradOut[n*units+o]*w[o*s.In+i])
			}
		}
	}
	return r.v, r.mag
}

// refDenseBackWeights adds gradOutᵀ x to gradW and the column sums of gradOut to gradBias, which may be nil.
func refDenseBackWeights(s backend.DenseShape, gradW, gradBias, gradOut, x []float64) values {
	units := s.OutShape().C
	gw, gb := addTo(gradW), addTo(gradBias)
	g, x := rounded(s.Multiply, gradOut), rounded(s.Multiply, x)
	for n := range s.N {
		for o := range units {
			for i := range s.In {
				gw.add(o*s.In+i, g[n*units+o]*x[n*s.In+i])
			}
			if gradBias != nil {
				gb.add(o, gradOut[n*units+o])
			}
		}
	}
	return values{"gradW": gw, "gradBias": gb}
}
