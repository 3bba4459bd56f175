package cpu

import (
	"math"

	"github.com/convae/convae/nn/backend"
)

// UnitNorm divides the vector of each pixel by its length.
func (l *lane) UnitNorm(out, x, scales backend.Tensor) {
	backend.CheckUnitNorm(&out, &x, &scales)
	o, in, s, c := l.floats(out), l.floats(x), l.floats(scales), out.Shape.C
	for at := 0; at < len(o); at += c {
		v, y := in[at:][:c], o[at:][:c]
		share := 1 / (length(v) + backend.UnitEpsilon)
		for k, x := range v {
			y[k] = x * share
		}
		for k, scale := range s {
			y[k] *= scale
		}
	}
	round(out.Type, o)
}

// UnitNormBack makes the gradient of UnitNorm, which is 0 for a vector of zeros.
func (l *lane) UnitNormBack(gradX, gradOut, x, scales backend.Tensor) {
	backend.CheckUnitNormBack(&gradX, &gradOut, &x, &scales)
	gx, g, in, s, c := l.floats(gradX), l.floats(gradOut), l.floats(x), l.floats(scales), gradX.Shape.C
	for at := 0; at < len(gx); at += c {
		v, up, to := in[at:][:c], g[at:][:c], gx[at:][:c]
		n := length(v)
		if n == 0 {
			clear(to)
			continue
		}
		copy(to, up)
		for k, scale := range s {
			to[k] *= scale
		}
		share, along := 1/(n+backend.UnitEpsilon), float32(0)
		for k, x := range v {
			along += to[k] * (x / n)
		}
		for k, x := range v {
			to[k] = share * (to[k] - along*(x*share))
		}
	}
	round(gradX.Type, gx)
}

// length is the root of the sum of squares.
func length(v []float32) float32 {
	sum := float32(0)
	for _, x := range v {
		sum += x * x
	}
	return float32(math.Sqrt(float64(sum)))
}
