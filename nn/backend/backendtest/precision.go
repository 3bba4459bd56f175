package backendtest

import (
	"slices"

	"github.com/convae/convae/nn/backend"
)

// precisionCases are layers whose factors are rounded to tf32. Their sizes are odd, and such that every form of a kernel that rounds
// takes some.
func precisionCases() []Case {
	var cases []Case
	for _, c := range tf32Convs() {
		s := c.shape()
		cases = append(cases, c.forward(), c.backInput(), c.backWeights(),
			inPartials(c.backWeights(), func(b backend.Backend) backend.Needs { return b.ConvNeeds(s) }, grads))
	}
	for _, c := range tf32ConvTransposes() {
		cases = append(cases, c.forward(), c.backInput(), c.backWeights())
	}
	for _, c := range tf32Denses() {
		cases = append(cases, c.forward(), c.backInput(), c.backWeights())
	}
	special := denseCase{DenseSpec: backend.DenseSpec{N: 9, In: 3, Out: 5, Multiply: backend.TF32}, special: true}
	return append(cases, special.forward())
}

func tf32Convs() []convCase {
	spec := func(n, h, w, c, filters, kh, kw int, more func(*convCase)) convCase {
		k := convCase{ConvSpec: backend.ConvSpec{X: shape{N: n, H: h, W: w, C: c}, Filters: filters, KernelH: kh, KernelW: kw,
			Act: backend.ReLU, InAct: backend.Tanh, Multiply: backend.TF32}}
		if more != nil {
			more(&k)
		}
		return k
	}
	pool := func(size int) func(*convCase) { return func(k *convCase) { k.Pool = size } }
	up := func(factor int) func(*convCase) { return func(k *convCase) { k.Up = factor } }
	stride := func(n int) func(*convCase) { return func(k *convCase) { k.Stride = n } }
	return []convCase{
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
		spec(1, 8, 9, 40, 44, 3, 3, nil),
		spec(290, 2, 3, 4, 8, 3, 3, nil),
		spec(1, 20, 18, 8, 36, 3, 5, pool(2)),
	}
}

func tf32ConvTransposes() (table []convTransposeCase) {
	for i, k := range [][7]int{{2, 4, 5, 3, 5, 3, 3}, {1, 5, 4, 8, 16, 3, 3}, {2, 3, 4, 32, 1, 4, 4}, {1, 4, 3, 1, 33, 3, 2}, {1, 5, 6, 36, 40, 3, 3}, {1, 5, 6, 2, 12, 3, 3}, {1, 4, 5, 2, 12, 3, 3}} {
		table = append(table, convTransposeCase{ConvTransposeSpec: backend.ConvTransposeSpec{X: shape{N: k[0], H: k[1], W: k[2], C: k[3]},
			Filters: k[4], KernelH: k[5], KernelW: k[6], Stride: 1 + (i+1)%2, Padding: backend.Padding(i % 2), Act: backend.Tanh, InAct: backend.ReLU,
			Multiply: backend.TF32}})
	}
	return table
}

func tf32Denses() (table []denseCase) {
	for _, d := range slices.Concat([][3]int{{1, 1, 1}, {2, 8, 16}, {7, 31, 33}, {33, 64, 1}, {5, 3, 40}, {17, 68, 36}, {257, 4, 4}}, largeDenses) {
		table = append(table, denseCase{DenseSpec: backend.DenseSpec{N: d[0], In: d[1], Out: d[2], Act: backend.Sigmoid, InAct: backend.ReLU,
			Multiply: backend.TF32}})
	}
	return table
}
