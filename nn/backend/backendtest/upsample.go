package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

func upsampleCases() []Case {
	var cases []Case
	for _, c := range [][5]int{
		{2, 28, 28, 3, 2}, {1, 7, 9, 1, 1}, {3, 9, 5, 2, 3}, {1, 1, 1, 5, 7}, {2, 2, 3, 3, 16}, {1, 31, 33, 2, 2}, {7, 3, 2, 8, 2},
		{1, 1, 257, 3, 2}, {2, 4, 5, 31, 4}, {2, 5, 4, 32, 3}, {1, 3, 3, 33, 2}, {1, 2, 2, 64, 5},
	} {
		x := shape{N: c[0], H: c[1], W: c[2], C: c[3]}
		cases = append(cases, upsampleForward(x, c[4]), upsampleBack(x, c[4]), bilinearForward(x, c[4]), bilinearBack(x, c[4]))
	}
	small := shape{N: 3, H: 4, W: 3, C: 5}
	views := []Case{upsampleForward(small, 2), upsampleBack(small, 2), bilinearForward(small, 2), bilinearBack(small, 2)}
	for i := range views {
		views[i].Name += "-of4"
		for j := range views[i].args {
			views[i].args[j].images = 4
		}
	}
	cases = append(cases, views...)
	bench := shape{N: 8, H: 14, W: 14, C: 32}
	speed := []Case{upsampleForward(bench, 2), upsampleBack(bench, 2), bilinearForward(bench, 2), bilinearBack(bench, 2)}
	for i := range speed {
		speed[i].Bench = true
	}
	cases = append(cases, speed...)
	x := shape{N: 2, H: 3, W: 4, C: 3}
	return append(cases, bordered(upsampleForward(x, 2), "out"), bordered(upsampleBack(x, 2), "gradX"),
		bordered(bilinearForward(x, 2), "out"), bordered(bilinearBack(x, 3), "gradX"), bilinearForward(small, 1), bilinearBack(small, 1))
}

func upsampleForward(x shape, factor int) Case {
	s := must(backend.NewUpsample(x, factor))
	return Case{
		Name: fmt.Sprintf("upsample/forward/%dx%dx%dx%d-by%d", x.N, x.H, x.W, x.C, factor), Ops: []string{"Upsample"},
		args: []arg{activation("x", s.X, normal(1)), activation("out", s.Out, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.Upsample(s, t["out"], t["x"]) },
		reference: func(d data) values {
			return values{"out": {v: refUpsample(s, d["x"])}}
		},
	}
}

func upsampleBack(x shape, factor int) Case {
	s := must(backend.NewUpsample(x, factor))
	return Case{
		Name: fmt.Sprintf("upsample/back/%dx%dx%dx%d-by%d", x.N, x.H, x.W, x.C, factor), Ops: []string{"UpsampleBack"},
		args: []arg{activation("gradOut", s.Out, normal(1)), activation("gradX", s.X, nil).out(sumBound(factor * factor))},
		run:  func(b backend.Backend, t tensors) { b.UpsampleBack(s, t["gradX"], t["gradOut"]) },
		reference: func(d data) values {
			v, mag := refUpsampleBack(s, d["gradOut"])
			return values{"gradX": {v: v, mag: mag}}
		},
	}
}

// upsampled returns the input element that output element o repeats.
func upsampled(s backend.UpsampleShape, o int) int {
	c, x := o%s.Out.C, o/s.Out.C%s.Out.W
	y, n := o/s.Out.C/s.Out.W%s.Out.H, o/s.Out.Image()
	return ((n*s.X.H+y/s.Factor)*s.X.W+x/s.Factor)*s.X.C + c
}

func refUpsample(s backend.UpsampleShape, x []float64) []float64 {
	v := make([]float64, s.Out.Len())
	for o := range v {
		v[o] = x[upsampled(s, o)]
	}
	return v
}

func refUpsampleBack(s backend.UpsampleShape, gradOut []float64) (v, mag []float64) {
	v, mag = make([]float64, s.X.Len()), make([]float64, s.X.Len())
	for o, g := range gradOut {
		v[upsampled(s, o)] += g
		mag[upsampled(s, o)] += math.Abs(g)
	}
	return v, mag
}

func bilinearForward(x shape, factor int) Case {
	s := must(backend.NewUpsample(x, factor))
	return Case{
		Name: fmt.Sprintf("upsample/bilinear/%dx%dx%dx%d-by%d", x.N, x.H, x.W, x.C, factor), Ops: []string{"Bilinear"},
		args: []arg{activation("x", s.X, normal(1)), activation("out", s.Out, nil).out(sumBound(4))},
		run:  func(b backend.Backend, t tensors) { b.Bilinear(s, t["out"], t["x"]) },
		reference: func(d data) values {
			r := sums(s.Out.Len())
			eachShare(s, func(o, i int, share float64) { r.add(o, share*d["x"][i]) })
			return values{"out": r}
		},
	}
}

func bilinearBack(x shape, factor int) Case {
	s := must(backend.NewUpsample(x, factor))
	return Case{
		Name: fmt.Sprintf("upsample/bilinearBack/%dx%dx%dx%d-by%d", x.N, x.H, x.W, x.C, factor), Ops: []string{"BilinearBack"},
		args: []arg{activation("gradOut", s.Out, normal(1)), activation("gradX", s.X, nil).out(sumBound(4 * factor * factor))},
		run:  func(b backend.Backend, t tensors) { b.BilinearBack(s, t["gradX"], t["gradOut"]) },
		reference: func(d data) values {
			r := sums(s.X.Len())
			eachShare(s, func(o, i int, share float64) { r.add(i, share*d["gradOut"][o]) })
			return values{"gradX": r}
		},
	}
}

// eachShare visits the pairs of an element of the output and one of the input that has a share in it, as PyTorch defines it: with the
// centres of pixels at halves, and held within the first and the last row or column.
func eachShare(s backend.UpsampleShape, visit func(o, i int, share float64)) {
	between := func(o, n int) (first, second int, share float64) {
		at := max((float64(o)+0.5)/float64(s.Factor)-0.5, 0)
		first = int(at)
		return first, min(first+1, n-1), at - float64(first)
	}
	for o := range s.Out.Len() {
		c, x := o%s.Out.C, o/s.Out.C%s.Out.W
		y, n := o/s.Out.C/s.Out.W%s.Out.H, o/s.Out.Image()
		y1, y2, down := between(y, s.X.H)
		x1, x2, right := between(x, s.X.W)
		for _, p := range []struct {
			y, x  int
			share float64
		}{{y1, x1, (1 - down) * (1 - right)}, {y1, x2, (1 - down) * right}, {y2, x1, down * (1 - right)}, {y2, x2, down * right}} {
			visit(o, ((n*s.X.H+p.y)*s.X.W+p.x)*s.X.C+c, p.share)
		}
	}
}
