package cuda

import (
	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/kernels"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/rng"
)

// jpegTile is how many pixels a side a block of threads takes of an image that is made worse by JPEG.
const jpegTile = 16

// Corrupt makes samples worse, a thread for each element, or for each pixel. A position outside the order is known to the device alone: it gives an image of NaN.
func (l *lane) Corrupt(c corrupt.Corruption, src rng.Source, out, x, order, stepParams backend.Tensor, first int) {
	backend.CheckCorrupt(c, &out, &x, &order, &stepParams, first)
	s := x.Shape
	k0, k1, stream := key(src)
	if c.Kind == corrupt.JPEG {
		blocks := s.N * ceilDiv(s.H, jpegTile) * ceilDiv(s.W, jpegTile)
		l.launch("Corrupt", kernels.CorruptJPEG, driver.Dim3{X: blocks}, driver.Dim3{X: threads}, 0, ptr(l.at(out)), ptr(l.at(x)), ptr(l.at(order)), ptr(l.at(stepParams)),
			i32(s.H), i32(s.W), i32(s.C), i32(order.Shape.Len()), i32(first), k0, k1, stream, i32(c.Quality[0]), i32(c.Quality[1]))
		return
	}
	radius, weights := 0, [corrupt.MaxWeights]float32{}
	if c.Kind == corrupt.Blur {
		weights, radius = c.Weights()
	}
	var a arguments
	a.add(ptr(l.at(out)), ptr(l.at(x)), ptr(l.at(order)), ptr(l.at(stepParams)), i32(s.N), i32(s.H), i32(s.W), i32(s.C), i32(order.Shape.Len()),
		i32(first), k0, k1, stream, i32(int(c.Kind)), f32(c.Amount), i32(c.Size), f32(c.Value), i32(radius))
	for _, w := range weights {
		a.add(f32(w))
	}
	l.launch1("Corrupt", kernels.CorruptSample, s.Len(), a.all()...)
}
