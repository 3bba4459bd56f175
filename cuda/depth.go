package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// DepthToSpace makes a block of pixels of the channels of each.
func (l *lane) DepthToSpace(s backend.DepthShape, out, x backend.Tensor) {
	s.Check(&out, &x)
	l.rearrange("DepthToSpace", kernels.DepthToSpace, kernels.DepthToSpace4, &s, l.values(out), l.values(x))
}

// SpaceToDepth is the inverse.
func (l *lane) SpaceToDepth(s backend.DepthShape, gradX, gradOut backend.Tensor) {
	s.Check(&gradOut, &gradX)
	l.rearrange("SpaceToDepth", kernels.DepthBack, kernels.DepthBack4, &s, l.values(gradX), l.values(gradOut))
}

func (l *lane) rearrange(op string, one, four kernels.Entry, s *backend.DepthShape, to, from values) {
	e, v := one, 1
	if s.Order == backend.BlockFirst { // a pixel's channels are neighbours
		e, v = wide(s.Out.C, one, four)
	}
	n := s.Out.Len() / v
	l.launch1(op, e, n, ptr(to.p), ptr(from.p), i32(n), i32(s.X.W), i32(s.Out.C), i32(s.Size), i32(int(s.Order)), narrow(to, from))
}
