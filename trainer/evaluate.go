package trainer

import (
	"fmt"
	"runtime"

	"convae/nn"
	"convae/nn/rng"
	"convae/trainer/dataset"
	"convae/trainer/metric"
)

// evaluateChunk is the number of images that are held as float32 values at a time.
const evaluateChunk = 512

// Corrupt fills clean with the pixels of images lo to hi scaled to [0,1], and noisy with clean plus normal noise,
// clipped to [0,1]. It draws the bits that the Gather op draws.
func Corrupt(clean, noisy []float32, set *dataset.Set, lo, hi int, std float64, src rng.Source) {
	size := set.H * set.W * set.C
	for i := lo; i < hi; i++ {
		c, n := clean[(i-lo)*size:][:size], noisy[(i-lo)*size:][:size]
		for j, v := range set.Image(i) {
			c[j] = float32(v) / 255
		}
		if std == 0 {
			copy(n, c)
			continue
		}
		for j := 0; j < size; j += 4 {
			z := src.Normals(uint32(j/4), uint32(i), 0)
			for k := range min(4, size-j) {
				n[j+k] = min(max(c[j+k]+float32(float32(std)*z[k]), 0), 1)
			}
		}
	}
}

// Evaluation compares a model's outputs, and its inputs, with the clean images.
type Evaluation struct {
	Output metric.Values
	Input  metric.Values // what the noisy images score before the model
}

// Evaluate runs the model on a data set with noise of the seed's StreamEvaluate. Without inputs, Input stays zero.
func Evaluate(net *nn.Network, set *dataset.Set, noise float64, seed uint64, inputs bool) (Evaluation, error) {
	size := set.H * set.W * set.C
	buf := func() []float32 { return make([]float32, evaluateChunk*size) }
	clean, noisy, out := buf(), buf(), buf()
	workers := runtime.GOMAXPROCS(0)
	a, b := metric.Accumulator{Workers: workers}, metric.Accumulator{Workers: workers}
	src := rng.Source{Seed: seed, Stream: rng.StreamEvaluate}
	for lo := 0; lo < set.Len(); lo += evaluateChunk {
		n := min(evaluateChunk, set.Len()-lo)
		Corrupt(clean, noisy, set, lo, lo+n, noise, src)
		if err := net.Predict(out[:n*size], noisy[:n*size], n); err != nil {
			return Evaluation{}, err
		}
		a.Add(out[:n*size], clean[:n*size], set.H, set.W, set.C)
		if inputs {
			b.Add(noisy[:n*size], clean[:n*size], set.H, set.W, set.C)
		}
	}
	return Evaluation{Output: a.Result(), Input: b.Result()}, nil
}

// checkImages reports a data set whose images the model cannot take.
func checkImages(m *nn.Model, set *dataset.Set) error {
	if n := set.H * set.W * set.C; n != m.Input.Len() {
		return fmt.Errorf("data set %s has images of %d x %d x %d = %d values, model %q takes %d", set.Name, set.H, set.W, set.C, n, m.Config.Name, m.Input.Len())
	}
	return nil
}
