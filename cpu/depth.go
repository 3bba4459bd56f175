package cpu

import "github.com/convae/convae/nn/backend"

// DepthToSpace makes a block of pixels of the channels of each.
func (l *lane) DepthToSpace(s backend.DepthShape, out, x backend.Tensor) {
	s.Check(&out, &x)
	o, in := l.floats(out), l.floats(x)
	for i := range o {
		o[i] = in[deep(&s, i)]
	}
	round(out.Type, o)
}

// SpaceToDepth is the inverse.
func (l *lane) SpaceToDepth(s backend.DepthShape, gradX, gradOut backend.Tensor) {
	s.Check(&gradOut, &gradX)
	gx, g := l.floats(gradX), l.floats(gradOut)
	for i, v := range g {
		gx[deep(&s, i)] = v
	}
	round(gradX.Type, gx)
}

// deep returns where element i of the output is in the input.
func deep(s *backend.DepthShape, i int) int {
	c, pixel := i%s.Out.C, i/s.Out.C
	x, y := pixel%s.Out.W, pixel/s.Out.W // of all images, one after another
	from, block := (y/s.Size*s.X.W+x/s.Size)*s.X.C, y%s.Size*s.Size+x%s.Size
	if s.Order == backend.ChannelFirst {
		return from + c*s.Size*s.Size + block
	}
	return from + block*s.Out.C + c
}
