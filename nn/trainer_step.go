package nn

import (
	"fmt"
	"sync"

	"github.com/convae/convae/nn/backend"
)

// Step trains on the samples offset to offset+n of the order; n is at most the batch. draw chooses the noise: 0 for
// noise that is drawn once, the epoch for noise drawn afresh. It returns before the device has finished.
func (t *Trainer) Step(offset, n int, draw uint32) {
	t.checkSamples(offset, n)
	t.run(offset, n, draw, false)
}

func (t *Trainer) checkSamples(offset, n int) {
	if n < 1 || n > t.o.Batch || offset < 0 || offset+n > t.samples {
		panic("nn: samples outside the batch or the data set")
	}
}

// StepOn trains on n samples given as float32 values, inputs x and targets y in NHWC order, without noise.
func (t *Trainer) StepOn(x, y []float32, n int) error {
	return t.fed("StepOn", x, y, n, func() error {
		t.run(0, n, 0, true)
		return nil
	})
}

// fed calls step with n samples that the caller gives as values; what names the method that the caller used, for errors.
func (t *Trainer) fed(what string, x, y []float32, n int, step func() error) error {
	if n < 1 || n > t.o.Batch || len(x) != n*t.m.Input.Len() || len(y) != len(x) {
		return fmt.Errorf("nn: %s wants 1 to %d samples of %d values, got %d samples, %d inputs and %d targets", what, t.o.Batch, t.m.Input.Len(), n, len(x), len(y))
	}
	t.x, t.y = x, y
	defer func() { t.x, t.y = nil, nil }()
	return step()
}

// run does a step. Between its segments the devices of a group wait for each other.
func (t *Trainer) run(offset, n int, draw uint32, feed bool) {
	if !t.begin(offset, n, draw, feed) {
		return
	}
	first := t.first()
	if t.o.World.Devices == 1 {
		first.play(0)
	} else {
		for s := range first.segments {
			if s > 0 {
				t.reduce(first.reductions[s-1])
			}
			t.together(func(r *replica) {
				r.play(s)
				r.probe()
			})
		}
	}
	if d, ok := t.o.Reducer.(*Direct); ok {
		t.failed(d.Failure())
	}
	t.end()
}

// together calls f for every replica, each in a goroutine of its own.
func (t *Trainer) together(f func(r *replica)) {
	var w sync.WaitGroup
	for _, r := range t.replicas[1:] {
		w.Go(func() { f(r) })
	}
	f(t.first())
	w.Wait()
}

// begin prepares a step, unless its samples cannot be read, or an error came before.
func (t *Trainer) begin(offset, n int, draw uint32, feed bool) bool {
	t.offset, t.count, t.feed = offset, n, feed
	if t.stream != nil && !feed && t.err == nil {
		t.turn = 1 - t.turn
		t.err = t.stream.read()
	}
	if t.err != nil {
		return false
	}
	t.Average(false)
	t.step++
	t.params = t.o.Optimizer.stepParams(t.step-t.began, t.rate)
	t.params.Step = t.step
	t.params.Offset, t.params.Draw, t.params.Divergence = uint32(offset), draw, float32(t.divergence)
	t.params.Temperature = float32(t.temperature)
	t.each((*replica).begin)
	return true
}

// begin prepares the step at hand, for which it brings samples and parameters to the device.
func (r *replica) begin() {
	r.prepare()
	if t := r.t; t.stream != nil && !t.feed {
		part := r.samples[t.turn]
		part.Shape.N = t.count
		r.mem.b.Stage(part, t.stream.fill)
	}
	r.mem.b.SetStepParams(r.stepParams, r.t.params)
}

// each calls f for every replica, of connected devices at the same time: where f waits for one, another may have failed that it waits for.
func (t *Trainer) each(f func(r *replica)) {
	if t.direct() {
		t.together(f)
		return
	}
	for _, r := range t.replicas {
		f(r)
	}
}

// end counts the step's samples, of which the loss is a mean.
func (t *Trainer) end() {
	t.seen += t.count
	t.graded = true
}

// prepare compiles the programs of the step at hand unless they are there, and forgets what the step before has left to the optimiser's op.
func (r *replica) prepare() {
	r.sums = nil
	plan, made := &r.t.plan, false
	for first := 0; first < r.t.count; first += plan.chunk {
		c := min(plan.chunk, r.t.count-first)
		for _, p := range r.phases {
			if p, ok := p.(*batchPhase); ok {
				for _, n := range []int{min(plan.micro, c), c % plan.micro} {
					made = p.prepare(n) || made
				}
			}
		}
	}
	if b, ok := r.mem.b.(backend.Preparer); ok && made {
		b.Prepare(func() {
			for _, run := range r.segments {
				run()
			}
		})
	}
}

// play does the phases of one segment of the step. A device that can record does so the first time and replays the recording
// from then on: that is possible because all that changes from step to step is in the step parameters. These are set by what leads the step,
// which is no part of the recording: a GPU has the kernel that gathers samples set them.
func (r *replica) play(segment int) {
	rec, ok := r.mem.b.(backend.Recorder)
	if !ok || r.t.feed || len(r.w.lanes) > 1 {
		r.segments[segment]()
		return
	}
	if segment == 0 {
		r.led = r.phases[0].(*batchPhase)
		r.led.lead()
	}
	key := recordingKey{r.t.count, r.t.turn, segment}
	if r.recordings[key] == nil {
		r.recordings[key] = rec.Record(r.segments[segment])
	}
	r.led = nil
	rec.Replay(r.recordings[key])
}

// makeSegments makes what play and the lanes call.
func (r *replica) makeSegments() {
	for _, p := range r.phases {
		r.runPhase = append(r.runPhase, func(lane, task int) { p.run(lane, task, nil) })
	}
	first := 0
	segment := func(lo, hi int) {
		r.segments = append(r.segments, func() {
			for i := lo; i < hi; i++ {
				r.w.runOn(r.lanesOf(r.phases[i]), r.phases[i].tasks(), r.runPhase[i])
			}
		})
	}
	if r.t.o.World.Devices > 1 {
		for _, red := range r.reductions {
			segment(first, red.phase)
			first = red.phase
		}
	}
	segment(first, len(r.phases))
}

// lanesOf returns how many lanes work in a phase: for micro-batches those that were given memory.
func (r *replica) lanesOf(p phase) int {
	if _, ok := p.(*batchPhase); ok {
		return r.t.plan.lanes
	}
	return len(r.w.lanes)
}

// repack packs the weights after they have changed.
func (t *Trainer) repack() {
	for _, r := range t.replicas {
		r.w.run(r.packing.tasks(), r.runPhase[len(r.phases)-1])
	}
}

// Loss waits for the device and returns the mean loss over the samples of all steps since ResetLoss, 0 if there were
// none.
func (t *Trainer) Loss() (float64, error) {
	var sum [1]float32
	t.settle()
	if err := t.failure(t.first().mem.b.Download(sum[:], t.first().total)); err != nil {
		return 0, err
	}
	return float64(sum[0]) / float64(max(t.seen, 1)), nil
}

// RecentLoss is Loss without waiting: it asks the device for the loss so far, and returns what an earlier call asked for
// once that has arrived, with the samples in it, which the device has done. ok is false as long as there is nothing new.
func (t *Trainer) RecentLoss() (loss float64, samples int, ok bool) {
	b := t.first().mem.b
	var sum [1]float32
	if t.asked > 0 {
		if ok = b.Fetched(sum[:]); !ok {
			return 0, 0, false
		}
		loss, samples = float64(sum[0])/float64(t.asked), t.asked
	}
	if t.asked = t.seen; t.asked > 0 {
		b.Fetch(t.first().total)
	}
	return loss, samples, ok
}

// ResetLoss starts a new mean.
func (t *Trainer) ResetLoss() {
	for _, r := range t.replicas {
		r.mem.b.Zero(r.total)
	}
	t.seen, t.asked = 0, 0
}
