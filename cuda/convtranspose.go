package cuda

import "github.com/convae/convae/nn/backend"

// A transposed convolution is its dual convolution with the roles of input and output swapped; the kernels are those of
// conv.cu.

// ConvTransposeNeeds returns the memory of the scratch and of the packed weights.
func (l *lane) ConvTransposeNeeds(s backend.ConvTransposeShape) backend.Needs {
	return l.dev.needs(s.Dual, s.Filters)
}

// ConvTransposePack packs the weights.
func (l *lane) ConvTransposePack(s backend.ConvTransposeShape, dst, w backend.Tensor) {
	l.ConvPack(s.Dual, dst, w)
}

// ConvTranspose: out = act(convTranspose(x, w) + bias).
func (l *lane) ConvTranspose(s backend.ConvTransposeShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	c := correlation{op: "ConvTranspose", out: l.values(out), x: l.values(x), act: s.Act}
	c.w, c.packed, c.bias = l.at(p.W), l.at(p.Packed), l.at(p.Bias)
	l.backInput(s.Dual, c)
}

// ConvTransposeBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l *lane) ConvTransposeBackInput(s backend.ConvTransposeShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &p, &x)
	c := correlation{op: "ConvTransposeBackInput", out: l.values(gradX), x: l.values(gradOut), inAct: s.InAct}
	c.mask, c.w, c.packed = l.mask(s.InAct, x), l.at(p.W), l.at(p.Packed)
	l.correlate(&s.Dual, &c)
}

// ConvTransposeBackWeights adds to grad.W and grad.Bias.
func (l *lane) ConvTransposeBackWeights(s backend.ConvTransposeShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, l.dev.partials(s.Dual), &gradOut, &x)
	g := gradient{op: "ConvTransposeBackWeights", w: l.at(grad.W), bias: l.at(grad.Bias), partials: l.at(grad.Partials)}
	g.out, g.x = l.values(x), l.values(gradOut)
	g.rows, g.image, g.filters = g.x, s.Out.H*s.Out.W, s.Filters
	l.backWeights(s.Dual, g)
}
