package op

import "github.com/convae/convae/nn/backend"

// Term is what an op of a loss has: it adds scale times the loss of a prediction to Loss, and writes its gradient.
type Term struct {
	Scale                    Scale
	Shape                    backend.Shape // of the prediction
	Loss                     Value
	Partials                 Value // of the loss, or None
	Grad, Prediction, Target Value // one that has no target reads None
}

func (o *Term) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.Partials, Write)
	visit(&o.Grad, Write)
	visit(&o.Prediction, Read)
	visit(&o.Target, Read)
}
func (o *Term) Needs(b backend.Backend) backend.Needs  { return b.LossNeeds(o.Shape) }
func (o *Term) Sums() (w, bias Value, partials *Value) { return o.Loss, None, &o.Partials }

// tensors returns the op's arguments in a frame.
func (o *Term) tensors(f *Frame) (scale float32, loss, partials, grad, pred, target backend.Tensor) {
	return o.Scale.Of(f), f.At(o.Loss), f.At(o.Partials), f.At(o.Grad), f.At(o.Prediction), f.At(o.Target)
}

// PointLoss names a loss that is a sum over elements.
type PointLoss uint8

const (
	SigmoidBCE PointLoss = iota // the prediction is of logits
	MSE
	L1
	Huber       // Parameter is delta
	Charbonnier // Parameter is epsilon
)

// Pointwise is a loss that is a sum over elements.
type Pointwise struct {
	Of        PointLoss
	Parameter float32
	Term
}

func (o *Pointwise) Name() string {
	return [...]string{"SigmoidBCE", "MSE", "L1", "Huber", "Charbonnier"}[o.Of]
}
func (o *Pointwise) Run(f *Frame) {
	scale, loss, partials, grad, pred, target := o.tensors(f)
	switch o.Of {
	case SigmoidBCE:
		f.B.SigmoidBCE(scale, loss, partials, grad, pred, target)
	case MSE:
		f.B.MSE(scale, loss, partials, grad, pred, target)
	case L1:
		f.B.L1(scale, loss, partials, grad, pred, target)
	case Huber:
		f.B.Huber(o.Parameter, scale, loss, partials, grad, pred, target)
	case Charbonnier:
		f.B.Charbonnier(o.Parameter, scale, loss, partials, grad, pred, target)
	}
}

// TotalVariation is the sum of the absolute differences of neighbours; it has no target.
type TotalVariation struct{ Term }

func (o *TotalVariation) Name() string { return "TotalVariation" }
func (o *TotalVariation) Run(f *Frame) {
	scale, loss, partials, grad, pred, _ := o.tensors(f)
	f.B.TotalVariation(scale, loss, partials, grad, pred)
}
