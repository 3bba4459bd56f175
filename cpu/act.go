package cpu

import (
	"math"

	"convae/nn/backend"
)

// Activate: out = act(x).
func (l *lane) Activate(a backend.Act, out, x backend.Tensor) {
	o, in := l.activation(out, x.Shape), l.activation(x, x.Shape)
	copy(o, in)
	activate(a, o)
}

// ActivateBack: gradX = gradOut times the derivative of act at its output.
func (l *lane) ActivateBack(a backend.Act, gradX, gradOut, out backend.Tensor) {
	s := gradOut.Shape
	gx, g, o := l.activation(gradX, s), l.activation(gradOut, s), l.activation(out, s)
	copy(gx, g)
	derive(a, gx, o)
}

// activate applies an activation in place.
func activate(a backend.Act, v []float32) {
	switch a {
	case backend.Linear:
	case backend.ReLU:
		for i, x := range v {
			v[i] = max(x, 0)
		}
	case backend.Sigmoid:
		for i, x := range v {
			v[i] = float32(1 / (1 + math.Exp(-float64(x))))
		}
	case backend.Tanh:
		for i, x := range v {
			v[i] = float32(math.Tanh(float64(x)))
		}
	default:
		panic(errAct)
	}
}

// derive multiplies g by the derivative of an activation whose output is out.
func derive(a backend.Act, g, out []float32) {
	out = out[:len(g)]
	switch a {
	case backend.Linear:
	case backend.ReLU:
		for i, x := range out {
			// On bits, so that the compiler makes a conditional move of it.
			b := math.Float32bits(g[i])
			if !(x > 0) {
				b = 0
			}
			g[i] = math.Float32frombits(b)
		}
	case backend.Sigmoid:
		for i, x := range out {
			g[i] *= x * (1 - x)
		}
	case backend.Tanh:
		for i, x := range out {
			g[i] *= 1 - x*x
		}
	default:
		panic(errAct)
	}
}
