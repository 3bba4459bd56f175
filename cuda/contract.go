package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// ContractDense is the penalty on a dense layer's Jacobian.
func (l *lane) ContractDense(a backend.Act, scale float32, loss, gradH, gradW, h, w backend.Tensor) {
	backend.CheckContractDense(a, &loss, &gradH, &gradW, &h, &w)
	s, in, out := h.Shape, w.Shape.Image(), w.Shape.N
	total, gh, gw, y, p := l.at(loss), l.at(gradH), l.at(gradW), l.at(h), l.at(w)
	blocks, block := min(out, maxBlocks), driver.Dim3{X: threads}
	l.launch("ContractDense", kernels.ContractDense, driver.Dim3{X: blocks}, block, 0, ptr(l.partials), ptr(gh), ptr(gw), ptr(y), ptr(p),
		i32(s.N), i32(in), i32(out), act(a), f32(scale))
	l.launch("ContractDense", kernels.LossTotal, driver.Dim3{X: 1}, block, 0, ptr(total), ptr(l.partials), i32(blocks), f32(scale))
}

// Perturb adds noise.
func (l *lane) Perturb(std float32, src rng.Source, out, x, stepParams backend.Tensor, first int) {
	backend.CheckPerturb(&out, &x, &stepParams)
	s := x.Shape
	k0, k1, stream := key(src)
	l.launch1("Perturb", kernels.ContractPerturb, randomThreads(s), ptr(l.at(out)), ptr(l.at(x)), ptr(l.at(stepParams)),
		i32(s.N), i32(s.Image()), i32(first), k0, k1, stream, f32(std))
}

// Accumulate adds alpha x to dst.
func (l *lane) Accumulate(dst backend.Tensor, alpha float32, x backend.Tensor) {
	backend.CheckAccumulate(&dst, &x)
	d, p, n := l.values(dst), l.values(x), x.Shape.Len()
	l.launch1("Accumulate", kernels.VectorAxpy, ceilDiv(n, 4), ptr(d.p), ptr(p.p), i32(n), f32(alpha), narrow(d, p))
}
