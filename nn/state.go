package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/safetensors"
)

// State returns all that decides how training goes on: weights, optimiser state, the step, and the loss gathered since
// ResetLoss. Tensors are laid out as in Model.Tensors and named weights/NAME, optimizer/STATE/NAME,
// loss_sum, and counters (the step and the samples in loss_sum).
func (t *Trainer) State() ([]safetensors.Tensor, error) {
	b := t.mem.b
	// The 64-bit counters first: nothing before them can put them at an odd offset.
	out := []safetensors.Tensor{safetensors.FromUint64s("counters", []int{2}, []uint64{uint64(t.step), uint64(t.seen)})}
	add := func(prefix string, tensors []backend.Tensor) error {
		for i := range t.m.Params {
			p := &t.m.Params[i]
			v := make([]float32, p.Shape.Len())
			if err := b.Download(v, tensors[i]); err != nil {
				return fmt.Errorf("nn: %w", err)
			}
			out = append(out, p.toTorch(prefix, v))
		}
		return nil
	}
	if err := add("weights/", t.weights); err != nil {
		return nil, err
	}
	for i, name := range t.o.Optimizer.states() {
		if err := add("optimizer/"+name+"/", t.states[i]); err != nil {
			return nil, err
		}
	}
	sum := make([]float32, 1)
	if err := b.Download(sum, t.total); err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	return append(out, safetensors.FromFloat32s("loss_sum", []int{1}, sum)), nil
}

// SetState goes on from a State. On an error the trainer is as before.
func (t *Trainer) SetState(f *safetensors.File) error {
	names := t.o.Optimizer.states()
	if want := len(t.m.Params)*(1+len(names)) + 2; len(f.Tensors) != want {
		return fmt.Errorf("nn: the state has %d tensors, model %q with optimizer %s has %d", len(f.Tensors), t.m.Config.Name, t.o.Optimizer.Name, want)
	}
	weights, err := t.m.fromTorch("weights/", f)
	if err != nil {
		return err
	}
	states := make([][][]float32, len(names))
	for i, name := range names {
		if states[i], err = t.m.fromTorch("optimizer/"+name+"/", f); err != nil {
			return err
		}
	}
	var sum []float32
	var counters []uint64
	if tensor, ok := f.Tensor("loss_sum"); ok {
		sum, err = tensor.Float32s()
	}
	if tensor, ok := f.Tensor("counters"); ok && err == nil {
		counters, err = tensor.Uint64s()
	}
	if err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	if len(sum) != 1 || len(counters) != 2 || counters[0] >= 1<<32 || counters[1] >= 1<<62 {
		return fmt.Errorf("nn: the state's loss_sum and counters are not 1 and 2 sensible numbers")
	}
	b := t.mem.b
	for i := range t.m.Params {
		b.Upload(t.weights[i], weights[i])
		for k := range states {
			b.Upload(t.states[k][i], states[k][i])
		}
	}
	b.Upload(t.total, sum)
	t.step, t.seen = uint32(counters[0]), int(counters[1])
	t.repack()
	return b.Sync()
}
