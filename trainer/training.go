package trainer

import (
	"cmp"
	"fmt"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
	"github.com/convae/convae/trainer/use"
)

// checkTraining fills in and checks what says how a step is made.
func (t *Training) checkTraining(m nn.Config) error {
	var err error
	if t.Optimizer, err = t.Optimizer.WithDefaults(); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	if t.Schedule, err = t.Schedule.WithDefaults(); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	concrete := graph.Has[*layer.Concrete](m.Encoder)
	switch {
	case concrete:
		if t.Temperature, err = t.Temperature.WithDefaults(); err != nil {
			return fmt.Errorf("training.%w", err)
		}
	case t.Temperature != (nn.Temperature{}):
		return fmt.Errorf("training.temperature: the encoder of model %q does not begin with a concrete layer: want that layer, or no temperature", m.Name)
	}
	variational := graph.Has[*layer.Sampling](m.Encoder)
	switch {
	case variational:
		if t.Divergence, err = t.Divergence.WithDefaults(); err != nil {
			return fmt.Errorf("training.%w", err)
		}
		if t.Reduction == "" {
			t.Reduction = nn.SampleReduction.String() // the divergence is one of samples
		}
	case t.Divergence != (nn.Divergence{}):
		return fmt.Errorf("training.divergence: the encoder of model %q does not end in sampling: want that layer, or no divergence", m.Name)
	}
	if t.Reduction != "" {
		if _, err := nn.ParseReduction(t.Reduction); err != nil {
			return fmt.Errorf("training.%w", err)
		}
	}
	if t.Contractive, err = t.Contractive.WithDefaults(); err != nil {
		return fmt.Errorf("training.%w", err)
	}
	for _, err := range []error{t.Clip.Check(), t.Kernel.Check(), t.Activity.Check()} {
		if err != nil {
			return fmt.Errorf("training.%w", err)
		}
	}
	if t.AllReduce != "" && t.AllReduce != OrderedAllReduce && t.AllReduce != FastAllReduce {
		return fmt.Errorf("training.all_reduce is %q, want %s or %s", t.AllReduce, OrderedAllReduce, FastAllReduce)
	}
	if t.Bucket < 0 || t.Bucket > 1<<20 {
		return fmt.Errorf("training.bucket_mib is %d, want 1 to %d", t.Bucket, 1<<20)
	}
	if t.Slots < 0 || t.Slots > 1<<20 {
		return fmt.Errorf("training.slots is %d, want 1 to %d", t.Slots, 1<<20)
	}
	if t.Accumulate < 0 || t.Accumulate > 1<<20 {
		return fmt.Errorf("training.accumulate is %d, want the number of batches that make a step, 1 to %d", t.Accumulate, 1<<20)
	}
	if t.Accumulate > 1 && t.Batch == FullBatch {
		return fmt.Errorf("training.accumulate is %d with a full batch: want a batch of so many samples, or no accumulate", t.Accumulate)
	}
	return nil
}

// Ways to sum the gradients of several processes.
const (
	OrderedAllReduce = "ordered"
	FastAllReduce    = "fast"
)

// StepSamples returns the samples of an optimiser step on a training set of that size.
func (t Training) StepSamples(samples int) int { return t.Batch.Of(samples) * max(t.Accumulate, 1) }

// reduction returns the loss's reduction.
func (t Training) reduction() nn.Reduction {
	r, err := nn.ParseReduction(t.Reduction)
	if err != nil {
		return nn.MeanReduction
	}
	return r
}

// precision returns what is computed in.
func (t Training) precision() (backend.Precision, error) {
	p, err := backend.ParsePrecision(cmp.Or(t.Precision, backend.Precision{}.String()))
	if err != nil {
		return p, err
	}
	return p, p.Check()
}

// Corrupted returns how samples are made worse for the model.
func (t Training) Corrupted() use.Corruption {
	c := use.Corruption{Std: t.Noise.Std}
	for _, how := range t.Corruption {
		c.Then = append(c.Then, how.all()...)
	}
	return c
}

// recompute returns when activations are recomputed.
func (t Training) recompute() (nn.Recompute, error) {
	return nn.ParseRecompute(cmp.Or(t.Recompute, nn.RecomputeAuto.String()))
}

// Options returns a checked configuration's options for nn.NewTrainer on a training set of that size.
func (t Training) Options(samples int) (nn.TrainerOptions, error) {
	precision, err := t.precision()
	if err != nil {
		return nn.TrainerOptions{}, err
	}
	recompute, err := t.recompute()
	if err != nil {
		return nn.TrainerOptions{}, err
	}
	o := nn.TrainerOptions{Batch: t.StepSamples(samples), Loss: t.Loss, Optimizer: t.Optimizer, Precision: precision, Noise: float32(t.Noise.Std), Seed: t.Seed, Corruption: t.Corrupted().Then,
		Reduction: t.reduction(), Decay: t.EMADecay, Clip: t.Clip, Kernel: t.Kernel, Activity: t.Activity, Contractive: t.Contractive, Recompute: recompute, Slots: t.Slots, Unordered: t.AllReduce == FastAllReduce, Bucket: t.Bucket << 20, Sharded: t.ShardOptimizer}
	if t.Accumulate > 1 {
		o.MicroBatch = t.Batch.Of(samples)
	}
	return o, nil
}

// setRates gives the trainer what changes from step to step.
func (s *session) setRates() {
	tr := s.c.Training
	at := float64(s.p.Epoch-1) + float64(s.p.Offset/s.batch)/float64(s.steps)
	s.t.SetTemperature(tr.Temperature.At(at))
	s.t.SetDivergence(tr.Divergence.Weight(at))
	s.t.SetLearningRate(tr.Optimizer.LearningRate * tr.Schedule.Share(at, s.steps, s.p.Falls))
}

// plateau counts the falls of the learning rate after validations that brought nothing.
func (p *progress) plateau(s nn.Schedule, e Epoch) {
	switch {
	case s.Name != "plateau":
	case p.FallAt == 0 || e.ValLoss < p.FallLoss-s.MinDelta:
		p.FallLoss, p.FallAt = e.ValLoss, e.Epoch
	case e.Epoch-p.FallAt >= s.Patience:
		p.Falls, p.FallAt = p.Falls+1, e.Epoch
	}
}

// PartsOf returns the terms that LossOf is the sum of.
func (t Training) PartsOf(v use.Evaluation, elements int) []use.Part {
	return v.Parts(t.Loss, t.reduction(), t.Divergence.Beta.Value(), elements)
}

// LossOf returns the loss, without regularizers, of samples with that evaluation by this loss, of elements values each.
func (t Training) LossOf(v use.Evaluation, elements int) float64 {
	return v.Loss(t.Loss, t.reduction(), t.Divergence.Beta.Value(), elements)
}
