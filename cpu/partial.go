package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// SumPartials adds the rows of partial sums to the gradients. The CPU itself makes none.
func (l *lane) SumPartials(grads []backend.Params) {
	backend.CheckSumPartials(grads)
	for i := range grads {
		w, bias, p := l.floats(grads[i].W), l.floats(grads[i].Bias), l.floats(grads[i].Partials)
		for ; len(p) > 0; p = p[len(w)+len(bias):] {
			simd.Axpy(w, 1, p[:len(w)])
			simd.Axpy(bias, 1, p[len(w):][:len(bias)])
		}
	}
}
