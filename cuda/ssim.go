package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// ssimSide is SIDE of ssim.cu, the side of a tile.
const ssimSide = 16

// SSIMNeeds returns that nothing is needed.
func (l *lane) SSIMNeeds(backend.SSIMShape) backend.Needs { return backend.Needs{} }

// ssimBlocks is a block for each tile of each channel.
func ssimBlocks(s backend.Shape) driver.Dim3 {
	return driver.Dim3{X: s.N * s.C * ceilDiv(s.H, ssimSide) * ceilDiv(s.W, ssimSide)}
}

// SSIM makes the index of every position of the window, and its derivatives.
func (l *lane) SSIM(s backend.SSIMShape, index, slopes, x, y backend.Tensor) {
	s.CheckForward(&index, &slopes, &x, &y)
	luminance := 1
	if s.Structure {
		luminance = 0
	}
	l.launch("SSIM", kernels.SSIMForward, ssimBlocks(s.Out), driver.Dim3{X: threads}, 0, ptr(l.at(index)), ptr(l.at(slopes)), ptr(l.at(x)), ptr(l.at(y)),
		i32(s.X.H), i32(s.X.W), i32(s.X.C), i32(s.Rows), i32(s.Columns), f32(s.Sigma), f32(s.K1*s.K1), f32(s.K2*s.K2), i32(luminance))
}

// SSIMBack gathers the derivatives of the positions of the window that have an element.
func (l *lane) SSIMBack(s backend.SSIMShape, scale float32, gradX, slopes, gradSums, x, y backend.Tensor) {
	s.CheckBack(&gradX, &slopes, &gradSums, &x, &y)
	l.launch("SSIMBack", kernels.SSIMBack, ssimBlocks(s.X), driver.Dim3{X: threads}, 0, ptr(l.at(gradX)), ptr(l.at(slopes)), ptr(l.at(gradSums)), ptr(l.at(x)),
		ptr(l.at(y)), i32(s.X.H), i32(s.X.W), i32(s.X.C), i32(s.Rows), i32(s.Columns), f32(s.Sigma), f32(scale))
}

// SSIMLoss multiplies the scales.
func (l *lane) SSIMLoss(o backend.ScaleWeights, scale float32, loss, gradMeans, means backend.Tensor) {
	o.Check(&loss, &gradMeans, &means)
	w, c := o.Of, means.Shape.C/o.Scales
	l.launch("SSIMLoss", kernels.SSIMLoss, driver.Dim3{X: 1}, driver.Dim3{X: threads}, 0, ptr(l.at(loss)), ptr(l.at(gradMeans)), ptr(l.at(means)), i32(means.Shape.N*c), i32(c), i32(o.Scales),
		f32(w[0]), f32(w[1]), f32(w[2]), f32(w[3]), f32(w[4]), f32(scale))
}
