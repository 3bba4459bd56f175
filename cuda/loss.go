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

// loss leaves partial sums, which are added up at once if the caller has no room for them.
func (l *lane) loss(op string, e kernels.Entry, scale float32, loss, partials, grad, pred, target backend.Tensor) {
	n := pred.Shape.Len()
	blocks := lossBlocks(n)
	backend.CheckLoss(&loss, &partials, blocks, &grad, &pred, &target)
	total, sums, p, t := l.at(loss), l.at(partials), l.at(pred), l.at(target)
	g := l.at(grad)
	if partials.IsZero() {
		sums = l.partials
	}
	block := driver.Dim3{X: threads}
	l.launch(op, e, driver.Dim3{X: blocks}, block, 0, ptr(sums), ptr(g), ptr(p), ptr(t), i32(n), f32(scale))
	if partials.IsZero() {
		l.launch(op, kernels.LossTotal, driver.Dim3{X: 1}, block, 0, ptr(total), ptr(sums), i32(blocks), f32(1))
	}
}
