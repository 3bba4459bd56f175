package backend

import "fmt"

// DenseSpec is what defines a fully connected layer of N rows.
type DenseSpec struct {
	N, In, Out int
	Act        Act   // applied to the output
	InAct      Act   // DenseBackInput multiplies by its derivative
	Multiply   DType // both factors of a product are rounded to it, here and in the gradients; see Precision
}

// DenseShape is a validated DenseSpec. Make it with NewDense.
type DenseShape struct{ DenseSpec }

// NewDense validates a fully connected layer.
func NewDense(c DenseSpec) (DenseShape, error) {
	s := DenseShape{c}
	if c.N < 1 || c.In < 1 || c.Out < 1 {
		return s, fmt.Errorf("a dense layer of %d rows, %d inputs and %d units, want at least 1 of each", c.N, c.In, c.Out)
	}
	if err := c.Multiply.checkFactor(); err != nil {
		return s, err
	}
	return s, checkSizes(s.XShape(), s.OutShape(), s.Weights())
}

// XShape is the shape of the input, OutShape of the output, Weights of the weights.
func (s DenseShape) XShape() Shape   { return Shape{s.N, 1, 1, s.In} }
func (s DenseShape) OutShape() Shape { return Shape{s.N, 1, 1, s.DenseSpec.Out} }
func (s DenseShape) Weights() Shape  { return Shape{s.DenseSpec.Out, 1, 1, s.In} }

// WithN returns the same layer for another number of rows.
func (s DenseShape) WithN(n int) DenseShape { s.N = n; return s }

// MACs returns the multiply-adds of the forward pass.
func (s DenseShape) MACs() int { return s.N * s.In * s.DenseSpec.Out }

// Check panics unless the shape is one that NewDense makes.
func (s *DenseShape) Check() {
	if s.N < 1 || s.In < 1 || s.DenseSpec.Out < 1 {
		panic(MistakeGeometry)
	}
}

// CheckForward checks the arguments of Dense.
func (s *DenseShape) CheckForward(out, x *Tensor, p *Params) {
	s.Check()
	s.Act.fused()
	out.of(s.Multiply, s.OutShape())
	x.of(s.Multiply, s.XShape())
	p.layer(s.Weights(), s.DenseSpec.Out)
}

// CheckBackInput checks the arguments of DenseBackInput.
func (s *DenseShape) CheckBackInput(gradX, gradOut *Tensor, p *Params, x *Tensor) {
	s.Check()
	gradX.of(s.Multiply, s.XShape())
	gradOut.of(s.Multiply, s.OutShape())
	p.W.param(s.Weights())
	x.derived(s.InAct, s.Multiply, s.XShape())
}

// CheckBackWeights checks the arguments of DenseBackWeights, on a backend that makes so many partial sums.
func (s *DenseShape) CheckBackWeights(grad *Params, partials int, gradOut, x *Tensor) {
	s.Check()
	gradOut.of(s.Multiply, s.OutShape())
	x.of(s.Multiply, s.XShape())
	grad.layer(s.Weights(), s.DenseSpec.Out)
	grad.partials(partials)
}
