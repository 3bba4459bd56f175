package cuda

import (
	"math/bits"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
)

// Times multiplies two tensors, of one shape or the second one a pixel for each image.
func (l *lane) Times(out, a, b backend.Tensor) {
	backend.CheckTimes(&out, &a, &b)
	o, p, q := l.values(out), l.values(a), l.values(b)
	s := out.Shape
	pixels, channels := s.H*s.W, s.C
	if a.Shape == b.Shape { // all is one image's pixel, as wide as it is good for
		pixels, channels = 1, s.Len()
	}
	e, v := wide(channels, kernels.ChannelwiseTimes, kernels.ChannelwiseTimes4)
	n := s.Len() / v
	l.launch1("Times", e, n, ptr(o.p), ptr(p.p), ptr(q.p), i32(n), i32(pixels), i32(channels), narrow(o, p, q))
}

// SumPixels adds up the pixels of each image, times those of b if there is one.
func (l *lane) SumPixels(scale float32, out, a, b backend.Tensor) {
	backend.CheckSumPixels(&out, &a, &b)
	o, p := l.values(out), l.values(a)
	var q values
	if !b.IsZero() {
		q = l.values(b)
	}
	s := a.Shape
	e, v := wide(s.C, kernels.ChannelwiseSum, kernels.ChannelwiseSum4)
	groups := s.C / v
	lanes := min(32, 1<<bits.Len(uint(groups-1)))
	l.launch("SumPixels", e, driver.Dim3{X: ceilDiv(groups, lanes) * s.N}, driver.Dim3{X: threads}, 0,
		ptr(o.p), ptr(p.p), ptr(q.p), i32(s.H*s.W), i32(s.C), i32(lanes), f32(scale), narrow(o, p, q))
}

// SpreadPixels gives all pixels of an image the same values.
func (l *lane) SpreadPixels(scale float32, out, x backend.Tensor) {
	backend.CheckSpreadPixels(&out, &x)
	o, in := l.values(out), l.values(x)
	s := out.Shape
	e, v := wide(s.C, kernels.ChannelwiseSpread, kernels.ChannelwiseSpread4)
	n := s.Len() / v
	l.launch1("SpreadPixels", e, n, ptr(o.p), ptr(in.p), i32(n), i32(s.H*s.W), i32(s.C), f32(scale), narrow(o, in))
}
