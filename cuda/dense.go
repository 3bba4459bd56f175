package cuda

import "github.com/convae/convae/nn/backend"

// The products of a dense layer of n rows. Its weights are stored unit by unit.
func forward(s *backend.DenseShape) gemm {
	return gemm{op: "Dense", m: s.N, n: s.DenseSpec.Out, k: s.In, multiply: s.Multiply}
}

func backInput(s *backend.DenseShape) gemm {
	return gemm{op: "DenseBackInput", m: s.N, n: s.In, k: s.DenseSpec.Out, multiply: s.Multiply}
}

func backWeights(s *backend.DenseShape) gemm {
	return gemm{op: "DenseBackWeights", m: s.DenseSpec.Out, n: s.In, k: s.N, multiply: s.Multiply}
}

// densePartials is the number of partial sums of the gradients, 0 if they are made in one sum.
func densePartials(s *backend.DenseShape) int {
	g := backWeights(s)
	if n := g.parts(g.formFor(g.m, g.n)); n > 1 {
		return n
	}
	return 0
}

// DenseNeeds returns the memory of the scratch. The weights are used as they are.
func (l *lane) DenseNeeds(s backend.DenseShape) backend.Needs {
	rows := densePartials(&s)
	bytes := 4 * rows * (s.Weights().Len() + s.DenseSpec.Out)
	return backend.Needs{Workspace: bytes, Partials: rows, PartialBytes: bytes}
}

// DensePack is never due.
func (l *lane) DensePack(backend.DenseShape, backend.Tensor, backend.Tensor) {}

// Dense: out = act(x wᵀ + bias).
func (l *lane) Dense(s backend.DenseShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	g := forward(&s)
	g.a, g.b, g.out = l.values(x), l.values(p.W), l.values(out)
	l.gemmNT(g, l.at(p.Bias), act(s.Act))
}

// DenseBackInput: gradX = gradOut w, times the derivative of s.InAct at x.
func (l *lane) DenseBackInput(s backend.DenseShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &p, &x)
	g := backInput(&s)
	g.a, g.b, g.out, g.mask = l.values(gradOut), l.values(p.W), l.values(gradX), l.mask(s.InAct, x)
	l.gemmNN(g, act(s.InAct))
}

// DenseBackWeights: grad.W += gradOutᵀ x, grad.Bias += the column sums of gradOut.
func (l *lane) DenseBackWeights(s backend.DenseShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, densePartials(&s), &gradOut, &x)
	g := backWeights(&s)
	g.a, g.b = l.values(gradOut), l.values(x)
	to := sums{partials: l.at(grad.Partials), w: l.at(grad.W), bias: l.at(grad.Bias), nw: s.Weights().Len(), rows: densePartials(&s)}
	if to.bias != 0 {
		to.nb = s.DenseSpec.Out
	}
	given := to.partials != 0
	if to.rows > 0 && !given {
		to.partials = l.workspace(4 * to.rows * (to.nw + to.nb))
	}
	d := to.part(0)
	l.gemmTN(g, &d)
	if to.rows > 0 && !given {
		l.sum(g.op, []sums{to})
	}
}
