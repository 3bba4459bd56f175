package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// statsOf returns the shape of the means and variances of a code.
func statsOf(code backend.Shape) backend.Shape { code.C *= 2; return code }

// Sample draws a code from its distribution.
func (l *lane) Sample(src rng.Source, code, stats, stepParams backend.Tensor, first int) {
	s := code.Shape
	z, p := l.activation(code, s), l.activation(stats, statsOf(s))
	var now driver.Ptr
	if !stepParams.IsZero() {
		now = l.stepParams(stepParams)
	}
	k0, k1, stream := key(src)
	l.launch1("Sample", kernels.GaussianSample, randomThreads(s), ptr(z), ptr(p), ptr(now), i32(s.N), i32(s.Image()), i32(s.C), i32(first), k0, k1, stream)
}

// SampleBack is the gradient of a draw and of the divergence.
func (l *lane) SampleBack(scale float32, src rng.Source, loss, gradStats, gradCode, stats, stepParams backend.Tensor, first int) {
	if loss.Shape.Len() != 1 {
		panic(errShape)
	}
	s := gradCode.Shape
	total, gz, g, p, now := l.flat(loss), l.activation(gradCode, s), l.activation(gradStats, statsOf(s)), l.activation(stats, statsOf(s)), l.stepParams(stepParams)
	k0, k1, stream := key(src)
	l.reduce("SampleBack", kernels.GaussianBack, total, 4*randomThreads(s), 1, ptr(l.partials), ptr(g), ptr(gz), ptr(p), ptr(now),
		i32(s.N), i32(s.Image()), i32(s.C), i32(first), k0, k1, stream, f32(scale))
}
