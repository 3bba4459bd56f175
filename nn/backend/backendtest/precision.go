package backendtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// precisionCases are layers whose factors are rounded, and ops on narrow activations. Their sizes are odd, and such that every form of a
// kernel that rounds takes some.
func precisionCases() []Case {
	cases := append(productCases(backend.TF32), narrowCases()...)
	for i, c := range productCases(backend.BFloat16) {
		// All activations are narrow, or one of them is.
		var names []string
		if c.Ops[0] != "DenseNeeds" || !strings.Contains(c.Name, "9x3-5") {
			names = [][]string{nil, {"x"}, nil, {"gradOut", "gradX"}, {"out", "gradX"}, nil, {"out", "gradOut"}}[i%7]
		}
		cases = append(cases, narrowed(c, names...))
	}
	// The first layer reads floats, and the gradient of the last one is of floats.
	for _, c := range roundedConvs(backend.BFloat16) {
		switch {
		case c.X.C < 4 && c.Filters > 4:
			cases = append(cases, narrowed(c.forward(), "out"))
		case c.Filters < 4 && c.X.C > 4:
			cases = append(cases, narrowed(c.backInput(), "gradX", "x"))
		}
	}
	for _, c := range fewConvs(backend.BFloat16) {
		s, back := c.shape(), c.backWeights()
		parts := inPartials(back, func(b backend.Backend) backend.Needs { return b.ConvNeeds(s) }, grads)
		if s.Filters > s.X.C {
			cases = append(cases, narrowed(c.forward(), "out"), narrowed(back, "gradOut"), narrowed(parts, "gradOut"))
		} else {
			cases = append(cases, narrowed(c.forward(), "x"), narrowed(c.backInput(), "gradX", "x"), narrowed(back, "x"), narrowed(parts, "x"))
		}
	}
	for _, c := range wideConvs(backend.BFloat16) {
		s := c.shape()
		cases = append(cases, narrowed(inPartials(c.backWeights(), func(b backend.Backend) backend.Needs { return b.ConvNeeds(s) }, grads)))
	}
	for _, c := range tiledConvs(backend.BFloat16) {
		cases = append(cases, narrowed(c.forward()), narrowed(c.backInput()))
	}
	return cases
}

// tiledConvs are layers of whole tiles of eight rows by eight pixels and of more than 64 columns in one direction, of whole and of odd numbers of images and of
// tiles of columns, in strips, and of residues that see few taps.
func tiledConvs(d backend.DType) []convCase {
	spec := roundedConv(d)
	return []convCase{
		spec(1, 8, 16, 48, 80, 3, 3, nil),
		spec(3, 8, 8, 16, 136, 3, 3, nil),
		spec(1, 16, 8, 80, 48, 3, 2, nil),
		spec(1, 8, 32, 32, 72, 4, 3, nil),
		spec(1, 8, 8, 208, 72, 2, 5, up(2)),
	}
}

// productCases are layers whose factors are rounded to d.
func productCases(d backend.DType) []Case {
	var cases []Case
	for _, c := range roundedConvs(d) {
		s := c.shape()
		cases = append(cases, c.forward(), c.backInput(), c.backWeights(),
			inPartials(c.backWeights(), func(b backend.Backend) backend.Needs { return b.ConvNeeds(s) }, grads))
	}
	for _, c := range roundedConvTransposes(d) {
		cases = append(cases, c.forward(), c.backInput(), c.backWeights())
	}
	for _, c := range roundedDenses(d) {
		cases = append(cases, c.products()...)
	}
	special := denseCase{DenseSpec: backend.DenseSpec{N: 9, In: 3, Out: 5, Multiply: d}, special: true}
	return append(cases, special.forward())
}

// narrowCases are the ops that only hand narrow activations on, between all of whose activations narrow and only the first or the last.
func narrowCases() []Case {
	var cases []Case
	stepParams := backend.StepParams{Step: 3}
	src := rng.Source{Seed: 5, Stream: rng.StreamNoise}
	for _, s := range []shape{{N: 2, H: 6, W: 5, C: 3}, {N: 1, H: 4, W: 6, C: 8}} {
		vector := Case{
			Name: fmt.Sprintf("vector/copy/activation/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"Copy"},
			args:      []arg{activation("x", s, mixed(normal(1), inf, nan, -inf, 1e-40, 0x1.ffp127)), activation("out", s, nil).out(exact)},
			run:       func(b backend.Backend, t tensors) { b.Copy(t["out"], t["x"]) },
			reference: func(d data) values { return values{"out": {v: d["x"]}} },
		}
		even := backend.PoolSpec{X: s, Size: 2, Padding: valid}
		overlapping := backend.PoolSpec{X: s, Size: 3, Stride: 2}
		for _, c := range []Case{
			vector, reshapeCase(s, shape{N: s.N, H: 1, W: 1, C: s.Image()}),
			actForward(backend.Function{Act: backend.Tanh}, s, "", normal(1)),
			actForwardInPlace(backend.Function{Act: backend.ReLU}, s), actForward(backend.Function{Act: backend.SiLU}, s, "", normal(1)),
			actBack(backend.Function{Act: backend.Sigmoid}, s, "", outputs(backend.Sigmoid)), actBackInPlace(backend.Function{Act: backend.ReLU}, s),
			actBack(backend.Function{Act: backend.GELU}, s, "", normal(1)), actBack(backend.Function{Act: backend.Softplus}, s, "", uniform(0, 4)),
			poolForward(even, "", normal(1)), poolBack(even), poolForward(overlapping, "", normal(1)), poolBack(overlapping),
			averageForward(even), averageBack(overlapping), bilinearForward(s, 2), bilinearBack(s, 3),
			depthForward(shape{N: s.N, H: s.H, W: s.W, C: 4 * s.C}, 2, backend.BlockFirst), depthBack(shape{N: s.N, H: s.H, W: s.W, C: 4 * s.C}, 2, backend.ChannelFirst),
			timesCase(s, true), timesCase(s, false), sumPixelsCase(s, false), spreadPixelsCase(s),
			upsampleForward(s, 2), upsampleBack(s, 3), plusCase(s), plusInPlace(s), accumulateCase(s),
			channelsCase(join{s.N, s.H, s.W, 2 * s.C, s.C, s.C, 0, s.C}), channelsCase(join{s.N, s.H, s.W, s.C, 0, 2 * s.C, s.C, s.C}),
			dropoutCase(0.3, src, s, stepParams, 1, false), dropoutCase(0.3, src, s, stepParams, 1, true),
		} {
			var names []string
			for _, a := range c.args {
				if a.role == backend.Activation {
					names = append(names, a.name)
				}
			}
			cases = append(cases, narrowed(c))
			if len(names) > 1 {
				cases = append(cases, narrowed(c, names[0]), narrowed(c, names[len(names)-1]))
			}
		}
	}
	return cases
}

// wideConvs are layers of so many channels that the gradient of weights has a form of its own for them, of whole and of odd tiles.
func wideConvs(d backend.DType) []convCase {
	spec := roundedConv(d)
	return []convCase{
		spec(2, 9, 11, 40, 72, 3, 3, nil),
		spec(1, 8, 35, 136, 136, 3, 2, nil),
		spec(1, 10, 20, 72, 80, 3, 3, pool(2)),
		spec(1, 8, 12, 48, 136, 3, 3, pool(2)),
		spec(1, 19, 13, 40, 72, 5, 4, stride(2)),
		spec(1, 11, 9, 72, 136, 4, 3, stride(3)),
		spec(1, 6, 9, 72, 40, 3, 3, up(2)),
		spec(2, 9, 3, 136, 72, 3, 2, up(2)),
		spec(1, 9, 6, 72, 40, 4, 4, up(3)),
		spec(232, 8, 8, 40, 72, 3, 3, pool(2)), // parts of many units
	}
}

// fewConvs are layers of few values under the window, as the first of a model and the last, of whole and of odd units and tiles.
func fewConvs(d backend.DType) []convCase {
	spec := roundedConv(d)
	return []convCase{
		spec(2, 9, 11, 3, 40, 3, 3, nil),
		spec(1, 3, 300, 1, 16, 3, 3, nil), // strips
		spec(1, 9, 7, 2, 68, 4, 3, stride(2)),
		spec(2, 11, 13, 3, 8, 3, 2, stride(3)),
		spec(1, 6, 140, 3, 16, 3, 3, pool(2)),
		spec(2, 12, 10, 3, 136, 3, 3, pool(2)),
		spec(2, 10, 15, 3, 24, 5, 2, func(k *convCase) { k.Pool, k.Padding = 2, valid }),
		spec(1, 6, 10, 3, 8, 3, 3, func(k *convCase) { k.Pool, k.exact = 2, true }),
		spec(290, 4, 6, 1, 8, 3, 3, pool(2)), // blocks of more than one unit
		spec(2, 6, 9, 40, 3, 3, 3, up(2)),
		spec(1, 2, 270, 8, 1, 3, 3, up(2)),
		spec(1, 5, 6, 8, 2, 1, 1, up(2)),
		spec(1, 6, 5, 136, 1, 5, 5, func(k *convCase) { k.Up, k.Padding = 2, valid }),
		spec(280, 2, 3, 4, 1, 3, 2, up(2)),
		spec(1, 7, 9, 40, 3, 3, 3, nil),
		spec(2, 6, 5, 8, 2, 3, 2, nil),
	}
}

func pool(size int) func(*convCase) { return func(k *convCase) { k.Pool = size } }
func up(factor int) func(*convCase) { return func(k *convCase) { k.Up = factor } }
func stride(n int) func(*convCase)  { return func(k *convCase) { k.Stride = n } }
func dilated(n int) func(*convCase) { return func(k *convCase) { k.Dilation = n } }

// roundedConv makes layers whose factors are rounded to d.
func roundedConv(d backend.DType) func(n, h, w, c, filters, kh, kw int, more func(*convCase)) convCase {
	return func(n, h, w, c, filters, kh, kw int, more func(*convCase)) convCase {
		k := convCase{ConvSpec: backend.ConvSpec{X: shape{N: n, H: h, W: w, C: c}, Filters: filters, KernelH: kh, KernelW: kw,
			Act: backend.ReLU, InAct: backend.Tanh, Multiply: d}}
		if more != nil {
			more(&k)
		}
		return k
	}
}

func roundedConvs(d backend.DType) []convCase {
	spec := roundedConv(d)
	return []convCase{
		spec(2, 9, 8, 8, 12, 3, 3, dilated(2)),
		spec(1, 8, 16, 48, 68, 3, 2, dilated(3)),
		spec(2, 1, 1, 1, 1, 1, 1, nil),
		spec(2, 5, 6, 5, 7, 3, 3, nil),
		spec(1, 7, 6, 8, 12, 3, 3, nil),
		spec(2, 9, 10, 1, 33, 3, 3, nil),
		spec(2, 10, 8, 1, 32, 3, 3, pool(2)),
		spec(1, 9, 11, 3, 36, 3, 3, stride(2)),
		spec(1, 28, 38, 3, 37, 3, 3, pool(2)),
		spec(1, 26, 31, 2, 5, 5, 2, nil),
		spec(2, 5, 7, 6, 5, 5, 4, stride(2)),
		spec(1, 9, 7, 12, 20, 4, 5, stride(2)),
		spec(6, 15, 13, 8, 12, 3, 3, stride(2)), // residues of unequal height, of which a block sees several images
		spec(2, 6, 9, 36, 3, 3, 3, pool(3)),
		spec(1, 7, 9, 32, 1, 3, 3, nil),
		spec(3, 6, 8, 8, 16, 3, 3, pool(2)),
		spec(1, 14, 14, 3, 5, 3, 3, pool(14)),
		spec(2, 14, 14, 4, 8, 3, 3, pool(7)),
		spec(2, 5, 4, 3, 6, 3, 3, up(2)),
		spec(2, 4, 5, 16, 8, 3, 3, up(2)),
		spec(2, 5, 6, 32, 1, 3, 3, up(2)),
		spec(1, 5, 9, 40, 3, 3, 3, up(2)),
		spec(2, 4, 3, 8, 4, 4, 5, up(2)),
		spec(1, 2, 133, 36, 2, 3, 2, nil),
		spec(1, 3, 4, 5, 6, 4, 5, up(3)),
		spec(1, 3, 2, 4, 8, 3, 7, up(6)),
		spec(1, 8, 6, 68, 12, 2, 2, stride(2)),
		spec(1, 6, 5, 64, 64, 1, 1, nil),
		// Of whole tiles of eight rows by eight pixels.
		spec(1, 16, 16, 24, 72, 3, 3, nil),
		spec(2, 8, 8, 48, 80, 3, 3, pool(2)),
		spec(1, 8, 32, 48, 68, 5, 3, nil),
		spec(2, 8, 16, 16, 48, 3, 3, up(2)),
		spec(1, 16, 8, 64, 144, 1, 1, nil),
		spec(128, 16, 16, 16, 36, 1, 1, nil), // which make many blocks
		spec(128, 16, 16, 36, 16, 1, 1, nil),
		spec(1, 8, 9, 40, 44, 3, 3, nil),
		spec(290, 2, 3, 4, 8, 3, 3, nil),
		spec(1, 20, 18, 8, 36, 3, 5, pool(2)),
		spec(2, 17, 11, 24, 40, 3, 3, nil),
		spec(1, 18, 12, 16, 40, 3, 3, pool(3)),
		spec(1, 9, 13, 16, 40, 5, 4, stride(2)),
		spec(1, 9, 6, 48, 16, 3, 3, up(2)),
	}
}

func roundedConvTransposes(d backend.DType) (table []convTransposeCase) {
	for i, k := range [][7]int{{2, 4, 5, 3, 5, 3, 3}, {1, 5, 4, 8, 16, 3, 3}, {2, 3, 4, 32, 1, 4, 4}, {1, 4, 3, 1, 33, 3, 2}, {1, 5, 6, 36, 40, 3, 3}, {1, 5, 6, 2, 12, 3, 3}, {1, 4, 5, 2, 12, 3, 3}} {
		table = append(table, convTransposeCase{ConvTransposeSpec: backend.ConvTransposeSpec{X: shape{N: k[0], H: k[1], W: k[2], C: k[3]},
			Filters: k[4], KernelH: k[5], KernelW: k[6], Stride: 1 + (i+1)%2, Padding: backend.Padding(i % 2), Act: backend.Tanh, InAct: backend.ReLU,
			Multiply: d}})
	}
	return table
}

func roundedDenses(d backend.DType) (table []denseCase) {
	few := [][3]int{{1, 1, 1}, {2, 8, 16}, {7, 31, 33}, {33, 64, 1}, {5, 3, 40}, {17, 68, 36}, {257, 4, 4}}
	for i, n := range slices.Concat(few, longDenses, wideDenses) {
		table = append(table, denseCase{DenseSpec: backend.DenseSpec{N: n[0], In: n[1], Out: n[2], Act: backend.Sigmoid, InAct: backend.ReLU,
			Multiply: d}, wide: i >= len(few)+len(longDenses)})
	}
	return table
}
