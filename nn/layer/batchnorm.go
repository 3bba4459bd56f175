package layer

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
)

// BatchNormalization normalises each channel. In training it does so by mean and variance of the whole batch, however that is cut, and moves
// averages of these, by which it normalises otherwise. Files call gamma weight, beta bias, and the averages running_mean and running_var.
type BatchNormalization struct {
	Momentum   float32 `yaml:"momentum,omitempty" zero:"more than 0, below 1"`  // 0.99: what the averages keep of themselves (PyTorch's is 1 less this)
	Epsilon    float32 `yaml:"epsilon,omitempty" zero:"more than 0, at most 1"` // 0.001, added to the variance
	NoCenter   bool    `yaml:"no_center,omitempty"`                             // no beta is added
	NoScale    bool    `yaml:"no_scale,omitempty"`                              // it is not multiplied by a gamma
	Unbiased   bool    `yaml:"unbiased,omitempty"`                              // the variance that the averages take in is n/(n-1) times the batch's, as PyTorch's
	Activation string  `yaml:"activation,omitempty"`
}

// Kind returns Keras's name of the layer.
func (*BatchNormalization) Kind() string { return "BatchNormalization" }

// Build emits the normalisation and its activation.
func (l *BatchNormalization) Build(b *graph.Builder, in ...op.Value) (op.Value, error) {
	x, err := one(in)
	if err != nil {
		return op.None, err
	}
	momentum, epsilon := l.Momentum, l.Epsilon
	if momentum == 0 {
		momentum = 0.99
	}
	if epsilon == 0 {
		epsilon = 1e-3
	}
	if !(momentum > 0 && momentum < 1) {
		return op.None, fmt.Errorf("momentum is %v, want more than 0 and below 1", momentum)
	}
	s, err := backend.NewBatchNorm(backend.BatchNormSpec{X: b.Shape(x), Epsilon: epsilon})
	if err != nil {
		return op.None, err
	}
	channels := backend.Vec(s.X.C)
	out := b.New(s.X)
	o := &op.BatchNorm{Shape: s, Out: out, X: x}
	b.Elementwise(out, x)
	if !l.NoScale {
		o.Gamma = b.PerElement("weight", graph.Param{Shape: channels, Role: graph.Scale, Init: graph.Constant(1)}, out)
	}
	if !l.NoCenter {
		o.Beta = b.PerElement("bias", graph.Param{Shape: channels, Role: graph.Bias}, out)
	}
	mean := b.PerElement("running_mean", graph.Param{Shape: channels, Role: graph.State}, out)
	variance := b.PerElement("running_var", graph.Param{Shape: channels, Role: graph.State, Init: graph.Constant(1)}, out)
	b.Module()
	if b.Training() && !b.Frozen() {
		rows := b.NewRows(s.Moments())
		o.Moments = b.NewBatch(2 * s.X.C)
		b.Emit(&op.BatchNormStatistics{Shape: s, Row: rows, X: x})
		b.EmitOnce(&op.BatchNormMoments{Moving: backend.Moving{Momentum: momentum, Unbiased: l.Unbiased}, Moments: o.Moments, MovingMean: mean, MovingVariance: variance, Rows: rows})
	} else {
		o.Mean, o.Variance = mean, variance
	}
	b.Emit(o)
	return b.Activate(l.Activation, out)
}
