package nn

import (
	"cmp"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
)

// bucketBytes is how large buckets of gradients are if nobody says: as PyTorch's.
const bucketBytes = 25 << 20

// bucket is a range of a slot whose sum over connected devices starts when it is complete, while gradients of other layers are still computed.
type bucket struct {
	lo, hi  int // floats
	stretch int // of the training program, at whose end the bucket is complete
	parts   []slotPart
}

// slotPart is what of a slot is complete at once: the gradient of a parameter, or the loss.
type slotPart struct {
	lo, hi int // floats
	of     op.Info
	group  int // of those whose gradients are complete in about the order of their places, from the last to the first
}

// slotParts lists the parts of a slot in their order, each with the gap behind it.
func (t *Trainer) slotParts() (list []slotPart) {
	for i := range t.m.Params {
		if t.m.Params[i].Trained() {
			list = append(list, slotPart{lo: t.layout.offsets[i] / floatBytes, of: op.Info{Space: op.Gradients, Index: i}})
		}
	}
	slices.SortFunc(list, func(a, b slotPart) int { return cmp.Compare(a.lo, b.lo) })
	floats := t.layout.floats()
	list = append(list, slotPart{lo: floats, hi: floats + lossFloats, of: op.Info{Space: op.Sums, Index: op.Loss}})
	for i, r := range t.layout.ranges { // one for each of them
		list[i].hi, list[i+1].group = list[i+1].lo, list[i].group
		if next := i + 1; next < len(t.layout.ranges) && (t.layout.ranges[next].weighs != r.weighs || t.layout.ranges[next].rate != r.rate) {
			list[next].group++
		}
	}
	return list
}

// makeBuckets cuts slots in buckets, in the order in which they are complete. It goes by the program for the most samples, in which partial sums
// are added up the latest, so that all devices start them in one order, whatever their last micro-batch is.
func (t *Trainer) makeBuckets() error {
	p, err := compileTraining(t.m, t.dev.Lanes()[0], t.o, t.source(kind{apart: true}), t.plan.micro)
	if err != nil {
		return err
	}
	parts, limit := t.slotParts(), cmp.Or(t.o.Bucket, bucketBytes)
	total := parts[len(parts)-1].hi
	var list []bucket
	for i := len(parts) - 1; i >= 0; i-- {
		n := len(list) - 1
		if n < 0 || floatBytes*(list[n].hi-list[n].lo) >= limit || floatBytes*total > limit && parts[i].group != list[n].parts[0].group {
			list = append(list, bucket{hi: parts[i].hi})
			n++
		}
		list[n].lo, list[n].parts = parts[i].lo, append(list[n].parts, parts[i])
	}
	ends := completed(p, list)
	order := make([]int, len(list))
	for i := range list {
		order[i] = i
		list[i].stretch = stretchOf(p, ends[i])
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ends[a], ends[b]) })
	for _, k := range order {
		t.buckets = append(t.buckets, list[k])
	}
	return nil
}

// completed returns after which call of a program each bucket is complete.
func completed(p *program.Program, buckets []bucket) []int {
	last := map[op.Info]int{}
	for i, c := range p.Calls {
		for _, v := range op.Writes(c.Op) {
			if info := p.Values[v]; info.Space == op.Gradients || info.Space == op.Sums {
				last[op.Info{Space: info.Space, Index: info.Index}] = i
			}
		}
	}
	ends := make([]int, len(buckets))
	for k := range buckets {
		for _, part := range buckets[k].parts {
			i, ok := last[part.of]
			if !ok { // nothing but what sets the slot to 0
				i = len(p.Calls) - 1
			}
			ends[k] = max(ends[k], i)
		}
	}
	return ends
}

// stretchOf returns the stretch at whose end a call has been done: one that is done once comes before the calls of the next.
func stretchOf(p *program.Program, call int) int {
	at, list := 0, p.Stretches()
	for i, s := range list {
		if at += len(s.Calls); call < at {
			return i
		}
		at += len(s.Once)
	}
	return len(list) - 1
}

// starts returns after which call of a program each bucket is started: when it is complete, and those before it are started.
func (t *Trainer) starts(p *program.Program) []int {
	ends := completed(p, t.buckets)
	for k := range ends {
		if stretchOf(p, ends[k]) > t.buckets[k].stretch {
			panic("nn: a bucket of gradients that other devices start before it is complete here")
		}
		ends[k] = max(ends[k], ends[max(k-1, 0)])
	}
	return ends
}

// part returns a range of what a device contributes.
func (c Contribution) part(lo, hi int) Contribution {
	slots := make([]backend.Tensor, len(c.Slots))
	for i, s := range c.Slots {
		slots[i] = s.Range(lo, hi)
	}
	c.Slots, c.Into = slots, c.Into.Range(lo, hi)
	return c
}

// startBuckets starts those buckets that are complete at the end of a stretch, and have not been started.
func (r *replica) startBuckets(stretch int) {
	for r.started < len(r.t.buckets) && r.t.buckets[r.started].stretch <= stretch {
		r.startBucket()
	}
}

// startBucket starts the next bucket.
func (r *replica) startBucket() {
	b := &r.t.buckets[r.started]
	r.started++
	r.t.o.Reducer.(*Direct).start(r.member(), r.bringSlots(op.SlotSums).part(b.lo, b.hi))
}

// member is the number of the device among those of the process.
func (r *replica) member() int { return r.index - r.t.o.World.First }

// probe has a connected device's failure be known, for others wait for what it does not do.
func (r *replica) probe() {
	if d, ok := r.t.o.Reducer.(*Direct); ok {
		d.ends[r.member()].Probe()
	}
}

// runLast runs calls of the last micro-batch of a device, from number at of its program on, and starts each bucket as it is complete.
func (r *replica) runLast(prog *bound, stretch, at int, calls []op.Call, f *op.Frame, hook hook) {
	for r.started < len(r.t.buckets) && r.t.buckets[r.started].stretch <= stretch {
		n := min(max(prog.starts[r.started]+1-at, 0), len(calls))
		runCalls(calls[:n], f, prog.Values, hook)
		calls, at = calls[n:], at+n
		r.startBucket()
	}
	runCalls(calls, f, prog.Values, hook)
}

// reducePhase is a sum over all devices as work in the order of each, or the gathering of what they have of tables.
type reducePhase struct {
	r *replica
	reduction
}

func (p *reducePhase) tasks() int { return 1 }

// run starts the buckets that are due before anything else, for all devices come to reductions in one order.
func (p *reducePhase) run(int, int, hook) {
	r := p.r
	d := r.t.o.Reducer.(*Direct)
	switch {
	case p.tables != nil:
		r.startBuckets(p.stretch)
		for _, table := range p.tables {
			d.gather(r.member(), r.bringTable(table).Into)
		}
	case p.sum == op.SlotSums:
		r.startBuckets(p.stretch)
		r.started = 0 // for the next step
	default:
		d.start(r.member(), r.bringSlots(p.sum))
	}
	d.ends[r.member()].Meet()
}
