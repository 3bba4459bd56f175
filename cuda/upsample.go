package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Upsample repeats every pixel Factor times in both directions.
func (l *lane) Upsample(s backend.UpsampleShape, out, x backend.Tensor) {
	s.Check(&out, &x)
	o, in := l.values(out), l.values(x)
	e, v := wide(s.X.C, kernels.UpsampleForward, kernels.UpsampleForward4)
	n := s.Out.Len() / v
	l.launch1("Upsample", e, n, ptr(o.p), ptr(in.p), i32(n), i32(s.X.W), i32(s.X.C), i32(s.Factor), narrow(o, in))
}

// UpsampleBack gives every pixel the sum of the gradients of its copies.
func (l *lane) UpsampleBack(s backend.UpsampleShape, gradX, gradOut backend.Tensor) {
	s.Check(&gradOut, &gradX)
	gx, g := l.values(gradX), l.values(gradOut)
	e, v := wide(s.X.C, kernels.UpsampleBack, kernels.UpsampleBack4)
	n := s.X.Len() / v
	l.launch1("UpsampleBack", e, n, ptr(gx.p), ptr(g.p), i32(n), i32(s.X.W), i32(s.X.C), i32(s.Factor), narrow(gx, g))
}

// Bilinear interpolates between pixels.
func (l *lane) Bilinear(s backend.UpsampleShape, out, x backend.Tensor) {
	s.Check(&out, &x)
	o, in := l.values(out), l.values(x)
	e, v := wide(s.X.C, kernels.UpsampleBilinear, kernels.UpsampleBilinear4)
	n := s.Out.Len() / v
	l.launch1("Bilinear", e, n, ptr(o.p), ptr(in.p), i32(n), i32(s.X.H), i32(s.X.W), i32(s.X.C), i32(s.Factor), narrow(o, in))
}

// BilinearBack gives each pixel its shares of the gradients of those that were made of it.
func (l *lane) BilinearBack(s backend.UpsampleShape, gradX, gradOut backend.Tensor) {
	s.Check(&gradOut, &gradX)
	gx, g := l.values(gradX), l.values(gradOut)
	e, v := wide(s.X.C, kernels.UpsampleBilinearBack, kernels.UpsampleBilinearBack4)
	n := s.X.Len() / v
	l.launch1("BilinearBack", e, n, ptr(gx.p), ptr(g.p), i32(n), i32(s.X.H), i32(s.X.W), i32(s.X.C), i32(s.Factor), narrow(gx, g))
}
