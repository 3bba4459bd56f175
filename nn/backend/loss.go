package backend

// CheckLoss checks the arguments of SigmoidBCE and MSE. The gradient can be zero.
func CheckLoss(loss, grad, pred, target *Tensor) {
	loss.one()
	pred.activation(pred.Shape)
	target.activation(pred.Shape)
	if !grad.IsZero() {
		grad.activation(pred.Shape)
	}
}
