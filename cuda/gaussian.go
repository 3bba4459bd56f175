package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Sample draws a code from its distribution.
func (l *lane) Sample(src rng.Source, code, stats, stepParams backend.Tensor, first int) {
	backend.CheckSample(&code, &stats, &stepParams)
	s := code.Shape
	z, p := l.at(code), l.at(stats)
	now := l.at(stepParams)
	k0, k1, stream := key(src)
	l.launch1("Sample", kernels.GaussianSample, randomThreads(s), ptr(z), ptr(p), ptr(now), i32(s.N), i32(s.Image()), i32(s.C), i32(first), k0, k1, stream)
}

// SampleBack is the gradient of a draw and of the divergence.
func (l *lane) SampleBack(scale float32, src rng.Source, loss, gradStats, gradCode, stats, stepParams backend.Tensor, first int) {
	backend.CheckSampleBack(&loss, &gradStats, &gradCode, &stats, &stepParams)
	s := gradCode.Shape
	total, gz, g, p, now := l.at(loss), l.at(gradCode), l.at(gradStats), l.at(stats), l.at(stepParams)
	k0, k1, stream := key(src)
	l.reduce("SampleBack", kernels.GaussianBack, total, 4*randomThreads(s), 1, ptr(l.partials), ptr(g), ptr(gz), ptr(p), ptr(now),
		i32(s.N), i32(s.Image()), i32(s.C), i32(first), k0, k1, stream, f32(scale))
}

// ClampVariance clamps the logarithms of variances.
func (l *lane) ClampVariance(limits backend.Limits, out, stats backend.Tensor) {
	backend.CheckClampVariance(&out, &stats)
	o, p, n := l.at(out), l.at(stats), stats.Shape.Len()
	l.launch1("ClampVariance", kernels.GaussianClamp, n, ptr(o), ptr(p), i32(n), i32(stats.Shape.C/2), f32(limits.Min), f32(limits.Max))
}

// ClampVarianceBack is the gradient of ClampVariance.
func (l *lane) ClampVarianceBack(limits backend.Limits, gradStats, gradOut, stats backend.Tensor) {
	backend.CheckClampVariance(&gradStats, &gradOut, &stats)
	to, from, p, n := l.at(gradStats), l.at(gradOut), l.at(stats), stats.Shape.Len()
	l.launch1("ClampVarianceBack", kernels.GaussianClampBack, n, ptr(to), ptr(from), ptr(p), i32(n), i32(stats.Shape.C/2), f32(limits.Min), f32(limits.Max))
}
