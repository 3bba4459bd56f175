package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// trainPlan is how a batch is cut and what memory that needs.
type trainPlan struct {
	chunk, slots, micro int
	lanes               int                 // that take part
	offsets             map[bool][]int      // of the tensors, by whether samples are fed or gathered
	meanOffsets         map[bool][]int      // of the program that adds up codes
	parts               [partCount]partPlan // of a network that takes turns with the trainer
	need                Memory
	arena, workspace    int // bytes a lane
}

// Memory is what training, and a network that takes turns with it, need on the device, in bytes.
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
	data := BytesText(m.Data)
	if m.Streamed {
		data += ", streamed"
	}
	return fmt.Sprintf("%s (weights %s, gradients %s, optimizer %s, activations %s, workspace %s, data %s)", BytesText(m.Total()),
		BytesText(m.Weights), BytesText(m.Gradients), BytesText(m.Optimizer), BytesText(m.Activations), BytesText(m.Workspace), data)
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
	o, nodes, err := checkTraining(m, o)
	if err != nil {
		return nil, err
	}
	b := dev.Lanes()[0]
	t := &Trainer{m: m, dev: dev, o: o, nodes: nodes, rate: o.Optimizer.LearningRate, divergence: 1, temperature: 10, mem: arena{b: b}, data: arena{b: b}, lanes: laneArenas{mem: arena{b: b}}, layout: newParamLayout(m, b), programs: map[programKey]*boundProgram{}, means: map[programKey]*boundProgram{}, recordings: map[recordingKey]backend.Recording{}}
	return t, t.choosePlan()
}

// CheckTraining returns the error of a model, or of options, with which NewTrainer trains on no device, whatever its memory.
func (c Config) CheckTraining(o TrainerOptions) error {
	m, err := build(c)
	if err != nil {
		return err
	}
	_, _, err = checkTraining(m, o)
	return err
}

// checkTraining fills in the options, and returns the nodes to differentiate.
func checkTraining(m *Model, o TrainerOptions) (TrainerOptions, []node, error) {
	o, err := o.withDefaults()
	if err != nil {
		return o, nil, fmt.Errorf("nn: %w", err)
	}
	if m.Output.Len() != m.Input.Len() {
		return o, nil, fmt.Errorf("nn: the model's output %s differs from its input %s: an autoencoder returns what it is given", shapeText(m.Output), shapeText(m.Input))
	}
	nodes, err := trainingNodes(m, o)
	if err != nil {
		return o, nil, err
	}
	return o, nodes, checkCode(m, nodes, o)
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
	if o.Contractive, err = o.Contractive.WithDefaults(); err != nil {
		return o, err
	}
	for _, err := range []error{o.Clip.Check(), o.Kernel.Check(), o.Activity.Check()} {
		if err != nil {
			return o, err
		}
	}
	if !(o.Noise >= 0 && o.Noise <= 100) {
		return o, fmt.Errorf("noise is %v, want 0 to 100", o.Noise)
	}
	return o, nil
}

// trainingNodes are the nodes to differentiate: for cross-entropy without the last sigmoid, because the loss is
// computed from logits.
func trainingNodes(m *Model, o TrainerOptions) ([]node, error) {
	nodes := m.nodes
	if !needsGrad(nodes) {
		return nil, fmt.Errorf("nn: model %q has no weights to train", m.Config.Name)
	}
	last := nodes[len(nodes)-1]
	if o.Loss == BCE {
		if last.op != opAct || last.act != backend.Sigmoid {
			return nil, fmt.Errorf("nn: loss bce needs a model whose last activation is sigmoid; %s ends otherwise (use loss mse)", m.Layers[last.layer].Name)
		}
		nodes = nodes[:len(nodes)-1]
	}
	if o.Unfused {
		return nodes, nil
	}
	return m.fuse(nodes), nil
}

// checkCode reports a penalty that the code cannot have.
func checkCode(m *Model, nodes []node, o TrainerOptions) error {
	a, split := o.Activity, codeNode(m, nodes)
	if !o.penalizesCode() {
		return nil
	}
	what := "activity_regularizer"
	if o.Contractive.Weight > 0 {
		what = "contractive"
		if m.Variational() {
			return fmt.Errorf("nn: contractive: the codes of model %q are drawn, and so have no Jacobian: want an encoder without sampling", m.Config.Name)
		}
	}
	if !needsGrad(nodes[:split]) {
		return fmt.Errorf("nn: %s: the encoder of model %q has no weights that could change the code", what, m.Config.Name)
	}
	if last := m.nodes[m.split-1]; a.KL > 0 && (last.op != opAct || last.act != backend.Sigmoid) {
		return fmt.Errorf("nn: activity_regularizer: kl wants activations between 0 and 1, an encoder that ends in sigmoid; %s ends otherwise", m.Layers[last.layer].Name)
	}
	return nil
}

// codeNode returns the index of the first node of the decoder: the code is its input.
func codeNode(m *Model, nodes []node) int {
	for i, n := range nodes {
		if m.Layers[n.layer].Part == "decoder" {
			return i
		}
	}
	return len(nodes)
}

func (t *Trainer) source(feed bool) source {
	return source{gather: !feed, values: t.values, noise: t.o.Noise, seed: t.o.Seed}
}

// enough is how many samples are enough work for a gradient slot, however large that is.
const enough = 64

// cut is what may be chosen of a plan.
type cut struct {
	batch int
	limit int  // samples of a micro-batch at the most
	lanes int  // that take part
	tight bool // a network makes do with the memory that training needs
}

// planFor cuts a batch and adds up what it needs. Slots that are larger together than the activations of the batch take as
// long to clear and sum as to compute, so then there are only as many as have enough samples, and two.
func (t *Trainer) planFor(c cut) trainPlan {
	b, policy, batch := t.mem.b, t.dev.Policy(), c.batch
	slotBytes := t.layout.bytes + 4*lossFloats
	_, sample := compileTrain(t.m, b, t.nodes, 1, t.o, t.source(false)).plan(b)
	slots := min(policy.Slots, max(policy.SlotBytes/slotBytes, 1), max(batch*sample/slotBytes, batch/enough, 2), batch)
	chunk := (batch + slots - 1) / slots
	p := trainPlan{chunk: chunk, slots: (batch + chunk - 1) / chunk, lanes: c.lanes}
	p.micro = microBatch(policy, min(chunk, maxSamples(t.nodes)), sample, slotBytes)
	p.micro = min(p.micro, c.limit)
	p.offsets, p.meanOffsets = map[bool][]int{}, map[bool][]int{}
	for _, feed := range []bool{false, true} {
		prog := compileTrain(t.m, b, t.nodes, p.micro, t.o, t.source(feed))
		offsets, bytes := prog.plan(b)
		p.offsets[feed] = offsets
		p.arena, p.workspace = max(p.arena, bytes), max(p.workspace, prog.workspace)
		if t.sparse() {
			prog := compileMean(t.m, b, t.nodes, p.micro, t.source(feed))
			p.meanOffsets[feed], bytes = prog.plan(b)
			p.arena, p.workspace = max(p.arena, bytes), max(p.workspace, prog.workspace)
		}
	}
	t.planParts(&p, c.tight)
	_, packed := packedBytes(t.nodes, b)
	p.need = Memory{
		Weights:     t.layout.bytes + packed,
		Gradients:   p.slots*slotBytes + t.meanBytes(p.slots) + t.sumBytes(),
		Optimizer:   len(t.o.Optimizer.states()) * t.layout.bytes,
		Activations: p.lanes * p.arena,
		Workspace:   p.lanes * p.workspace,
		MicroBatch:  p.micro,
	}
	return p
}

// planParts plans the parts of the model for a network in the same memory, which grows for it unless it is tight.
func (t *Trainer) planParts(p *trainPlan, tight bool) {
	b, room := t.mem.b, forwardBytes
	if tight {
		room = p.arena
	}
	nodes := t.m.networkNodes(t.o.Unfused)
	for which := range p.parts {
		if which == posteriorPart && !t.m.Variational() {
			continue
		}
		part, _ := t.m.partNodes(nodes, which)
		plan := planPart(t.m, b, t.dev.Policy(), part, mostSamples, room)
		plan.place(t.m, b, part, plan.micro)
		p.parts[which] = plan
		p.arena, p.workspace = max(p.arena, plan.arena), max(p.workspace, plan.workspace)
	}
}

// leastData is what a data set takes on the device at the least: batches of pixels can be streamed.
func (t *Trainer) leastData() int {
	b, all := t.mem.b, t.m.Input.WithN(t.o.Samples)
	order := b.Bytes(backend.Index, backend.Vec(t.o.Samples))
	if t.o.Values {
		return order + b.Bytes(backend.Flat, all)
	}
	return order + min(b.Bytes(backend.Byte, all), 2*b.Bytes(backend.Staged, t.m.Input.WithN(t.o.Batch)))
}

// freeBytes returns what is free on the device, and what of it the trainer may take. A little is left for what a device
// allocates on its own account, such as recordings, and for what it rounds up.
func (t *Trainer) freeBytes() (free, usable int, err error) {
	if free, err = t.dev.Free(); err != nil {
		return 0, 0, fmt.Errorf("nn: %w", err)
	}
	return free, free - free/64 - t.o.Reserve, nil
}

// choosePlan plans the batch within the device's free memory. Until it fits, a network is given less room, micro-batches
// are halved, and lanes are left out.
func (t *Trainer) choosePlan() error {
	free, usable, err := t.freeBytes()
	if err != nil {
		return err
	}
	data := t.leastData()
	plan := func(batch int) (trainPlan, bool) {
		c := cut{batch: batch, limit: batch, lanes: len(t.dev.Lanes())}
		if t.o.MicroBatch > 0 {
			c.limit = min(batch, t.o.MicroBatch)
		}
		for {
			p := t.planFor(c)
			switch {
			case p.need.Total()+data <= usable:
				return p, true
			case !c.tight:
				c.tight = true
			case p.micro > 1:
				c.limit = p.micro / 2
			case c.lanes > 1:
				c.lanes--
			default:
				return p, false
			}
		}
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
	besides := ""
	if t.o.Reserve > 0 {
		besides = ", and " + BytesText(t.o.Reserve) + " besides"
	}
	return fmt.Errorf("nn: training %q with batch %d needs %s%s on %s, where %s are free: %s", t.m.Config.Name, t.o.Batch,
		BytesText(p.need.Total()+data), besides, t.dev.Name(), BytesText(free), advice)
}
