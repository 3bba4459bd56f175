package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// TrainerOptions are the choices of NewTrainer.
type TrainerOptions struct {
	Batch     int // samples of an optimiser step
	Loss      Loss
	Optimizer Optimizer
	Noise     float32 // standard deviation of the noise added to the inputs, which are then clipped to [0,1]
	Seed      uint64  // of noise and dropout
	Unfused   bool    // run every layer as ops of its own

	// What is known of the data set to come, so that there is room left for it; 0 and false if nothing is.
	Samples int  // of it
	Values  bool // they are of float32 values, which cannot be streamed
	Reserve int  // bytes of the device's free memory that are the caller's, which is for the CPU the host's

	Reduction   Reduction
	MicroBatch  int // most samples taken through the model at a time; 0 lets the device's policy decide
	Clip        Clip
	Kernel      Regularizer
	Activity    ActivityRegularizer
	Contractive Contractive
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

	layout      paramLayout
	weights     []backend.Tensor   // by parameter
	states      [][]backend.Tensor // by state of the optimiser, by parameter
	packs       *packs
	slots       []slot
	ranges      []updateRange
	lanes       laneArenas
	total       backend.Tensor // sum of batch losses times their sizes since ResetLoss
	seen        int            // samples in it
	asked       int            // samples in what RecentLoss has asked for, 0 if it has not
	clock       backend.Tensor
	rate        float64 // learning rate
	divergence  float64 // weight of a Gaussian code's divergence
	temperature float64 // of a concrete layer
	// By range: what its weights add to the loss, and the squares of its gradient.
	penalties []backend.Tensor
	squares   backend.Tensor
	// Of the mean code, if it is penalised: the sums of codes by slot, the gradient and the loss.
	sums            []backend.Tensor
	row, sparseLoss backend.Tensor
	samples         [2]backend.Tensor // the data set, twice, or two batches of it that are filled in turn
	values          bool              // the data set is of float32 values, not of pixels
	order           backend.Tensor
	stream          *stream // nil when the data set is on the device
	step            uint32
	began           uint32 // step at which the optimiser's state began: its corrections count from there

	// Of the step at hand.
	programs   map[programKey]*boundProgram
	means      map[programKey]*boundProgram       // of the codes' sums
	recordings map[recordingKey]backend.Recording // of a whole step, if the device records
	turn       int                                // of samples
	offset     int
	count      int
	feed       bool
	x, y       []float32

	// Methods as values, made once: one made in a step would be allocated.
	gradTasks, meanTasks, sparseTasks, collectTasks, updateTasks, packTasks func(lane, task int)
	fillStages                                                              func(p []byte)
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
	sums  backend.Tensor // of the codes, if their mean is wanted
}

// updateRange is a stretch of the flat arenas that one task sums and updates.
type updateRange struct {
	slots []backend.Tensor
	param backend.Tensor
	state []backend.Tensor
	// The weights in it with their gradients, if they are penalised; biases are not.
	weights, grads  []backend.Tensor
	penalty, square backend.Tensor
}

// rangeFloats is the length of an update range: small enough to share out, large enough not to be all overhead.
const rangeFloats = 16 << 10

// lossFloats is the room for the loss behind the gradients of a slot.
const lossFloats = backend.Align / 4

// NewTrainer compiles the model for training and places a copy of its weights on the device. The error for a batch
// that does not fit says how much is needed, how much is free, and which batch fits.
func NewTrainer(m *Model, dev backend.Device, o TrainerOptions) (*Trainer, error) {
	t, err := planTrainer(m, dev, o)
	if err != nil {
		return nil, err
	}
	if err := t.alloc(); err != nil {
		t.mem.free()
		t.lanes.free()
		return nil, err
	}
	upload(t.mem.b, m, t.weights)
	t.w = newWorkers(dev.Lanes())
	t.gradTasks, t.meanTasks, t.sparseTasks = t.gradTask, t.meanTask, t.sparseTask
	t.collectTasks, t.updateTasks, t.packTasks, t.fillStages = t.collectTask, t.updateTask, t.packTask, t.fillStage
	t.repack()
	return t, nil
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
	if t.sparse() {
		size := backend.AlignUp(4*t.m.Code.Len()) / 4
		if buf, err = t.mem.alloc(t.meanBytes(t.plan.slots), "mean code"); err != nil {
			return err
		}
		all := flat(buf, size*(t.plan.slots+1)+1)
		for i := range t.slots {
			t.slots[i].sums = all.Range(size*i, size*i+t.m.Code.Len())
			t.sums = append(t.sums, t.slots[i].sums)
		}
		t.row, t.sparseLoss = all.Range(size*t.plan.slots, size*t.plan.slots+t.m.Code.Len()), all.Range(size*(t.plan.slots+1), size*(t.plan.slots+1)+1)
	}
	count := ceilDiv(floats, rangeFloats)
	if buf, err = t.mem.alloc(normBytes(floats), "norms"); err != nil {
		return err
	}
	norms := flat(buf, normBytes(floats)/4)
	t.squares = norms.Range(0, count)
	for lo := 0; lo < floats; lo += rangeFloats {
		hi := min(lo+rangeFloats, floats)
		r := updateRange{param: param.Range(lo, hi)}
		for _, s := range t.slots {
			r.slots = append(r.slots, s.flat.Range(lo, hi))
		}
		for _, s := range state {
			r.state = append(r.state, s.Range(lo, hi))
		}
		i := len(t.ranges)
		r.square, r.penalty = norms.Range(i, i+1), norms.Range(count+i, count+i+1)
		t.penalties = append(t.penalties, r.penalty)
		if t.o.Kernel != (Regularizer{}) {
			for _, w := range t.layout.weights(t.m, b, lo, hi) {
				r.weights, r.grads = append(r.weights, param.Range(w[0], w[1])), append(r.grads, t.slots[0].flat.Range(w[0], w[1]))
			}
		}
		t.ranges = append(t.ranges, r)
	}
	lossRange := updateRange{}
	for _, s := range t.slots {
		lossRange.slots = append(lossRange.slots, s.loss)
	}
	t.ranges = append(t.ranges, lossRange)
	if err = t.lanes.alloc(t.plan.lanes, t.plan.arena, t.plan.workspace); err != nil {
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

// normBytes returns what the penalties and squares of that many parameters take.
func normBytes(floats int) int { return 2 * backend.AlignUp(4*ceilDiv(floats, rangeFloats)) }

// sumBytes returns what a step adds up besides gradients: norms, the loss, and the clock.
func (t *Trainer) sumBytes() int {
	return normBytes(t.layout.floats()) + backend.Align + t.mem.b.Bytes(backend.ClockKind, backend.Vec(1))
}

// meanBytes returns what the mean code takes: a sum a slot, the gradient and the loss.
func (t *Trainer) meanBytes(slots int) int {
	if !t.sparse() {
		return 0
	}
	return backend.AlignUp(4*t.m.Code.Len())*(slots+1) + backend.Align
}

// Close gives the trainer's memory back.
func (t *Trainer) Close() {
	t.w.close()
	t.forget()
	t.data.free()
	t.lanes.free()
	t.mem.free()
}

// Memory returns what the trainer takes on the device.
func (t *Trainer) Memory() Memory {
	m := t.plan.need
	m.Data, m.Streamed = t.data.bytes, t.stream != nil
	return m
}

// forget drops what was compiled and recorded with tensors that are about to go.
func (t *Trainer) forget() {
	clear(t.programs)
	clear(t.means)
	for n, r := range t.recordings {
		r.Close()
		delete(t.recordings, n)
	}
}

// Options returns the trainer's options with all defaults filled in.
func (t *Trainer) Options() TrainerOptions { return t.o }

// SetLearningRate sets the learning rate of the steps that follow; until then it is the optimiser's. A Schedule gives one
// for each step.
func (t *Trainer) SetLearningRate(rate float64) { t.rate = rate }

// LearningRate returns the learning rate of the next step.
func (t *Trainer) LearningRate() float64 { return t.rate }

// SetTemperature sets the temperature of a concrete layer for the steps that follow; until then it is 10.
func (t *Trainer) SetTemperature(temperature float64) { t.temperature = temperature }

// SetDivergence sets the weight of a Gaussian code's divergence in the loss of the steps that follow; until then it is 1.
func (t *Trainer) SetDivergence(weight float64) { t.divergence = weight }

// Steps returns the number of optimiser steps so far.
func (t *Trainer) Steps() int { return int(t.step) }

// Wait waits until the device has done all steps.
func (t *Trainer) Wait() error {
	if err := t.mem.b.Sync(); err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	return nil
}

// Pull copies the weights from the device into the model.
func (t *Trainer) Pull() error {
	for i := range t.m.Params {
		if err := t.mem.b.Download(t.m.Params[i].Data, t.weights[i]); err != nil {
			return fmt.Errorf("nn: %w", err)
		}
	}
	return nil
}

// Push copies the model's weights to the device, where training and networks go on from them.
func (t *Trainer) Push() {
	upload(t.mem.b, t.m, t.weights)
	t.repack()
}

// Network returns a network that runs the model with the trainer's weights as they are at each call, in the trainer's
// memory. Close it before the trainer.
func (t *Trainer) Network() *Network {
	n := &Network{m: t.m, dev: t.dev, o: NetworkOptions{Unfused: t.o.Unfused}, w: newWorkers(t.dev.Lanes()), weights: t.weights,
		nodes: t.m.networkNodes(t.o.Unfused), lanes: &t.lanes, planned: true, plans: t.plan.parts}
	n.packs = &packs{params: t.packs.of(n.nodes, t.nodes)}
	return n
}
