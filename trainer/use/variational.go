package use

import (
	"math"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/metric"
)

// Evidence is what a variational model makes of samples, each with one code drawn from its posterior: means over samples.
type Evidence struct {
	ELBO       float64 `json:"elbo"`       // lower bound of the log-likelihood of values of [0,1], nats: -(BCE + Divergence)
	BCE        float64 `json:"bce"`        // binary cross-entropy summed over a sample's values, nats
	MSE        float64 `json:"mse"`        // squared error summed over a sample's values
	Divergence float64 `json:"divergence"` // of the posterior from the standard normal distribution, nats

	others float64 // terms of the loss that the metrics do not have, summed over a sample's values
	parts  Parts   // of these
}

// drawn gathers the evidence of samples. Its zero value is for a model whose code is not Gaussian.
type drawn struct {
	net            *nn.Network
	terms          *terms
	src            rng.Source
	stats, code, y []float32
	sum            drawnSums
}

// drawnSums are sums over N samples.
type drawnSums struct {
	N                            int
	BCE, MSE, Divergence, Others float64
	Parts                        Parts
}

func (s *drawnSums) add(o drawnSums) {
	s.N += o.N
	s.BCE += o.BCE
	s.MSE += o.MSE
	s.Divergence += o.Divergence
	s.Others += o.Others
	s.Parts.add(o.Parts, 1)
}

func newDrawn(net *nn.Network, terms *terms, chunk int) drawn {
	m := net.Model()
	if !m.Variational() {
		return drawn{}
	}
	return drawn{net: net, terms: terms, stats: make([]float32, 2*chunk*m.Code.Len()), code: make([]float32, chunk*m.Code.Len()), y: make([]float32, chunk*m.Output.Len())}
}

// drawnValues returns how many float32 values it holds of each sample.
func drawnValues(m *nn.Model) int { return 3*m.Code.Len() + m.Output.Len() }

// reset begins anew, with codes of that seed.
func (d *drawn) reset(seed uint64) {
	d.src, d.sum = rng.Source{Seed: seed, Stream: rng.StreamCode}, drawnSums{}
}

// encode runs n inputs x through the encoder, as Network.Encode does, and keeps the variances of the codes for add.
func (d *drawn) encode(code, x []float32, n int) error {
	stats, channels := d.stats[:2*len(code)], d.net.Model().Code.C
	if err := d.net.Posterior(stats, x, n); err != nil {
		return err
	}
	for i := range code {
		code[i] = stats[i+i/channels*channels]
	}
	return nil
}

// add draws codes of the n samples from number first on that were last encoded, and compares what these decode to with the clean samples.
func (d *drawn) add(clean []float32, first, n int) error {
	if d.net == nil {
		return nil
	}
	code := d.net.Model().Code
	size, channels, elements := code.Len(), code.C, len(clean)/n
	stats, z, y := d.stats[:2*n*size], d.code[:n*size], d.y[:len(clean)]
	for i := range z {
		at := i + i/channels*channels
		mean, logvar := float64(stats[at]), float64(stats[at+channels])
		place, row := i%size, first+i/size
		eps := d.src.Normals(uint32(place/4), uint32(row), 0)[place%4]
		z[i] = float32(mean + math.Exp(logvar/2)*float64(eps))
		d.sum.Divergence += (mean*mean + math.Exp(logvar) - 1 - logvar) / 2
	}
	if err := d.net.Decode(y, z, n); err != nil {
		return err
	}
	for i := range n {
		at := i * elements
		v := metric.Pixelwise(y[at:at+elements], clean[at:at+elements])
		d.sum.BCE += float64(elements) * v.BCE
		d.sum.MSE += float64(elements) * v.MSE
	}
	others, parts, err := d.terms.sum(y, clean, n)
	if err != nil {
		return err
	}
	d.sum.Others += float64(elements) * others
	d.sum.Parts.add(parts, float64(elements))
	d.sum.N += n
	return nil
}

func (d *drawn) result() Evidence {
	n := float64(max(d.sum.N, 1))
	e := Evidence{BCE: d.sum.BCE / n, MSE: d.sum.MSE / n, Divergence: d.sum.Divergence / n, others: d.sum.Others / n}
	e.parts.add(d.sum.Parts, 1/n)
	if d.sum.N > 0 {
		e.ELBO = -(e.BCE + e.Divergence)
	}
	return e
}

// loss returns the training loss of samples with that evidence, of elements values each.
func (e Evidence) loss(loss nn.Loss, reduction nn.Reduction, beta float64, elements int) float64 {
	reconstruction := loss.BCE*e.BCE + loss.MSE*e.MSE + e.others
	return reconstruction*float64(reduction.Elements(elements))/float64(elements) + beta*e.Divergence
}
