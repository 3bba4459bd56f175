package cuda

import "github.com/convae/convae/nn/backend"

// A transposed convolution is its dual convolution with the roles of input and output swapped; the kernels are those of
// conv.cu.

// ConvTransposeNeeds returns the memory of the scratch. The weights are used as they are.
func (l *lane) ConvTransposeNeeds(s backend.ConvTransposeShape) backend.Needs {
	return needs(s.Dual, s.Filters)
}

// ConvTransposePack is never due.
func (l *lane) ConvTransposePack(backend.ConvTransposeShape, backend.Tensor, backend.Tensor) {}

// ConvTranspose: out = act(convTranspose(x, w) + bias).
func (l *lane) ConvTranspose(s backend.ConvTransposeShape, out, x backend.Tensor, p backend.Params) {
	checkConv(&s.Dual)
	c := correlation{op: "ConvTranspose", out: l.activation(out, s.Out), x: l.activation(x, s.X), act: s.Act}
	c.w, c.bias = l.param(p.W, s.Weights()), l.bias(p.Bias, s.Filters)
	l.backInput(s.Dual, c)
}

// ConvTransposeBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l *lane) ConvTransposeBackInput(s backend.ConvTransposeShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	checkConv(&s.Dual)
	c := correlation{op: "ConvTransposeBackInput", out: l.activation(gradX, s.X), x: l.activation(gradOut, s.Out), inAct: s.InAct}
	c.mask, c.w = l.mask(s.InAct, x, s.X), l.param(p.W, s.Weights())
	l.correlate(&s.Dual, &c)
}

// ConvTransposeBackWeights adds to grad.W and grad.Bias.
func (l *lane) ConvTransposeBackWeights(s backend.ConvTransposeShape, grad backend.Params, gradOut, x backend.Tensor) {
	checkConv(&s.Dual)
	g := gradient{op: "ConvTransposeBackWeights", w: l.param(grad.W, s.Weights()), bias: l.bias(grad.Bias, s.Filters)}
	g.out, g.x = l.activation(x, s.X), l.activation(gradOut, s.Out)
	g.rows, g.image, g.filters = g.x, s.Out.H*s.Out.W, s.Filters
	l.backWeights(s.Dual, g)
}
