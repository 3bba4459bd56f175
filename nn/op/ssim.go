package op

import "github.com/convae/convae/nn/backend"

// SSIM makes the index of each position of a window, and its Slopes.
type SSIM struct {
	Shape         backend.SSIMShape
	Index, Slopes Value
	X, Target     Value
}

func (o *SSIM) Name() string { return "SSIM" }
func (o *SSIM) Args(visit func(v *Value, u Use)) {
	visit(&o.Index, Write)
	visit(&o.Slopes, Write)
	visit(&o.X, Read)
	visit(&o.Target, Read)
}
func (o *SSIM) Needs(b backend.Backend) backend.Needs { return b.SSIMNeeds(o.Shape) }
func (o *SSIM) Run(f *Frame) {
	f.B.SSIM(o.Shape, f.At(o.Index), f.At(o.Slopes), f.At(o.X), f.At(o.Target))
}

// SSIMBack is the gradient of the sums of an index, times Scale.
type SSIMBack struct {
	Shape                   backend.SSIMShape
	Scale                   float32
	GradX, Slopes, GradSums Value
	X, Target               Value
}

func (o *SSIMBack) Name() string { return "SSIMBack" }
func (o *SSIMBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.Slopes, Read)
	visit(&o.GradSums, Read)
	visit(&o.X, Read)
	visit(&o.Target, Read)
}
func (o *SSIMBack) Needs(b backend.Backend) backend.Needs { return b.SSIMNeeds(o.Shape) }
func (o *SSIMBack) Run(f *Frame) {
	f.B.SSIMBack(o.Shape, o.Scale, f.At(o.GradX), f.At(o.Slopes), f.At(o.GradSums), f.At(o.X), f.At(o.Target))
}

// SSIMLoss adds what the means of the indices of all scales lack of 1 to the loss, and writes the gradient.
type SSIMLoss struct {
	Weights                backend.ScaleWeights
	Scale                  Scale
	Loss, GradMeans, Means Value
}

func (o *SSIMLoss) Name() string { return "SSIMLoss" }
func (o *SSIMLoss) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.GradMeans, Write)
	visit(&o.Means, Read)
}
func (o *SSIMLoss) Run(f *Frame) {
	f.B.SSIMLoss(o.Weights, o.Scale.Of(f), f.At(o.Loss), f.At(o.GradMeans), f.At(o.Means))
}
