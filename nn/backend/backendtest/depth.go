package backendtest

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

func depthCases() []Case {
	var cases []Case
	for _, order := range []backend.DepthOrder{backend.BlockFirst, backend.ChannelFirst} {
		for _, c := range [][5]int{{2, 3, 5, 3, 2}, {1, 1, 1, 1, 16}, {3, 5, 4, 8, 2}, {1, 7, 31, 1, 3}, {2, 2, 3, 12, 3}, {7, 3, 2, 31, 2}, {1, 4, 33, 4, 1}} {
			x := shape{N: c[0], H: c[1], W: c[2], C: c[3] * c[4] * c[4]}
			cases = append(cases, depthForward(x, c[4], order), depthBack(x, c[4], order))
		}
		small := shape{N: 2, H: 4, W: 3, C: 20}
		cases = append(cases, bordered(depthForward(small, 2, order), "out"), bordered(depthBack(small, 2, order), "gradX"))
	}
	view := depthForward(shape{N: 3, H: 2, W: 3, C: 16}, 2, backend.BlockFirst)
	view.Name += "-of4"
	for i := range view.args {
		view.args[i].images = 4
	}
	bench := []Case{depthForward(shape{N: 8, H: 14, W: 14, C: 128}, 2, backend.BlockFirst), depthForward(shape{N: 8, H: 14, W: 14, C: 128}, 2, backend.ChannelFirst)}
	bench[0].Bench, bench[1].Bench = true, true
	return append(append(cases, view), bench...)
}

func depthName(what string, s backend.DepthShape) string {
	order := "block"
	if s.Order == backend.ChannelFirst {
		order = "channel"
	}
	return fmt.Sprintf("depth/%s/%dx%dx%dx%d-by%d-%s", what, s.X.N, s.X.H, s.X.W, s.X.C, s.Size, order)
}

func depthForward(x shape, size int, order backend.DepthOrder) Case {
	s := must(backend.NewDepth(x, size, order))
	return Case{
		Name: depthName("toSpace", s), Ops: []string{"DepthToSpace"},
		args: []arg{activation("x", s.X, normal(1)), activation("out", s.Out, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.DepthToSpace(s, t["out"], t["x"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, s.Out.Len())}
			eachMove(s, func(o, i int) { r.v[o] = d["x"][i] })
			return values{"out": r}
		},
	}
}

func depthBack(x shape, size int, order backend.DepthOrder) Case {
	s := must(backend.NewDepth(x, size, order))
	return Case{
		Name: depthName("back", s), Ops: []string{"SpaceToDepth"},
		args: []arg{activation("gradOut", s.Out, normal(1)), activation("gradX", s.X, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.SpaceToDepth(s, t["gradX"], t["gradOut"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, s.X.Len())}
			eachMove(s, func(o, i int) { r.v[i] = d["gradOut"][o] })
			return values{"gradX": r}
		},
	}
}

// eachMove visits the pairs of an element of the input and where it goes in the output.
func eachMove(s backend.DepthShape, visit func(o, i int)) {
	area := s.Size * s.Size
	for i := range s.X.Len() {
		channel, pixel := i%s.X.C, i/s.X.C
		x, y, n := pixel%s.X.W, pixel/s.X.W%s.X.H, pixel/s.X.W/s.X.H
		block, c := channel/s.Out.C, channel%s.Out.C
		if s.Order == backend.ChannelFirst {
			block, c = channel%area, channel/area
		}
		visit(((n*s.Out.H+y*s.Size+block/s.Size)*s.Out.W+x*s.Size+block%s.Size)*s.Out.C+c, i)
	}
}
