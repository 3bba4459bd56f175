package nn

import (
	"fmt"
	"math"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
)

// trainPlan is how a batch is cut and what memory that needs.
type trainPlan struct {
	chunk, slots, micro int
	lanes               int                 // that are used
	resident            bool                // the device does the ops of a step at once
	again               program.Recompute   // activations that are not kept for the backward pass
	offsets             map[kind][]int      // of the tensors
	meanOffsets         map[kind][]int      // of the program that adds up codes
	packs               *program.Program    // whose weights are packed
	parts               [partCount]partPlan // of a network that takes turns with the trainer
	need                Memory
	arena, workspace    int // bytes that each lane needs
	// Of a program in which something is done once for the batch: all micro-batches of a device have arenas of their own, apart bytes each, in
	// one of whole bytes, which the lanes' arenas lie in too. Else these are 0.
	apart, whole int
	rows, batch  []backend.Shape // that a micro-batch leaves to what is done once, and that this leaves, by their index
}

// microBatches returns how many micro-batches there are of the first n samples of a batch.
func (p *trainPlan) microBatches(n int) int {
	return n/p.chunk*ceilDiv(p.chunk, p.micro) + ceilDiv(n%p.chunk, p.micro)
}

// table is the shape of the rows of all micro-batches.
func (p *trainPlan) table(rows backend.Shape) backend.Shape {
	return rows.WithN(rows.N * p.slots * ceilDiv(p.chunk, p.micro))
}

// Memory is what training, a network that takes turns with it, and the Distance of a perceptual loss need on the device, in bytes.
type Memory struct {
	Weights, Gradients, Optimizer, Activations, Workspace, Data int
	MicroBatch                                                  int  // samples taken through the model at a time
	WholeBatch                                                  bool // the activations of all micro-batches of a batch are kept
	PerSample                                                   int  // bytes of activations of one sample
	Recompute                                                   bool // activations are made again in the backward pass
	// RepeatedShare is how many multiply-adds that takes, as a share of those of a step without.
	RepeatedShare float64
	Streamed      bool // the data set does not fit: it stays on the host
}

// Total returns the sum.
func (m Memory) Total() int {
	return m.Weights + m.Gradients + m.Optimizer + m.Activations + m.Workspace + m.Data
}

func (m Memory) String() string {
	data := BytesText(m.Data)
	if m.Streamed {
		data += ", streamed"
	}
	of := ""
	if m.WholeBatch {
		of = " of the whole batch"
	}
	if m.Recompute {
		of += fmt.Sprintf(", in part made again (%.0f %% more multiply-adds),", 100*m.RepeatedShare)
	}
	return fmt.Sprintf("%s (weights %s, gradients %s, optimizer %s, activations%s %s, of a sample %s, workspace %s, data %s)", BytesText(m.Total()),
		BytesText(m.Weights), BytesText(m.Gradients), BytesText(m.Optimizer), of, BytesText(m.Activations), BytesText(m.PerSample), BytesText(m.Workspace), data)
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
	o, err := checkTraining(m, o)
	if err != nil {
		return nil, err
	}
	if err := o.checkWorld(backend.Members(dev)); err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	t := &Trainer{m: m, dev: dev, o: o, rate: o.Optimizer.LearningRate, divergence: 1, temperature: 10, layout: newParamLayout(m, dev.Lanes()[0])}
	if t.beside, err = o.features.distance(m.Output, dev); err != nil {
		return nil, err
	}
	return t, t.choosePlan()
}

// checkWorld fills in the world and the reducer for the devices of this process.
func (o *TrainerOptions) checkWorld(members []backend.Device) error {
	w, devices := &o.World, len(members)
	if *w == (World{}) {
		w.Devices = devices
	}
	if w.First < 0 || w.First+devices > w.Devices {
		return fmt.Errorf("devices %d to %d of a world of %d: want numbers below that", w.First, w.First+devices-1, w.Devices)
	}
	if o.Reducer == nil {
		o.Reducer = reducer(*w, members, o.Unordered)
	}
	return o.checkSharded()
}

// kind is what a program depends on beside the number of samples: whether they are fed or gathered, and whether ops are done one by one that the
// device could do at once.
type kind struct{ feed, apart bool }

// kind returns that of the step at hand.
func (t *Trainer) kind() kind {
	return kind{t.feed, !t.feed && (t.apart || !t.plan.resident)}
}

func (t *Trainer) source(k kind) source {
	return source{gather: !k.feed, values: t.values, apart: k.apart, again: t.plan.again}
}

// CheckTraining returns the error of a model, or of options, with which NewTrainer trains on no device, whatever its memory.
func (c Config) CheckTraining(o TrainerOptions) error {
	m, err := build(c)
	if err != nil {
		return err
	}
	_, err = checkTraining(m, o)
	return err
}

// checkTraining fills in the options, and compiles the model with them for no device.
func checkTraining(m *Model, o TrainerOptions) (TrainerOptions, error) {
	o, err := o.withDefaults()
	if err != nil {
		return o, fmt.Errorf("nn: %w", err)
	}
	if m.Output.Len() != m.Input.Len() {
		return o, fmt.Errorf("nn: the model's output %s differs from its input %s: an autoencoder returns what it is given", graph.ShapeText(m.Output), graph.ShapeText(m.Input))
	}
	if err := o.checkCorruption(m); err != nil {
		return o, fmt.Errorf("nn: corruption: %w", err)
	}
	if o.features = nil; o.Loss.Perceptual.Weight > 0 {
		if o.features, err = o.Loss.Perceptual.loadFeatures(m.Output.C); err != nil {
			return o, fmt.Errorf("nn: %w", err)
		}
	}
	_, err = compileTraining(m, nil, o, source{}, 1)
	return o, err
}

// checkCorruption reports a way that there is not, or in which samples cannot be made worse.
func (o TrainerOptions) checkCorruption(m *Model) error {
	if len(o.Corruption) > corrupt.Most {
		return fmt.Errorf("there are %d of them, want at most %d", len(o.Corruption), corrupt.Most)
	}
	for _, c := range o.Corruption {
		if err := c.Check(); err != nil {
			return err
		}
		if o.Values {
			return fmt.Errorf("%v is for pixels, and the data set has numbers of any range", c.Kind)
		}
		if err := c.CheckImage(m.Input.H, m.Input.W, m.Input.C); err != nil {
			return fmt.Errorf("%w: the model's input is %s", err, graph.ShapeText(m.Input))
		}
	}
	return nil
}

// withDefaults fills in the options that are not given and checks the others.
func (o TrainerOptions) withDefaults() (TrainerOptions, error) {
	var err error
	if o.Optimizer, err = o.Optimizer.WithDefaults(); err != nil {
		return o, err
	}
	const maxBatch = 1 << 20
	if o.Batch < 1 || o.Batch > maxBatch {
		return o, fmt.Errorf("batch is %d, want 1 to %d", o.Batch, maxBatch)
	}
	if o.MicroBatch < 0 {
		return o, fmt.Errorf("micro-batch is %d, want at least 1, or 0 for the device's choice", o.MicroBatch)
	}
	if o.Slots < 0 {
		return o, fmt.Errorf("slots is %d, want at least 1, or 0 for the device's choice", o.Slots)
	}
	if o.Bucket < 0 {
		return o, fmt.Errorf("bucket is %d bytes, want at least 1, or 0 for the default", o.Bucket)
	}
	if o.Loss, err = o.Loss.WithDefaults(); err != nil {
		return o, err
	}
	if o.Contractive, err = o.Contractive.WithDefaults(); err != nil {
		return o, err
	}
	if !(o.Decay >= 0 && o.Decay < 1) {
		return o, fmt.Errorf("the decay of the average of weights is %v, want 0 <= decay < 1", o.Decay)
	}
	for _, err := range []error{o.Precision.Check(), o.Clip.Check(), o.Kernel.Check(), o.Activity.Check()} {
		if err != nil {
			return o, err
		}
	}
	if !(o.Noise >= 0 && o.Noise <= 100) {
		return o, fmt.Errorf("noise is %v, want 0 to 100", o.Noise)
	}
	return o, nil
}

const (
	enough     = 64 // samples are worth a gradient slot of their own, however large the slot is
	enoughMany = 16 // likewise for one of many slots, where these are no larger than the activations
)

// cut is what choosePlan varies until a plan fits the device.
type cut struct {
	batch int
	limit int  // samples of a micro-batch at the most
	lanes int  // that are used
	tight bool // a network makes do with the memory that training needs
	again program.Recompute
}

// planFor cuts a batch and adds up what it needs. Slots that are larger together than the activations of the batch take as
// long to clear and sum as to compute, so then there are only as many as have enough samples, and two. Where the activations of the whole batch are
// kept, they leave slots no room in the caches, so then these are a quarter of them at most, or as many more as make chunks even; nor do a
// micro-batch's activations stay there until the backward pass, so then it has as many samples as one op after another finds there. What is recomputed has no say in how the batch is
// cut, and so none in the result.
func (t *Trainer) planFor(c cut) (p trainPlan, err error) {
	b, policy := t.dev.Lanes()[0], t.dev.Policy()
	slotBytes := t.layout.trained + floatBytes*lossFloats
	one, sample, err := t.planOne(nil)
	if err != nil {
		return p, err
	}
	activations, cached := c.batch*sample, sample
	if one.Batchwise() {
		activations, cached = activations/4, one.MostTouched(b)
	}
	slots := min(policy.Slots, max(policy.SlotBytes/slotBytes, 1), max(activations/slotBytes, c.batch/enough, 2), c.batch)
	if c.batch/enoughMany > policy.Slots {
		slots = max(slots, min(policy.ManySlots, policy.ManySlotBytes/slotBytes, c.batch/enoughMany, activations/slotBytes))
	}
	slots = min(max(slots, t.o.World.Devices), c.batch) // or devices would have nothing to do
	if t.o.Slots > 0 {
		slots = min(t.o.Slots, c.batch)
	}
	chunk := ceilDiv(c.batch, slots)
	if one.Batchwise() && t.o.Slots == 0 {
		chunk = evenChunk(c.batch, chunk)
	}
	p = trainPlan{chunk: chunk, lanes: c.lanes, again: c.again, packs: one, offsets: map[kind][]int{}, meanOffsets: map[kind][]int{}}
	p.slots = ceilDiv(c.batch, p.chunk)
	p.micro = min(microBatch(policy, min(p.chunk, one.MostSamples()), cached, slotBytes), c.limit)
	repeated := 0.0
	for _, k := range []kind{{}, {apart: true}, {feed: true}} {
		src := t.source(k)
		src.again = c.again
		prog, err := compileTraining(t.m, b, t.o, src, p.micro)
		if err != nil {
			return p, err
		}
		if k == (kind{}) {
			if p.resident = prog.Resident(b); !p.resident {
				continue
			}
		}
		p.offsets[k], repeated = p.place(prog, b), prog.RepeatedShare()
		p.rows, p.batch = shapesOf(prog, op.Rows), shapesOf(prog, op.Batch)
		if !t.sparse() {
			continue
		}
		if prog, err = compileCodeSums(t.m, b, t.o, src, p.micro); err != nil {
			return p, err
		}
		p.meanOffsets[k] = p.place(prog, b)
	}
	kept, room := 0, p.arena
	if one.Batchwise() {
		kept = t.mostChunks(p.slots) * ceilDiv(p.chunk, p.micro) * p.arena
		p.apart, p.arena, room = p.arena, 0, kept/p.lanes
	}
	if !c.tight {
		room = forwardBytes
	}
	if err := t.planParts(&p, room); err != nil {
		return p, err
	}
	if p.apart > 0 {
		p.whole = max(kept, p.lanes*p.arena)
	}
	perSample := sample
	if c.again != nil {
		if _, perSample, err = t.planOne(c.again); err != nil {
			return p, err
		}
	}
	_, packed := one.PackedBytes()
	p.need = Memory{
		Weights:       t.layout.bytes + t.o.features.bytes(b) + packed + t.beside.Weights,
		Gradients:     t.rooms(p.slots)*slotBytes + t.meanBytes(t.rooms(p.slots)) + t.sumBytes() + 2*t.pieceBytes(),
		Optimizer:     len(t.o.Optimizer.states())*t.stateBytes() + (t.o.kept()-len(t.o.Optimizer.states()))*t.layout.trained,
		Activations:   max(p.lanes*p.arena, p.whole) + t.statisticsBytes(&p) + t.beside.Activations,
		Workspace:     p.lanes*p.workspace + t.beside.Workspace,
		MicroBatch:    p.micro,
		WholeBatch:    p.apart > 0,
		PerSample:     perSample,
		Recompute:     c.again != nil,
		RepeatedShare: repeated,
	}
	return p, nil
}

// evenChunk returns the size nearest below chunk that cuts a batch into chunks of one size, unless these would be half as large or less: where all
// lanes wait for each other often, they should have as much to do.
func evenChunk(batch, chunk int) int {
	for n := chunk; 2*n > chunk; n-- {
		if batch%n == 0 {
			return n
		}
	}
	return chunk
}

// planOne compiles the program for one sample, of which ops are done one by one, and returns the bytes of its activations.
func (t *Trainer) planOne(again program.Recompute) (*program.Program, int, error) {
	b, src := t.dev.Lanes()[0], t.source(kind{apart: true})
	src.again = again
	p, err := compileTraining(t.m, b, t.o, src, 1)
	if err != nil {
		return nil, 0, err
	}
	_, bytes := p.Plan(b)
	return p, bytes, nil
}

// place plans a program's tensors in the lanes' memory, and returns their offsets.
func (p *trainPlan) place(prog *program.Program, b backend.Backend) []int {
	offsets, bytes := prog.Plan(b)
	p.arena, p.workspace = max(p.arena, bytes), max(p.workspace, prog.Workspace)
	return offsets
}

// shapesOf lists the shapes of the Rows or the Batch of a program.
func shapesOf(p *program.Program, space op.Space) (list []backend.Shape) {
	for _, i := range p.Numbered(space) {
		list = append(list, i.Shape)
	}
	return list
}

// mostChunks returns how many of so many chunks the device with most of them takes.
func (t *Trainer) mostChunks(slots int) int { return ceilDiv(slots, t.o.World.Devices) }

// share returns which of n chunks a device takes.
func (w World) share(device, n int) (lo, hi int) {
	return n * device / w.Devices, n * (device + 1) / w.Devices
}

// rooms returns how many slots the first device of a process needs for what its devices have filled, and for what a reducer
// brings from other processes.
func (t *Trainer) rooms(slots int) int {
	if t.direct() {
		return max(t.mostChunks(slots), 1)
	}
	w, devices := t.o.World, len(backend.Members(t.dev))
	lo, _ := w.share(w.First, slots)
	_, hi := w.share(w.First+devices-1, slots)
	n := hi - lo
	if w.Devices > devices {
		n++
	}
	return max(n, 1)
}

// statisticsBytes returns what the first device takes for the tables and the batch of a plan.
func (t *Trainer) statisticsBytes(p *trainPlan) (bytes int) {
	for _, s := range p.batch {
		bytes += backend.AlignUp(floatBytes * s.Len())
	}
	for _, s := range p.rows {
		bytes += t.tables() * backend.AlignUp(floatBytes*p.table(s).Len())
	}
	return bytes
}

// tables returns how many tables of one kind the first device of a process needs: its own, those of the process's other devices, and one for what a
// reducer brings from other processes.
func (t *Trainer) tables() int {
	if t.direct() {
		return 1
	}
	devices := len(backend.Members(t.dev))
	if t.o.World.Devices > devices {
		return devices + 1
	}
	return devices
}

// planParts plans the parts of the model for a network in the same memory, of which each lane has so many bytes, or more if it cannot do with
// them.
func (t *Trainer) planParts(p *trainPlan, room int) error {
	b := t.dev.Lanes()[0]
	for which := range p.parts {
		if which == posteriorPart && !t.m.Variational() {
			continue
		}
		one, err := compileForward(t.m, b, which, 1, t.network())
		if err != nil && which == decoderPart {
			continue // it has connections to the encoder, and so never runs alone
		}
		if err != nil {
			return err
		}
		plan := planPart(one, b, t.dev.Policy(), mostSamples, room)
		prog, err := compileForward(t.m, b, which, plan.micro, t.network())
		if err != nil {
			return err
		}
		plan.place(prog, b)
		p.parts[which] = plan
		p.arena, p.workspace = max(p.arena, plan.arena), max(p.workspace, plan.workspace)
	}
	return nil
}

// meanBytes returns what the mean code takes: a sum a slot, the gradient and the loss.
func (t *Trainer) meanBytes(slots int) int {
	if !t.sparse() {
		return 0
	}
	return backend.AlignUp(floatBytes*t.m.Code.Len())*(slots+1) + backend.Align
}

// stretches returns how long the stretches are that the gradient is cut into where sums over it are made, in floats, and how many there are.
func (t *Trainer) stretches() (length, count int) {
	floats := t.layout.floats()
	if length = t.dev.Policy().UpdateFloats; length == 0 {
		length = floats
	}
	return length, ceilDiv(floats, length)
}

// updateTasks is how many tasks an update is cut into, unless they would be short or long: enough for all lanes of a large machine.
const updateTasks = 256

// updateFloats returns how long the stretches of an update are, of which each element is its own.
func (t *Trainer) updateFloats() int {
	length, _ := t.stretches()
	if most := t.dev.Policy().UpdateFloats; most > 0 {
		length = min(most, max(most/16, backend.AlignUp(ceilDiv(t.layout.floats(), updateTasks))))
	}
	return length
}

// normBytes returns what the penalties and the squares of so many stretches take.
func normBytes(stretches int) int { return 2 * backend.AlignUp(floatBytes*stretches) }

// sumBytes returns what the norms, the loss and the step parameters take.
func (t *Trainer) sumBytes() int {
	_, count := t.stretches()
	return normBytes(count) + backend.Align + bytesOf(t.dev.Lanes()[0], backend.PerStep, backend.Vec(1))
}

// leastData is what a data set takes on the device at the least: batches of pixels can be streamed.
func (t *Trainer) leastData() int {
	b, all := t.dev.Lanes()[0], t.m.Input.WithN(t.o.Samples)
	order := bytesOf(b, backend.Index, backend.Vec(t.o.Samples))
	if t.o.Values {
		return order + bytesOf(b, backend.Flat, all)
	}
	return order + min(bytesOf(b, backend.Pixels, all), 2*bytesOf(b, backend.Staged, t.m.Input.WithN(t.o.Batch)))
}

// freeBytes returns what is free on the device, and what of it the trainer may take. Of a group it is the device with least
// that counts. A little is left for what a device allocates on its own account, such as recordings, and for what it rounds up.
func (t *Trainer) freeBytes() (free, usable int, err error) {
	free = math.MaxInt
	for _, d := range backend.Members(t.dev) {
		there, err := d.Free()
		if err != nil {
			return 0, 0, fmt.Errorf("nn: %w", err)
		}
		free = min(free, there)
	}
	return free, free - free/64 - t.o.Reserve - t.connectionBytes(), nil
}

// choosePlan plans the batch within the device's free memory. Until it fits, a network is given less room, micro-batches
// are halved, and lanes are left out, and then activations recomputed.
func (t *Trainer) choosePlan() error {
	free, usable, err := t.freeBytes()
	if err != nil {
		return err
	}
	data := t.leastData()
	planWith := func(batch int, again program.Recompute) (trainPlan, bool, error) {
		c := cut{batch: batch, limit: batch, lanes: len(t.dev.Lanes()), again: again}
		if t.o.MicroBatch > 0 {
			c.limit = min(batch, t.o.MicroBatch)
		}
		for {
			p, err := t.planFor(c)
			switch {
			case err != nil:
				return p, false, err
			case p.need.Total()+data <= usable:
				return p, true, nil
			case !c.tight:
				c.tight = true
			case p.micro > 1:
				c.limit = p.micro / 2
			case c.lanes > 1:
				c.lanes--
			default:
				return p, false, nil
			}
		}
	}
	var again []program.Recompute // found out when it is wanted: it takes a while
	plan := func(batch int) (p trainPlan, fits bool, err error) {
		if t.o.Recompute != RecomputeAlways {
			if p, fits, err = planWith(batch, nil); fits || err != nil || t.o.Recompute == RecomputeNever {
				return p, fits, err
			}
		}
		if again == nil {
			if again, err = t.recomputes(); err != nil {
				return p, false, err
			}
			if t.o.Recompute == RecomputeAlways {
				again = again[len(again)-1:]
			}
		}
		for _, r := range again {
			if p, fits, err = planWith(batch, r); fits || err != nil {
				break
			}
		}
		return p, fits, err
	}
	p, fits, err := plan(t.o.Batch)
	if t.plan = p; fits || err != nil {
		return err
	}
	batch := 0
	for lo, hi := 1, t.o.Batch-1; lo <= hi; {
		mid := (lo + hi) / 2
		if _, fits, err := plan(mid); fits && err == nil {
			batch, lo = mid, mid+1
		} else {
			hi = mid - 1
		}
	}
	advice := "not even a batch of 1 fits"
	if batch > 0 {
		advice = fmt.Sprintf("a batch of %d fits", batch)
	}
	besides := ""
	if t.o.Reserve > 0 {
		besides = ", and " + BytesText(t.o.Reserve) + " besides"
	}
	return fmt.Errorf("nn: training %q with batch %d needs %s%s on %s, where %s are free: %s", t.m.Config.Name, t.o.Batch,
		BytesText(p.need.Total()+data), besides, t.dev.Name(), BytesText(free), advice)
}
