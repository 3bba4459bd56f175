package op

import "github.com/convae/convae/nn/backend"

// BatchNorm normalises each channel and applies an activation: out = act(gamma (x - mean) / sqrt(variance + epsilon) + beta). Mean and
// variance are the Moments of a batch, or, outside of training, Mean and Variance.
type BatchNorm struct {
	Shape          backend.BatchNormShape
	Out, X         Value
	Moments        Value
	Mean, Variance Value
	Gamma, Beta    Value
}

func (o *BatchNorm) Name() string { return "BatchNorm" }
func (o *BatchNorm) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
	visit(&o.Moments, Read)
	visit(&o.Mean, Read)
	visit(&o.Variance, Read)
	visit(&o.Gamma, Read)
	visit(&o.Beta, Read)
}
func (o *BatchNorm) Narrow() []Value                       { return []Value{o.Out, o.X} }
func (o *BatchNorm) Needs(b backend.Backend) backend.Needs { return plain(b.BatchNormNeeds(o.Shape)) }
func (o *BatchNorm) Run(f *Frame) {
	p := backend.BatchNormParams{Mean: f.At(o.Mean), Variance: f.At(o.Variance), Gamma: f.At(o.Gamma), Beta: f.At(o.Beta)}
	if o.Moments != None {
		p = f.moments(o.Moments, o.Gamma, o.Beta)
	}
	f.B.BatchNorm(o.Shape, f.At(o.Out), f.At(o.X), p)
}
func (o *BatchNorm) Result() Value { return o.Out }

// plain is what an op needs that makes no rows.
func plain(n backend.Needs) backend.Needs {
	n.Partials = 0
	return n
}

// moments returns what values are normalised by in training.
func (f *Frame) moments(moments, gamma, beta Value) backend.BatchNormParams {
	m := f.At(moments)
	n := m.Shape.Len() / 2
	return backend.BatchNormParams{Mean: m.Range(0, n), Variance: m.Range(n, 2*n), Gamma: f.At(gamma), Beta: f.At(beta)}
}

// Fuse takes in an activation.
func (o *BatchNorm) Fuse(next Op) Op {
	a, ok := next.(*Activate)
	if !ok || o.Shape.Act != (backend.Function{}) {
		return nil
	}
	fused := *o
	fused.Shape.Act, fused.Out = a.Function, a.Out
	return &fused
}

// Back emits the gradient in training: it makes the values before the activation again, from X.
func (o *BatchNorm) Back(g *Grads) {
	grad := g.Of(o)
	rows, totals := g.NewRows(o.Shape.Sums()), g.NewBatch(o.Shape.Sums())
	g.Emit(&BatchNormSums{Shape: o.Shape, Row: rows, GradOut: grad, X: o.X, Moments: o.Moments, Gamma: o.Gamma, Beta: o.Beta})
	g.EmitOnce(&BatchNormTotals{Totals: totals, GradGamma: g.Parameter(o.Gamma), GradBeta: g.Parameter(o.Beta), Rows: rows})
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&BatchNormBack{Shape: o.Shape, GradX: gradX, GradOut: grad, X: o.X, Totals: totals, Moments: o.Moments, Gamma: o.Gamma, Beta: o.Beta})
		g.Add(o.X, gradX)
	}
}

// BatchNormStatistics leaves the statistics of a micro-batch.
type BatchNormStatistics struct {
	Shape  backend.BatchNormShape
	Row, X Value
}

func (o *BatchNormStatistics) Name() string { return "BatchNormStatistics" }
func (o *BatchNormStatistics) Args(visit func(v *Value, u Use)) {
	visit(&o.Row, Write)
	visit(&o.X, Read)
}
func (o *BatchNormStatistics) Narrow() []Value { return []Value{o.X} }
func (o *BatchNormStatistics) Needs(b backend.Backend) backend.Needs {
	return b.BatchNormNeeds(o.Shape)
}
func (o *BatchNormStatistics) Rows() Value  { return o.Row }
func (o *BatchNormStatistics) Run(f *Frame) { f.B.BatchNormStatistics(o.Shape, f.At(o.Row), f.At(o.X)) }

// BatchNormMoments makes the mean and the variance of a batch, once for all its micro-batches, and moves the moving averages.
type BatchNormMoments struct {
	Moving                     backend.Moving
	Moments                    Value
	MovingMean, MovingVariance Value
	Rows                       Value
}

func (o *BatchNormMoments) Name() string { return "BatchNormMoments" }
func (o *BatchNormMoments) Args(visit func(v *Value, u Use)) {
	visit(&o.Moments, Write)
	visit(&o.MovingMean, Add)
	visit(&o.MovingVariance, Add)
	visit(&o.Rows, Read)
}
func (o *BatchNormMoments) Run(f *Frame) {
	f.B.BatchNormMoments(o.Moving, f.At(o.Moments), f.At(o.MovingMean), f.At(o.MovingVariance), f.At(o.Rows))
}

// BatchNormSums leaves the sums over a micro-batch that its gradient needs of the whole batch.
type BatchNormSums struct {
	Shape                backend.BatchNormShape
	Row                  Value
	GradOut, X           Value
	Moments, Gamma, Beta Value
}

func (o *BatchNormSums) Name() string { return "BatchNormSums" }
func (o *BatchNormSums) Args(visit func(v *Value, u Use)) {
	visit(&o.Row, Write)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
	visit(&o.Moments, Read)
	visit(&o.Gamma, Read)
	visit(&o.Beta, Read)
}
func (o *BatchNormSums) Narrow() []Value                       { return []Value{o.GradOut, o.X} }
func (o *BatchNormSums) Needs(b backend.Backend) backend.Needs { return b.BatchNormNeeds(o.Shape) }
func (o *BatchNormSums) Rows() Value                           { return o.Row }
func (o *BatchNormSums) Run(f *Frame) {
	f.B.BatchNormSums(o.Shape, f.At(o.Row), f.At(o.GradOut), f.At(o.X), f.moments(o.Moments, o.Gamma, o.Beta))
}

// BatchNormTotals adds the sums of all micro-batches up, once for the batch: they are the gradients of beta and gamma too.
type BatchNormTotals struct {
	Totals              Value
	GradGamma, GradBeta Value
	Rows                Value
}

func (o *BatchNormTotals) Name() string { return "BatchNormTotals" }
func (o *BatchNormTotals) Args(visit func(v *Value, u Use)) {
	visit(&o.Totals, Write)
	visit(&o.GradGamma, Add)
	visit(&o.GradBeta, Add)
	visit(&o.Rows, Read)
}
func (o *BatchNormTotals) Run(f *Frame) {
	f.B.BatchNormTotals(f.At(o.Totals), f.At(o.GradGamma), f.At(o.GradBeta), f.At(o.Rows))
}

// BatchNormBack is the gradient with respect to the values that are normalised, through the mean and the variance too.
type BatchNormBack struct {
	Shape                backend.BatchNormShape
	GradX                Value
	GradOut, X           Value
	Totals               Value
	Moments, Gamma, Beta Value
}

func (o *BatchNormBack) Name() string { return "BatchNormBack" }
func (o *BatchNormBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.X, Read)
	visit(&o.Totals, Read)
	visit(&o.Moments, Read)
	visit(&o.Gamma, Read)
	visit(&o.Beta, Read)
}
func (o *BatchNormBack) Narrow() []Value { return []Value{o.GradX, o.GradOut, o.X} }
func (o *BatchNormBack) Needs(b backend.Backend) backend.Needs {
	return plain(b.BatchNormNeeds(o.Shape))
}
func (o *BatchNormBack) Run(f *Frame) {
	s := o.Shape.X
	f.B.BatchNormBack(o.Shape, f.Count*s.H*s.W, f.At(o.GradX), f.At(o.GradOut), f.At(o.X), f.At(o.Totals), f.moments(o.Moments, o.Gamma, o.Beta))
}
