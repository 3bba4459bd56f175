package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// A dense layer is a convolution of single pixels; its rows are the rows of one image.
func pixels(s backend.DenseShape) backend.ConvShape {
	s.Check()
	x := backend.Shape{N: 1, H: 1, W: s.N, C: s.In}
	out := backend.Shape{N: 1, H: 1, W: s.N, C: s.DenseSpec.Out}
	return backend.ConvShape{
		ConvSpec: backend.ConvSpec{X: x, Filters: out.C, KernelH: 1, KernelW: 1, Stride: 1, Dilation: 1, Up: 1, Pool: 1, Multiply: s.Multiply},
		In:       x, Conv: out, Out: out,
	}
}

// DenseNeeds returns the memory of the packed weights and of the scratch.
func (l *lane) DenseNeeds(s backend.DenseShape) backend.Needs { return needs(pixels(s)) }

// DensePack makes the packed weights.
func (l *lane) DensePack(s backend.DenseShape, dst, w backend.Tensor) { l.ConvPack(pixels(s), dst, w) }

// Dense: out = act(x wᵀ + bias).
func (l *lane) Dense(s backend.DenseShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	o, in, c := l.floats(out), l.floats(x), pixels(s)
	e := epilogue{bias: l.floats(p.Bias), act: s.Act, store: out.Type}
	if c.X.W == 1 && l.parts > 1 {
		l.denseFilters(c, o, in, l.aheadWeights(&c, p.Packed), e)
		return
	}
	l.ahead(&c, o, nil, in, l.aheadWeights(&c, p.Packed), e)
}

// denseFilters makes the lane's piece of the outputs of a single sample: those of some of the panels of weights.
func (l *lane) denseFilters(s backend.ConvShape, out, x, w []float32, e epilogue) {
	cols := simd.Columns()
	lo, hi := l.piece(divUp(s.Filters, cols))
	lo, hi = lo*cols, min(hi*cols, s.Filters)
	if lo >= hi {
		return
	}
	f := forward(&s)
	w = w[lo*f.c:]
	s.Filters = hi - lo
	s.Conv.C, s.Out.C = s.Filters, s.Filters
	if e.bias != nil {
		e.bias = e.bias[lo:hi]
	}
	part, parts := l.part, l.parts
	l.Piece(0, 1)
	l.ahead(&s, out[lo:hi], nil, x, w, e)
	l.Piece(part, parts)
}

// DenseBackInput: gradX = gradOut w, times the derivative of s.InAct at x.
func (l *lane) DenseBackInput(s backend.DenseShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &p, &x)
	gx, g, c := l.floats(gradX), l.floats(gradOut), pixels(s)
	e := epilogue{inAct: s.InAct, store: gradX.Type}
	if s.InAct != backend.Linear {
		e.x = l.floats(x)
	}
	l.back(&c, gx, g, nil, p.Packed, e)
}

// DenseBackWeights adds to grad.W and grad.Bias.
func (l *lane) DenseBackWeights(s backend.DenseShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, 0, &gradOut, &x)
	g, in, c := l.floats(gradOut), l.floats(x), pixels(s)
	l.backWeights(&c, l.floats(grad.W), g, nil, in)
	if b := l.floats(grad.Bias); b != nil {
		simd.AddColumns(b, g, 1, 0, len(g)/len(b), len(b))
	}
}
