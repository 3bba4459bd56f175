package op

import "github.com/convae/convae/nn/backend"

// MaxPool takes the maximum of each window.
type MaxPool struct {
	Shape          backend.PoolShape
	Out, Argmax, X Value // Argmax only in training
}

func (o *MaxPool) Name() string { return "MaxPool" }
func (o *MaxPool) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.Argmax, Write)
	visit(&o.X, Read)
}
func (o *MaxPool) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *MaxPool) Run(f *Frame)    { f.B.MaxPool(o.Shape, f.At(o.Out), f.At(o.Argmax), f.At(o.X)) }
func (o *MaxPool) Result() Value   { return o.Out }

// Keep makes room for the positions of the maxima.
func (o *MaxPool) Keep(t *Tape) { o.Argmax = t.New(backend.Argmax, o.Shape.Out) }

func (o *MaxPool) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&MaxPoolBack{Shape: o.Shape, GradX: gradX, GradOut: grad, Argmax: o.Argmax})
		g.Add(o.X, gradX)
	}
}

// MaxPoolBack gives each input the sum of the gradients of the windows in which it was the maximum.
type MaxPoolBack struct {
	Shape                  backend.PoolShape
	GradX, GradOut, Argmax Value
}

func (o *MaxPoolBack) Name() string { return "MaxPoolBack" }
func (o *MaxPoolBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
	visit(&o.Argmax, Read)
}
func (o *MaxPoolBack) Narrow() []Value { return []Value{o.GradX, o.GradOut} }
func (o *MaxPoolBack) Run(f *Frame) {
	f.B.MaxPoolBack(o.Shape, f.At(o.GradX), f.At(o.GradOut), f.At(o.Argmax))
}

// AveragePool takes the mean of each window.
type AveragePool struct {
	Shape  backend.PoolShape
	Out, X Value
}

func (o *AveragePool) Name() string { return "AveragePool" }
func (o *AveragePool) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.X, Read)
}
func (o *AveragePool) Narrow() []Value { return []Value{o.Out, o.X} }
func (o *AveragePool) Run(f *Frame)    { f.B.AveragePool(o.Shape, f.At(o.Out), f.At(o.X)) }
func (o *AveragePool) Result() Value   { return o.Out }

func (o *AveragePool) Back(g *Grads) {
	grad := g.Of(o)
	if g.Wants(o.X) {
		gradX := g.Like(o.X)
		g.Emit(&AveragePoolBack{Shape: o.Shape, GradX: gradX, GradOut: grad})
		g.Add(o.X, gradX)
	}
}

// AveragePoolBack gives each input its shares of the gradients of its windows.
type AveragePoolBack struct {
	Shape          backend.PoolShape
	GradX, GradOut Value
}

func (o *AveragePoolBack) Name() string { return "AveragePoolBack" }
func (o *AveragePoolBack) Args(visit func(v *Value, u Use)) {
	visit(&o.GradX, Write)
	visit(&o.GradOut, Read)
}
func (o *AveragePoolBack) Narrow() []Value { return []Value{o.GradX, o.GradOut} }
func (o *AveragePoolBack) Run(f *Frame)    { f.B.AveragePoolBack(o.Shape, f.At(o.GradX), f.At(o.GradOut)) }
