package use

import (
	"context"
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/trainer/dataset"
)

// SampleErrors returns the mean squared error with which the model reconstructs each sample: a sample unlike those that
// it was trained on has a large one. When ctx ends, it returns ctx's error soon.
func SampleErrors(ctx context.Context, net *nn.Network, set *dataset.Set) ([]float64, error) {
	if err := CheckSet(net.Model(), nn.MSE, set); err != nil {
		return nil, err
	}
	if set.Len() == 0 {
		return nil, fmt.Errorf("data set %s is empty: want samples to score", set.Name)
	}
	size, chunk := set.Size(), min(Chunk(2*set.Size()), set.Len())
	x, y := make([]float32, chunk*size), make([]float32, chunk*size)
	scores := make([]float64, set.Len())
	for lo := 0; lo < set.Len(); lo += chunk {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(chunk, set.Len()-lo)
		for i := range n {
			set.Read(x[i*size:], lo+i)
		}
		if err := net.Predict(y[:n*size], x[:n*size], n); err != nil {
			return nil, err
		}
		for i := range n {
			sum := 0.0
			for j := i * size; j < (i+1)*size; j++ {
				d := float64(y[j]) - float64(x[j])
				sum += d * d
			}
			if sum-sum != 0 {
				return nil, fmt.Errorf("model %q makes values of sample %d that are not finite: train it anew, with a lower learning rate", net.Model().Config.Name, lo+i)
			}
			scores[lo+i] = sum / float64(size)
		}
	}
	return scores, nil
}
