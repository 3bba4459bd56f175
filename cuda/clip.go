package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// ClipValue bounds every element.
func (l *lane) ClipValue(limit float32, v backend.Tensor) {
	backend.CheckClipValue(&v)
	p, n := l.at(v), v.Shape.Len()
	l.launch1("ClipValue", kernels.ClipValue, ceilDiv(n, 4), ptr(p), i32(n), f32(limit))
}

// SumSquares sums in two stages, as a loss does.
func (l *lane) SumSquares(dst, src backend.Tensor) {
	backend.CheckSumSquares(&dst, &src)
	total, p, n := l.at(dst), l.at(src), src.Shape.Len()
	l.Zero(dst)
	l.reduce("SumSquares", kernels.ClipSquares, total, n, 1, ptr(l.partials), ptr(p), i32(n))
}

// ClipNorm scales to a norm of at most limit.
func (l *lane) ClipNorm(limit float32, v, squares backend.Tensor) {
	backend.CheckClipNorm(&v, &squares)
	p, s, n := l.at(v), l.at(squares), v.Shape.Len()
	l.launch1("ClipNorm", kernels.ClipNorm, ceilDiv(n, 4), ptr(p), ptr(s), i32(n), i32(squares.Shape.Len()), f32(limit))
}

// reduce runs a kernel that leaves the sums of its blocks over n elements in the partials, and adds scale times their sum
// to total. The number of blocks decides the order of summation, so it follows from the number of elements alone.
func (l *lane) reduce(op string, e kernels.Entry, total driver.Ptr, n int, scale float32, args ...uint64) {
	blocks := min(ceilDiv(n, 4*threads), maxBlocks)
	block := driver.Dim3{X: threads}
	l.launch(op, e, driver.Dim3{X: blocks}, block, 0, args...)
	l.launch(op, kernels.LossTotal, driver.Dim3{X: 1}, block, 0, ptr(total), ptr(l.partials), i32(blocks), f32(scale))
}
