package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Activate: out = act(x).
func (l *lane) Activate(a backend.Act, out, x backend.Tensor) {
	backend.CheckActivate(a, &out, &x)
	o, in, n := l.values(out), l.values(x), x.Shape.Len()
	l.launch1("Activate", kernels.ActForward, ceilDiv(n, 4), ptr(o.p), ptr(in.p), i32(n), act(a), narrow(o, in))
}

// ActivateBack: gradX = gradOut times the derivative of act at its output.
func (l *lane) ActivateBack(a backend.Act, gradX, gradOut, out backend.Tensor) {
	backend.CheckActivateBack(a, &gradX, &gradOut, &out)
	s := gradOut.Shape
	gx, g, o, n := l.values(gradX), l.values(gradOut), l.values(out), s.Len()
	l.launch1("ActivateBack", kernels.ActBack, ceilDiv(n, 4), ptr(gx.p), ptr(g.p), ptr(o.p), i32(n), act(a), narrow(gx, g, o))
}

// act is an activation as a kernel's argument; common.cuh has the same numbers.
func act(a backend.Act) uint64 { return uint64(a) }
