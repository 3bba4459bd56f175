package nn

import (
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/fourier"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// emitLoss appends the losses of the output, each with its gradient.
func (c *compiler) emitLoss(grads *op.Grads) {
	p, l := c.p, c.o.Loss
	targets := map[backend.Shape]op.Value{p.Shape(p.Target): p.Target}
	targetOf := func(prediction op.Value) op.Value {
		target, ok := targets[p.Shape(prediction)]
		if !ok {
			target = p.Like(prediction)
			p.Emit(&op.Reshape{Out: target, X: p.Target})
			targets[p.Shape(prediction)] = target
		}
		return target
	}
	term := func(weight float64, prediction op.Value) op.Term {
		return op.Term{Shape: p.Shape(prediction), Scale: op.Scale{Factor: float32(weight)}, Loss: p.Sum(op.Loss, 1), Grad: p.Like(prediction), Prediction: prediction,
			Target: targetOf(prediction)}
	}
	for _, t := range []struct {
		weight    float64
		of        op.PointLoss
		parameter float64
	}{{l.BCE, op.SigmoidBCE, 0}, {l.MSE, op.MSE, 0}, {l.L1, op.L1, 0}, {l.Huber, op.Huber, l.Delta}, {l.Charbonnier, op.Charbonnier, l.Epsilon}} {
		if t.weight == 0 {
			continue
		}
		prediction := p.Output
		if t.of == op.SigmoidBCE {
			prediction = c.logits
		}
		o := &op.Pointwise{Of: t.of, Parameter: float32(t.parameter), Term: term(t.weight, prediction)}
		p.Emit(o)
		grads.Add(prediction, o.Grad)
	}
	if l.SSIM > 0 {
		c.emitSSIM(grads, l.SSIM, targetOf(p.Output), backend.ScaleWeights{Scales: 1, Of: [5]float32{1}})
	}
	if l.MSSSIM > 0 {
		c.emitSSIM(grads, l.MSSSIM, targetOf(p.Output), backend.ScaleWeights{Scales: len(scaleWeights), Of: scaleWeights})
	}
	if l.FocalFrequency > 0 {
		c.emitFocal(grads, l.FocalFrequency, targetOf(p.Output))
	}
	if l.Perceptual.Weight > 0 {
		c.emitPerceptual(grads)
	}
	if l.TotalVariation > 0 {
		o := &op.TotalVariation{Term: term(l.TotalVariation, p.Output)}
		o.Target = op.None
		p.Emit(o)
		grads.Add(p.Output, o.Grad)
	}
}

// emitFocal appends the loss of the spectra: a transform of differences is the difference of transforms.
func (c *compiler) emitFocal(grads *op.Grads, weight float64, target op.Value) {
	p, s := c.p, c.p.Shape(c.p.Output)
	differ, spectrum := p.New(backend.Activation, s), p.New(backend.Activation, backend.Spectrum(s))
	most, gradX := p.New(backend.Activation, backend.Shape{N: s.N, H: 1, W: 1, C: s.C}), p.New(backend.Activation, s)
	p.Emit(&op.Copy{Out: differ, X: p.Output})
	p.Emit(&op.Accumulate{Dst: differ, Alpha: -1, X: target})
	p.Emit(&op.Fourier{Spectrum: spectrum, X: differ})
	p.Emit(&op.SpectrumMost{Most: most, Spectrum: spectrum})
	o := &op.Focal{Term: op.Term{Shape: p.Shape(spectrum), Scale: op.Scale{Factor: float32(weight)}, Loss: p.Sum(op.Loss, 1), Grad: p.Like(spectrum), Prediction: spectrum,
		Target: most}}
	p.Emit(o)
	p.Emit(&op.FourierBack{GradX: gradX, GradSpectrum: o.Grad})
	grads.Add(p.Output, gradX)
}

// checkLoss reports a loss that the model cannot have.
func (c *compiler) checkLoss() error {
	s, l := c.g.Shape(c.g.Output), c.o.Loss
	for _, f := range l.fields() {
		if ofImages := f.value == &l.SSIM || f.value == &l.MSSSIM || f.value == &l.TotalVariation || f.value == &l.FocalFrequency || f.value == &l.Perceptual.Weight; ofImages && *f.value > 0 && s.H*s.W == 1 {
			return fmt.Errorf("nn: loss %s is of images, and the output of model %q is a vector: want a model of images, or another loss", f.name, c.m.Config.Name)
		}
	}
	if l.MSSSIM > 0 && min(s.H, s.W) < leastSide {
		return fmt.Errorf("nn: loss ms_ssim is of images of at least %d pixels a side, whose fifth scale has the whole window, and the output of model %q is %s: want larger ones, or the loss ssim",
			leastSide, c.m.Config.Name, graph.ShapeText(s))
	}
	if l.FocalFrequency > 0 && max(s.H, s.W) > fourier.MaxSide {
		return fmt.Errorf("nn: loss focal_frequency is of images of at most %d pixels a side, and the output of model %q is %s: want smaller ones, or another loss",
			fourier.MaxSide, c.m.Config.Name, graph.ShapeText(s))
	}
	return nil
}

// scaleWeights are those of the five scales, by the paper that backend.SSIM names.
var scaleWeights = [5]float32{0.0448, 0.2856, 0.3001, 0.2363, 0.1333}

const (
	ssimWindow = 11
	leastSide  = ssimWindow << (len(scaleWeights) - 1)
)

// emitSSIM appends what a similarity of one or more scales lacks of 1, the mean over the channels of a sample, which counts as the loss of each of
// the sample's elements does. Scales but the last have the structure alone; from one to the next four pixels become one.
func (c *compiler) emitSSIM(grads *op.Grads, weight float64, target op.Value, o backend.ScaleWeights) {
	p := c.p
	type level struct {
		x, y, slopes op.Value
		shape        backend.SSIMShape
		pool         backend.PoolShape // to the next
	}
	var levels []level
	x, y, output := p.Output, target, p.Shape(p.Output)
	vectors := backend.Shape{N: output.N, H: 1, W: 1, C: output.C}
	means := p.New(backend.Activation, backend.Shape{N: output.N, H: 1, W: 1, C: o.Scales * output.C})
	for j := range o.Scales {
		l := level{x: x, y: y}
		var err error
		if l.shape, err = backend.NewSSIM(backend.SSIMSpec{X: p.Shape(x), Window: ssimWindow, Sigma: 1.5, K1: 0.01, K2: 0.03, Structure: j < o.Scales-1}); err != nil {
			panic("nn: a loss that was checked has no similarity")
		}
		index, mean := p.New(backend.Activation, l.shape.Out), p.New(backend.Activation, vectors)
		l.slopes = p.New(backend.Activation, l.shape.Slopes())
		p.Emit(&op.SSIM{Shape: l.shape, Index: index, Slopes: l.slopes, X: x, Target: y})
		p.Emit(&op.SumPixels{Scale: 1 / float32(l.shape.Positions()), Out: mean, A: index})
		p.Emit(&op.CopyChannels{Out: means, To: j * output.C, X: mean, Count: output.C})
		if j < o.Scales-1 {
			if l.pool, err = backend.NewPool(backend.PoolSpec{X: p.Shape(x), Size: 2, Stride: 2, Padding: backend.Valid}); err != nil {
				panic("nn: a loss that was checked has no scales")
			}
			half := [2]op.Value{p.New(backend.Activation, l.pool.Out), p.New(backend.Activation, l.pool.Out)}
			p.Emit(&op.AveragePool{Shape: l.pool, Out: half[0], X: x})
			p.Emit(&op.AveragePool{Shape: l.pool, Out: half[1], X: y})
			x, y = half[0], half[1]
		}
		levels = append(levels, l)
	}
	gradMeans, grad := p.Like(means), op.None
	p.Emit(&op.SSIMLoss{Weights: o, Scale: op.Scale{Factor: float32(weight * float64(output.Image()) / float64(output.C))}, Loss: p.Sum(op.Loss, 1), GradMeans: gradMeans, Means: means})
	for j, l := range slices.Backward(levels) {
		gradMean, gradX := p.New(backend.Activation, vectors), p.Like(l.x)
		p.Emit(&op.CopyChannels{Out: gradMean, X: gradMeans, From: j * output.C, Count: output.C})
		p.Emit(&op.SSIMBack{Shape: l.shape, Scale: 1 / float32(l.shape.Positions()), GradX: gradX, Slopes: l.slopes, GradSums: gradMean, X: l.x, Target: l.y})
		if grad != op.None {
			below := p.Like(l.x)
			p.Emit(&op.AveragePoolBack{Shape: l.pool, GradX: below, GradOut: grad})
			p.Emit(&op.Accumulate{Dst: gradX, Alpha: 1, X: below})
		}
		grad = gradX
	}
	grads.Add(p.Output, grad)
}
