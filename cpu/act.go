package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// Activate: out = f(x).
func (l *lane) Activate(f backend.Function, out, x backend.Tensor) {
	backend.CheckActivate(f, &out, &x)
	o, in := l.floats(out), l.floats(x)
	l.pieceOf(1, &o, &in)
	copy(o, in)
	apply(f, o)
	round(out.Type, o)
}

// ActivateBack: gradX = gradOut times the derivative of f at its output, or its input.
func (l *lane) ActivateBack(f backend.Function, gradX, gradOut, of backend.Tensor) {
	backend.CheckActivateBack(f, &gradX, &gradOut, &of)
	gx, g, v := l.floats(gradX), l.floats(gradOut), l.floats(of)
	copy(gx, g)
	slope(f, gx, v)
	round(gradX.Type, gx)
}

// Rescale: out = scale x + offset.
func (l *lane) Rescale(scale, offset float32, out, x backend.Tensor) {
	backend.CheckRescale(&out, &x)
	o, in := l.floats(out), l.floats(x)
	for i, v := range in {
		o[i] = float32(scale*v) + offset
	}
	round(out.Type, o)
}

// apply applies a function in place.
func apply(f backend.Function, v []float32) {
	switch f.Act {
	case backend.LeakyReLU:
		simd.LeakyReLU(f.Alpha, v)
	case backend.ELU:
		simd.ELU(f.Alpha, v)
	case backend.SiLU:
		simd.SiLU(v)
	case backend.GELU:
		simd.GELU(v)
	case backend.GELUTanh:
		simd.GELUTanh(v)
	case backend.Softplus:
		simd.Softplus(v)
	case backend.Softsign:
		simd.Softsign(v)
	default:
		activate(f.Act, v)
	}
}

// slope multiplies g by the derivative of a function: of is its output if f.Act.FromOutput(), else its input.
func slope(f backend.Function, g, of []float32) {
	of = of[:len(g)]
	switch f.Act {
	case backend.LeakyReLU:
		simd.LeakyReLUBack(f.Alpha, g, of)
	case backend.ELU:
		simd.ELUBack(f.Alpha, g, of)
	case backend.SiLU:
		simd.SiLUBack(g, of)
	case backend.GELU:
		simd.GELUBack(g, of)
	case backend.GELUTanh:
		simd.GELUTanhBack(g, of)
	case backend.Softplus:
		simd.SoftplusBack(g, of)
	case backend.Softsign:
		simd.SoftsignBack(g, of)
	default:
		derive(f.Act, g, of)
	}
}

// activate applies an activation that fuses, in place.
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

// derive multiplies g by the derivative of an activation that fuses, whose output is out.
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
