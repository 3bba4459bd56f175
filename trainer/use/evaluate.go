package use

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"runtime"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/collective"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
)

// Of samples that are worked on as float32 values so many are held at a time, if they take no more than so many bytes.
const (
	ChunkSamples = 512
	chunkBytes   = 64 << 20
)

// Chunk returns how many samples of so many float32 values each to hold at a time: 512, or what 64 MiB hold if that is less,
// and at least one.
func Chunk(values int) int { return max(min(chunkBytes/4/max(values, 1), ChunkSamples), 1) }

// Corruption says how the samples that a model is given are made worse: by normal noise of a standard deviation, and then in other
// ways, one after the other. The zero Corruption leaves them as they are.
type Corruption struct {
	Std  float64
	Then []corrupt.Corruption
}

// IsZero reports whether the samples stay as they are.
func (c Corruption) IsZero() bool { return c.Std == 0 && len(c.Then) == 0 }

func (c Corruption) String() string {
	text := fmt.Sprintf("noise %g", c.Std)
	for _, how := range c.Then {
		text += ", " + how.Kind.String()
	}
	return text
}

// Corrupt fills clean with samples lo to hi, pixels scaled to [0,1], and noisy with clean plus normal noise, which for
// pixels is clipped to [0,1], and made worse in the other ways. It draws the bits that the GatherPixels, GatherValues and Corrupt ops draw.
// The error is that of a file that cannot be read.
func Corrupt(clean, noisy []float32, set *dataset.Set, lo, hi int, c Corruption, src rng.Source) error {
	size := set.Size()
	if err := set.Read(clean[:(hi-lo)*size], lo, hi); err != nil {
		return err
	}
	copy(noisy[:(hi-lo)*size], clean)
	if c.Std > 0 {
		for i := lo; i < hi; i++ {
			addNoise(noisy[(i-lo)*size:][:size], float32(c.Std), set.HasPixels(), src, uint32(i))
		}
	}
	if len(c.Then) == 0 {
		return nil
	}
	before := make([]float32, size)
	for i := lo; i < hi; i++ {
		sample := noisy[(i-lo)*size:][:size]
		for k, how := range c.Then {
			copy(before, sample)
			how.Sample(sample, before, set.H, set.W, set.C, corrupt.Source(src, k), uint32(i), 0)
		}
	}
	return nil
}

// addNoise adds normal noise, that of a row of the source's draw 0.
func addNoise(x []float32, std float32, clip bool, src rng.Source, row uint32) {
	for j := 0; j < len(x); j += 4 {
		z := src.Normals(uint32(j/4), row, 0)
		for k := range min(4, len(x)-j) {
			x[j+k] += float32(std * z[k])
			if clip {
				x[j+k] = min(max(x[j+k], 0), 1)
			}
		}
	}
}

// Evaluation compares a model's outputs, and its inputs, with the clean samples. PSNR and SSIM are 0 for samples that are
// no images, and BCE is for those with values outside [0,1], of which it says nothing.
type Evaluation struct {
	Output metric.Values
	Input  metric.Values // what the noisy samples score before the model
	Drawn  Evidence      // of a variational model, else 0
	Code   metric.CodeValues

	outsideBCE float64 // of values outside [0,1], for the loss alone
	others     float64 // terms of the loss that the metrics do not have
	parts      Parts   // of these
}

// Evaluate runs the model on a data set that is made worse, by draws of the seed's StreamEvaluate, for metrics and for a loss, if one is given. Without inputs, Input stays zero. When ctx
// ends, it returns ctx's error soon. It holds no more samples at a time than [Chunk] says.
func Evaluate(ctx context.Context, net *nn.Network, set *dataset.Set, loss nn.Loss, worse Corruption, seed uint64, inputs bool) (Evaluation, error) {
	if err := CheckSet(net.Model(), nn.MSE, set); err != nil {
		return Evaluation{}, err
	}
	e, err := NewEvaluator(net, set, loss)
	if err != nil {
		return Evaluation{}, err
	}
	defer e.Close()
	return e.Evaluate(ctx, worse, seed, inputs)
}

// Evaluator evaluates a model again and again on the same data set, in memory of its own.
type Evaluator struct {
	net                     *nn.Network
	set                     *dataset.Set
	terms                   *terms
	chunk                   int // samples held at a time
	clean, noisy, out, code []float32
	output, input           metric.Accumulator
	codes                   metric.Codes
	others                  float64 // of all samples
	parts                   Parts   // of that
	drawn                   drawn
	// Ranks share the work, if several processes evaluate the same model on the same data at the same time.
	Ranks collective.Comm
}

// evaluatorValues returns how many float32 values an evaluator holds of each sample.
func evaluatorValues(m *nn.Model) int {
	n := 3*m.Input.Len() + m.Code.Len()
	if m.Variational() {
		n += drawnValues(m)
	}
	return n
}

// EvaluatorBytes returns the memory of an evaluator by a loss for so many samples.
func EvaluatorBytes(m *nn.Model, samples int, loss nn.Loss) int {
	values := evaluatorValues(m)
	return termsBytes(m, loss) + 4*values*min(Chunk(values), samples) + (shares+1)*metric.CodesBytes(m.Code.Len()) + 2*metric.ScratchBytes(runtime.GOMAXPROCS(0), m.Input.W)
}

// NewEvaluator returns an evaluator of a data set by a loss, in memory of its own, which Close gives back. The error is that of a perceptual loss,
// whose network it places on the device.
func NewEvaluator(net *nn.Network, set *dataset.Set, loss nn.Loss) (*Evaluator, error) {
	m := net.Model()
	terms, err := newTerms(net, loss)
	if err != nil {
		return nil, err
	}
	e := &Evaluator{net: net, set: set, terms: terms, chunk: min(Chunk(evaluatorValues(m)), set.Len())}
	buf := func() []float32 { return make([]float32, e.chunk*set.Size()) }
	e.clean, e.noisy, e.out, e.code = buf(), buf(), buf(), make([]float32, e.chunk*m.Code.Len())
	e.output.Workers, e.input.Workers = runtime.GOMAXPROCS(0), runtime.GOMAXPROCS(0)
	e.codes.Gaussian = m.Variational()
	if m.Quantized() {
		e.codes.Vector = m.Code.C
	}
	e.drawn = newDrawn(net, terms, e.chunk)
	return e, nil
}

// Close gives back what the evaluator has on the device.
func (e *Evaluator) Close() { e.terms.close() }

// shares are what a data set is cut into. Each is summed by itself, and then the sums are added in their order, so that a result does not depend on how
// many processes there are.
const shares = 32

// sums are those of a share.
type sums struct {
	Output, Input metric.Values
	Codes         metric.CodeSums
	Drawn         drawnSums
	Others        float64
	Parts         Parts
}

// Evaluate does what the function Evaluate does. Of several Ranks each evaluates some shares, and all have the same result and the same error.
func (e *Evaluator) Evaluate(ctx context.Context, worse Corruption, seed uint64, inputs bool) (Evaluation, error) {
	rank, size := 0, 1
	if e.Ranks != nil {
		rank, size = e.Ranks.Rank(), e.Ranks.Size()
	}
	mine, err := e.evaluate(ctx, shares*rank/size, shares*(rank+1)/size, worse, seed, inputs)
	all := [][]sums{mine}
	if e.Ranks != nil {
		if err = collective.Check(e.Ranks, err); err == nil {
			all, err = exchange(e.Ranks, mine)
		}
	}
	if err != nil {
		return Evaluation{}, err
	}
	e.reset(seed)
	others, parts := 0.0, Parts{}
	for _, list := range all {
		for _, s := range list {
			e.output.AddSums(s.Output)
			e.input.AddSums(s.Input)
			e.codes.Merge(s.Codes)
			e.drawn.sum.add(s.Drawn)
			others += s.Others
			parts.add(s.Parts, 1)
		}
	}
	r := Evaluation{Output: e.output.Result(), Input: e.input.Result(), Drawn: e.drawn.result(), Code: e.codes.Result(e.set.Size()),
		others: others / float64(max(e.set.Len(), 1))}
	r.parts.add(parts, 1/float64(max(e.set.Len(), 1)))
	if outside(e.set) >= 0 {
		r.outsideBCE = r.Output.BCE
		r.Output.BCE, r.Input.BCE = 0, 0
	}
	if !e.set.Images() {
		r.Output.PSNR, r.Output.SSIM, r.Input.PSNR, r.Input.SSIM = 0, 0, 0, 0
	}
	return r, nil
}

// evaluate returns the sums of shares first to end-1.
func (e *Evaluator) evaluate(ctx context.Context, first, end int, worse Corruption, seed uint64, inputs bool) ([]sums, error) {
	src := rng.Source{Seed: seed, Stream: rng.StreamEvaluate}
	chunks := (e.set.Len() + e.chunk - 1) / max(e.chunk, 1)
	var list []sums
	for share := first; share < end; share++ {
		e.reset(seed)
		for k := chunks * share / shares; k < chunks*(share+1)/shares; k++ {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			lo := k * e.chunk
			if err := e.add(lo, min(lo+e.chunk, e.set.Len()), worse, src, inputs); err != nil {
				return nil, err
			}
		}
		list = append(list, sums{e.output.Sums(), e.input.Sums(), e.codes.Sums(), e.drawn.sum, e.others, e.parts})
	}
	return list, nil
}

// reset forgets what has been summed.
func (e *Evaluator) reset(seed uint64) {
	e.output.Reset()
	e.input.Reset()
	e.codes.Reset()
	e.others, e.parts = 0, Parts{}
	e.drawn.reset(seed)
}

// exchange returns the sums of all ranks, in the order of the shares.
func exchange(c collective.Comm, mine []sums) ([][]sums, error) {
	var text bytes.Buffer
	if err := gob.NewEncoder(&text).Encode(mine); err != nil {
		return nil, err
	}
	texts, err := c.AllGather(text.Bytes())
	if err != nil {
		return nil, err
	}
	all := make([][]sums, len(texts))
	for rank := range texts {
		if err := gob.NewDecoder(bytes.NewReader(texts[rank])).Decode(&all[rank]); err != nil {
			return nil, fmt.Errorf("the evaluation of rank %d: %w", rank, err)
		}
	}
	return all, nil
}

// add runs samples lo to hi-1.
func (e *Evaluator) add(lo, hi int, worse Corruption, src rng.Source, inputs bool) error {
	n, m, set := hi-lo, e.net.Model(), e.set
	clean, noisy, out, code := e.clean[:n*set.Size()], e.noisy[:n*set.Size()], e.out[:n*set.Size()], e.code[:n*m.Code.Len()]
	if err := Corrupt(clean, noisy, set, lo, hi, worse, src); err != nil {
		return err
	}
	encode := e.net.Encode
	if m.Variational() {
		encode = e.drawn.encode
	}
	if err := encode(code, noisy, n); err != nil {
		return err
	}
	decode, from := e.net.Decode, code
	if !m.Separable() {
		decode, from = e.net.Predict, noisy
	}
	if err := decode(out, from, n); err != nil {
		return err
	}
	e.codes.Add(code, m.Code.Len())
	e.output.Add(out, clean, set.H, set.W, set.C)
	others, parts, err := e.terms.sum(out, clean, n)
	if err != nil {
		return err
	}
	e.others += others
	e.parts.add(parts, 1)
	if inputs {
		e.input.Add(noisy, clean, set.H, set.W, set.C)
	}
	return e.drawn.add(clean, lo, n)
}

// Loss returns the training loss, without regularizers, of samples with that evaluation by the same loss, of elements values each. beta is
// the weight of a Gaussian code's divergence.
func (e Evaluation) Loss(loss nn.Loss, reduction nn.Reduction, beta float64, elements int) float64 {
	if e.Drawn != (Evidence{}) {
		return e.Drawn.loss(loss, reduction, beta, elements)
	}
	bce := e.Output.BCE + e.outsideBCE // one of them is 0
	return (loss.BCE*bce + loss.MSE*e.Output.MSE + e.others) * float64(reduction.Elements(elements))
}

// Part is a term of a loss, by its name in a configuration, or the divergence of a variational model's codes, times its weight.
type Part struct {
	Name  string
	Value float64
}

// Parts returns what the Loss is the sum of.
func (e Evaluation) Parts(loss nn.Loss, reduction nn.Reduction, beta float64, elements int) (list []Part) {
	parts, factor := e.parts, float64(reduction.Elements(elements))
	bce, mse := e.Output.BCE+e.outsideBCE, e.Output.MSE
	variational := e.Drawn != (Evidence{})
	if variational {
		parts, factor = e.Drawn.parts, factor/float64(elements)
		bce, mse = e.Drawn.BCE, e.Drawn.MSE
	}
	if loss.BCE > 0 {
		parts[bcePart] = loss.BCE * bce
	}
	parts[msePart] = loss.MSE * mse
	weights := loss.Weights()
	for i, name := range nn.LossNames() {
		if weights[i] > 0 {
			list = append(list, Part{name, parts[i] * factor})
		}
	}
	if variational {
		list = append(list, Part{"divergence", beta * e.Drawn.Divergence})
	}
	return list
}
