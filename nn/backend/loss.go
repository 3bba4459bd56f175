package backend

// CheckLoss checks the arguments of a loss, on a backend that makes so many partial sums. These and the gradient can be
// zero.
func CheckLoss(loss, partials *Tensor, count int, grad, pred, target *Tensor) {
	loss.one()
	sum := Params{W: *loss, Partials: *partials}
	sum.partials(count)
	pred.activation(pred.Shape)
	target.activation(pred.Shape)
	if !grad.IsZero() {
		grad.activation(pred.Shape)
	}
}
