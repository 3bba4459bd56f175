package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
)

// Penalize adds the penalties on absolute values and squares.
func (l *lane) Penalize(o backend.Norms, loss, grad, x backend.Tensor) {
	if x.Role == backend.Param {
		panic(errRole)
	}
	total, v, g := l.one(loss), l.values(x), l.floats(grad, x.Role, x.Shape)
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
	size := x.Shape.Image()
	d, v := l.floats(dst, backend.Flat, backend.Vec(size)), l.activation(x, x.Shape)
	for n := range x.Shape.N {
		for j, a := range v[n*size:][:size] {
			d[j] += a
		}
	}
}

// SparseKL is the penalty on mean activations that differ from rho.
func (l *lane) SparseKL(o backend.Sparsity, share float32, loss, grad, sums backend.Tensor) {
	total, g, rho, sum := l.one(loss), l.alike(grad, sums), float64(o.Rho), 0.0
	for j, s := range l.flat(sums) {
		r := min(max(float64(share)*float64(s), 1e-6), 1-1e-6)
		on, off := rho/r, (1-rho)/(1-r)
		sum += rho*math.Log(on) + (1-rho)*math.Log(off)
		g[j] = float32(float64(o.Weight) * float64(share) * (off - on))
	}
	*total += float32(float64(o.Weight) * sum)
}

// AddRow adds row to every image of x.
func (l *lane) AddRow(x, row backend.Tensor) {
	size := x.Shape.Image()
	v, r := l.activation(x, x.Shape), l.floats(row, backend.Flat, backend.Vec(size))
	for n := range x.Shape.N {
		for j := range r {
			v[n*size+j] += r[j]
		}
	}
}
