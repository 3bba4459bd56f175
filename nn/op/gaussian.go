package op

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

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

// ClampVariance clamps the logarithms of variances that a code is drawn by.
type ClampVariance struct {
	Limits     backend.Limits
	Out, Stats Value
}

func (o *ClampVariance) Name() string { return "ClampVariance" }
func (o *ClampVariance) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.Stats, Read)
}
func (o *ClampVariance) Run(f *Frame)  { f.B.ClampVariance(o.Limits, f.At(o.Out), f.At(o.Stats)) }
func (o *ClampVariance) Result() Value { return o.Out }

func (o *ClampVariance) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.Stats) {
		gradStats := g.Like(o.Stats)
		g.Emit(&ClampVarianceBack{Limits: o.Limits, GradStats: gradStats, GradOut: grad, Stats: o.Stats})
		g.Add(o.Stats, gradStats)
	}
}

// ClampVarianceBack is the gradient of ClampVariance.
type ClampVarianceBack struct {
	Limits                    backend.Limits
	GradStats, GradOut, Stats Value
}

func (o *ClampVarianceBack) Name() string { return "ClampVarianceBack" }
func (o *ClampVarianceBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradStats, Write)
	visit(&o.GradOut, Read)
	visit(&o.Stats, Read)
}
func (o *ClampVarianceBack) Run(f *Frame) {
	f.B.ClampVarianceBack(o.Limits, f.At(o.GradStats), f.At(o.GradOut), f.At(o.Stats))
}
