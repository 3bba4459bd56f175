package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// Quantize finds the nearest row of the codebook.
func (l *lane) Quantize(out, index, x, codebook backend.Tensor) {
	backend.CheckQuantize(&out, &index, &x, &codebook)
	c := x.Shape.C
	pixels := x.Shape.Len() / c
	l.launch1("Quantize", kernels.QuantizeForward, 32*pixels, ptr(l.at(out)), ptr(l.at(index)), ptr(l.at(x)), ptr(l.at(codebook)), i32(pixels),
		i32(codebook.Shape.N), i32(c))
}

// QuantizeSums leaves counts, sums of pixels, and candidates.
func (l *lane) QuantizeSums(src rng.Source, row, index, x, stepParams backend.Tensor, first, count int) {
	backend.CheckQuantizeSums(&row, &index, &x, &stepParams, first, count)
	c, pixels := x.Shape.C, x.Shape.H*x.Shape.W
	codes := row.Shape.Len() / (2*c + 1)
	k0, k1, stream := key(src)
	block := min(ceilDiv(c, 32)*32, threads)
	l.launch("QuantizeSums", kernels.QuantizeSums, driver.Dim3{X: ceilDiv(c, block), Y: codes}, driver.Dim3{X: block}, 0, ptr(l.at(row)),
		ptr(l.at(index)), ptr(l.at(x)), ptr(l.at(stepParams)), i32(x.Shape.N*pixels), i32(codes), i32(c), i32(first*pixels), i32(count*pixels), k0, k1, stream)
}

// QuantizeMove moves a codebook to the moving averages.
func (l *lane) QuantizeMove(o backend.Moves, codebook, count, sum, rows backend.Tensor) {
	backend.CheckQuantizeMove(&codebook, &count, &sum, &rows)
	l.launch("QuantizeMove", kernels.QuantizeMove, driver.Dim3{X: 1}, driver.Dim3{X: threads}, 0, ptr(l.at(codebook)), ptr(l.at(count)), ptr(l.at(sum)),
		ptr(l.at(rows)), i32(rows.Shape.N), i32(codebook.Shape.N), i32(codebook.Shape.C), f32(o.Decay), f32(o.Epsilon), f32(o.Revive))
}
