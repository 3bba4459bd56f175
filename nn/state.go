package nn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/safetensors"
)

// State returns all that decides how training goes on: weights, optimiser state, the step, and the loss gathered since
// ResetLoss. Tensors are laid out as in Model.Tensors and named weights/NAME, average/NAME, optimizer/STATE/NAME,
// loss_sum, and counters (the step, the samples in loss_sum, and the step at which the optimiser's state began). They do not tell on how many
// devices. Of a Sharded training all processes call it at the same time.
func (t *Trainer) State() ([]safetensors.Tensor, error) {
	t.Average(false)
	t.settle()
	r := t.first()
	b := r.mem.b
	// The 64-bit counters first: nothing before them can put them at an odd offset.
	out := []safetensors.Tensor{safetensors.FromUint64s("counters", []int{3}, []uint64{uint64(t.step), uint64(t.seen), uint64(t.began)})}
	all := make([]float32, t.m.largestParam())
	add := func(prefix string, tensors []backend.Tensor) error {
		for i := range t.m.Params {
			p := &t.m.Params[i]
			if tensors[i].IsZero() {
				continue // an optimiser has no state for what is not trained
			}
			v := all[:p.Shape.Len()]
			if err := b.Download(v, tensors[i]); err != nil {
				return fmt.Errorf("nn: %w", err)
			}
			out = append(out, p.toTorch(prefix, v))
		}
		return nil
	}
	if err := add("weights/", r.weights); err != nil {
		return nil, err
	}
	if r.average != nil {
		if err := add("average/", r.average); err != nil {
			return nil, err
		}
	}
	for i, name := range t.o.Optimizer.states() {
		if err := add("optimizer/"+name+"/", t.gatherState(i)); err != nil {
			return nil, err
		}
	}
	sum := make([]float32, 1)
	if err := b.Download(sum, r.total); err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	return append(out, safetensors.FromFloat32s("loss_sum", []int{1}, sum)), nil
}

// SetState goes on from a State. The optimiser's starts anew if it is another, or if parameters are trained that were not: all of it, because the
// corrections of its averages count from one step for all. Averages of weights that are not in the State begin with the weights. On an error the
// trainer is as before.
func (t *Trainer) SetState(f *safetensors.File) error {
	weights, err := t.m.fromTorch("weights/", f, false)
	if err != nil {
		return err
	}
	if err := t.checkState(f); err != nil {
		return err
	}
	names, fresh := t.o.Optimizer.states(), t.startsAnew(f)
	states := make([][][]float32, len(names))
	for i, name := range names {
		if fresh {
			break
		}
		if states[i], err = t.m.fromTorch("optimizer/"+name+"/", f, true); err != nil {
			return err
		}
	}
	averages := slices.Clone(weights)
	for i := range t.m.Params {
		p := &t.m.Params[i]
		if tensor, ok := f.Tensor("average/" + p.Name); ok && t.o.Decay > 0 && p.Trained() {
			if averages[i], err = t.m.valueOf(p, tensor); err != nil {
				return err
			}
		}
	}
	sum, counters, err := stateNumbers(f)
	if err != nil {
		return err
	}
	t.averaged, t.graded = false, false
	for _, r := range t.replicas {
		b := r.mem.b
		for i := range t.m.Params {
			b.Upload(r.weights[i], weights[i])
			if r.average != nil && !r.average[i].IsZero() {
				b.Upload(r.average[i], averages[i])
			}
			for k := range states {
				switch {
				case r.states[k][i].IsZero():
				case fresh:
					b.Upload(r.states[k][i], make([]float32, len(weights[i])))
				default:
					b.Upload(r.states[k][i], states[k][i])
				}
			}
		}
		b.Upload(r.total, sum)
	}
	t.step, t.seen, t.asked, t.began = uint32(counters[0]), int(counters[1]), 0, uint32(counters[2])
	if fresh {
		t.began = t.step
	}
	t.repack()
	return t.Wait()
}

// startsAnew reports whether a State lacks what the optimiser keeps: of some kind altogether, or of a parameter that is trained.
func (t *Trainer) startsAnew(f *safetensors.File) bool {
	kinds, params := map[string]bool{}, map[string]bool{}
	for _, tensor := range f.Tensors {
		if rest, ok := strings.CutPrefix(tensor.Name, "optimizer/"); ok {
			kind, param, _ := strings.Cut(rest, "/")
			kinds[kind], params[param] = true, true
		}
	}
	names := t.o.Optimizer.states()
	return slices.ContainsFunc(names, func(kind string) bool { return !kinds[kind] }) ||
		len(names) > 0 && slices.ContainsFunc(t.m.Params, func(p Param) bool { return p.Trained() && !params[p.Name] })
}

// checkState reports a tensor that is not of a State.
func (t *Trainer) checkState(f *safetensors.File) error {
	known := map[string]bool{"loss_sum": true, "counters": true}
	for _, p := range t.m.Params {
		known["weights/"+p.Name], known["average/"+p.Name] = true, true
	}
	for _, tensor := range f.Tensors {
		if !known[tensor.Name] && !strings.HasPrefix(tensor.Name, "optimizer/") {
			return fmt.Errorf("nn: the state has a tensor %q that model %q does not have", tensor.Name, t.m.Config.Name)
		}
	}
	return nil
}

// stateNumbers reads the loss and the counters of a State. One without the third counter is of an optimiser that began with
// the first step.
func stateNumbers(f *safetensors.File) (sum []float32, counters []uint64, err error) {
	if tensor, ok := f.Tensor("loss_sum"); ok {
		sum, err = tensor.Float32s()
	}
	if tensor, ok := f.Tensor("counters"); ok && err == nil {
		counters, err = tensor.Uint64s()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("nn: %w", err)
	}
	if len(counters) == 2 {
		counters = append(counters, 0)
	}
	if len(sum) != 1 || len(counters) != 3 || counters[0] >= 1<<32 || counters[1] >= 1<<62 || counters[2] > counters[0] {
		return nil, nil, fmt.Errorf("nn: the state lacks loss_sum and counters, or they are not 1 and 3 sensible numbers")
	}
	return sum, counters, nil
}

// kept is how many tensors as large as what is trained go from step to step besides it.
func (o TrainerOptions) kept() int {
	n := len(o.Optimizer.states())
	if o.Decay > 0 {
		n++
	}
	return n
}

// StateBytes is the host's memory that a State of the trainer's options takes while it is made.
func (o TrainerOptions) StateBytes(m *Model) int {
	return floatBytes * (m.Size()*(1+o.kept()) + m.StateSize() + m.largestParam())
}

func (m *Model) largestParam() int {
	most := 0
	for _, p := range m.Params {
		most = max(most, p.Shape.Len())
	}
	return most
}
