package backendtest

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
)

func clipCases() []Case {
	var cases []Case
	for _, n := range []int{1, 31, 257, 1000} {
		for _, shift := range []int{0, 3} {
			cases = append(cases, clipValueCase(n, shift, normal(1)), sumSquaresCase(n, shift, "normal", normal(2)),
				clipNormCase(n, shift, 1, 0.5), clipNormCase(n, shift, 7, 1e6), clipNormCase(n, shift, 300, 3))
		}
	}
	bench := sumSquaresCase(1<<16, 0, "normal", normal(1))
	bench.Bench = true
	special := mixed(normal(1), nan, inf, -inf, 0.25, -0.25)
	return append(cases, clipValueCase(33, 0, special), sumSquaresCase(9, 0, "zero", given(0)), sumSquaresCase(9, 0, "infinite", given(1, inf)),
		sumSquaresCase(9, 0, "nan", given(1, nan)), bench, sumSquaresCase(manyTurns.Len(), 0, "normal", normal(1)))
}

func clipValueCase(n, shift int, f fill) Case {
	v := flat("v", n, f).inout(exact)
	v.shift = shift
	return Case{
		Name: fmt.Sprintf("clip/value/%d-at%d", n, shift), Ops: []string{"ClipValue"},
		args: []arg{v},
		run:  func(b backend.Backend, t tensors) { b.ClipValue(0.25, t["v"]) },
		reference: func(d data) values {
			r := make([]float64, n)
			for i, x := range d["v"] {
				r[i] = min(max(x, -0.25), 0.25)
			}
			return values{"v": {v: r}}
		},
	}
}

func sumSquaresCase(n, shift int, what string, f fill) Case {
	src := flat("src", n, f)
	src.shift = shift
	return Case{
		Name: fmt.Sprintf("clip/squares/%d-at%d/%s", n, shift, what), Ops: []string{"SumSquares"},
		args: []arg{src, flat("dst", 1, nil).out(sumBound(n))},
		run:  func(b backend.Backend, t tensors) { b.SumSquares(t["dst"], t["src"]) },
		reference: func(d data) values {
			sum := 0.0
			for _, x := range d["src"] {
				sum += x * x
			}
			return values{"dst": {v: []float64{sum}}}
		},
	}
}

// clipNormCase has the squares of count vectors.
func clipNormCase(n, shift, count int, limit float32) Case {
	v := flat("v", n, normal(1)).inout(backend.Bound{Rel: sumBound(count).Rel})
	v.shift = shift
	return Case{
		Name: fmt.Sprintf("clip/norm/%d-at%d-%dsquares-limit%g", n, shift, count, limit), Ops: []string{"ClipNorm"},
		args: []arg{v, flat("squares", count, uniform(0, 4))},
		run:  func(b backend.Backend, t tensors) { b.ClipNorm(limit, t["v"], t["squares"]) },
		reference: func(d data) values {
			sum := 0.0
			for _, s := range d["squares"] {
				sum += s
			}
			r, factor := make([]float64, n), min(1, float64(limit)/math.Sqrt(sum))
			for i, x := range d["v"] {
				r[i] = factor * x
			}
			return values{"v": {v: r}}
		},
	}
}
