package backendtest

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// join is a CopyChannels: count channels of src, from one on, to dst. The shapes differ in C alone.
type join struct {
	images, h, w              int
	dst, to, src, from, count int
}

func mergeCases() []Case {
	var cases []Case
	for _, s := range []shape{
		{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 1, H: 31, W: 33, C: 8}, {N: 7, H: 2, W: 3, C: 31},
		{N: 1, H: 257, W: 1, C: 33},
	} {
		cases = append(cases, plusCase(s), plusInPlace(s))
	}
	for _, j := range []join{
		{1, 1, 1, 1, 0, 1, 0, 1}, {3, 7, 5, 33, 1, 31, 0, 31}, {1, 2, 3, 288, 31, 257, 0, 257}, {2, 3, 2, 33, 0, 257, 224, 33},
		{2, 1, 257, 3, 2, 1, 0, 1}, {7, 3, 2, 5, 0, 5, 0, 5}, {1, 31, 33, 3, 1, 5, 2, 2}, {1, 9, 2, 1, 0, 33, 32, 1},
		// Fours, from and to the first, a middle and the last channels.
		{1, 31, 33, 8, 4, 4, 0, 4}, {2, 3, 5, 12, 4, 20, 8, 8}, {2, 5, 3, 64, 32, 32, 0, 32}, {1, 2, 257, 16, 0, 16, 12, 4},
		{3, 3, 4, 24, 0, 24, 0, 24}, {1, 3, 3, 260, 0, 516, 256, 260},
		// Fours but for one of the numbers, or two.
		{2, 5, 3, 13, 4, 12, 4, 4}, {2, 5, 3, 12, 3, 12, 4, 4}, {2, 5, 3, 12, 4, 13, 4, 4}, {2, 5, 3, 12, 4, 12, 6, 4},
		{2, 5, 3, 12, 4, 12, 4, 7}, {2, 5, 3, 14, 2, 12, 4, 8}, {2, 5, 3, 12, 4, 10, 2, 8},
		{2, 3, 3, 8, 4, 4, 4, 0},
	} {
		cases = append(cases, channelsCase(j))
	}
	views := []Case{plusCase(shape{N: 3, H: 4, W: 3, C: 5}), channelsCase(join{3, 4, 3, 5, 2, 7, 1, 3}), channelsCase(join{3, 4, 3, 8, 4, 12, 8, 4})}
	for i := range views {
		views[i].Name += "-of4"
		for k := range views[i].args {
			views[i].args[k].images = 4
		}
	}
	cases = append(cases, views...)
	bench := []Case{plusCase(shape{N: 8, H: 28, W: 28, C: 32}), channelsCase(join{8, 28, 28, 64, 32, 32, 0, 32})}
	bench[0].Bench, bench[1].Bench = true, true
	cases = append(cases, bench...)
	return append(cases, bordered(plusCase(shape{N: 2, H: 3, W: 4, C: 3}), "out"),
		bordered(channelsCase(join{2, 3, 4, 5, 1, 6, 2, 3}), "dst"), bordered(channelsCase(join{2, 4, 3, 8, 4, 8, 0, 4}), "dst"))
}

func plusCase(s shape) Case {
	return Case{
		Name: fmt.Sprintf("merge/plus/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"Plus"},
		args: []arg{activation("a", s, normal(1)), activation("b", s, normal(1)), activation("out", s, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.Plus(t["out"], t["a"], t["b"]) },
		reference: func(d data) values {
			v := make([]float64, s.Len())
			for i := range v {
				v[i] = float64(float32(d["a"][i] + d["b"][i]))
			}
			return values{"out": {v: v}}
		},
	}
}

func plusInPlace(s shape) Case {
	c := plusCase(s)
	first := c.reference
	c.Name += "/in-place"
	c.args = []arg{activation("a", s, normal(1)).inout(exact), activation("b", s, normal(1))}
	c.run = func(b backend.Backend, t tensors) { b.Plus(t["a"], t["a"], t["b"]) }
	c.reference = func(d data) values { return values{"a": first(d)["out"]} }
	return c
}

func channelsCase(j join) Case {
	dst, src := shape{N: j.images, H: j.h, W: j.w, C: j.dst}, shape{N: j.images, H: j.h, W: j.w, C: j.src}
	return Case{
		Name: fmt.Sprintf("merge/channels/%dx%dx%d/%d-of-%d-from%d-to%d-of-%d", j.images, j.h, j.w, j.count, j.src, j.from, j.to, j.dst),
		Ops:  []string{"CopyChannels"},
		args: []arg{activation("src", src, normal(1)), activation("dst", dst, normal(1)).inout(exact)},
		run:  func(b backend.Backend, t tensors) { b.CopyChannels(t["dst"], j.to, t["src"], j.from, j.count) },
		reference: func(d data) values {
			v := make([]float64, dst.Len())
			for i := range v {
				pixel, c := i/j.dst, i%j.dst
				if v[i] = d["dst"][i]; c >= j.to && c < j.to+j.count {
					v[i] = d["src"][pixel*j.src+j.from+c-j.to]
				}
			}
			return values{"dst": {v: v}}
		},
	}
}
