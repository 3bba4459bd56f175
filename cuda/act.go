package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Activate: out = f(x).
func (l *lane) Activate(f backend.Function, out, x backend.Tensor) {
	backend.CheckActivate(f, &out, &x)
	o, in, n := l.values(out), l.values(x), x.Shape.Len()
	l.launch1("Activate", kernels.ActForward, ceilDiv(n, 4), ptr(o.p), ptr(in.p), i32(n), act(f.Act), f32(f.Alpha), narrow(o, in))
}

// ActivateBack: gradX = gradOut times the derivative of f at its output, or its input.
func (l *lane) ActivateBack(f backend.Function, gradX, gradOut, of backend.Tensor) {
	backend.CheckActivateBack(f, &gradX, &gradOut, &of)
	s := gradOut.Shape
	gx, g, v, n := l.values(gradX), l.values(gradOut), l.values(of), s.Len()
	l.launch1("ActivateBack", kernels.ActBack, ceilDiv(n, 4), ptr(gx.p), ptr(g.p), ptr(v.p), i32(n), act(f.Act), f32(f.Alpha), narrow(gx, g, v))
}

// Rescale: out = scale x + offset.
func (l *lane) Rescale(scale, offset float32, out, x backend.Tensor) {
	backend.CheckRescale(&out, &x)
	o, in, n := l.values(out), l.values(x), x.Shape.Len()
	l.launch1("Rescale", kernels.ActRescale, ceilDiv(n, 4), ptr(o.p), ptr(in.p), i32(n), f32(scale), f32(offset), narrow(o, in))
}

// act is an activation as a kernel's argument; common.cuh and act.cuh have the same numbers.
func act(a backend.Act) uint64 { return uint64(a) }
