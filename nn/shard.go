package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Sharded training is ZeRO stage 1 (Rajbhandari and others, "ZeRO: Memory optimizations toward training trillion parameter models", 2020): each of
// several connected devices updates a part of the parameters, of which it alone has the optimiser's state, and gives what they have become to
// all. Gradients are summed as without, so bits are the same.

// shard is the range of the parameters that a device updates, in floats.
type shard struct{ lo, hi int }

func (s shard) floats() int { return s.hi - s.lo }

// checkSharded reports a training that cannot be sharded.
func (o *TrainerOptions) checkSharded() error {
	if _, ok := o.Reducer.(*Direct); !o.Sharded || ok {
		return nil
	}
	if r, ok := o.Reducer.(*ordered); ok && r.because != nil {
		return fmt.Errorf("sharded: the devices cannot be connected with each other: %w", r.because)
	}
	return fmt.Errorf("sharded: want several devices that can be connected with each other, such as GPUs by NCCL")
}

// shards returns the parts of the parameters by device of the world: whole tensors, those that begin in its share of all floats.
func (t *Trainer) shards() []shard {
	n, floats := t.o.World.Devices, t.layout.floats()
	list := make([]shard, n)
	at := 0
	for k := range list {
		list[k].lo = at
		for _, r := range t.layout.ranges {
			if r.lo >= at && r.lo*n < floats*(k+1) {
				at = r.hi
			}
		}
		list[k].hi = at
	}
	return list
}

// shard is the replica's, or all of the parameters.
func (r *replica) shard() shard {
	if r.t.o.Sharded {
		return r.t.shards()[r.index]
	}
	return shard{0, r.t.layout.floats()}
}

// stateBytes returns what one state of the optimiser takes on the device that has most of it.
func (t *Trainer) stateBytes() int {
	if !t.o.Sharded {
		return t.layout.trained
	}
	most := 0
	for _, s := range t.shards() {
		most = max(most, floatBytes*s.floats())
	}
	return most
}

// allocState takes the memory of one state of the optimiser.
func (r *replica) allocState() error {
	own := r.shard()
	buf, err := r.mem.alloc(max(floatBytes*own.floats(), backend.Align), "optimizer state")
	if err != nil {
		return err
	}
	byParam := r.t.layout.tensors(r.t.m, buf)
	for i := range byParam {
		if at := byParam[i].Offset / floatBytes; byParam[i].IsZero() || at < own.lo || at >= own.hi {
			byParam[i] = backend.Tensor{} // another device has it
		} else {
			byParam[i].Offset -= floatBytes * own.lo
		}
	}
	r.states = append(r.states, byParam)
	r.stateFlat = append(r.stateFlat, flat(buf, own.floats()))
	return nil
}

// spreadPhase gives what each device has of a tensor as long as the parameters to all.
type spreadPhase struct {
	r *replica
	x backend.Tensor
}

func (p *spreadPhase) tasks() int { return 1 }

func (p *spreadPhase) run(int, int, hook) { p.r.spread(p.x) }

// spread has all devices get the shards of a tensor that each has.
func (r *replica) spread(x backend.Tensor) {
	end := r.t.o.Reducer.(*Direct).ends[r.member()]
	end.Aside(func() {
		for k, s := range r.t.shards() {
			if s.floats() > 0 {
				end.Distribute(x.Range(s.lo, s.hi), k)
			}
		}
	})
	end.Meet()
}

// gatherState returns where the first device has a state of the optimiser, by parameter. Of a sharded training it is in the gradients of the
// last step, until the next.
func (t *Trainer) gatherState(k int) []backend.Tensor {
	first := t.first()
	if !t.o.Sharded {
		return first.states[k]
	}
	t.together(func(r *replica) {
		own, all := r.shard(), r.slots[0].sums[op.SlotSums].Range(0, t.layout.floats())
		if own.floats() > 0 {
			r.mem.b.Copy(all.Range(own.lo, own.hi), r.stateFlat[k])
		}
		r.spread(all)
	})
	return first.slots[0].grads
}
