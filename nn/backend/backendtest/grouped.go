package backendtest

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// groupedCase makes the cases of a convolution in groups.
type groupedCase struct {
	backend.GroupedSpec
	noBias bool
}

func groupedCases() []Case {
	var cases []Case
	for i, c := range []backend.GroupedSpec{
		{X: shape{N: 2, H: 7, W: 5, C: 6}, Filters: 6, Groups: 6, KernelH: 3, KernelW: 3},
		{X: shape{N: 1, H: 1, W: 1, C: 1}, Filters: 1, KernelH: 1, KernelW: 1, Padding: valid},
		{X: shape{N: 3, H: 9, W: 8, C: 8}, Filters: 8, Groups: 8, KernelH: 3, KernelW: 5, Stride: 2},
		{X: shape{N: 1, H: 13, W: 12, C: 3}, Filters: 3, Groups: 3, KernelH: 11, KernelW: 11},
		{X: shape{N: 2, H: 9, W: 11, C: 4}, Filters: 4, Groups: 4, KernelH: 3, KernelW: 3, Dilation: 2},
		{X: shape{N: 2, H: 12, W: 11, C: 5}, Filters: 10, Groups: 5, KernelH: 2, KernelW: 4, Stride: 3, Dilation: 2, Padding: valid},
		{X: shape{N: 1, H: 6, W: 7, C: 8}, Filters: 24, Groups: 8, KernelH: 3, KernelW: 3},
		{X: shape{N: 1, H: 31, W: 33, C: 36}, Filters: 36, Groups: 36, KernelH: 3, KernelW: 3},
		{X: shape{N: 7, H: 2, W: 3, C: 31}, Filters: 31, Groups: 31, KernelH: 3, KernelW: 3, Padding: same, Stride: 4},
		{X: shape{N: 1, H: 1, W: 257, C: 2}, Filters: 2, Groups: 2, KernelH: 1, KernelW: 7, Dilation: 11},
		{X: shape{N: 2, H: 3, W: 2, C: 260}, Filters: 260, Groups: 260, KernelH: 5, KernelW: 5},
		{X: shape{N: 2, H: 5, W: 7, C: 6}, Filters: 9, Groups: 3, KernelH: 3, KernelW: 3},
		{X: shape{N: 1, H: 8, W: 9, C: 16}, Filters: 8, Groups: 2, KernelH: 3, KernelW: 2, Stride: 2, Padding: valid},
		{X: shape{N: 2, H: 6, W: 5, C: 8}, Filters: 4, Groups: 4, KernelH: 3, KernelW: 3},
		{X: shape{N: 1, H: 9, W: 8, C: 3}, Filters: 5, KernelH: 3, KernelW: 3, Stride: 2, Dilation: 3},
	} {
		k := groupedCase{GroupedSpec: c, noBias: i%3 == 2}
		cases = append(cases, k.forward(), k.backInput(), k.backWeights())
	}
	k := groupedCase{GroupedSpec: backend.GroupedSpec{X: shape{N: 2, H: 6, W: 5, C: 3}, Filters: 3, Groups: 3, KernelH: 3, KernelW: 3, Stride: 2}}
	cases = append(cases, bordered(k.forward(), "out"), bordered(k.backInput(), "gradX"))
	k.X.C, k.Filters, k.Groups = 8, 8, 8
	cases = append(cases, narrowed(k.forward()), narrowed(k.backInput()), narrowed(k.backWeights()), narrowed(k.backWeights(), "x"), narrowed(k.forward(), "out"))
	k.Filters, k.Groups = 12, 4
	cases = append(cases, narrowed(k.forward()), narrowed(k.backInput()), narrowed(k.backWeights()))
	bench := groupedCase{GroupedSpec: backend.GroupedSpec{X: shape{N: 8, H: 28, W: 28, C: 32}, Filters: 32, Groups: 32, KernelH: 3, KernelW: 3}}
	for _, c := range []Case{bench.forward(), bench.backInput(), bench.backWeights()} {
		c.Bench = true
		cases = append(cases, c)
	}
	return cases
}

func (c groupedCase) base(what string) (backend.GroupedShape, Case) {
	s := must(backend.NewGrouped(c.GroupedSpec))
	return s, Case{Name: fmt.Sprintf("grouped/%s/%dx%dx%dx%d-%d-g%d/%dx%d-s%d-d%d-%v", what, s.X.N, s.X.H, s.X.W, s.X.C, s.Filters, s.Groups, s.KernelH, s.KernelW, s.Stride, s.Dilation, s.Padding)}
}

func (c groupedCase) forward() Case {
	s, k := c.base("forward")
	taps := s.Weights().Image()
	k.Ops = []string{"Grouped"}
	k.args = []arg{activation("x", s.X, normal(1)), param("w", s.Weights(), normal(0.5)), activation("out", s.Out, nil).out(sumBound(taps + 1))}
	if !c.noBias {
		k.args = append(k.args, param("bias", backend.Vec(s.Out.C), normal(1)))
	}
	k.run = func(b backend.Backend, t tensors) {
		b.Grouped(s, t["out"], t["x"], backend.Params{W: t["w"], Bias: t["bias"]})
	}
	k.reference = func(d data) values {
		r := sums(s.Out.Len())
		if bias := d["bias"]; bias != nil {
			for o := range r.v {
				r.add(o, bias[o%len(bias)])
			}
		}
		eachGrouped(s, func(o, i, w int) { r.add(o, d["x"][i]*d["w"][w]) })
		return values{"out": r}
	}
	return k
}

func (c groupedCase) backInput() Case {
	s, k := c.base("backInput")
	k.Ops = []string{"GroupedBackInput"}
	k.args = []arg{activation("gradOut", s.Out, normal(1)), param("w", s.Weights(), normal(0.5)),
		activation("gradX", s.X, nil).out(sumBound(s.KernelH * s.KernelW * s.Filters / s.Groups))}
	k.run = func(b backend.Backend, t tensors) { b.GroupedBackInput(s, t["gradX"], t["gradOut"], t["w"]) }
	k.reference = func(d data) values {
		r := sums(s.X.Len())
		eachGrouped(s, func(o, i, w int) { r.add(i, d["gradOut"][o]*d["w"][w]) })
		return values{"gradX": r}
	}
	return k
}

func (c groupedCase) backWeights() Case {
	s, k := c.base("backWeights")
	bound := sumBound(s.Out.N*s.Out.H*s.Out.W + 1)
	k.Ops = []string{"GroupedBackWeights"}
	k.args = []arg{activation("gradOut", s.Out, normal(1)), activation("x", s.X, normal(1)), param("gradW", s.Weights(), normal(1)).inout(bound)}
	if !c.noBias {
		k.args = append(k.args, param("gradBias", backend.Vec(s.Out.C), normal(1)).inout(bound))
	}
	k.run = func(b backend.Backend, t tensors) {
		b.GroupedBackWeights(s, backend.Params{W: t["gradW"], Bias: t["gradBias"]}, t["gradOut"], t["x"])
	}
	k.reference = func(d data) values {
		w, bias := sums(s.Weights().Len()), sums(s.Out.C)
		for i, v := range d["gradW"] {
			w.add(i, v)
		}
		for i, v := range d["gradBias"] {
			bias.add(i, v)
		}
		eachGrouped(s, func(o, i, at int) { w.add(at, d["gradOut"][o]*d["x"][i]) })
		for o, v := range d["gradOut"] {
			bias.add(o%s.Out.C, v)
		}
		r := values{"gradW": w}
		if !c.noBias {
			r["gradBias"] = bias
		}
		return r
	}
	return k
}

// eachGrouped visits the products of a convolution in groups: elements of the output, of the input and of the weights.
func eachGrouped(s backend.GroupedShape, visit func(o, i, w int)) {
	for o := range s.Out.Len() {
		f, ox := o%s.Out.C, o/s.Out.C%s.Out.W
		oy, n := o/s.Out.C/s.Out.W%s.Out.H, o/s.Out.Image()
		for a := range s.KernelH {
			for b := range s.KernelW {
				y, x := oy*s.Stride+a*s.Dilation-s.PadTop, ox*s.Stride+b*s.Dilation-s.PadLeft
				if y >= 0 && y < s.X.H && x >= 0 && x < s.X.W {
					for c := range s.Channels() {
						visit(o, ((n*s.X.H+y)*s.X.W+x)*s.X.C+f/(s.Filters/s.Groups)*s.Channels()+c, ((f*s.KernelH+a)*s.KernelW+b)*s.Channels()+c)
					}
				}
			}
		}
	}
}
