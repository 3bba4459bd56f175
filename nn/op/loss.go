package op

import "github.com/convae/convae/nn/backend"

// SigmoidBCE adds the binary cross-entropy of sigmoid(logits) and a target to the loss, and writes its gradient.
type SigmoidBCE struct {
	Scale                Scale
	Shape                backend.Shape // of the prediction
	Loss                 Value
	Partials             Value // of the loss, or None
	Grad, Logits, Target Value
}

func (o *SigmoidBCE) Name() string { return "SigmoidBCE" }
func (o *SigmoidBCE) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.Partials, Write)
	visit(&o.Grad, Write)
	visit(&o.Logits, Read)
	visit(&o.Target, Read)
}
func (o *SigmoidBCE) Needs(b backend.Backend) backend.Needs  { return b.LossNeeds(o.Shape) }
func (o *SigmoidBCE) Sums() (w, bias Value, partials *Value) { return o.Loss, None, &o.Partials }
func (o *SigmoidBCE) Run(f *Frame) {
	f.B.SigmoidBCE(o.Scale.Of(f), f.At(o.Loss), f.At(o.Partials), f.At(o.Grad), f.At(o.Logits), f.At(o.Target))
}

// MSE adds the squared error of a prediction to the loss, and writes its gradient.
type MSE struct {
	Scale                    Scale
	Shape                    backend.Shape // of the prediction
	Loss                     Value
	Partials                 Value // of the loss, or None
	Grad, Prediction, Target Value
}

func (o *MSE) Name() string { return "MSE" }
func (o *MSE) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.Partials, Write)
	visit(&o.Grad, Write)
	visit(&o.Prediction, Read)
	visit(&o.Target, Read)
}
func (o *MSE) Needs(b backend.Backend) backend.Needs  { return b.LossNeeds(o.Shape) }
func (o *MSE) Sums() (w, bias Value, partials *Value) { return o.Loss, None, &o.Partials }
func (o *MSE) Run(f *Frame) {
	f.B.MSE(o.Scale.Of(f), f.At(o.Loss), f.At(o.Partials), f.At(o.Grad), f.At(o.Prediction), f.At(o.Target))
}
