package use

import (
	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/trainer/metric"
)

// terms computes the terms of a loss that the metrics do not have.
type terms struct {
	loss     nn.Loss
	output   backend.Shape
	distance *nn.Distance // of a perceptual loss, else nil
	of       []float64    // by sample
}

func newTerms(net *nn.Network, loss nn.Loss) (*terms, error) {
	t := &terms{loss: loss, output: net.Model().Output}
	if loss.Perceptual.Weight == 0 {
		return t, nil
	}
	var err error
	t.distance, err = nn.NewDistance(net, loss.Perceptual)
	return t, err
}

// termsBytes returns what the terms hold on the host.
func termsBytes(m *nn.Model, loss nn.Loss) int {
	if loss.Perceptual.Weight == 0 {
		return 0
	}
	return nn.DistanceBytes(m.Output.Len())
}

func (t *terms) close() {
	if t.distance != nil {
		t.distance.Close()
	}
}

// sum adds up what the terms make of n outputs, for each of a sample's elements: all together and each by itself.
func (t *terms) sum(out, clean []float32, n int) (sum float64, each Parts, err error) {
	size := t.output.Len()
	for i := range n {
		p := others(t.loss, t.output, out[i*size:][:size], clean[i*size:][:size])
		sum += p.sum()
		each.add(p, 1)
	}
	if t.distance == nil {
		return sum, each, nil
	}
	if len(t.of) < n {
		t.of = make([]float64, n)
	}
	if err := t.distance.Of(t.of, out, clean, n); err != nil {
		return 0, each, err
	}
	for _, d := range t.of[:n] {
		sum += t.loss.Perceptual.Weight * d
		each[perceptualPart] += t.loss.Perceptual.Weight * d
	}
	return sum, each, nil
}

// Parts are the terms of a loss times their weights, in the order of [nn.LossNames].
type Parts [perceptualPart + 1]float64

const (
	bcePart = iota
	msePart
	l1Part
	huberPart
	charbonnierPart
	ssimPart
	msSSIMPart
	totalVariationPart
	focalFrequencyPart
	perceptualPart
)

func (p *Parts) sum() (sum float64) {
	for _, v := range p {
		sum += v
	}
	return sum
}

// add adds others times a factor.
func (p *Parts) add(others Parts, factor float64) {
	for i, v := range others {
		p[i] += v * factor
	}
}

// others returns what the terms of a loss but BCE, MSE and the perceptual one make of an output of that shape, for each of its elements.
func others(l nn.Loss, s backend.Shape, out, clean []float32) (p Parts) {
	if l.L1 > 0 {
		p[l1Part] = l.L1 * metric.L1(out, clean)
	}
	if l.Huber > 0 {
		p[huberPart] = l.Huber * metric.Huber(l.Delta, out, clean)
	}
	if l.Charbonnier > 0 {
		p[charbonnierPart] = l.Charbonnier * metric.Charbonnier(l.Epsilon, out, clean)
	}
	if l.SSIM > 0 {
		p[ssimPart] = l.SSIM * (1 - metric.SSIM(out, clean, s.H, s.W, s.C))
	}
	if l.MSSSIM > 0 {
		p[msSSIMPart] = l.MSSSIM * (1 - metric.MSSSIM(out, clean, s.H, s.W, s.C))
	}
	if l.TotalVariation > 0 {
		p[totalVariationPart] = l.TotalVariation * metric.TotalVariation(out, s.H, s.W, s.C)
	}
	if l.FocalFrequency > 0 {
		p[focalFrequencyPart] = l.FocalFrequency * metric.FocalFrequency(out, clean, s.H, s.W, s.C)
	}
	return p
}
