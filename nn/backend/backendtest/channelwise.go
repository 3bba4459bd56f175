package backendtest

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

func channelwiseCases() []Case {
	var cases []Case
	for _, s := range []shape{
		{N: 1, H: 1, W: 1, C: 1}, {N: 3, H: 5, W: 7, C: 3}, {N: 2, H: 1, W: 1, C: 257}, {N: 1, H: 31, W: 33, C: 8}, {N: 7, H: 2, W: 3, C: 31}, {N: 1, H: 257, W: 1, C: 33},
		{N: 2, H: 3, W: 9, C: 132}, {N: 2, H: 4, W: 5, C: 260},
	} {
		cases = append(cases, timesCase(s, true), timesCase(s, false), sumPixelsCase(s, true), sumPixelsCase(s, false), spreadPixelsCase(s))
	}
	s := shape{N: 3, H: 4, W: 3, C: 5}
	views := []Case{timesCase(s, true), timesCase(s, false), sumPixelsCase(s, true), spreadPixelsCase(s)}
	for i := range views {
		views[i].Name += "-of4"
		for k := range views[i].args {
			views[i].args[k].images = 4
		}
	}
	cases = append(cases, views...)
	inPlace := timesCase(s, false)
	first := inPlace.reference
	inPlace.Name += "/in-place"
	inPlace.args = []arg{activation("a", s, normal(1)).inout(exact), activation("b", shape{N: s.N, H: 1, W: 1, C: s.C}, normal(1))}
	inPlace.run = func(b backend.Backend, t tensors) { b.Times(t["a"], t["a"], t["b"]) }
	inPlace.reference = func(d data) values { return values{"a": first(d)["out"]} }
	large := shape{N: 8, H: 28, W: 28, C: 32}
	bench := []Case{timesCase(large, false), sumPixelsCase(large, true), spreadPixelsCase(large)}
	for i := range bench {
		bench[i].Bench = true
	}
	return append(append(cases, bench...), inPlace, bordered(timesCase(s, false), "out"), bordered(sumPixelsCase(s, false), "out"), bordered(spreadPixelsCase(s), "out"))
}

// timesCase multiplies two tensors of one shape, or images by a pixel for each.
func timesCase(s shape, same bool) Case {
	one, name := s, "times"
	if !same {
		one, name = shape{N: s.N, H: 1, W: 1, C: s.C}, "times-by-pixel"
	}
	return Case{
		Name: fmt.Sprintf("channelwise/%s/%dx%dx%dx%d", name, s.N, s.H, s.W, s.C), Ops: []string{"Times"},
		args: []arg{activation("a", s, normal(1)), activation("b", one, normal(1)), activation("out", s, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.Times(t["out"], t["a"], t["b"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, s.Len())}
			for i := range r.v {
				at := i
				if !same {
					at = i/s.Image()*s.C + i%s.C
				}
				r.v[i] = float64(float32(d["a"][i] * d["b"][at]))
			}
			return values{"out": r}
		},
	}
}

func sumPixelsCase(s shape, alone bool) Case {
	one, scale, name := shape{N: s.N, H: 1, W: 1, C: s.C}, 1/float32(s.H*s.W), "sum"
	args := []arg{activation("a", s, normal(1)), activation("out", one, nil).out(sumBound(s.H * s.W))}
	if !alone {
		scale, name = 1, "sum-of-products"
		args = append(args, activation("b", s, normal(1)))
	}
	return Case{
		Name: fmt.Sprintf("channelwise/%s/%dx%dx%dx%d", name, s.N, s.H, s.W, s.C), Ops: []string{"SumPixels"},
		args: args,
		run:  func(b backend.Backend, t tensors) { b.SumPixels(scale, t["out"], t["a"], t["b"]) },
		reference: func(d data) values {
			r := sums(one.Len())
			for i, x := range d["a"] {
				if !alone {
					x *= d["b"][i]
				}
				r.add(i/s.Image()*s.C+i%s.C, float64(scale)*x)
			}
			return values{"out": r}
		},
	}
}

func spreadPixelsCase(s shape) Case {
	const scale = 0.3
	return Case{
		Name: fmt.Sprintf("channelwise/spread/%dx%dx%dx%d", s.N, s.H, s.W, s.C), Ops: []string{"SpreadPixels"},
		args: []arg{activation("x", shape{N: s.N, H: 1, W: 1, C: s.C}, normal(1)), activation("out", s, nil).out(exact)},
		run:  func(b backend.Backend, t tensors) { b.SpreadPixels(scale, t["out"], t["x"]) },
		reference: func(d data) values {
			r := value{v: make([]float64, s.Len())}
			for i := range r.v {
				r.v[i] = float64(scale * float32(d["x"][i/s.Image()*s.C+i%s.C]))
			}
			return values{"out": r}
		},
	}
}
