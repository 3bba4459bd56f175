package op

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Quantize replaces each pixel by the nearest row of a codebook. In training it has an Index, and the loss takes in Commitment times the mean
// squared distance of a sample's pixels from their rows.
type Quantize struct {
	Out, Index  Value
	X, Codebook Value
	Commitment  float32
}

func (o *Quantize) Name() string { return "Quantize" }
func (o *Quantize) Args(visit func(v *Value, u Use)) {
	visit(&o.Out, Write)
	visit(&o.Index, Write)
	visit(&o.X, Read)
	visit(&o.Codebook, Read)
}
func (o *Quantize) Run(f *Frame) {
	f.B.Quantize(f.At(o.Out), f.At(o.Index), f.At(o.X), f.At(o.Codebook))
}
func (o *Quantize) Result() Value { return o.Out }

// Back passes the gradient straight through, and adds that of the commitment. The codebook has none: it moves to averages.
func (o *Quantize) Back(g *Grads) {
	grad := g.Of(o)
	if !g.Wants(o.X) {
		return
	}
	s := g.Shape(o.X)
	gradX := g.Like(o.X)
	g.Emit(&Pointwise{Of: MSE, Term: Term{Shape: s, Scale: Scale{Per: PerSample, Factor: o.Commitment / float32(s.Image())}, Loss: g.Sum(Loss, 1),
		Grad: gradX, Prediction: o.X, Target: o.Out}})
	g.Emit(&Accumulate{Dst: gradX, Alpha: 1, X: grad})
	g.Add(o.X, gradX)
}

// QuantizeSums leaves what the pixels of a micro-batch add to the averages that a codebook moves to.
type QuantizeSums struct {
	Source        rng.Source
	Row, Index, X Value
	StepParams    Value
}

func (o *QuantizeSums) Name() string { return "QuantizeSums" }
func (o *QuantizeSums) Args(visit func(v *Value, u Use)) {
	visit(&o.Row, Write)
	visit(&o.Index, Read)
	visit(&o.X, Read)
	visit(&o.StepParams, Read)
}
func (o *QuantizeSums) Run(f *Frame) {
	f.B.QuantizeSums(o.Source, f.At(o.Row), f.At(o.Index), f.At(o.X), f.At(o.StepParams), f.First, f.Count)
}

// QuantizeMove moves a codebook, once for all micro-batches of a batch.
type QuantizeMove struct {
	Moves                backend.Moves
	Codebook, Count, Sum Value
	Rows                 Value
}

func (o *QuantizeMove) Name() string { return "QuantizeMove" }
func (o *QuantizeMove) Args(visit func(v *Value, u Use)) {
	visit(&o.Codebook, Add)
	visit(&o.Count, Add)
	visit(&o.Sum, Add)
	visit(&o.Rows, Read)
}
func (o *QuantizeMove) Run(f *Frame) {
	f.B.QuantizeMove(o.Moves, f.At(o.Codebook), f.At(o.Count), f.At(o.Sum), f.At(o.Rows))
}
