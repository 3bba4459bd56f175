package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// LossNeeds returns a partial sum for each block. Where they are given no tensor, the device has room for them.
func (l *lane) LossNeeds(pred backend.Shape) backend.Needs {
	return backend.Needs{Partials: lossBlocks(pred.Len())}
}

// lossBlocks is the number of blocks for n elements. It decides the order of summation.
func lossBlocks(n int) int { return min(ceilDiv(n, 4*threads), maxBlocks) }

// SigmoidBCE adds scale times the cross-entropy of sigmoid(z) and t; its gradient is scale (sigmoid(z) - t).
func (l *lane) SigmoidBCE(scale float32, loss, partials, grad, logits, target backend.Tensor) {
	l.loss("SigmoidBCE", kernels.LossBCE, scale, loss, partials, grad, logits, target)
}

// MSE adds scale times the squared differences; its gradient is 2 scale (p - t).
func (l *lane) MSE(scale float32, loss, partials, grad, pred, target backend.Tensor) {
	l.loss("MSE", kernels.LossMSE, scale, loss, partials, grad, pred, target)
}

// L1 adds scale times the absolute differences; its gradient is scale sign(p - t).
func (l *lane) L1(scale float32, loss, partials, grad, pred, target backend.Tensor) {
	l.loss("L1", kernels.LossL1, scale, loss, partials, grad, pred, target)
}

// Huber adds scale times the differences beyond delta, and half the squares of those up to it.
func (l *lane) Huber(delta, scale float32, loss, partials, grad, pred, target backend.Tensor) {
	l.loss("Huber", kernels.LossHuber, scale, loss, partials, grad, pred, target, f32(delta))
}

// Charbonnier adds scale times sqrt((p - t)² + epsilon²).
func (l *lane) Charbonnier(epsilon, scale float32, loss, partials, grad, pred, target backend.Tensor) {
	l.loss("Charbonnier", kernels.LossCharbonnier, scale, loss, partials, grad, pred, target, f32(epsilon))
}

// TotalVariation adds scale times the absolute differences of neighbours in a row or a column.
func (l *lane) TotalVariation(scale float32, loss, partials, grad, pred backend.Tensor) {
	s := pred.Shape
	l.loss("TotalVariation", kernels.LossVariation, scale, loss, partials, grad, pred, backend.Tensor{}, i32(s.H), i32(s.W), i32(s.C))
}

// loss leaves partial sums, which are added up at once if the caller has no room for them. A loss without a target is given none. more are
// a kernel's last parameters.
func (l *lane) loss(op string, e kernels.Entry, scale float32, loss, partials, grad, pred, target backend.Tensor, more ...uint64) {
	n, compared := pred.Shape.Len(), target
	blocks := lossBlocks(n)
	if target.IsZero() {
		compared = pred
	}
	backend.CheckLoss(&loss, &partials, blocks, &grad, &pred, &compared)
	total, sums := l.at(loss), l.at(partials)
	if partials.IsZero() {
		sums = l.partials
	}
	var args arguments
	args.add(ptr(sums), ptr(l.at(grad)), ptr(l.at(pred)))
	if !target.IsZero() {
		args.add(ptr(l.at(target)))
	}
	args.add(i32(n), f32(scale))
	args.add(more...)
	block := driver.Dim3{X: threads}
	l.launch(op, e, driver.Dim3{X: blocks}, block, 0, args.all()...)
	if partials.IsZero() {
		l.launch(op, kernels.LossTotal, driver.Dim3{X: 1}, block, 0, ptr(total), ptr(sums), i32(blocks), f32(1))
	}
}
