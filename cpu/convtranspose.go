package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// A transposed convolution is its dual convolution with the roles of input and output swapped.

// ConvTransposeNeeds returns the memory of the packed weights and of the scratch.
func (l *lane) ConvTransposeNeeds(s backend.ConvTransposeShape) backend.Needs {
	return needs(whole(s.Dual))
}

// ConvTransposePack makes the packed weights.
func (l *lane) ConvTransposePack(s backend.ConvTransposeShape, dst, w backend.Tensor) {
	l.ConvPack(s.Dual, dst, w)
}

// ConvTranspose: out = act(convTranspose(x, w) + bias).
func (l *lane) ConvTranspose(s backend.ConvTransposeShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	o, in := l.floats(out), l.floats(x)
	d := whole(s.Dual)
	l.back(&d, o, in, nil, p.Packed, epilogue{bias: l.floats(p.Bias), act: s.Act, store: out.Type})
}

// ConvTransposeBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l *lane) ConvTransposeBackInput(s backend.ConvTransposeShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &p, &x)
	gx, g := l.floats(gradX), l.floats(gradOut)
	e := epilogue{inAct: s.InAct, store: gradX.Type}
	if s.InAct != backend.Linear {
		e.x = l.floats(x)
	}
	d := whole(s.Dual)
	l.ahead(&d, gx, nil, g, l.aheadWeights(&d, p.Packed), e)
}

// ConvTransposeBackWeights adds to grad.W and grad.Bias.
func (l *lane) ConvTransposeBackWeights(s backend.ConvTransposeShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, 0, &gradOut, &x)
	g, in := l.floats(gradOut), l.floats(x)
	d := whole(s.Dual)
	l.backWeights(&d, l.floats(grad.W), in, nil, g)
	if b := l.floats(grad.Bias); b != nil {
		simd.AddColumns(b, g, 1, 0, len(g)/len(b), len(b))
	}
}
