package backendtest

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// depthwiseCase makes the cases of a depthwise convolution.
type depthwiseCase struct {
	backend.DepthwiseSpec
	noBias bool
}

func depthwiseCases() []Case {
	var cases []Case
	for i, c := range []backend.DepthwiseSpec{
		{X: shape{N: 2, H: 7, W: 5, C: 6}, KernelH: 3, KernelW: 3},
		{X: shape{N: 1, H: 1, W: 1, C: 1}, KernelH: 1, KernelW: 1, Padding: valid},
		{X: shape{N: 3, H: 9, W: 8, C: 8}, KernelH: 3, KernelW: 5, Stride: 2},
		{X: shape{N: 1, H: 13, W: 12, C: 3}, KernelH: 11, KernelW: 11},
		{X: shape{N: 2, H: 9, W: 11, C: 4}, KernelH: 3, KernelW: 3, Dilation: 2},
		{X: shape{N: 2, H: 12, W: 11, C: 5}, KernelH: 2, KernelW: 4, Stride: 3, Dilation: 2, Padding: valid, Multiplier: 2},
		{X: shape{N: 1, H: 6, W: 7, C: 8}, KernelH: 3, KernelW: 3, Multiplier: 3},
		{X: shape{N: 1, H: 31, W: 33, C: 36}, KernelH: 3, KernelW: 3},
		{X: shape{N: 7, H: 2, W: 3, C: 31}, KernelH: 3, KernelW: 3, Padding: same, Stride: 4},
		{X: shape{N: 1, H: 1, W: 257, C: 2}, KernelH: 1, KernelW: 7, Dilation: 11},
		{X: shape{N: 2, H: 3, W: 2, C: 260}, KernelH: 5, KernelW: 5},
	} {
		k := depthwiseCase{DepthwiseSpec: c, noBias: i%3 == 2}
		cases = append(cases, k.forward(), k.backInput(), k.backWeights())
	}
	k := depthwiseCase{DepthwiseSpec: backend.DepthwiseSpec{X: shape{N: 2, H: 6, W: 5, C: 3}, KernelH: 3, KernelW: 3, Stride: 2}}
	cases = append(cases, bordered(k.forward(), "out"), bordered(k.backInput(), "gradX"))
	k.X.C = 8
	cases = append(cases, narrowed(k.forward()), narrowed(k.backInput()), narrowed(k.backWeights()), narrowed(k.backWeights(), "x"), narrowed(k.forward(), "out"))
	bench := depthwiseCase{DepthwiseSpec: backend.DepthwiseSpec{X: shape{N: 8, H: 28, W: 28, C: 32}, KernelH: 3, KernelW: 3}}
	for _, c := range []Case{bench.forward(), bench.backInput(), bench.backWeights()} {
		c.Bench = true
		cases = append(cases, c)
	}
	return cases
}

func (c depthwiseCase) base(what string) (backend.DepthwiseShape, Case) {
	s := must(backend.NewDepthwise(c.DepthwiseSpec))
	return s, Case{Name: fmt.Sprintf("depthwise/%s/%dx%dx%dx%d-%d/%dx%d-s%d-d%d-%v", what, s.X.N, s.X.H, s.X.W, s.X.C, s.Out.C, s.KernelH, s.KernelW, s.Stride, s.Dilation, s.Padding)}
}

func (c depthwiseCase) forward() Case {
	s, k := c.base("forward")
	taps := s.KernelH * s.KernelW
	k.Ops = []string{"Depthwise"}
	k.args = []arg{activation("x", s.X, normal(1)), param("w", s.Weights(), normal(0.5)), activation("out", s.Out, nil).out(sumBound(taps + 1))}
	if !c.noBias {
		k.args = append(k.args, param("bias", backend.Vec(s.Out.C), normal(1)))
	}
	k.run = func(b backend.Backend, t tensors) {
		b.Depthwise(s, t["out"], t["x"], backend.Params{W: t["w"], Bias: t["bias"]})
	}
	k.reference = func(d data) values {
		r := sums(s.Out.Len())
		if bias := d["bias"]; bias != nil {
			for o := range r.v {
				r.add(o, bias[o%len(bias)])
			}
		}
		eachDepthwise(s, func(o, i, w int) { r.add(o, d["x"][i]*d["w"][w]) })
		return values{"out": r}
	}
	return k
}

func (c depthwiseCase) backInput() Case {
	s, k := c.base("backInput")
	k.Ops = []string{"DepthwiseBackInput"}
	k.args = []arg{activation("gradOut", s.Out, normal(1)), param("w", s.Weights(), normal(0.5)),
		activation("gradX", s.X, nil).out(sumBound(s.KernelH * s.KernelW * s.Multiplier))}
	k.run = func(b backend.Backend, t tensors) { b.DepthwiseBackInput(s, t["gradX"], t["gradOut"], t["w"]) }
	k.reference = func(d data) values {
		r := sums(s.X.Len())
		eachDepthwise(s, func(o, i, w int) { r.add(i, d["gradOut"][o]*d["w"][w]) })
		return values{"gradX": r}
	}
	return k
}

func (c depthwiseCase) backWeights() Case {
	s, k := c.base("backWeights")
	bound := sumBound(s.Out.N*s.Out.H*s.Out.W + 1)
	k.Ops = []string{"DepthwiseBackWeights"}
	k.args = []arg{activation("gradOut", s.Out, normal(1)), activation("x", s.X, normal(1)), param("gradW", s.Weights(), normal(1)).inout(bound)}
	if !c.noBias {
		k.args = append(k.args, param("gradBias", backend.Vec(s.Out.C), normal(1)).inout(bound))
	}
	k.run = func(b backend.Backend, t tensors) {
		b.DepthwiseBackWeights(s, backend.Params{W: t["gradW"], Bias: t["gradBias"]}, t["gradOut"], t["x"])
	}
	k.reference = func(d data) values {
		w, bias := sums(s.Weights().Len()), sums(s.Out.C)
		for i, v := range d["gradW"] {
			w.add(i, v)
		}
		for i, v := range d["gradBias"] {
			bias.add(i, v)
		}
		eachDepthwise(s, func(o, i, at int) { w.add(at, d["gradOut"][o]*d["x"][i]) })
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

// eachDepthwise visits the products of a depthwise convolution: elements of the output, of the input and of the weights.
func eachDepthwise(s backend.DepthwiseShape, visit func(o, i, w int)) {
	for o := range s.Out.Len() {
		f, ox := o%s.Out.C, o/s.Out.C%s.Out.W
		oy, n := o/s.Out.C/s.Out.W%s.Out.H, o/s.Out.Image()
		for a := range s.KernelH {
			for b := range s.KernelW {
				y, x := oy*s.Stride+a*s.Dilation-s.PadTop, ox*s.Stride+b*s.Dilation-s.PadLeft
				if y >= 0 && y < s.X.H && x >= 0 && x < s.X.W {
					visit(o, ((n*s.X.H+y)*s.X.W+x)*s.X.C+f/s.Multiplier, (f*s.KernelH+a)*s.KernelW+b)
				}
			}
		}
	}
}
