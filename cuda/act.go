package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Activate: out = act(x).
func (l *lane) Activate(a backend.Act, out, x backend.Tensor) {
	o, in, n := l.activation(out, x.Shape), l.activation(x, x.Shape), x.Shape.Len()
	l.launch1("Activate", kernels.ActForward, ceilDiv(n, 4), ptr(o), ptr(in), i32(n), act(a))
}

// ActivateBack: gradX = gradOut times the derivative of act at its output.
func (l *lane) ActivateBack(a backend.Act, gradX, gradOut, out backend.Tensor) {
	s := gradOut.Shape
	gx, g, o, n := l.activation(gradX, s), l.activation(gradOut, s), l.activation(out, s), s.Len()
	l.launch1("ActivateBack", kernels.ActBack, ceilDiv(n, 4), ptr(gx), ptr(g), ptr(o), i32(n), act(a))
}

// act is an activation as a kernel's argument; common.cuh has the same numbers.
func act(a backend.Act) uint64 {
	if a > backend.Tanh {
		panic(errAct)
	}
	return uint64(a)
}
