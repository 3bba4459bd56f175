package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// UnitNorm divides the vector of each pixel by its length.
func (l *lane) UnitNorm(out, x, scales backend.Tensor) {
	backend.CheckUnitNorm(&out, &x, &scales)
	o, in, s := l.values(out), l.values(x), out.Shape
	pixels := s.N * s.H * s.W
	l.launch1("UnitNorm", kernels.UnitNormForward, 32*pixels, ptr(o.p), ptr(in.p), ptr(l.at(scales)), i32(pixels), i32(s.C), f32(backend.UnitEpsilon), narrow(o, in))
}

// UnitNormBack makes the gradient of UnitNorm.
func (l *lane) UnitNormBack(gradX, gradOut, x, scales backend.Tensor) {
	backend.CheckUnitNormBack(&gradX, &gradOut, &x, &scales)
	gx, g, in, s := l.values(gradX), l.values(gradOut), l.values(x), x.Shape
	pixels := s.N * s.H * s.W
	l.launch1("UnitNormBack", kernels.UnitNormBack, 32*pixels, ptr(gx.p), ptr(g.p), ptr(in.p), ptr(l.at(scales)), i32(pixels), i32(s.C), f32(backend.UnitEpsilon),
		narrow(gx, g, in))
}
