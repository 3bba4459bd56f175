package backend

import "fmt"

// BatchNormSpec is what defines a normalisation by the statistics of a batch (Ioffe and Szegedy, "Batch Normalization", 2015): each channel has a
// mean and a variance, over all pixels of all images.
type BatchNormSpec struct {
	X       Shape    // of a micro-batch
	Epsilon float32  // added to the variance
	Act     Function // applied to the output
}

// BatchNormShape is a validated BatchNormSpec. Make it with NewBatchNorm.
type BatchNormShape struct{ BatchNormSpec }

// NewBatchNorm validates a normalisation.
func NewBatchNorm(c BatchNormSpec) (BatchNormShape, error) {
	s := BatchNormShape{c}
	if min(c.X.N, c.X.H, c.X.W, c.X.C) < 1 {
		return s, fmt.Errorf("an input %v, want at least 1 of each", c.X)
	}
	if !(c.Epsilon > 0 && c.Epsilon <= 1) {
		return s, fmt.Errorf("epsilon is %v, want more than 0 and at most 1", c.Epsilon)
	}
	return s, checkSizes(c.X)
}

// Pixels is how many pixels the images have.
func (s *BatchNormShape) Pixels() int { return s.X.N * s.X.H * s.X.W }

// Stretch is how many pixels each of so many rows is made of, but for the last ones, which may be made of fewer, or of none: row r of those
// from r times Stretch on.
func (s *BatchNormShape) Stretch(rows int) int { return (s.Pixels() + rows - 1) / rows }

// Moments is the length of a row of statistics of C channels: the means, the sums of the squared differences from them, and the number of pixels.
// Sums is that of a row of sums, two for each channel.
func (s *BatchNormShape) Moments() int { return 2*s.X.C + 1 }
func (s *BatchNormShape) Sums() int    { return 2 * s.X.C }

// Moving says how moving averages move: they keep Momentum of themselves. The variance that they take in is that of the batch, or, if
// Unbiased, what this estimates of the variance of all there is, which is larger by n/(n-1) for n pixels; of a single pixel it is 0.
type Moving struct {
	Momentum float32
	Unbiased bool
}

// BatchNormParams are what values are normalised by. Gamma and Beta may be zero.
type BatchNormParams struct{ Mean, Variance, Gamma, Beta Tensor }

// Check panics unless the shape is one that NewBatchNorm makes.
func (s *BatchNormShape) Check() {
	if min(s.X.N, s.X.H, s.X.W, s.X.C) < 1 || !(s.Epsilon > 0) {
		panic(MistakeGeometry)
	}
	s.Act.Check()
}

// check checks what values of so many channels are normalised by.
func (p *BatchNormParams) check(channels int) {
	p.Mean.vector(channels)
	p.Variance.vector(channels)
	for _, t := range [...]*Tensor{&p.Gamma, &p.Beta} {
		if !t.IsZero() {
			t.param(Vec(channels))
		}
	}
}

// vector checks a Param or a Flat tensor of n elements.
func (t *Tensor) vector(n int) {
	t.floats()
	if t.Role == Activation {
		panic(MistakeRole)
	}
	if t.Shape != Vec(n) {
		panic(MistakeShape)
	}
}

// rows checks a Flat tensor of rows of n elements, at least one.
func (t *Tensor) rows(n int) {
	t.flat(Shape{t.Shape.N, 1, 1, n})
	if t.Shape.N < 1 {
		panic(MistakeShape)
	}
}

// CheckStatistics checks the arguments of BatchNormStatistics.
func (s *BatchNormShape) CheckStatistics(rows, x *Tensor) {
	s.Check()
	rows.rows(s.Moments())
	x.either(s.X)
}

// Check checks the arguments of BatchNormMoments.
func (o Moving) Check(moments, movingMean, movingVariance, rows *Tensor) {
	channels := moments.Shape.Len() / 2
	moments.flat(Vec(2 * channels))
	rows.rows(2*channels + 1)
	movingMean.param(Vec(channels))
	movingVariance.param(Vec(channels))
}

// CheckForward checks the arguments of BatchNorm.
func (s *BatchNormShape) CheckForward(out, x *Tensor, p *BatchNormParams) {
	s.Check()
	out.either(s.X)
	x.either(s.X)
	p.check(s.X.C)
}

// CheckSums checks the arguments of BatchNormSums.
func (s *BatchNormShape) CheckSums(rows, gradOut, x *Tensor, p *BatchNormParams) {
	s.Check()
	rows.rows(s.Sums())
	gradOut.either(s.X)
	x.either(s.X)
	p.check(s.X.C)
}

// CheckBatchNormTotals checks the arguments of BatchNormTotals.
func CheckBatchNormTotals(totals, gradGamma, gradBeta, rows *Tensor) {
	channels := totals.Shape.Len() / 2
	totals.flat(Vec(2 * channels))
	rows.rows(2 * channels)
	for _, t := range [...]*Tensor{gradGamma, gradBeta} {
		if !t.IsZero() {
			t.param(Vec(channels))
		}
	}
}

// CheckBack checks the arguments of BatchNormBack.
func (s *BatchNormShape) CheckBack(pixels int, gradX, gradOut, x, totals *Tensor, p *BatchNormParams) {
	s.CheckForward(gradX, x, p)
	gradOut.either(s.X)
	totals.flat(Vec(s.Sums()))
	if pixels < s.Pixels() {
		panic(MistakeGeometry)
	}
}
