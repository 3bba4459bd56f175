package cpu

import (
	"fmt"
	"testing"

	"github.com/convae/convae/nn/backend"
)

// denoiser is the convolutional MNIST denoiser, layer by layer.
func denoiser(n int) []backend.ConvSpec {
	x := func(side, c int) backend.Shape { return backend.Shape{N: n, H: side, W: side, C: c} }
	return []backend.ConvSpec{
		{X: x(28, 1), Filters: 32, KernelH: 3, KernelW: 3, Pool: 2, Act: backend.ReLU},
		{X: x(14, 32), Filters: 32, KernelH: 3, KernelW: 3, Pool: 2, Act: backend.ReLU, InAct: backend.ReLU},
		{X: x(7, 32), Filters: 32, KernelH: 3, KernelW: 3, Act: backend.ReLU, InAct: backend.ReLU},
		{X: x(7, 32), Filters: 32, KernelH: 3, KernelW: 3, Up: 2, Act: backend.ReLU, InAct: backend.ReLU},
		{X: x(14, 32), Filters: 1, KernelH: 3, KernelW: 3, Up: 2, InAct: backend.ReLU},
	}
}

// residual is the convolutions of a small residual network of colour pictures, each shape once.
func residual(n int) []backend.ConvSpec {
	x := func(side, c int) backend.Shape { return backend.Shape{N: n, H: side, W: side, C: c} }
	return []backend.ConvSpec{
		{X: x(32, 3), Filters: 16, KernelH: 3, KernelW: 3},
		{X: x(32, 16), Filters: 16, KernelH: 3, KernelW: 3},
		{X: x(32, 16), Filters: 32, KernelH: 3, KernelW: 3, Stride: 2},
		{X: x(32, 16), Filters: 32, KernelH: 1, KernelW: 1, Stride: 2},
		{X: x(16, 32), Filters: 32, KernelH: 3, KernelW: 3},
		{X: x(8, 64), Filters: 64, KernelH: 3, KernelW: 3},
		{X: x(16, 64), Filters: 32, KernelH: 3, KernelW: 3},
		{X: x(16, 64), Filters: 32, KernelH: 1, KernelW: 1},
		{X: x(32, 32), Filters: 16, KernelH: 3, KernelW: 3},
		{X: x(32, 32), Filters: 16, KernelH: 1, KernelW: 1},
		{X: x(32, 16), Filters: 3, KernelH: 3, KernelW: 3},
	}
}

// BenchmarkResidual measures a residual network's convolutions, an image at a time.
func BenchmarkResidual(b *testing.B) {
	l := open(b, false)
	for i, spec := range residual(1) {
		c := newConvCase(b, l, spec, int64(i))
		for _, o := range []struct {
			name string
			run  func()
		}{{"forward", c.forward}, {"backInput", c.backInput}, {"backWeights", c.backWeights}} {
			b.Run(fmt.Sprintf("%dx%dx%d-%d-k%d/%s", spec.X.H, spec.X.W, spec.X.C, spec.Filters, spec.KernelH, o.name), func(b *testing.B) {
				l.SetWorkspace(c.ws)
				for b.Loop() {
					o.run()
				}
				b.ReportMetric(2*float64(c.s.MACs())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// BenchmarkWinograd measures the convolutions of a large model, an image at a time, directly and tile by tile, and the model of the README's
// comparison with 64 channels at 64x64 pixels.
func BenchmarkWinograd(b *testing.B) {
	l := open(b, false)
	for i, spec := range []backend.ConvSpec{
		{X: backend.Shape{N: 1, H: 64, W: 64, C: 64}, Filters: 64},
		{X: backend.Shape{N: 1, H: 64, W: 64, C: 64}, Filters: 128, Pool: 2},
		{X: backend.Shape{N: 1, H: 32, W: 32, C: 128}, Filters: 256},
		{X: backend.Shape{N: 1, H: 32, W: 32, C: 256}, Filters: 128},
		{X: backend.Shape{N: 1, H: 28, W: 28, C: 32}, Filters: 32},
	} {
		spec.KernelH, spec.KernelW, spec.Act, spec.InAct = 3, 3, backend.ReLU, backend.ReLU
		for _, spec.Winograd = range []bool{false, true} {
			c := newConvCase(b, l, spec, int64(i))
			for _, o := range []struct {
				name string
				run  func()
			}{{"pack", c.pack}, {"forward", c.forward}, {"backInput", c.backInput}, {"backWeights", c.backWeights}} {
				b.Run(fmt.Sprintf("%dx%dx%d-%d/%s/winograd=%v", spec.X.H, spec.X.W, spec.X.C, spec.Filters, o.name, spec.Winograd), func(b *testing.B) {
					l.SetWorkspace(c.ws)
					for b.Loop() {
						o.run()
					}
					b.ReportMetric(2*float64(c.s.MACs())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}

// BenchmarkDenoiser measures the denoiser's convolutions and its loss, of micro-batches as Policy cuts them.
func BenchmarkDenoiser(b *testing.B) {
	const n = 4
	l := open(b, false)
	measure := func(name string, macs int, op func()) {
		b.Run(name, func(b *testing.B) {
			op()
			b.ResetTimer()
			for range b.N {
				op()
			}
			each := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(2*float64(macs)/each/1e9, "GFLOP/s")
			b.ReportMetric(each*1e6/n, "µs/image")
		})
	}
	var steps []func()
	for i, spec := range denoiser(n) {
		c := newConvCase(b, l, spec, int64(i))
		name := fmt.Sprintf("%dx%dx%d-%d-up%d-pool%d/", spec.X.H, spec.X.W, spec.X.C, spec.Filters, max(spec.Up, 1), max(spec.Pool, 1))
		ops := []struct {
			name string
			run  func()
		}{{"pack", c.pack}, {"forward", c.forward}, {"backInput", c.backInput}, {"backWeights", c.backWeights}}
		for _, o := range ops {
			if i == 0 && o.name == "backInput" {
				continue // nobody wants the gradient of the image
			}
			macs := c.s.MACs()
			if o.name == "pack" {
				macs = 0
			} else {
				steps = append(steps, func() { l.SetWorkspace(c.ws); o.run() })
			}
			measure(name+o.name, macs, func() { l.SetWorkspace(c.ws); o.run() })
		}
	}
	s := backend.Shape{N: n, H: 28, W: 28, C: 1}
	z, t, g, sum := tensor(b, l, backend.Activation, s, 1), tensor(b, l, backend.Activation, s, 2), tensor(b, l, backend.Activation, s, 3), tensor(b, l, backend.Flat, backend.Vec(1), 4)
	bce := func() { l.SigmoidBCE(1, sum, backend.Tensor{}, g, z, t) }
	measure("bce", 0, bce)
	macs := 0
	for i, spec := range denoiser(n) {
		m := newConvCase(b, l, spec, int64(i)).s.MACs()
		macs += 3 * m
		if i == 0 {
			macs -= m
		}
	}
	measure("all", macs, func() {
		for _, s := range steps {
			s()
		}
		bce()
	})
}
