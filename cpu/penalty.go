package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
)

// Penalize adds the penalties on absolute values and squares.
func (l *lane) Penalize(o backend.Norms, loss, grad, x backend.Tensor) {
	o.Check(&loss, &grad, &x)
	total, v, g := l.one(loss), l.floats(x), l.floats(grad)
	l1, l2, sum := float64(o.L1), float64(o.L2), 0.0
	for i, x := range v {
		a := float64(x)
		sum += l1*math.Abs(a) + l2*a*a
		slope := 2 * l2 * a
		if a > 0 {
			slope += l1
		} else if a < 0 {
			slope -= l1
		}
		g[i] += float32(slope)
	}
	*total += float32(sum)
}

// ColumnSum adds the images of x.
func (l *lane) ColumnSum(dst, x backend.Tensor) {
	backend.CheckColumnSum(&dst, &x)
	size := x.Shape.Image()
	d, v := l.floats(dst), l.floats(x)
	for n := range x.Shape.N {
		for j, a := range v[n*size:][:size] {
			d[j] += a
		}
	}
}

// SparseKL is the penalty on mean activations that differ from rho.
func (l *lane) SparseKL(o backend.Sparsity, share float32, loss, grad, sums backend.Tensor) {
	o.Check(&loss, &grad, &sums)
	total, g, rho, sum := l.one(loss), l.floats(grad), float64(o.Rho), 0.0
	for j, s := range l.floats(sums) {
		r := min(max(float64(share)*float64(s), 1e-6), 1-1e-6)
		on, off := rho/r, (1-rho)/(1-r)
		sum += rho*math.Log(on) + (1-rho)*math.Log(off)
		g[j] = float32(float64(o.Weight) * float64(share) * (off - on))
	}
	*total += float32(float64(o.Weight) * sum)
}

// AddRow adds row to every image of x.
func (l *lane) AddRow(x, row backend.Tensor) {
	backend.CheckAddRow(&x, &row)
	size := x.Shape.Image()
	v, r := l.floats(x), l.floats(row)
	for n := range x.Shape.N {
		for j := range r {
			v[n*size+j] += r[j]
		}
	}
}
