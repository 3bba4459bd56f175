package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// SigmoidBCE adds scale times the cross-entropy of sigmoid(z) and t; its gradient is scale (sigmoid(z) - t).
func (l *lane) SigmoidBCE(scale float32, loss, grad, logits, target backend.Tensor) {
	l.loss("SigmoidBCE", kernels.LossBCE, scale, loss, grad, logits, target)
}

// MSE adds scale times the squared differences; its gradient is 2 scale (p - t).
func (l *lane) MSE(scale float32, loss, grad, pred, target backend.Tensor) {
	l.loss("MSE", kernels.LossMSE, scale, loss, grad, pred, target)
}

// loss sums in two stages. The number of blocks decides the order of summation, so it follows from the number of elements
// alone.
func (l *lane) loss(op string, e kernels.Entry, scale float32, loss, grad, pred, target backend.Tensor) {
	backend.CheckLoss(&loss, &grad, &pred, &target)
	total, p, t := l.at(loss), l.at(pred), l.at(target)
	g := l.at(grad)
	n := pred.Shape.Len()
	blocks := min(ceilDiv(n, 4*threads), maxBlocks)
	block := driver.Dim3{X: threads}
	l.launch(op, e, driver.Dim3{X: blocks}, block, 0, ptr(l.partials), ptr(g), ptr(p), ptr(t), i32(n), f32(scale))
	l.launch(op, kernels.LossTotal, driver.Dim3{X: 1}, block, 0, ptr(total), ptr(l.partials), i32(blocks), f32(scale))
}
