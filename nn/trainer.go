package nn

import (
	"fmt"
	"time"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
)

// TrainerOptions are the choices of NewTrainer.
type TrainerOptions struct {
	Batch     int  // samples of an optimiser step
	Loss      Loss // BCE if it is none
	Optimizer Optimizer
	Noise     float32 // standard deviation of the noise added to the inputs, which are then clipped to [0,1]
	Seed      uint64  // of noise, corruptions and dropout
	// Corruption is how samples are made worse after that, one way after the other, so that the model learns to make them good again.
	Corruption []corrupt.Corruption
	Unfused    bool              // run every layer as ops of its own
	Apart      bool              // run ops one by one also where a device can do those of a step at once, in the memory of its processors
	Precision  backend.Precision // what is computed in, also by the trainer's network: the zero one is float32

	// What is known of the data set to come, so that there is room left for it; 0 and false if nothing is.
	Samples int  // of it
	Values  bool // they are of float32 values, which cannot be streamed
	Reserve int  // bytes of the device's free memory that are the caller's, which is for the CPU the host's

	// Decay is that of an exponential moving average of the weights, of which a step keeps so much; 0 for no average. See Average.
	Decay       float64
	Reduction   Reduction
	MicroBatch  int // most samples taken through the model at a time; 0 lets the device's policy decide
	Slots       int // of gradients that a batch is cut into; 0 lets the device's policy decide
	Clip        Clip
	Kernel      Regularizer
	Activity    ActivityRegularizer
	Contractive Contractive
	Recompute   Recompute // of activations
	features    *features // of the perceptual loss, once options are checked
	// Reducer sums the gradients of the devices of a group; nil does so in order, from device to device if they can be connected (see Direct), else
	// through the host.
	Reducer Reducer
	// Unordered has connected devices add their gradients in an order of their own, which is faster, instead of that of the slots.
	Unordered bool
	// Bucket is how many bytes of gradients connected devices add at a time, the first while others are still computed; 0 stands for 25 MiB.
	Bucket int
	// Sharded has each of several connected devices keep the optimiser's state of a part of the parameters, instead of all of it.
	Sharded bool
	// World is for training with other processes; the zero one is without.
	World World
}

// World says which of the devices that train together are those of one process: as many as it has, from number First on, of all Devices.
// Each takes its share of the chunks of a batch, by its number, and the Reducer sums the gradients of all. All processes make the same steps
// with the same options.
type World struct{ First, Devices int }

// Trainer trains a model on a device, or on the devices of a backend.Group. A batch is cut into chunks, each with a gradient
// slot of its own, and a chunk into micro-batches that fit the cache; devices have a share of the chunks, and a device's
// lanes take them as they come. Slots are summed in order, so the result depends neither on the number of lanes nor on that
// of devices. After the first step of each batch size nothing is allocated. It is not safe for concurrent use.
type Trainer struct {
	m        *Model
	dev      backend.Device
	o        TrainerOptions
	plan     trainPlan
	layout   paramLayout
	beside   Memory // what a perceptual loss is evaluated in
	replicas []*replica
	averaged bool  // the weights are exchanged with their averages
	graded   bool  // the gradient of the last step is in the first slot
	apart    bool  // ops of the step at hand are done one by one
	err      error // the first of a reduction

	connected *Direct  // by the trainer itself
	buckets   []bucket // of gradients on connected devices

	seen        int     // samples in the loss since ResetLoss
	asked       int     // samples in what RecentLoss has asked for, 0 if it has not
	rate        float64 // learning rate
	divergence  float64 // weight of a Gaussian code's divergence
	temperature float64 // of a concrete layer
	values      bool    // the data set is of float32 values, not of pixels
	samples     int     // of the data set
	order       []int32 // in which they are drawn
	stream      *stream // nil when the data set is on the device
	step        uint32
	began       uint32 // step at which the optimiser's state began: its corrections count from there

	// Of the step at hand.
	turn   int // of two batches that are filled in turn
	offset int
	count  int
	feed   bool
	x, y   []float32
	params backend.StepParams
}

// NewTrainer compiles the model for training and places a copy of its weights on the device. The error for a batch
// that does not fit says how much is needed, how much is free, and which batch fits.
func NewTrainer(m *Model, dev backend.Device, o TrainerOptions) (*Trainer, error) {
	if devices := len(backend.Members(dev)); o.World.Devices > devices && o.Reducer == nil {
		return nil, fmt.Errorf("nn: %d of %d devices are of other processes: want a reducer that sums the gradients of all", o.World.Devices-devices, o.World.Devices)
	}
	t, err := planTrainer(m, dev, o)
	if err != nil {
		return nil, err
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	return t, nil
}

// open takes the memory that was planned.
func (t *Trainer) open() error {
	if err := t.connect(); err != nil {
		return err
	}
	if t.direct() {
		if err := t.makeBuckets(); err != nil {
			return err
		}
	}
	for i, d := range backend.Members(t.dev) {
		b := d.Lanes()[0]
		t.replicas = append(t.replicas, &replica{t: t, index: t.o.World.First + i, dev: d, mem: arena{b: b}, data: arena{b: b}, lanes: laneArenas{mem: arena{b: b}}, recordings: map[recordingKey]backend.Recording{}})
	}
	for _, r := range t.replicas {
		if err := r.open(); err != nil {
			t.Close()
			return err
		}
	}
	t.repack()
	return nil
}

// first is the replica that weights, state and loss are read from.
func (t *Trainer) first() *replica { return t.replicas[0] }

// Close gives the trainer's memory back.
func (t *Trainer) Close() {
	for _, r := range t.replicas {
		r.close()
	}
	if t.connected != nil {
		_ = t.connected.Close() // what has failed was told
	}
}

// Memory returns what the trainer takes on a device.
func (t *Trainer) Memory() Memory {
	m := t.plan.need
	m.Data, m.Streamed = t.first().data.bytes, t.stream != nil
	return m
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

// OptimizerSteps returns the number of steps since the optimiser's state began: fewer than Steps if SetState had it start anew.
func (t *Trainer) OptimizerSteps() int { return int(t.step - t.began) }

// Compiled returns how many kernels the devices have compiled since they were opened, and how long that took. The first step of
// each batch size has those compiled that are made for the shapes of the model.
func (t *Trainer) Compiled() (kernels int, took time.Duration) {
	for _, r := range t.replicas {
		if b, ok := r.mem.b.(backend.Preparer); ok {
			n, d := b.Prepared()
			kernels, took = kernels+n, took+d
		}
	}
	return kernels, took
}

// Wait waits until the devices have done all steps.
func (t *Trainer) Wait() error {
	errs := make([]error, len(t.replicas))
	t.each(func(r *replica) { errs[r.member()] = r.mem.b.Sync() })
	for _, err := range errs {
		if err != nil {
			return t.failure(err)
		}
	}
	return t.failure(nil)
}

// settle waits for connected devices, before one is waited for alone: it may wait for another that has failed.
func (t *Trainer) settle() {
	if t.direct() {
		t.together(func(r *replica) { _ = r.mem.b.Sync() }) // the first keeps its error, and hears of another's
	}
}

// failure returns the error of a device, or of a reduction if there was one: the failure of one of several devices makes others fail.
func (t *Trainer) failure(err error) error {
	if d, ok := t.o.Reducer.(*Direct); ok {
		t.failed(d.Failure())
	}
	if t.err != nil {
		err = t.err
	}
	if err != nil {
		return fmt.Errorf("nn: %w", err)
	}
	return nil
}

// Pull copies the weights from the device into the model.
func (t *Trainer) Pull() error {
	t.settle()
	r := t.first()
	for i := range t.m.Params {
		if err := r.mem.b.Download(t.m.Params[i].Data, r.weights[i]); err != nil {
			return fmt.Errorf("nn: %w", err)
		}
	}
	return nil
}

// Push copies the model's weights to the device, where training and networks go on from them.
func (t *Trainer) Push() {
	for _, r := range t.replicas {
		upload(r.mem.b, t.m, r.weights)
	}
	t.repack()
}

// Average exchanges the weights with their moving averages, or back, on the device: networks, Pull and Push then mean these. What trains or
// saves how it goes on exchanges them back by itself. Without a Decay it does nothing.
func (t *Trainer) Average(on bool) {
	if t.o.Decay == 0 || on == t.averaged {
		return
	}
	t.averaged, t.graded = on, false
	for _, r := range t.replicas {
		floats := t.layout.floats()
		weights, free := flat(r.weightsBuffer, floats), r.slots[0].sums[op.SlotSums].Range(0, floats) // which the next step overwrites
		r.mem.b.Copy(free, weights)
		r.mem.b.Copy(weights, r.averageFlat)
		r.mem.b.Copy(r.averageFlat, free)
	}
	t.repack()
}

// Network returns a network that runs the model with the trainer's weights as they are at each call, in the trainer's
// memory. Close it before the trainer.
func (t *Trainer) Network() *Network {
	r := t.first()
	return &Network{m: t.m, dev: r.dev, o: t.network(), w: newWorkers(r.dev.Lanes()), placer: r.placer(),
		lanes: &r.lanes, planned: true, plans: t.plan.parts}
}

// network returns the options of the trainer's network.
func (t *Trainer) network() NetworkOptions {
	return NetworkOptions{Unfused: t.o.Unfused, Precision: t.o.Precision}
}

// sparse reports whether a step needs the mean code of the batch first.
func (t *Trainer) sparse() bool { return t.o.Activity.KL > 0 }

// collects reports whether an update needs the gradients of all stretches first.
func (t *Trainer) collects() bool {
	return t.o.Clip.Norm > 0 || t.o.Kernel != (Regularizer{}) || t.o.Optimizer.Name == "lamb"
}

// update is what the optimiser does to a range of the trained parameters, in floats, in one call.
type update struct {
	lo, hi int
	o      backend.Optimizer
	rate   float32 // multiplies the learning rate
}

// whole reports whether the update is to be of all of a tensor at once, and of nothing else.
func (u *update) whole() bool {
	_, ok := u.o.(backend.Lamb)
	return ok
}

// updates returns the updates of all trained parameters in their order: as few as those allow that decay and those that do not, and the rates of layers.
func (t *Trainer) updates() (list []update) {
	all, without := t.o.Optimizer.constants(), t.o.Optimizer.without().constants()
	for _, r := range t.layout.ranges {
		u := update{r.lo, r.hi, without, r.rate}
		if r.weighs || t.o.Optimizer.DecayAll {
			u.o = all
		}
		if n := len(list); n > 0 && !u.whole() && list[n-1].o == u.o && list[n-1].rate == u.rate {
			list[n-1].hi = u.hi
			continue
		}
		list = append(list, u)
	}
	return list
}

// joins reports whether all that becomes of the gradients is one call of the optimiser's op, which then also adds up their partial sums.
func (t *Trainer) joins() bool {
	p := &t.plan
	_, stretches := t.stretches()
	return !t.o.Apart && !t.o.Unfused && t.o.World.Devices == 1 && p.slots == 1 && p.micro >= p.chunk && p.apart == 0 && stretches == 1 &&
		!t.collects() && t.o.Clip.Value == 0 && !t.sparse() && len(t.updates()) == 1 && !t.updates()[0].whole()
}

// summedLast reports whether a program ends with adding up the partial sums of the loss and of the gradients of all parameters, and does so nowhere
// else.
func (t *Trainer) summedLast(p *program.Program) bool {
	sums, losses, trained := map[int]bool{}, 0, 0
	for i := range t.m.Params {
		if t.m.Params[i].Trained() {
			trained++
		}
	}
	for i, c := range p.Calls {
		o, ok := c.Op.(*op.SumPartials)
		if !ok {
			continue
		}
		if i < len(p.Calls)-1 || p.Calls[i-1].Beside {
			return false
		}
		for _, s := range o.List {
			for _, v := range []op.Value{s.W, s.Bias} {
				switch info := &p.Values[v]; {
				case v == op.None:
				case info.Space == op.Gradients:
					sums[info.Index] = true
				case info.Space == op.Sums && info.Index == op.Loss:
					losses++
				}
			}
		}
	}
	return losses == 1 && len(sums) == trained
}

// used returns the slots of the batch at hand.
func (t *Trainer) used() int { return (t.count + t.plan.chunk - 1) / t.plan.chunk }

// setScales tells a frame what the loss of the batch at hand is divided by.
func (t *Trainer) setScales(f *op.Frame) {
	f.Count = t.count
	f.BatchWeight = 1
	if t.o.Reduction != SumReduction {
		f.BatchWeight = float32(t.count)
	}
	f.SampleScale = 1 / f.BatchWeight
	f.ElementScale = 1 / (f.BatchWeight * float32(t.m.Output.Len()/t.o.Reduction.Elements(t.m.Output.Len())))
}
