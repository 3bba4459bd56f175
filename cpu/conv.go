package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// The packed weights are those of the forward pass and then those of the gradient of the input.

// ConvNeeds returns the memory of the packed weights and of the scratch.
func (l *lane) ConvNeeds(s backend.ConvShape) backend.Needs { return needs(whole(s)) }

// ConvPack makes the packed weights.
func (l *lane) ConvPack(s backend.ConvShape, dst, w backend.Tensor) {
	s = whole(s)
	f, b := forward(&s), backward(&s)
	to, from := l.packed(dst, f.packedLen()+b.packedLen()), l.floats(w)
	l.pack(&f, &s, to, from)
	l.pack(&b, &s, to[f.packedLen():], from)
	if lo, hi := l.piece(1); lo < hi && !f.pairs {
		round(s.Multiply, to)
	}
}

// Conv: out = pool(act(conv(upsample(x), w) + bias)). The positions of the maxima are dropped when argmax is zero.
func (l *lane) Conv(s backend.ConvShape, out, argmax, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &argmax, &x, &p)
	o, arg, in := l.floats(out), l.optionalArgmax(&s, argmax), l.floats(x)
	s = whole(s)
	l.ahead(&s, o, arg, in, l.aheadWeights(&s, p.Packed), epilogue{bias: l.floats(p.Bias), act: s.Act, store: out.Type})
}

// ConvBackInput: gradX from gradOut, times the derivative of s.InAct at x.
func (l *lane) ConvBackInput(s backend.ConvShape, gradX, gradOut, argmax backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &argmax, &p, &x)
	gx, g, arg := l.floats(gradX), l.floats(gradOut), l.argmax(&s, argmax)
	e := epilogue{inAct: s.InAct, store: gradX.Type}
	if s.InAct != backend.Linear {
		e.x = l.floats(x)
	}
	s = whole(s)
	l.back(&s, gx, g, arg, p.Packed, e)
}

// ConvBackWeights adds to grad.W and grad.Bias.
func (l *lane) ConvBackWeights(s backend.ConvShape, grad backend.Params, gradOut, argmax, x backend.Tensor) {
	s.CheckBackWeights(&grad, 0, &gradOut, &argmax, &x)
	g, arg, in := l.floats(gradOut), l.argmax(&s, argmax), l.floats(x)
	s = whole(s)
	l.backWeights(&s, l.floats(grad.W), g, arg, in)
	if b := l.floats(grad.Bias); b != nil {
		simd.AddColumns(b, g, 1, 0, len(g)/len(b), len(b))
	}
}

// ahead is the forward pass of s, and of the gradient of a transposed convolution's input.
func (l *lane) ahead(s *backend.ConvShape, out []float32, argmax []byte, x, w []float32, e epilogue) {
	l.tall(s)
	f, ws := forward(s), scratch(l.ws)
	src := inputs(s, f.source, x)
	l.correlate(&f, &src, &ws, out, argmax, w, e)
}

// aheadWeights are the packed weights that ahead takes.
func (l *lane) aheadWeights(s *backend.ConvShape, packed backend.Tensor) []float32 {
	f, b := forward(s), backward(s)
	return l.packed(packed, f.packedLen()+b.packedLen())
}

// back is the gradient of the input of s, and the forward pass of a transposed convolution.
func (l *lane) back(s *backend.ConvShape, gradX, g []float32, argmax []byte, packed backend.Tensor, e epilogue) {
	l.tall(s)
	f, b, ws := forward(s), backward(s), scratch(l.ws)
	src := gradients(s, b.source, g, argmax, &ws)
	l.correlate(&b, &src, &ws, gradX, nil, l.packed(packed, f.packedLen()+b.packedLen())[f.packedLen():], e)
}

// needs is the memory of a convolution, as whole has it.
func needs(s backend.ConvShape) backend.Needs {
	f, b, w := forward(&s), backward(&s), planWeights(&s)
	workspace := 4 * max(f.scratchLen(), gradientsLen(&s, b.source)+b.scratchLen(), w.scratchLen(&s))
	return backend.Needs{Packed: 4 * (f.packedLen() + b.packedLen()), Workspace: workspace, Forward: workspace}
}

// optionalArgmax is argmax, or nil when it is not wanted.
func (l *lane) optionalArgmax(s *backend.ConvShape, t backend.Tensor) []byte {
	if t.IsZero() {
		return nil
	}
	return l.argmax(s, t)
}

// argmax is nil when there is no pool.
func (l *lane) argmax(s *backend.ConvShape, t backend.Tensor) []byte {
	if s.Pool <= 1 {
		return nil
	}
	return l.bytes(t)
}

// tall makes rows of the pixels of a whole convolution that lanes do together: of its only row they could not each take a piece.
func (l *lane) tall(s *backend.ConvShape) {
	if l.parts > 1 && s.KernelH*s.KernelW*s.Stride*s.Up*s.Pool*s.X.N*s.X.H == 1 {
		for _, x := range []*backend.Shape{&s.X, &s.In, &s.Conv, &s.Out} {
			x.H, x.W = x.W, x.H
		}
	}
}

// whole returns a convolution of single pixels, which knows no images or rows, as one of a single image of one row.
func whole(s backend.ConvShape) backend.ConvShape {
	s.Check()
	if s.KernelH*s.KernelW*s.Stride*s.Up*s.Pool == 1 {
		n := s.X.N * s.X.H * s.X.W
		s.X = backend.Shape{N: 1, H: 1, W: n, C: s.X.C}
		s.In = s.X
		s.Conv = backend.Shape{N: 1, H: 1, W: n, C: s.Filters}
		s.Out = s.Conv
	}
	return s
}
