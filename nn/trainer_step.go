package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// Step trains on the samples offset to offset+n of the order; n is at most the batch. draw chooses the noise: 0 for
// noise that is drawn once, the epoch for noise drawn afresh. It returns before the device has finished.
func (t *Trainer) Step(offset, n int, draw uint32) {
	t.checkSamples(offset, n)
	t.run(offset, n, draw, false)
}

func (t *Trainer) checkSamples(offset, n int) {
	if n < 1 || n > t.o.Batch || offset < 0 || offset+n > t.order.Shape.C {
		panic("nn: samples outside the batch or the data set")
	}
}

// StepOn trains on n samples given as float32 values, inputs x and targets y in NHWC order, without noise.
func (t *Trainer) StepOn(x, y []float32, n int) error {
	if n < 1 || n > t.o.Batch || len(x) != n*t.m.Input.Len() || len(y) != len(x) {
		return fmt.Errorf("nn: StepOn wants 1 to %d samples of %d values, got %d samples, %d inputs and %d targets", t.o.Batch, t.m.Input.Len(), n, len(x), len(y))
	}
	t.x, t.y = x, y
	t.run(0, n, 0, true)
	t.x, t.y = nil, nil
	return nil
}

func (t *Trainer) run(offset, n int, draw uint32, feed bool) {
	t.begin(offset, n, draw, feed)
	if r, ok := t.mem.b.(backend.Recorder); ok && !feed && len(t.w.lanes) == 1 {
		key := recordingKey{n, t.turn}
		if t.recordings[key] == nil {
			t.recordings[key] = r.Record(t.work)
		}
		r.Replay(t.recordings[key])
	} else {
		t.work()
	}
	t.end()
}

// work does all of a step that the device does: what changes from step to step is in the clock.
func (t *Trainer) work() {
	if t.sparse() {
		t.w.runOn(t.plan.lanes, t.used(), t.meanTasks)
		t.w.run(1, t.sparseTasks)
	}
	t.w.runOn(t.plan.lanes, t.used(), t.gradTasks)
	if t.collects() {
		t.w.run(len(t.ranges), t.collectTasks)
	}
	t.w.run(len(t.ranges), t.updateTasks)
	t.w.run(len(t.packs.tasks), t.packTasks)
}

// begin prepares a step.
func (t *Trainer) begin(offset, n int, draw uint32, feed bool) {
	for first := 0; first < n; first += t.plan.chunk {
		c := min(t.plan.chunk, n-first)
		t.prepare(min(t.plan.micro, c), feed)
		t.prepare(c%t.plan.micro, feed)
	}
	t.step++
	clock := t.o.Optimizer.clock(t.step-t.began, t.rate)
	clock.Step = t.step
	clock.Offset, clock.Draw, clock.Divergence = uint32(offset), draw, float32(t.divergence)
	clock.Temperature = float32(t.temperature)
	t.mem.b.SetClock(t.clock, clock)
	t.offset, t.count, t.feed = offset, n, feed
	if t.stream != nil && !feed {
		t.turn = 1 - t.turn
		part := t.samples[t.turn]
		part.Shape.N = n
		t.mem.b.Stage(part, t.fillStages)
	}
}

// end books a step.
func (t *Trainer) end() {
	t.seen += t.count
}

// prepare compiles the program for n samples unless it is there.
func (t *Trainer) prepare(n int, feed bool) {
	key := programKey{n, feed}
	if n == 0 || t.programs[key] != nil {
		return
	}
	base := context{params: t.packs.params, clock: t.clock, data: dataTensors{order: t.order}, row: t.row}
	p := compileTrain(t.m, t.mem.b, t.nodes, n, t.o, t.source(feed))
	t.programs[key] = bindLanes(p, t.plan.offsets[feed], t.w.lanes, t.lanes.memory, base)
	if t.sparse() {
		p := compileMean(t.m, t.mem.b, t.nodes, n, t.source(feed))
		t.means[key] = bindLanes(p, t.plan.meanOffsets[feed], t.w.lanes, t.lanes.memory, base)
	}
}

// sparse reports whether a step needs the mean code of the batch first.
func (t *Trainer) sparse() bool { return t.o.Activity.KL > 0 }

// used returns the slots of the batch at hand.
func (t *Trainer) used() int { return (t.count + t.plan.chunk - 1) / t.plan.chunk }

// gradTask computes the gradient of a chunk in its slot.
func (t *Trainer) gradTask(lane, chunk int) {
	t.chunk(lane, chunk, t.programs, t.slots[chunk].flat, nil)
}

var zeroStep = step{op: "Zero", layer: "gradients"}

// meanTask adds up the codes of a chunk in its slot.
func (t *Trainer) meanTask(lane, chunk int) { t.chunk(lane, chunk, t.means, t.slots[chunk].sums, nil) }

// sparseTask compares the mean code of the batch with the wanted one.
func (t *Trainer) sparseTask(lane, _ int) {
	b, sums := t.w.lanes[lane], t.slots[0].sums
	if n := t.used(); n > 1 {
		b.Sum(sums, t.sums[:n])
	}
	b.Zero(t.sparseLoss)
	b.SparseKL(backend.Sparsity{Weight: float32(t.o.Activity.KL), Rho: float32(t.o.Activity.Rho)}, 1/float32(t.count), t.sparseLoss, t.row, sums)
}

// visitor is called with each step of a program, or a stand-in for what else the device does, on which it then calls run.
// c is what a program's step runs on.
type visitor func(s *step, c *context, run func())

// chunk clears a chunk's sums and runs the steps of its program; visit, if there is one, runs each of them.
func (t *Trainer) chunk(lane, chunk int, programs map[programKey]*boundProgram, sums backend.Tensor, visit visitor) {
	b, s := t.w.lanes[lane], &t.slots[chunk]
	b.SetWorkspace(t.lanes.memory[lane].workspace)
	if visit == nil {
		b.Zero(sums)
	} else {
		visit(&zeroStep, nil, func() { b.Zero(sums) })
	}
	end := min((chunk+1)*t.plan.chunk, t.count)
	for first := chunk * t.plan.chunk; first < end; first += t.plan.micro {
		n := min(t.plan.micro, end-first)
		p := programs[programKey{n, t.feed}]
		c := p.ctx[lane]
		c.grads, c.loss, c.sums, c.first, c.data.samples = s.grads, s.loss, s.sums, first, t.samples[t.turn]
		c.sampleScale = 1 / t.sampleWeight()
		c.scale = 1 / (t.sampleWeight() * float32(t.m.Output.Len()/t.o.Reduction.Elements(t.m.Output.Len())))
		if t.feed {
			b.Upload(c.t[p.x], t.x[first*p.image:(first+n)*p.image])
			b.Upload(c.t[p.target], t.y[first*p.image:(first+n)*p.image])
		}
		if visit == nil {
			c.runSteps(p.program)
			continue
		}
		for i := range p.steps {
			visit(&p.steps[i], c, func() { p.steps[i].run(c) })
		}
	}
}

// sampleWeight is what the loss of a batch is divided by to be a sum over samples.
func (t *Trainer) sampleWeight() float32 {
	if t.o.Reduction == SumReduction {
		return 1
	}
	return float32(t.count)
}

// collects reports whether an update needs the gradients of all ranges first.
func (t *Trainer) collects() bool { return t.o.Clip.Norm > 0 || t.o.Kernel != (Regularizer{}) }

// collectTask sums the slots of a range, penalises its weights and bounds its gradient; the last task is the loss.
func (t *Trainer) collectTask(lane, task int) {
	b, r := t.w.lanes[lane], &t.ranges[task]
	grad := r.slots[0]
	if n := t.used(); n > 1 {
		b.Sum(grad, r.slots[:n])
	}
	if task == len(t.ranges)-1 {
		return
	}
	if t.o.Kernel != (Regularizer{}) {
		b.Zero(r.penalty)
		for i := range r.weights {
			b.Penalize(t.o.Kernel.norms(), r.penalty, r.grads[i], r.weights[i])
		}
	}
	if t.o.Clip.Value > 0 {
		b.ClipValue(float32(t.o.Clip.Value), grad)
	}
	if t.o.Clip.Norm > 0 {
		b.SumSquares(r.square, grad)
	}
}

// updateTask runs the optimiser on a range; the last task is the loss.
func (t *Trainer) updateTask(lane, task int) {
	if !t.collects() {
		t.collectTask(lane, task)
	}
	b, r := t.w.lanes[lane], &t.ranges[task]
	if task == len(t.ranges)-1 {
		b.Axpy(t.total, t.sampleWeight(), r.slots[0])
		if t.o.Kernel != (Regularizer{}) {
			b.Sum(t.penalties[0], t.penalties)
			b.Axpy(t.total, t.sampleWeight(), t.penalties[0])
		}
		if t.sparse() {
			b.Axpy(t.total, t.sampleWeight(), t.sparseLoss)
		}
		return
	}
	if t.o.Clip.Norm > 0 {
		b.ClipNorm(float32(t.o.Clip.Norm), r.slots[0], t.squares)
	}
	t.o.Optimizer.update(b, r.param, r.slots[0], r.state, t.clock)
}

func (t *Trainer) packTask(lane, task int) { t.packs.pack(t.w.lanes[lane], task) }

func (t *Trainer) repack() { t.w.run(len(t.packs.tasks), t.packTasks) }

// Loss waits for the device and returns the mean loss over the samples of all steps since ResetLoss, 0 if there were
// none.
func (t *Trainer) Loss() (float64, error) {
	var sum [1]float32
	if err := t.mem.b.Download(sum[:], t.total); err != nil {
		return 0, fmt.Errorf("nn: %w", err)
	}
	return float64(sum[0]) / float64(max(t.seen, 1)), nil
}

// RecentLoss is Loss without waiting: it asks the device for the loss so far, and returns what an earlier call asked for
// once that has arrived, with the samples in it, which the device has done. ok is false as long as there is nothing new.
func (t *Trainer) RecentLoss() (loss float64, samples int, ok bool) {
	var sum [1]float32
	if t.asked > 0 {
		if ok = t.mem.b.Fetched(sum[:]); !ok {
			return 0, 0, false
		}
		loss, samples = float64(sum[0])/float64(t.asked), t.asked
	}
	if t.asked = t.seen; t.asked > 0 {
		t.mem.b.Fetch(t.total)
	}
	return loss, samples, ok
}

// ResetLoss starts a new mean.
func (t *Trainer) ResetLoss() {
	t.mem.b.Zero(t.total)
	t.seen, t.asked = 0, 0
}
