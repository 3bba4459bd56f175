package trainer

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/rng"
	"github.com/convae/convae/trainer/dataset"
	"github.com/convae/convae/trainer/metric"
)

// evaluateChunk is the number of samples that are held as float32 values at a time.
const evaluateChunk = 512

// Corrupt fills clean with samples lo to hi, pixels scaled to [0,1], and noisy with clean plus normal noise, which for
// pixels is clipped to [0,1]. It draws the bits that the Gather and Select ops draw.
func Corrupt(clean, noisy []float32, set *dataset.Set, lo, hi int, std float64, src rng.Source) {
	size := set.Size()
	for i := lo; i < hi; i++ {
		c, n := clean[(i-lo)*size:][:size], noisy[(i-lo)*size:][:size]
		set.Read(c, i)
		if std == 0 {
			copy(n, c)
			continue
		}
		for j := 0; j < size; j += 4 {
			z := src.Normals(uint32(j/4), uint32(i), 0)
			for k := range min(4, size-j) {
				n[j+k] = c[j+k] + float32(float32(std)*z[k])
				if set.Pixels != nil {
					n[j+k] = min(max(n[j+k], 0), 1)
				}
			}
		}
	}
}

// Evaluation compares a model's outputs, and its inputs, with the clean samples. PSNR and SSIM are 0 for samples that are
// no images.
type Evaluation struct {
	Output metric.Values
	Input  metric.Values // what the noisy samples score before the model
	Drawn  Evidence      // of a variational model, else 0
	Code   metric.CodeValues
}

// Evaluate runs the model on a data set with noise of the seed's StreamEvaluate. Without inputs, Input stays zero. When ctx
// ends, it returns ctx's error soon.
func Evaluate(ctx context.Context, net *nn.Network, set *dataset.Set, noise float64, seed uint64, inputs bool) (Evaluation, error) {
	m := net.Model()
	if err := CheckSet(m, nn.MSE, set); err != nil {
		return Evaluation{}, err
	}
	size, units := set.Size(), m.Code.Len()
	buf := func() []float32 { return make([]float32, evaluateChunk*size) }
	clean, noisy, out, code := buf(), buf(), buf(), make([]float32, evaluateChunk*units)
	workers := runtime.GOMAXPROCS(0)
	a, b := metric.Accumulator{Workers: workers}, metric.Accumulator{Workers: workers}
	src := rng.Source{Seed: seed, Stream: rng.StreamEvaluate}
	codes := metric.Codes{Gaussian: m.Variational()}
	drawn, encode := newDrawn(net, seed, min(evaluateChunk, set.Len())), net.Encode
	if m.Variational() {
		encode = drawn.encode
	}
	for lo := 0; lo < set.Len(); lo += evaluateChunk {
		if err := ctx.Err(); err != nil {
			return Evaluation{}, err
		}
		n := min(evaluateChunk, set.Len()-lo)
		Corrupt(clean, noisy, set, lo, lo+n, noise, src)
		if err := encode(code[:n*units], noisy[:n*size], n); err != nil {
			return Evaluation{}, err
		}
		if err := net.Decode(out[:n*size], code[:n*units], n); err != nil {
			return Evaluation{}, err
		}
		codes.Add(code[:n*units], units)
		a.Add(out[:n*size], clean[:n*size], set.H, set.W, set.C)
		if err := drawn.add(clean[:n*size], n); err != nil {
			return Evaluation{}, err
		}
		if inputs {
			b.Add(noisy[:n*size], clean[:n*size], set.H, set.W, set.C)
		}
	}
	e := Evaluation{Output: a.Result(), Input: b.Result(), Drawn: drawn.result(), Code: codes.Result(size)}
	if !set.Images() {
		e.Output.PSNR, e.Output.SSIM, e.Input.PSNR, e.Input.SSIM = 0, 0, 0, 0
	}
	return e, nil
}

// Loss returns the training loss, without regularizers, of samples with that evaluation, of elements values each.
func (e Evaluation) Loss(tr Training, elements int) float64 {
	if e.Drawn != (Evidence{}) {
		return e.Drawn.loss(tr, elements)
	}
	loss := e.Output.BCE
	if tr.Loss == "mse" {
		loss = e.Output.MSE
	}
	return loss * float64(tr.reduction().Elements(elements))
}

// CheckSet reports a data set whose samples the model cannot take, or the loss.
func CheckSet(m *nn.Model, loss nn.Loss, set *dataset.Set) error {
	if n := set.Size(); n != m.Input.Len() {
		what := fmt.Sprintf("samples of %d values", n)
		if set.H*set.W > 1 {
			what = fmt.Sprintf("images of %d x %d x %d = %d values", set.H, set.W, set.C, n)
		}
		return fmt.Errorf("data set %s has %s, model %q takes %d", set.Name, what, m.Config.Name, m.Input.Len())
	}
	if loss != nn.BCE {
		return nil
	}
	if i := slices.IndexFunc(set.Values, func(v float32) bool { return !(v >= 0 && v <= 1) }); i >= 0 {
		return fmt.Errorf("data set %s: value %d of sample %d is %v, and loss bce needs values in [0,1]: use data.scaling minmax or loss mse", set.Name, i%set.Size()+1, i/set.Size()+1, set.Values[i])
	}
	return nil
}
