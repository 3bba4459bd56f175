package nn

import (
	"fmt"
	"math"
	"strings"

	"convae/nn/backend"
)

// TrainerOptions are the choices of NewTrainer.
type TrainerOptions struct {
	Batch     int // samples of an optimiser step
	Loss      Loss
	Optimizer Optimizer
	Noise     float32 // standard deviation of the noise added to the inputs, which are then clipped to [0,1]
	Seed      uint64  // of noise and dropout
	Unfused   bool    // run every layer as ops of its own
}

// Trainer trains a model on a device. A batch is cut into chunks, each with a gradient slot of its own, and a chunk
// into micro-batches that fit the cache; lanes take chunks as they come. Slots are summed in order, so the result does
// not depend on the number of lanes. After the first step of each batch size nothing is allocated. It is not safe for
// concurrent use.
type Trainer struct {
	m     *Model
	dev   backend.Device
	o     TrainerOptions
	w     *workers
	mem   arena
	data  arena // the data set
	nodes []node
	plan  trainPlan

	layout  paramLayout
	weights []backend.Tensor   // by parameter
	states  [][]backend.Tensor // by state of the optimiser, by parameter
	packs   *packs
	slots   []slot
	ranges  []updateRange
	lanes   []laneMemory
	total   backend.Tensor // sum of batch losses times their sizes since ResetLoss
	seen    int            // samples in it
	asked   int            // samples in what RecentLoss has asked for, 0 if it has not
	clock   backend.Tensor
	pixels  [2]backend.Tensor // the data set, twice, or two batches of it that are filled in turn
	order   backend.Tensor
	stream  *stream // nil when the data set is on the device
	version int
	step    uint32

	// Of the step at hand.
	programs   map[programKey]*boundProgram
	recordings map[recordingKey]backend.Recording // of a whole step, if the device records
	turn       int                                // of pixels
	offset     int
	count      int
	feed       bool
	x, y       []float32

	// Methods as values, made once: one made in a step would be allocated.
	gradTasks, updateTasks, packTasks func(lane, task int)
	fillStages                        func(p []byte)
}

type recordingKey struct{ n, turn int }

type programKey struct {
	n    int
	feed bool
}

// slot is where chunks add their gradients: an arena laid out as the parameters, with the loss behind.
type slot struct {
	flat  backend.Tensor
	grads []backend.Params // by node
	loss  backend.Tensor
}

// updateRange is a stretch of the flat arenas that one task sums and updates.
type updateRange struct {
	slots []backend.Tensor
	param backend.Tensor
	state []backend.Tensor
}

// rangeFloats is the length of an update range: small enough to share out, large enough not to be all overhead.
const rangeFloats = 16 << 10

// lossFloats is the room for the loss behind the gradients of a slot.
const lossFloats = backend.Align / 4

// trainPlan is how a batch is cut and what memory that needs.
type trainPlan struct {
	chunk, slots, micro int
	offsets             map[bool][]int // of the tensors, by whether samples are fed or gathered
	need                Memory
	arena, workspace    int // bytes a lane
}

// Memory is what training needs on the device, in bytes.
type Memory struct {
	Weights, Gradients, Optimizer, Activations, Workspace, Data int
	MicroBatch                                                  int  // samples taken through the model at a time
	Streamed                                                    bool // the data set does not fit: it stays on the host
}

// Total returns the sum.
func (m Memory) Total() int {
	return m.Weights + m.Gradients + m.Optimizer + m.Activations + m.Workspace + m.Data
}

func (m Memory) String() string {
	data := bytesText(m.Data)
	if m.Streamed {
		data += ", streamed"
	}
	return fmt.Sprintf("%s (weights %s, gradients %s, optimizer %s, activations %s, workspace %s, data %s)", bytesText(m.Total()),
		bytesText(m.Weights), bytesText(m.Gradients), bytesText(m.Optimizer), bytesText(m.Activations), bytesText(m.Workspace), data)
}

// NewTrainer compiles the model for training and places a copy of its weights on the device. The error for a batch
// that does not fit says how much is needed, how much is free, and which batch fits.
func NewTrainer(m *Model, dev backend.Device, o TrainerOptions) (*Trainer, error) {
	t, err := planTrainer(m, dev, o)
	if err != nil {
		return nil, err
	}
	if err := t.alloc(); err != nil {
		t.mem.free()
		return nil, err
	}
	upload(t.mem.b, m, t.weights)
	t.w = newWorkers(dev.Lanes())
	t.gradTasks, t.updateTasks, t.packTasks, t.fillStages = t.gradTask, t.updateTask, t.packTask, t.fillStage
	t.repack()
	return t, nil
}

// TrainingMemory returns what NewTrainer would take on the device, without taking it. Its errors are NewTrainer's.
func TrainingMemory(m *Model, dev backend.Device, o TrainerOptions) (Memory, error) {
	t, err := planTrainer(m, dev, o)
	if err != nil {
		return Memory{}, err
	}
	return t.plan.need, nil
}

// planTrainer checks the options and plans the batch; nothing is allocated on the device.
func planTrainer(m *Model, dev backend.Device, o TrainerOptions) (*Trainer, error) {
	var err error
	if o.Optimizer, err = o.Optimizer.WithDefaults(); err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	const maxBatch = 1 << 20
	if o.Batch < 1 || o.Batch > maxBatch {
		return nil, fmt.Errorf("nn: batch is %d, want 1 to %d", o.Batch, maxBatch)
	}
	if !(o.Noise >= 0 && o.Noise <= 100) {
		return nil, fmt.Errorf("nn: noise is %v, want 0 to 100", o.Noise)
	}
	if m.Output.Len() != m.Input.Len() {
		return nil, fmt.Errorf("nn: the model's output %s differs from its input %s: an autoencoder returns what it is given", shapeText(m.Output), shapeText(m.Input))
	}
	b := dev.Lanes()[0]
	t := &Trainer{m: m, dev: dev, o: o, mem: arena{b: b}, data: arena{b: b}, layout: newParamLayout(m, b), programs: map[programKey]*boundProgram{}, recordings: map[recordingKey]backend.Recording{}}
	if t.nodes, err = trainingNodes(m, o); err != nil {
		return nil, err
	}
	return t, t.choosePlan()
}

// trainingNodes are the nodes to differentiate: for cross-entropy without the last sigmoid, because the loss is
// computed from logits.
func trainingNodes(m *Model, o TrainerOptions) ([]node, error) {
	nodes := m.nodes
	last := nodes[len(nodes)-1]
	if o.Loss == BCE {
		if last.op != opAct || last.act != backend.Sigmoid {
			return nil, fmt.Errorf("nn: loss bce needs a model whose last activation is sigmoid; %s ends otherwise (use loss mse)", m.Layers[last.layer].Name)
		}
		nodes = nodes[:len(nodes)-1]
	}
	if !needsGrad(nodes) {
		return nil, fmt.Errorf("nn: model %q has no weights to train", m.Config.Name)
	}
	if o.Unfused {
		return nodes, nil
	}
	return m.fuse(nodes), nil
}

func (t *Trainer) source(feed bool) source {
	return source{gather: !feed, noise: t.o.Noise, seed: t.o.Seed}
}

// planFor cuts a batch, into micro-batches of at most limit samples, and adds up what it needs.
func (t *Trainer) planFor(batch, limit int) trainPlan {
	b := t.mem.b
	policy := t.dev.Policy()
	lanes := len(t.dev.Lanes())
	slotBytes := t.layout.bytes + 4*lossFloats
	slots := min(policy.Slots, max(policy.SlotBytes/slotBytes, 1), batch)
	chunk := (batch + slots - 1) / slots
	p := trainPlan{chunk: chunk, slots: (batch + chunk - 1) / chunk}
	p.micro = microBatch(policy, min(chunk, limit), func(n int) int {
		_, bytes := compileTrain(t.m, b, t.nodes, n, t.o.Loss, t.source(false)).plan(b)
		return bytes
	})
	p.offsets = map[bool][]int{}
	for _, feed := range []bool{false, true} {
		prog := compileTrain(t.m, b, t.nodes, p.micro, t.o.Loss, t.source(feed))
		offsets, bytes := prog.plan(b)
		p.offsets[feed] = offsets
		p.arena, p.workspace = max(p.arena, bytes), max(p.workspace, prog.workspace)
	}
	_, packed := packedBytes(t.nodes, b)
	p.need = Memory{
		Weights:     t.layout.bytes + packed,
		Gradients:   p.slots * slotBytes,
		Optimizer:   len(t.o.Optimizer.states()) * t.layout.bytes,
		Activations: lanes * p.arena,
		Workspace:   lanes * p.workspace,
		MicroBatch:  p.micro,
	}
	return p
}

// choosePlan plans the batch within the device's free memory: micro-batches are halved until it fits.
func (t *Trainer) choosePlan() error {
	free, err := t.dev.Free()
	if err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	plan := func(batch int) (trainPlan, bool) {
		p := t.planFor(batch, batch)
		for p.need.Total() > free && p.micro > 1 {
			p = t.planFor(batch, p.micro/2)
		}
		return p, p.need.Total() <= free
	}
	p, fits := plan(t.o.Batch)
	if t.plan = p; fits {
		return nil
	}
	batch := 0
	for lo, hi := 1, t.o.Batch-1; lo <= hi; {
		mid := (lo + hi) / 2
		if _, fits := plan(mid); fits {
			batch, lo = mid, mid+1
		} else {
			hi = mid - 1
		}
	}
	advice := "not even a batch of 1 fits"
	if batch > 0 {
		advice = fmt.Sprintf("a batch of %d fits", batch)
	}
	return fmt.Errorf("nn: training %q with batch %d needs %s on %s, where %s are free: %s", t.m.Config.Name, t.o.Batch,
		bytesText(p.need.Total()), t.dev.Name(), bytesText(free), advice)
}

func (t *Trainer) alloc() error {
	b, floats := t.mem.b, t.layout.floats()
	buf, err := t.mem.alloc(t.layout.bytes, "weights")
	if err != nil {
		return err
	}
	t.weights = t.layout.tensors(t.m, buf)
	param := flat(buf, floats)
	if t.packs, err = newPacks(t.nodes, &t.mem, t.weights); err != nil {
		return err
	}
	var state []backend.Tensor
	for range t.o.Optimizer.states() {
		buf, err := t.mem.alloc(t.layout.bytes, "optimizer state")
		if err != nil {
			return err
		}
		state = append(state, flat(buf, floats))
		t.states = append(t.states, t.layout.tensors(t.m, buf))
	}
	for range t.plan.slots {
		buf, err := t.mem.alloc(t.layout.bytes+4*lossFloats, "gradients")
		if err != nil {
			return err
		}
		all := flat(buf, floats+lossFloats)
		t.slots = append(t.slots, slot{flat: all, grads: byNode(t.nodes, t.layout.tensors(t.m, buf)), loss: all.Range(floats, floats+1)})
	}
	for lo := 0; lo < floats; lo += rangeFloats {
		hi := min(lo+rangeFloats, floats)
		r := updateRange{param: param.Range(lo, hi)}
		for _, s := range t.slots {
			r.slots = append(r.slots, s.flat.Range(lo, hi))
		}
		for _, s := range state {
			r.state = append(r.state, s.Range(lo, hi))
		}
		t.ranges = append(t.ranges, r)
	}
	lossRange := updateRange{}
	for _, s := range t.slots {
		lossRange.slots = append(lossRange.slots, s.loss)
	}
	t.ranges = append(t.ranges, lossRange)
	if t.lanes, err = allocLanes(&t.mem, len(t.dev.Lanes()), t.plan.arena, t.plan.workspace); err != nil {
		return err
	}
	if buf, err = t.mem.alloc(backend.Align, "loss"); err != nil {
		return err
	}
	t.total = flat(buf, 1)
	clock := backend.Tensor{Shape: backend.Vec(1), Kind: backend.ClockKind}
	if clock.Buffer, err = t.mem.alloc(b.Bytes(clock.Kind, clock.Shape), "clock"); err != nil {
		return err
	}
	t.clock = clock
	return nil
}

// Close gives the trainer's memory back.
func (t *Trainer) Close() {
	t.w.close()
	t.forget()
	t.data.free()
	t.mem.free()
}

// Memory returns what the trainer takes on the device.
func (t *Trainer) Memory() Memory {
	m := t.plan.need
	m.Data, m.Streamed = t.data.bytes, t.stream != nil
	return m
}

// SetData gives the trainer a data set: count samples of uint8 pixels, 0 to 255, in NHWC order. They are copied to the
// device if it has room; else they are streamed batch by batch, and pixels must stay as it is. Samples are drawn in their
// own order until SetOrder is called. Both ways give the same results.
func (t *Trainer) SetData(pixels []byte, count int) error {
	if count < 1 || count > math.MaxInt32 || len(pixels) != count*t.m.Input.Len() {
		return fmt.Errorf("nn: the data set has %d bytes for %d samples, want %d a sample, the model's input %s", len(pixels), count, t.m.Input.Len(), shapeText(t.m.Input))
	}
	b := t.mem.b
	t.forget()
	t.data.free()
	t.stream = nil
	set := backend.Tensor{Shape: t.m.Input.WithN(count), Kind: backend.Byte}
	t.order = backend.Tensor{Shape: backend.Vec(count), Kind: backend.Index}
	orderBytes := b.Bytes(t.order.Kind, t.order.Shape)
	free, err := t.dev.Free()
	if err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	if t.order.Buffer, err = t.data.alloc(orderBytes, "order of the data set"); err != nil {
		return err
	}
	if b.Bytes(set.Kind, set.Shape)+orderBytes > free {
		t.stream = &stream{pixels: pixels, order: make([]int32, count)}
		// One is filled while the step before reads the other.
		for i := range t.pixels {
			if t.pixels[i], err = t.allocPixels(backend.Staged, t.o.Batch); err != nil {
				return err
			}
		}
	} else {
		if set, err = t.allocPixels(backend.Byte, count); err != nil {
			return err
		}
		b.UploadBytes(set, pixels)
		t.pixels = [2]backend.Tensor{set, set}
	}
	order := make([]int32, count)
	for i := range order {
		order[i] = int32(i)
	}
	t.SetOrder(order)
	return nil
}

// allocPixels allocates the pixels of n samples.
func (t *Trainer) allocPixels(k backend.Kind, n int) (backend.Tensor, error) {
	p := backend.Tensor{Shape: t.m.Input.WithN(n), Kind: k}
	var err error
	p.Buffer, err = t.data.alloc(t.mem.b.Bytes(k, p.Shape), "data set")
	return p, err
}

// stream is a data set that stays on the host.
type stream struct {
	pixels []byte
	order  []int32
}

// fillStage writes the samples of the step at hand in their order.
func (t *Trainer) fillStage(p []byte) {
	size := t.m.Input.Len()
	for n, i := range t.stream.order[t.offset : t.offset+t.count] {
		copy(p[n*size:][:size], t.stream.pixels[int(i)*size:])
	}
}

// SetOrder sets the order in which samples are drawn, a permutation of the data set.
func (t *Trainer) SetOrder(order []int32) {
	if len(order) != t.order.Shape.C {
		panic("nn: SetOrder: the order is not as long as the data set")
	}
	t.mem.b.UploadIndex(t.order, order)
	if t.stream != nil {
		copy(t.stream.order, order)
	}
}

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
	t.w.run(t.used(), t.gradTasks)
	t.w.run(len(t.ranges), t.updateTasks)
	t.w.run(len(t.packs.tasks), t.packTasks)
}

// forget drops what was compiled and recorded with tensors that are about to go.
func (t *Trainer) forget() {
	clear(t.programs)
	for n, r := range t.recordings {
		r.Close()
		delete(t.recordings, n)
	}
}

// begin prepares a step.
func (t *Trainer) begin(offset, n int, draw uint32, feed bool) {
	for first := 0; first < n; first += t.plan.chunk {
		c := min(t.plan.chunk, n-first)
		t.prepare(min(t.plan.micro, c), feed)
		t.prepare(c%t.plan.micro, feed)
	}
	t.step++
	clock := t.o.Optimizer.clock(t.step)
	clock.Offset, clock.Draw = uint32(offset), draw
	t.mem.b.SetClock(t.clock, clock)
	t.offset, t.count, t.feed = offset, n, feed
	if t.stream != nil && !feed {
		t.turn = 1 - t.turn
		part := t.pixels[t.turn]
		part.Shape.N = n
		t.mem.b.Stage(part, t.fillStages)
	}
}

// end books a step.
func (t *Trainer) end() {
	t.seen += t.count
	t.version++
}

// prepare compiles the program for n samples unless it is there.
func (t *Trainer) prepare(n int, feed bool) {
	key := programKey{n, feed}
	if n == 0 || t.programs[key] != nil {
		return
	}
	p := compileTrain(t.m, t.mem.b, t.nodes, n, t.o.Loss, t.source(feed))
	t.programs[key] = bindLanes(p, t.plan.offsets[feed], t.w.lanes, t.lanes,
		context{params: t.packs.params, clock: t.clock, data: dataTensors{order: t.order}})
}

// used returns the slots of the batch at hand.
func (t *Trainer) used() int { return (t.count + t.plan.chunk - 1) / t.plan.chunk }

// gradTask computes the gradient of a chunk in its slot.
func (t *Trainer) gradTask(lane, chunk int) { t.chunk(lane, chunk, nil) }

var zeroStep = step{op: "Zero", layer: "gradients"}

// chunk runs the steps of a chunk; profile, if there is one, runs each of them.
func (t *Trainer) chunk(lane, chunk int, profile func(s *step, run func())) {
	b, s := t.w.lanes[lane], &t.slots[chunk]
	b.SetWorkspace(t.lanes[lane].workspace)
	if profile == nil {
		b.Zero(s.flat)
	} else {
		profile(&zeroStep, func() { b.Zero(s.flat) })
	}
	end := min((chunk+1)*t.plan.chunk, t.count)
	for first := chunk * t.plan.chunk; first < end; first += t.plan.micro {
		n := min(t.plan.micro, end-first)
		p := t.programs[programKey{n, t.feed}]
		c := p.ctx[lane]
		c.grads, c.loss, c.first, c.data.pixels = s.grads, s.loss, first, t.pixels[t.turn]
		c.scale = 1 / float32(t.count*t.m.Output.Len())
		if t.feed {
			b.Upload(c.t[p.x], t.x[first*p.image:(first+n)*p.image])
			b.Upload(c.t[p.target], t.y[first*p.image:(first+n)*p.image])
		}
		if profile == nil {
			c.runSteps(p.program)
			continue
		}
		for i := range p.steps {
			profile(&p.steps[i], func() { p.steps[i].run(c) })
		}
	}
}

// updateTask sums the slots of a range and runs the optimiser on it; the last task is the loss.
func (t *Trainer) updateTask(lane, task int) {
	b, r := t.w.lanes[lane], &t.ranges[task]
	if n := t.used(); n > 1 {
		b.Sum(r.slots[0], r.slots[:n])
	}
	if task == len(t.ranges)-1 {
		b.Axpy(t.total, float32(t.count), r.slots[0])
		return
	}
	t.o.Optimizer.update(b, r.param, r.slots[0], r.state, t.clock)
}

func (t *Trainer) packTask(lane, task int) { t.packs.pack(t.w.lanes[lane], task) }

func (t *Trainer) repack() {
	t.w.run(len(t.packs.tasks), t.packTasks)
	t.version++
}

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
// once that has arrived. ok is false as long as there is nothing new.
func (t *Trainer) RecentLoss() (loss float64, ok bool) {
	var sum [1]float32
	if t.asked > 0 {
		if ok = t.mem.b.Fetched(sum[:]); !ok {
			return 0, false
		}
		loss = float64(sum[0]) / float64(t.asked)
	}
	if t.asked = t.seen; t.asked > 0 {
		t.mem.b.Fetch(t.total)
	}
	return loss, ok
}

// ResetLoss starts a new mean.
func (t *Trainer) ResetLoss() {
	t.mem.b.Zero(t.total)
	t.seen, t.asked = 0, 0
}

// SetLearningRate changes the learning rate of the steps to come.
func (t *Trainer) SetLearningRate(lr float64) { t.o.Optimizer.LearningRate = lr }

// Options returns the trainer's options with all defaults filled in.
func (t *Trainer) Options() TrainerOptions { return t.o }

// Steps returns the number of optimiser steps so far.
func (t *Trainer) Steps() int { return int(t.step) }

// Pull copies the weights from the device into the model.
func (t *Trainer) Pull() error {
	for i := range t.m.Params {
		if err := t.mem.b.Download(t.m.Params[i].Data, t.weights[i]); err != nil {
			return fmt.Errorf("nn: %w", err)
		}
	}
	return nil
}

// Network returns a network that runs the model with the trainer's weights as they are at each call. Close it before
// the trainer.
func (t *Trainer) Network() *Network {
	return &Network{m: t.m, dev: t.dev, o: NetworkOptions{Unfused: t.o.Unfused}, w: newWorkers(t.dev.Lanes()),
		mem: arena{b: t.mem.b}, weights: t.weights, version: &t.version}
}

// String lists the ops that are run for one micro-batch, one a line with its layer.
func (t *Trainer) String() string {
	var s strings.Builder
	p := compileTrain(t.m, t.mem.b, t.nodes, t.plan.micro, t.o.Loss, t.source(false))
	for _, st := range p.steps {
		fmt.Fprintf(&s, "%-26s %s\n", st.op, st.layer)
	}
	return s.String()
}
