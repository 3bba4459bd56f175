package cuda

import (
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// A thread makes the four numbers of a block of an image, as package rng counts blocks.
func randomThreads(s backend.Shape) int { return s.N * ceilDiv(s.Image(), 4) }

// key returns a source as kernels' arguments: the halves of the seed, and the stream.
func key(src rng.Source) (lo, hi, stream uint64) {
	return src.Seed & (1<<32 - 1), src.Seed >> 32, uint64(src.Stream)
}

// Normal fills dst with standard normal numbers.
func (l *lane) Normal(src rng.Source, dst, stepParams backend.Tensor, first int) {
	backend.CheckNormal(&dst, &stepParams)
	s := dst.Shape
	k0, k1, stream := key(src)
	l.launch1("Normal", kernels.RandomNormal, randomThreads(s), ptr(l.at(dst)), ptr(l.at(stepParams)),
		i32(s.N), i32(s.Image()), i32(first), k0, k1, stream)
}

// Dropout sets elements to zero with probability rate, and scales the others up.
func (l *lane) Dropout(rate float32, src rng.Source, out, x, stepParams backend.Tensor, first int) {
	backend.CheckDropout(rate, &out, &x, &stepParams)
	s := x.Shape
	o, in, c := l.at(out), l.at(x), l.at(stepParams)
	k0, k1, stream := key(src)
	l.launch1("Dropout", kernels.RandomDropout, randomThreads(s), ptr(o), ptr(in), ptr(c), i32(s.N), i32(s.Image()), i32(first),
		k0, k1, stream, f32(rate), f32(1-rate))
}

// GatherPixels collects a batch of the data set in the order's order, and adds noise. An index outside the data set, or a position
// outside the order, is known to the device alone: it gives an image of NaN.
func (l *lane) GatherPixels(std float32, src rng.Source, clean, noisy, pixels, order, stepParams backend.Tensor, first int) {
	backend.CheckGatherPixels(&clean, &noisy, &pixels, &order, &stepParams, first)
	s := clean.Shape
	c, data, index, now := l.at(clean), l.at(pixels), l.at(order), l.at(stepParams)
	noise := l.at(noisy)
	staged := 0
	if pixels.Role == backend.Staged {
		staged = 1
	}
	k0, k1, stream := key(src)
	l.launch1("GatherPixels", kernels.RandomGather, randomThreads(s), ptr(c), ptr(noise), ptr(data), ptr(index), ptr(now),
		i32(s.N), i32(s.Image()), i32(pixels.Shape.N), i32(order.Shape.Len()), i32(first), k0, k1, stream, f32(std), i32(staged))
}

// GatherValues collects a batch of float32 values in the order's order, and adds noise. What is not there gives NaN, as in GatherPixels.
func (l *lane) GatherValues(std float32, src rng.Source, clean, noisy, values, order, stepParams backend.Tensor, first int) {
	backend.CheckGatherValues(&clean, &noisy, &values, &order, &stepParams, first)
	s := clean.Shape
	c, data, index, now := l.at(clean), l.at(values), l.at(order), l.at(stepParams)
	noise := l.at(noisy)
	k0, k1, stream := key(src)
	l.launch1("GatherValues", kernels.RandomSelect, randomThreads(s), ptr(c), ptr(noise), ptr(data), ptr(index), ptr(now),
		i32(s.N), i32(s.Image()), i32(values.Shape.Len()/s.Image()), i32(order.Shape.Len()), i32(first), k0, k1, stream, f32(std))
}
