package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Sample draws a code from its distribution.
func (l *lane) Sample(src rng.Source, code, stats, stepParams backend.Tensor, first int) {
	backend.CheckSample(&code, &stats, &stepParams)
	s := code.Shape
	z, p := l.floats(code), l.floats(stats)
	for i := range z {
		z[i] = p[i+i/s.C*s.C]
	}
	if stepParams.IsZero() {
		return
	}
	draw, size := l.stepParams(stepParams).Step, s.Image()
	for n := range s.N {
		for e := 0; e < size; e += 4 {
			eps := src.Normals(uint32(e/4), uint32(first+n), draw)
			for k := e; k < min(e+4, size); k++ {
				i := n*size + k
				z[i] += float32(math.Exp(0.5*float64(p[i+i/s.C*s.C+s.C])) * float64(eps[k-e]))
			}
		}
	}
}

// SampleBack is the gradient of a draw and of the divergence.
func (l *lane) SampleBack(scale float32, src rng.Source, loss, gradStats, gradCode, stats, stepParams backend.Tensor, first int) {
	backend.CheckSampleBack(&loss, &gradStats, &gradCode, &stats, &stepParams)
	s := gradCode.Shape
	total, gz, g, p, now := l.one(loss), l.floats(gradCode), l.floats(gradStats), l.floats(stats), l.stepParams(stepParams)
	w, sum, size := float64(scale)*float64(now.Divergence), 0.0, s.Image()
	for n := range s.N {
		for e := 0; e < size; e += 4 {
			eps := src.Normals(uint32(e/4), uint32(first+n), now.Step)
			for k := e; k < min(e+4, size); k++ {
				i := n*size + k
				mean := i + i/s.C*s.C
				m, v, d := float64(p[mean]), float64(p[mean+s.C]), float64(gz[i])
				sum += (m*m + math.Exp(v) - 1 - v) / 2
				g[mean] = float32(d + w*m)
				g[mean+s.C] = float32((d*float64(eps[k-e])*math.Exp(v/2) + w*(math.Exp(v)-1)) / 2)
			}
		}
	}
	*total += float32(w * sum)
}

// ClampVariance clamps the logarithms of variances.
func (l *lane) ClampVariance(limits backend.Limits, out, stats backend.Tensor) {
	backend.CheckClampVariance(&out, &stats)
	o, p, channels := l.floats(out), l.floats(stats), stats.Shape.C
	for i, v := range p {
		if i%channels >= channels/2 {
			if v < limits.Min {
				v = limits.Min
			}
			if v > limits.Max {
				v = limits.Max
			}
		}
		o[i] = v
	}
}

// ClampVarianceBack is the gradient of ClampVariance.
func (l *lane) ClampVarianceBack(limits backend.Limits, gradStats, gradOut, stats backend.Tensor) {
	backend.CheckClampVariance(&gradStats, &gradOut, &stats)
	to, from, p, channels := l.floats(gradStats), l.floats(gradOut), l.floats(stats), stats.Shape.C
	for i, g := range from {
		if i%channels >= channels/2 && (p[i] < limits.Min || p[i] > limits.Max) {
			g = 0
		}
		to[i] = g
	}
}
