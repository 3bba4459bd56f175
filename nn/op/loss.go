package op

// SigmoidBCE adds the binary cross-entropy of sigmoid(logits) and a target to the loss, and writes its gradient.
type SigmoidBCE struct {
	Scale                Scale
	Loss                 Value
	Grad, Logits, Target Value
}

func (o *SigmoidBCE) Name() string { return "SigmoidBCE" }
func (o *SigmoidBCE) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.Grad, Write)
	visit(&o.Logits, Read)
	visit(&o.Target, Read)
}
func (o *SigmoidBCE) Run(f *Frame) {
	f.B.SigmoidBCE(o.Scale.Of(f), f.At(o.Loss), f.At(o.Grad), f.At(o.Logits), f.At(o.Target))
}

// MSE adds the squared error of a prediction to the loss, and writes its gradient.
type MSE struct {
	Scale                    Scale
	Loss                     Value
	Grad, Prediction, Target Value
}

func (o *MSE) Name() string { return "MSE" }
func (o *MSE) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.Grad, Write)
	visit(&o.Prediction, Read)
	visit(&o.Target, Read)
}
func (o *MSE) Run(f *Frame) {
	f.B.MSE(o.Scale.Of(f), f.At(o.Loss), f.At(o.Grad), f.At(o.Prediction), f.At(o.Target))
}
