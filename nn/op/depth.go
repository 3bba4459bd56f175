package op

import "github.com/convae/convae/nn/backend"

// DepthToSpace rearranges the channels of each pixel into a block of pixels.
type DepthToSpace struct {
	Shape  backend.DepthShape
	Out, X Value
}

func (o *DepthToSpace) Name() string { return "DepthToSpace" }
func (o *DepthToSpace) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *DepthToSpace) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *DepthToSpace) Run(f *Frame)    { f.B.DepthToSpace(o.Shape, f.At(o.Out), f.At(o.X)) }
func (o *DepthToSpace) Result() Value   { return o.Out }

func (o *DepthToSpace) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&SpaceToDepth{Shape: o.Shape, GradX: gradX, GradOut: grad})
		g.Add(o.X, gradX)
	}
}

// SpaceToDepth is the inverse: it makes the gradient.
type SpaceToDepth struct {
	Shape          backend.DepthShape
	GradX, GradOut Value
}

func (o *SpaceToDepth) Name() string { return "SpaceToDepth" }
func (o *SpaceToDepth) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
}
func (o *SpaceToDepth) Narrow() []Value { return []Value{o.GradX, o.GradOut} }
func (o *SpaceToDepth) Run(f *Frame)    { f.B.SpaceToDepth(o.Shape, f.At(o.GradX), f.At(o.GradOut)) }
