package cpu

import "github.com/convae/convae/nn/backend"

// DenseNeeds is zero: the plain loops need nothing.
func (l plainLane) DenseNeeds(backend.DenseShape) backend.Needs { return backend.Needs{} }

// DensePack is never due.
func (l plainLane) DensePack(backend.DenseShape, backend.Tensor, backend.Tensor) {}

// Dense: out = act(x wᵀ + bias).
func (l plainLane) Dense(s backend.DenseShape, out, x backend.Tensor, p backend.Params) {
	s.CheckForward(&out, &x, &p)
	o, in := l.floats(out), l.floats(x)
	w, units := l.floats(p.W), s.DenseSpec.Out
	for n := range s.N {
		for u := range units {
			var sum float32
			for i := range s.In {
				sum += s.Multiply.Round(in[n*s.In+i]) * s.Multiply.Round(w[u*s.In+i])
			}
			o[n*units+u] = sum
		}
	}
	e := epilogue{bias: l.floats(p.Bias), act: s.Act}
	e.finish(o, units, 0)
	round(out.Type, o)
}

// DenseBackInput: gradX = gradOut w, times the derivative of s.InAct at x.
func (l plainLane) DenseBackInput(s backend.DenseShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	s.CheckBackInput(&gradX, &gradOut, &p, &x)
	gx, g := l.floats(gradX), l.floats(gradOut)
	w, units := l.floats(p.W), s.DenseSpec.Out
	for n := range s.N {
		for i := range s.In {
			var sum float32
			for u := range units {
				sum += s.Multiply.Round(g[n*units+u]) * s.Multiply.Round(w[u*s.In+i])
			}
			gx[n*s.In+i] = sum
		}
	}
	if s.InAct != backend.Linear {
		derive(s.InAct, gx, l.floats(x))
	}
	round(gradX.Type, gx)
}

// DenseBackWeights adds to grad.W and grad.Bias.
func (l plainLane) DenseBackWeights(s backend.DenseShape, grad backend.Params, gradOut, x backend.Tensor) {
	s.CheckBackWeights(&grad, 0, &gradOut, &x)
	g, in := l.floats(gradOut), l.floats(x)
	gw, units := l.floats(grad.W), s.DenseSpec.Out
	gb := l.floats(grad.Bias)
	for n := range s.N {
		for u := range units {
			d := g[n*units+u]
			if gb != nil {
				gb[u] += d
			}
			for i := range s.In {
				gw[u*s.In+i] += s.Multiply.Round(d) * s.Multiply.Round(in[n*s.In+i])
			}
		}
	}
}
