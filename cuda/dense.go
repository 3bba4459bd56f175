package cuda

import "github.com/convae/convae/nn/backend"

// A dense layer is a convolution of single pixels, whose rows are the rows of one image: the kernels are those of conv.cu.
func pixels(s backend.DenseShape) backend.ConvShape {
	s.Check()
	x := backend.Shape{N: 1, H: s.N, W: 1, C: s.In}
	out := backend.Shape{N: 1, H: s.N, W: 1, C: s.DenseSpec.Out}
	return backend.ConvShape{
		ConvSpec: backend.ConvSpec{X: x, Filters: out.C, KernelH: 1, KernelW: 1, Stride: 1, Up: 1, Pool: 1, Multiply: s.Multiply},
		In:       x, Conv: out, Out: out,
	}
}

// DenseNeeds returns the memory of the scratch. The weights are used as they are.
func (l *lane) DenseNeeds(s backend.DenseShape) backend.Needs {
	return needs(pixels(s), s.DenseSpec.Out)
}

// DensePack is never due.
func (l *lane) DensePack(backend.DenseShape, backend.Tensor, backend.Tensor) {}

// Dense: out = act(x wᵀ + bias).
func (l *lane) Dense(s backend.DenseShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	d := pixels(s)
	c := correlation{op: "Dense", out: l.at(out), x: l.at(x), act: s.Act}
	c.w, c.bias = l.at(p.W), l.at(p.Bias)
	l.correlate(&d, &c)
}

// DenseBackInput: gradX = gradOut w, times the derivative of s.InAct at x.
func (l *lane) DenseBackInput(s backend.DenseShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &p, &x)
	d := pixels(s)
	c := correlation{op: "DenseBackInput", out: l.at(gradX), x: l.at(gradOut), inAct: s.InAct}
	c.mask, c.w = l.mask(s.InAct, x), l.at(p.W)
	l.backInput(d, c)
}

// DenseBackWeights: grad.W += gradOutᵀ x, grad.Bias += the column sums of gradOut.
func (l *lane) DenseBackWeights(s backend.DenseShape, grad backend.Params, gradOut, x backend.Tensor) {
	d := pixels(s)
	s.CheckBackWeights(&grad, partials(d), &gradOut, &x)
	g := gradient{op: "DenseBackWeights", w: l.at(grad.W), bias: l.at(grad.Bias), partials: l.at(grad.Partials)}
	g.out, g.x = l.at(gradOut), l.at(x)
	g.rows, g.image, g.filters = g.out, s.N, d.Filters
	l.backWeights(d, g)
}
