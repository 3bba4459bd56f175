package cpu

import (
	"math"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/backend"
)

// LossNeeds returns that there are no partial sums.
func (l *lane) LossNeeds(backend.Shape) backend.Needs { return backend.Needs{} }

// lossArgs returns loss, grad (nil when it is not wanted), prediction and target.
func (l *lane) lossArgs(loss, partials, grad, pred, target backend.Tensor) (sum *float32, g, p, t []float32) {
	backend.CheckLoss(&loss, &partials, 0, &grad, &pred, &target)
	return l.one(loss), l.floats(grad), l.floats(pred), l.floats(target)
}

// SigmoidBCE adds scale times the cross-entropy of sigmoid(z) and t; its gradient is scale (sigmoid(z) - t).
func (l *lane) SigmoidBCE(scale float32, loss, partials, grad, logits, target backend.Tensor) {
	sum, g, z, t := l.lossArgs(loss, partials, grad, logits, target)
	*sum += float32(float64(scale) * simd.SigmoidBCE(scale, g, z, t))
}

// MSE adds scale times the squared differences; its gradient is 2 scale (p - t).
func (l *lane) MSE(scale float32, loss, partials, grad, pred, target backend.Tensor) {
	sum, g, p, t := l.lossArgs(loss, partials, grad, pred, target)
	*sum += float32(float64(scale) * simd.MSE(scale, g, p, t))
}

// L1 adds scale times the absolute differences; its gradient is scale sign(p - t).
func (l *lane) L1(scale float32, loss, partials, grad, pred, target backend.Tensor) {
	l.pointwise(scale, loss, partials, grad, pred, target, func(d float64) (v, slope float64) { return math.Abs(d), sign(d) })
}

// Huber adds scale times the differences beyond delta, and half the squares of those up to it; its gradient is p - t, bounded by delta, times
// scale.
func (l *lane) Huber(delta, scale float32, loss, partials, grad, pred, target backend.Tensor) {
	limit := float64(delta)
	l.pointwise(scale, loss, partials, grad, pred, target, func(d float64) (v, slope float64) {
		a := math.Abs(d)
		if a <= limit {
			return d * d / 2, d
		}
		return limit * (a - limit/2), limit * sign(d)
	})
}

// Charbonnier adds scale times r = sqrt((p - t)² + epsilon²); its gradient is scale (p - t)/r.
func (l *lane) Charbonnier(epsilon, scale float32, loss, partials, grad, pred, target backend.Tensor) {
	least := float64(epsilon) * float64(epsilon)
	l.pointwise(scale, loss, partials, grad, pred, target, func(d float64) (v, slope float64) {
		r := math.Sqrt(float64(d*d) + least)
		return r, d / r
	})
}

// pointwise adds scale times a loss of each difference of prediction and target.
func (l *lane) pointwise(scale float32, loss, partials, grad, pred, target backend.Tensor, of func(d float64) (v, slope float64)) {
	total, g, p, t := l.lossArgs(loss, partials, grad, pred, target)
	sum := 0.0
	for i := range p {
		v, slope := of(float64(p[i]) - float64(t[i]))
		sum += v
		if g != nil {
			g[i] = float32(float64(scale) * slope)
		}
	}
	*total += float32(float64(scale) * sum)
}

// sign is -1, 0 or 1, and NaN of NaN.
func sign(d float64) float64 {
	switch {
	case d > 0:
		return 1
	case d < 0:
		return -1
	}
	return d
}

// TotalVariation adds scale times the absolute differences of neighbours in a row or a column.
func (l *lane) TotalVariation(scale float32, loss, partials, grad, pred backend.Tensor) {
	total, g, p, _ := l.lossArgs(loss, partials, grad, pred, pred)
	clear(g)
	s, sum := pred.Shape, 0.0
	add := func(i, j int) {
		d := float64(p[i]) - float64(p[j])
		sum += math.Abs(d)
		if g != nil {
			slope := scale * float32(sign(d))
			g[i] += slope
			g[j] -= slope
		}
	}
	for i := range p {
		if i/s.C%s.W < s.W-1 {
			add(i, i+s.C)
		}
		if i/(s.W*s.C)%s.H < s.H-1 {
			add(i, i+s.W*s.C)
		}
	}
	*total += float32(float64(scale) * sum)
}
