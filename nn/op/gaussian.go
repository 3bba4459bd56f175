package op

import "github.com/convae/convae/nn/rng"

// Sample draws a Gaussian code from its means and logarithms of variances; without StepParams, out of training, it takes the
// means.
type Sample struct {
	Source      rng.Source
	Code, Stats Value
	StepParams  Value
}

func (o *Sample) Name() string { return "Sample" }
func (o *Sample) Args(visit func(v *Value, u Use)) {
	visit(&o.Code, Write)
	visit(&o.Stats, Read)
	visit(&o.StepParams, Read)
}
func (o *Sample) Run(f *Frame) {
	f.B.Sample(o.Source, f.At(o.Code), f.At(o.Stats), f.At(o.StepParams), f.First)
}
func (o *Sample) Result() Value { return o.Code }

func (o *Sample) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.Stats) {
		gradStats := g.Like(o.Stats)
		g.Emit(&SampleBack{Source: o.Source, Loss: g.Sum(Loss, 1), GradStats: gradStats, GradCode: grad, Stats: o.Stats, StepParams: o.StepParams})
		g.Add(o.Stats, gradStats)
	}
}

// SampleBack is the gradient of Sample. It adds the code's divergence from the standard normal distribution to the loss,
// and its gradient to GradStats.
type SampleBack struct {
	Source                     rng.Source
	Loss                       Value
	GradStats, GradCode, Stats Value
	StepParams                 Value
}

func (o *SampleBack) Name() string { return "SampleBack" }
func (o *SampleBack) Args(visit func(v *Value, u Use)) {
	visit(&o.Loss, Add)
	visit(&o.GradStats, Write)
	visit(&o.GradCode, Read)
	visit(&o.Stats, Read)
	visit(&o.StepParams, Read)
}
func (o *SampleBack) Run(f *Frame) {
	f.B.SampleBack(f.SampleScale, o.Source, f.At(o.Loss), f.At(o.GradStats), f.At(o.GradCode), f.At(o.Stats), f.At(o.StepParams), f.First)
}
