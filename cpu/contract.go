package cpu

import (
	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// ContractDense is the penalty on a dense layer's Jacobian: the sum of d² times the squares of a unit's weights, where d is
// the derivative of its activation.
func (l *lane) ContractDense(a backend.Act, scale float32, loss, gradH, gradW, h, w backend.Tensor) {
	backend.CheckContractDense(a, &loss, &gradH, &gradW, &h, &w)
	s, in, out := h.Shape, w.Shape.Image(), w.Shape.N
	total, gh, gw, y, p := l.one(loss), l.floats(gradH), l.floats(gradW), l.floats(h), l.floats(w)
	sum := 0.0
	for j := range out {
		row, squares, q := p[j*in:][:in], 0.0, 0.0
		for _, v := range row {
			squares += float64(v) * float64(v)
		}
		for n := range s.N {
			d, slope := derivatives(a, float64(y[n*out+j]))
			q += d * d
			gh[n*out+j] += float32(2 * float64(scale) * d * slope * squares)
		}
		for i, v := range row {
			gw[j*in+i] += float32(2 * float64(scale) * q * float64(v))
		}
		sum += q * squares
	}
	*total += float32(float64(scale) * sum)
}

// derivatives returns the derivative of an activation whose output is y, and that one's with respect to y.
func derivatives(a backend.Act, y float64) (d, slope float64) {
	switch a {
	case backend.Linear:
		return 1, 0
	case backend.ReLU:
		if y > 0 {
			return 1, 0
		}
		return 0, 0
	case backend.Sigmoid:
		return y * (1 - y), 1 - 2*y
	default: // Tanh
		return 1 - y*y, -2 * y
	}
}

// Perturb adds noise. As in package rng, the product is rounded before it is added.
func (l *lane) Perturb(std float32, src rng.Source, out, x, stepParams backend.Tensor, first int) {
	backend.CheckPerturb(&out, &x, &stepParams)
	o, in, draw, size := l.floats(out), l.floats(x), l.stepParams(stepParams).Step, x.Shape.Image()
	for n := range x.Shape.N {
		for e := 0; e < size; e += 4 {
			z := src.Normals(uint32(e/4), uint32(first+n), draw)
			for k := e; k < min(e+4, size); k++ {
				o[n*size+k] = in[n*size+k] + float32(std*z[k-e])
			}
		}
	}
}

// Accumulate adds alpha x to dst.
func (l *lane) Accumulate(dst backend.Tensor, alpha float32, x backend.Tensor) {
	backend.CheckAccumulate(&dst, &x)
	d := l.floats(dst)
	simd.Axpy(d, alpha, l.floats(x))
	round(dst.Type, d)
}
