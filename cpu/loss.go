package cpu

import (
	"math"

	"convae/nn/backend"
)

// lossArgs returns loss, grad (nil when it is not wanted), prediction and target.
func (l *lane) lossArgs(loss, grad, pred, target backend.Tensor) (sum *float32, g, p, t []float32) {
	if loss.Shape.Len() != 1 {
		panic(errShape)
	}
	p, t = l.activation(pred, pred.Shape), l.activation(target, pred.Shape)
	if !grad.IsZero() {
		g = l.activation(grad, pred.Shape)
	}
	return &l.flat(loss)[0], g, p, t
}

// SigmoidBCE adds scale times the cross-entropy of sigmoid(z) and t; its gradient is scale (sigmoid(z) - t).
func (l *lane) SigmoidBCE(scale float32, loss, grad, logits, target backend.Tensor) {
	out, g, logit, label := l.lossArgs(loss, grad, logits, target)
	sum := 0.0
	for i := range logit {
		z, t := float64(logit[i]), float64(label[i])
		e := math.Exp(-math.Abs(z))
		sum += max(z, 0) - z*t + math.Log1p(e)
		if g != nil {
			p := 1 / (1 + e) // sigmoid(|z|)
			if z < 0 {
				p *= e
			}
			g[i] = float32(float64(scale) * (p - t))
		}
	}
	*out += float32(float64(scale) * sum)
}

// MSE adds scale times the squared differences; its gradient is 2 scale (p - t).
func (l *lane) MSE(scale float32, loss, grad, pred, target backend.Tensor) {
	out, g, p, t := l.lossArgs(loss, grad, pred, target)
	sum := 0.0
	for i := range p {
		d := float64(p[i]) - float64(t[i])
		sum += d * d
		if g != nil {
			g[i] = float32(2 * float64(scale) * d)
		}
	}
	*out += float32(float64(scale) * sum)
}
