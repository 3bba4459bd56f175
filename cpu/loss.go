package cpu

import (
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
