package op

// ClipValue bounds every element of a gradient.
type ClipValue struct {
	Limit float32
	X     Value
}

func (o *ClipValue) Name() string                     { return "ClipValue" }
func (o *ClipValue) Args(visit func(v *Value, u Use)) { visit(&o.X, Add) }
func (o *ClipValue) Run(f *Frame)                     { f.B.ClipValue(o.Limit, f.At(o.X)) }

// SumSquares writes the sum of the squares of X.
type SumSquares struct{ Dst, X Value }

func (o *SumSquares) Name() string { return "SumSquares" }
func (o *SumSquares) Args(visit func(v *Value, u Use)) {
	visit(&o.Dst, Write)
	visit(&o.X, Read)
}
func (o *SumSquares) Run(f *Frame) { f.B.SumSquares(f.At(o.Dst), f.At(o.X)) }

// ClipNorm scales a part of a gradient so that all of it, whose sums of squares are given, has at most a norm of Limit.
type ClipNorm struct {
	Limit      float32
	X, Squares Value
}

func (o *ClipNorm) Name() string { return "ClipNorm" }
func (o *ClipNorm) Args(visit func(v *Value, u Use)) {
	visit(&o.X, Add)
	visit(&o.Squares, Read)
}
func (o *ClipNorm) Run(f *Frame) { f.B.ClipNorm(o.Limit, f.At(o.X), f.At(o.Squares)) }
