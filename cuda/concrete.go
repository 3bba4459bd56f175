package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Concretize draws a selection of inputs, or takes the likeliest.
func (l *lane) Concretize(src rng.Source, m, logits, stepParams backend.Tensor) {
	backend.CheckConcretize(&m, &logits, &stepParams)
	s := logits.Shape
	to, from := l.at(m), l.at(logits)
	now := l.at(stepParams)
	k0, k1, stream := key(src)
	l.launch("Concretize", kernels.ConcreteSelect, driver.Dim3{X: s.N}, driver.Dim3{X: threads}, 0, ptr(to), ptr(from), ptr(now), i32(s.Image()), k0, k1, stream)
}

// Pick selects from every sample, a warp a number.
func (l *lane) Pick(out, x, m backend.Tensor) {
	backend.CheckPick(&out, &x, &m)
	s := out.Shape
	y, p, sel := l.at(out), l.at(x), l.at(m)
	l.launch1("Pick", kernels.ConcretePick, 32*s.Len(), ptr(y), ptr(p), ptr(sel), i32(s.N), i32(s.C), i32(m.Shape.Image()))
}

// ConcreteBack is the gradient of the logits.
func (l *lane) ConcreteBack(gradLogits, gradOut, x, m, stepParams backend.Tensor) {
	backend.CheckConcreteBack(&gradLogits, &gradOut, &x, &m, &stepParams)
	s := gradOut.Shape
	g, gy, p, sel := l.at(gradLogits), l.at(gradOut), l.at(x), l.at(m)
	l.launch("ConcreteBack", kernels.ConcreteBack, driver.Dim3{X: s.C}, driver.Dim3{X: threads}, 0, ptr(g), ptr(gy), ptr(p), ptr(sel), ptr(l.at(stepParams)),
		i32(s.N), i32(s.C), i32(m.Shape.Image()))
}
