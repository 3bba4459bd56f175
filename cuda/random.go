package cuda

import (
	"github.com/convae/convae/cuda/driver"
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
	o, in, c := l.values(out), l.values(x), l.at(stepParams)
	k0, k1, stream := key(src)
	l.launch1("Dropout", kernels.RandomDropout, randomThreads(s), ptr(o.p), ptr(in.p), ptr(c), i32(s.N), i32(s.Image()), i32(first),
		k0, k1, stream, f32(rate), f32(1-rate), narrow(o, in))
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
	var a arguments
	a.add(ptr(c), ptr(noise), ptr(data), ptr(index), ptr(now))
	l.addGather(&a, s, now, pixels.Shape.N, order.Shape.Len(), first, src, std)
	a.add(i32(staged))
	l.launch1("GatherPixels", kernels.RandomGather, randomThreads(s), a.all()...)
}

// GatherValues collects a batch of float32 values in the order's order, and adds noise. What is not there gives NaN, as in GatherPixels.
func (l *lane) GatherValues(std float32, src rng.Source, clean, noisy, values, order, stepParams backend.Tensor, first int) {
	backend.CheckGatherValues(&clean, &noisy, &values, &order, &stepParams, first)
	s := clean.Shape
	c, data, index, now := l.at(clean), l.at(values), l.at(order), l.at(stepParams)
	noise := l.at(noisy)
	var a arguments
	a.add(ptr(c), ptr(noise), ptr(data), ptr(index), ptr(now))
	l.addGather(&a, s, now, values.Shape.Len()/s.Image(), order.Shape.Len(), first, src, std)
	l.launch1("GatherValues", kernels.RandomSelect, randomThreads(s), a.all()...)
}

// addGather adds the parameters that both kernels have behind those of their tensors, of which now is the step parameters'.
func (l *lane) addGather(a *arguments, s backend.Shape, now driver.Ptr, samples, positions, first int, src rng.Source, std float32) {
	var clock [9]uint64
	if s.N > 0 { // else nothing is launched
		clock = l.takeClock(now)
	}
	a.add(clock[:]...)
	k0, k1, stream := key(src)
	a.add(i32(s.N), i32(s.Image()), i32(samples), i32(positions), i32(first), k0, k1, stream, f32(std))
}
