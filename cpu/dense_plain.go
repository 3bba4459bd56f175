package cpu

import "github.com/convae/convae/nn/backend"

// DenseNeeds is zero: the plain loops need nothing.
func (l plainLane) DenseNeeds(backend.DenseShape) backend.Needs { return backend.Needs{} }

// DensePack is never due.
func (l plainLane) DensePack(backend.DenseShape, backend.Tensor, backend.Tensor) {}

// Dense: out = act(x wᵀ + bias).
func (l plainLane) Dense(s backend.DenseShape, out, x backend.Tensor, p backend.Params) {
	o, in := l.activation(out, s.OutShape()), l.activation(x, s.XShape())
	w, units := l.param(p.W, s.Weights()), s.DenseSpec.Out
	for n := range s.N {
		for u := range units {
			var sum float32
			for i := range s.In {
				sum += in[n*s.In+i] * w[u*s.In+i]
			}
			o[n*units+u] = sum
		}
	}
	e := epilogue{bias: l.bias(p.Bias, units), act: s.Act}
	e.finish(o, units, 0)
}

// DenseBackInput: gradX = gradOut w, times the derivative of s.InAct at x.
func (l plainLane) DenseBackInput(s backend.DenseShape, gradX, gradOut backend.Tensor, p backend.Params, x backend.Tensor) {
	gx, g := l.activation(gradX, s.XShape()), l.activation(gradOut, s.OutShape())
	w, units := l.param(p.W, s.Weights()), s.DenseSpec.Out
	for n := range s.N {
		for i := range s.In {
			var sum float32
			for u := range units {
				sum += g[n*units+u] * w[u*s.In+i]
			}
			gx[n*s.In+i] = sum
		}
	}
	if s.InAct != backend.Linear {
		derive(s.InAct, gx, l.activation(x, s.XShape()))
	}
}

// DenseBackWeights adds to grad.W and grad.Bias.
func (l plainLane) DenseBackWeights(s backend.DenseShape, grad backend.Params, gradOut, x backend.Tensor) {
	g, in := l.activation(gradOut, s.OutShape()), l.activation(x, s.XShape())
	gw, units := l.param(grad.W, s.Weights()), s.DenseSpec.Out
	gb := l.bias(grad.Bias, units)
	for n := range s.N {
		for u := range units {
			d := g[n*units+u]
			if gb != nil {
				gb[u] += d
			}
			for i := range s.In {
				gw[u*s.In+i] += d * in[n*s.In+i]
			}
		}
	}
}
