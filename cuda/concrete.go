package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Concretize draws a selection of inputs, or takes the likeliest.
func (l *lane) Concretize(src rng.Source, m, logits, stepParams backend.Tensor) {
	s := logits.Shape
	to, from := l.activation(m, s), l.param(logits, s)
	var now driver.Ptr
	if !stepParams.IsZero() {
		now = l.stepParams(stepParams)
	}
	k0, k1, stream := key(src)
	l.launch("Concretize", kernels.ConcreteSelect, driver.Dim3{X: s.N}, driver.Dim3{X: threads}, 0, ptr(to), ptr(from), ptr(now), i32(s.Image()), k0, k1, stream)
}

// picked returns what Pick makes of x by the selection m.
func picked(x, m backend.Shape) backend.Shape {
	if x.Image() != m.Image() {
		panic(errShape)
	}
	return backend.Shape{N: x.N, H: 1, W: 1, C: m.N}
}

// Pick selects from every sample, a warp a number.
func (l *lane) Pick(out, x, m backend.Tensor) {
	s := picked(x.Shape, m.Shape)
	y, p, sel := l.activation(out, s), l.activation(x, x.Shape), l.activation(m, m.Shape)
	l.launch1("Pick", kernels.ConcretePick, 32*s.Len(), ptr(y), ptr(p), ptr(sel), i32(s.N), i32(s.C), i32(m.Shape.Image()))
}

// ConcreteBack is the gradient of the logits.
func (l *lane) ConcreteBack(gradLogits, gradOut, x, m, stepParams backend.Tensor) {
	s := picked(x.Shape, m.Shape)
	g, gy, p, sel := l.param(gradLogits, m.Shape), l.activation(gradOut, s), l.activation(x, x.Shape), l.activation(m, m.Shape)
	l.launch("ConcreteBack", kernels.ConcreteBack, driver.Dim3{X: s.C}, driver.Dim3{X: threads}, 0, ptr(g), ptr(gy), ptr(p), ptr(sel), ptr(l.stepParams(stepParams)),
		i32(s.N), i32(s.C), i32(m.Shape.Image()))
}
