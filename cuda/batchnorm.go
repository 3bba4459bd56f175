package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

const (
	batchNormRows    = 512 // of a pass at the most
	batchNormPixels  = 16  // that a thread takes of a row, where there are not more rows for that
	batchNormGroups  = 8   // groups of channels that a thread normalises, about
	batchNormColumns = 8   // of the rows that a block takes
)

// BatchNormNeeds returns a row for each block of a pass over the pixels.
func (l *lane) BatchNormNeeds(s backend.BatchNormShape) backend.Needs {
	s.Check()
	_, v := wide(s.X.C, 0, 0)
	rows := threads / min(s.X.C/v, threads) // pixels that a block has at a time
	return backend.Needs{Partials: min(ceilDiv(s.Pixels(), batchNormPixels*rows), batchNormRows)}
}

// grid is a block for each row, and for 256 groups of V channels.
func grid(s *backend.BatchNormShape, rows, v int) driver.Dim3 {
	return driver.Dim3{X: rows, Y: ceilDiv(s.X.C/v, threads)}
}

// BatchNormStatistics leaves means, sums of squared differences and the number of pixels.
func (l *lane) BatchNormStatistics(s backend.BatchNormShape, rows, x backend.Tensor) {
	s.CheckStatistics(&rows, &x)
	r, in, n := l.at(rows), l.values(x), rows.Shape.N
	e, v := wide(s.X.C, kernels.BatchNormStatistics, kernels.BatchNormStatistics4)
	l.launch("BatchNormStatistics", e, grid(&s, n, v), driver.Dim3{X: threads}, 0, ptr(r), ptr(in.p), i32(s.Pixels()), i32(s.X.C), i32(s.Stretch(n)), narrow(in))
}

// BatchNormMoments merges the rows and moves the averages.
func (l *lane) BatchNormMoments(o backend.Moving, moments, movingMean, movingVariance, rows backend.Tensor) {
	o.Check(&moments, &movingMean, &movingVariance, &rows)
	channels, unbiased := movingMean.Shape.Len(), 0
	if o.Unbiased {
		unbiased = 1
	}
	l.launch("BatchNormMoments", kernels.BatchNormMoments, driver.Dim3{X: ceilDiv(channels, batchNormColumns)}, driver.Dim3{X: threads}, 0,
		ptr(l.at(moments)), ptr(l.at(movingMean)), ptr(l.at(movingVariance)), ptr(l.at(rows)), i32(rows.Shape.N), i32(channels), f32(o.Momentum), i32(unbiased))
}

// BatchNorm normalises.
func (l *lane) BatchNorm(s backend.BatchNormShape, out, x backend.Tensor, p backend.BatchNormParams) {
	s.CheckForward(&out, &x, &p)
	o, in := l.values(out), l.values(x)
	e, v := wide(s.X.C, kernels.BatchNormForward, kernels.BatchNormForward4)
	n, groups, stride := groupsOf(&s, v)
	l.launch1("BatchNorm", e, stride, ptr(o.p), ptr(in.p), ptr(l.at(p.Mean)), ptr(l.at(p.Variance)), ptr(l.at(p.Gamma)), ptr(l.at(p.Beta)),
		i32(n), i32(groups), i32(stride), f32(s.Epsilon), act(s.Act.Act), f32(s.Act.Alpha), narrow(o, in))
}

// groupsOf returns how many groups of v channels there are, in all and of a pixel, and how many threads take them: a multiple of the latter.
func groupsOf(s *backend.BatchNormShape, v int) (n, groups, stride int) {
	n, groups = s.X.Len()/v, s.X.C/v
	return n, groups, ceilDiv(s.Pixels(), batchNormGroups) * groups
}

// BatchNormSums leaves the sums of gradients, and of those times the normalised values.
func (l *lane) BatchNormSums(s backend.BatchNormShape, rows, gradOut, x backend.Tensor, p backend.BatchNormParams) {
	s.CheckSums(&rows, &gradOut, &x, &p)
	r, g, in, n := l.at(rows), l.values(gradOut), l.values(x), rows.Shape.N
	e, v := wide(s.X.C, kernels.BatchNormSums, kernels.BatchNormSums4)
	l.launch("BatchNormSums", e, grid(&s, n, v), driver.Dim3{X: threads}, 0, ptr(r), ptr(g.p), ptr(in.p), ptr(l.at(p.Mean)), ptr(l.at(p.Variance)),
		ptr(l.at(p.Gamma)), ptr(l.at(p.Beta)), i32(s.Pixels()), i32(s.X.C), i32(s.Stretch(n)), f32(s.Epsilon), act(s.Act.Act), f32(s.Act.Alpha), narrow(g, in))
}

// BatchNormTotals adds the rows up.
func (l *lane) BatchNormTotals(totals, gradGamma, gradBeta, rows backend.Tensor) {
	backend.CheckBatchNormTotals(&totals, &gradGamma, &gradBeta, &rows)
	n := totals.Shape.Len()
	l.launch("BatchNormTotals", kernels.BatchNormTotals, driver.Dim3{X: ceilDiv(n, batchNormColumns)}, driver.Dim3{X: threads}, 0,
		ptr(l.at(totals)), ptr(l.at(gradGamma)), ptr(l.at(gradBeta)), ptr(l.at(rows)), i32(rows.Shape.N), i32(n/2))
}

// BatchNormBack makes the gradient with respect to the values that are normalised.
func (l *lane) BatchNormBack(s backend.BatchNormShape, pixels int, gradX, gradOut, x, totals backend.Tensor, p backend.BatchNormParams) {
	s.CheckBack(pixels, &gradX, &gradOut, &x, &totals, &p)
	gx, g, in := l.values(gradX), l.values(gradOut), l.values(x)
	e, v := wide(s.X.C, kernels.BatchNormBack, kernels.BatchNormBack4)
	n, groups, stride := groupsOf(&s, v)
	l.launch1("BatchNormBack", e, stride, ptr(gx.p), ptr(g.p), ptr(in.p), ptr(l.at(totals)), ptr(l.at(p.Mean)), ptr(l.at(p.Variance)), ptr(l.at(p.Gamma)),
		ptr(l.at(p.Beta)), i32(n), i32(groups), i32(stride), f32(float32(1/float64(pixels))), f32(s.Epsilon), act(s.Act.Act), f32(s.Act.Alpha), narrow(gx, g, in))
}
