package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Activate: out = act(x).
func (l *lane) Activate(a backend.Act, out, x backend.Tensor) {
	backend.CheckActivate(a, &out, &x)
	o, in := l.floats(out), l.floats(x)
	copy(o, in)
	activate(a, o)
	round(out.Type, o)
}

// ActivateBack: gradX = gradOut times the derivative of act at its output.
func (l *lane) ActivateBack(a backend.Act, gradX, gradOut, out backend.Tensor) {
	backend.CheckActivateBack(a, &gradX, &gradOut, &out)
	gx, g, o := l.floats(gradX), l.floats(gradOut), l.floats(out)
	copy(gx, g)
	derive(a, gx, o)
	round(gradX.Type, gx)
}

// activate applies an activation in place.
func activate(a backend.Act, v []float32) {
	switch a {
	case backend.Linear:
	case backend.ReLU:
		simd.ReLU(v)
	case backend.Sigmoid:
		simd.Sigmoid(v)
	case backend.Tanh:
		simd.Tanh(v)
	}
}

// derive multiplies g by the derivative of an activation whose output is out.
func derive(a backend.Act, g, out []float32) {
	out = out[:len(g)]
	switch a {
	case backend.Linear:
	case backend.ReLU:
		simd.ReLUBack(g, out)
	case backend.Sigmoid:
		simd.SigmoidBack(g, out)
	case backend.Tanh:
		simd.TanhBack(g, out)
	}
}
