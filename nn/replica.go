package nn

import (
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
)

// replica is a training on one device of a group: its own copy of the weights, of the optimiser's state and of the data set,
// and the slots for its share of the batch. After each step all replicas have the same weights.
type replica struct {
	t     *Trainer
	index int // among the devices of the world
	dev   backend.Device
	w     *workers
	mem   arena
	data  arena // the data set

	weights       []backend.Tensor // by parameter
	features      []backend.Tensor // weights of the network of a perceptual loss
	weightsBuffer backend.Buffer
	states        [][]backend.Tensor // by state of the optimiser, by parameter
	stateFlat     []backend.Tensor   // by state of the optimiser
	average       []backend.Tensor   // of the weights, by parameter
	averageFlat   backend.Tensor
	packed        []backend.Tensor  // forms of the weights
	slots         []slot            // of its chunks; the first device may have room for those of all
	pieces        [2]backend.Tensor // of a sum that goes from device to device
	lanes         laneArenas        // which a network may share
	total         backend.Tensor    // sum of batch losses times their sizes since ResetLoss
	stepParams    backend.Tensor
	squares       backend.Tensor // sums of the squares of the gradient's stretches, if its norm is clipped
	// Of the mean code, if it is penalised: the gradient, the same for all samples, and the loss.
	row, sparseLoss backend.Tensor
	tables, batch   []backend.Tensor   // the rows of all micro-batches for what is done once for the batch, and what that leaves to them
	others          [][]backend.Tensor // of the first device of a group: room for the tables of the others, by index
	sums            []backend.Params   // partial sums that are left to the optimiser's op
	samples         [2]backend.Tensor  // the data set, twice, or two batches of it that are filled in turn
	order           backend.Tensor

	phases     []phase
	reductions []reduction
	packing    *listPhase                         // the phase that packs weights
	started    int                                // buckets of gradients whose sums were started in the step at hand
	led        *batchPhase                        // of which the first samples are gathered already
	recordings map[recordingKey]backend.Recording // of phases in a row, if the device records

	// These functions are made once, because a closure that is made in a step would be allocated.
	runPhase []func(lane, task int) // by phase
	segments []func()               // the phases between reductions
}

// reduction is due before a phase: a sum of the slots of all devices, or, if it names tables, what each device has of these.
type reduction struct {
	phase, sum int
	tables     []int
	stretch    int // of the training program that came before
}

type recordingKey struct{ n, turn, segment int }

// slot is where chunks add their gradients: an arena laid out as the trained parameters, with the loss behind.
type slot struct {
	grads []backend.Tensor  // by parameter
	sums  [3]backend.Tensor // see op.Loss
}

// lossFloats is the room for the loss behind the gradients of a slot.
const lossFloats = backend.Align / 4

// open takes the device's memory, copies the weights there and makes the phases of a step.
func (r *replica) open() error {
	r.w = newWorkers(r.dev.Lanes())
	if err := r.alloc(); err != nil {
		return err
	}
	upload(r.mem.b, r.t.m, r.weights)
	r.startAverage()
	if err := r.makePhases(); err != nil {
		return err
	}
	r.makeSegments()
	return nil
}

// startAverage has the averages begin with the weights as they are.
func (r *replica) startAverage() {
	if r.t.o.Decay > 0 {
		r.mem.b.Copy(r.averageFlat, flat(r.weightsBuffer, r.t.layout.floats()))
	}
}

// alloc takes the device's memory.
func (r *replica) alloc() error {
	t := r.t
	b, floats := r.mem.b, t.layout.floats()
	buf, err := r.mem.alloc(t.layout.bytes, "weights")
	if err != nil {
		return err
	}
	r.weightsBuffer, r.weights = buf, t.layout.tensors(t.m, buf)
	if r.features, err = t.o.features.place(&r.mem); err != nil {
		return err
	}
	if r.packed, err = newPacked(t.plan.packs, &r.mem); err != nil {
		return err
	}
	for range t.o.Optimizer.states() {
		if err := r.allocState(); err != nil {
			return err
		}
	}
	if t.o.Decay > 0 {
		buf, err := r.mem.alloc(t.layout.trained, "averages")
		if err != nil {
			return err
		}
		r.average, r.averageFlat = t.layout.tensors(t.m, buf), flat(buf, floats)
	}
	for range r.room() {
		buf, err := r.mem.alloc(t.layout.trained+floatBytes*lossFloats, "gradients")
		if err != nil {
			return err
		}
		all := flat(buf, floats+lossFloats)
		s := slot{grads: t.layout.tensors(t.m, buf)}
		s.sums[op.SlotSums], s.sums[op.Loss] = all, all.Range(floats, floats+1)
		r.slots = append(r.slots, s)
	}
	for i := range r.pieces {
		n := t.pieceBytes()
		if n == 0 {
			break
		}
		if buf, err = r.mem.alloc(n, "pieces of gradients"); err != nil {
			return err
		}
		r.pieces[i] = flat(buf, n/floatBytes)
	}
	if err = r.lanes.alloc(t.plan.lanes, t.plan.lanes, t.plan.arena, t.plan.workspace, t.plan.whole); err != nil {
		return err
	}
	if err = r.allocStatistics(); err != nil {
		return err
	}
	if buf, err = r.mem.alloc(backend.Align, "loss"); err != nil {
		return err
	}
	r.total = flat(buf, 1)
	r.stepParams = backend.NewTensor(backend.PerStep, backend.Vec(1))
	r.stepParams.Buffer, err = r.mem.alloc(bytesOf(b, r.stepParams.Role, r.stepParams.Shape), "step parameters")
	return err
}

// allocStatistics takes the memory of the tables and the batch.
func (r *replica) allocStatistics() error {
	plan := &r.t.plan
	take := func(s backend.Shape) (backend.Tensor, error) {
		t := backend.NewTensor(backend.Flat, s)
		var err error
		t.Buffer, err = r.mem.alloc(backend.AlignUp(floatBytes*s.Len()), "statistics")
		return t, err
	}
	for _, s := range plan.batch {
		t, err := take(s)
		if err != nil {
			return err
		}
		r.batch = append(r.batch, t)
	}
	for _, s := range plan.rows {
		t, err := take(plan.table(s))
		if err != nil {
			return err
		}
		r.tables = append(r.tables, t)
		if r != r.t.first() {
			continue
		}
		room := []backend.Tensor{t}
		for range r.t.tables() - 1 {
			if t, err = take(plan.table(s)); err != nil {
				return err
			}
			room = append(room, t)
		}
		r.others = append(r.others, room)
	}
	return nil
}

// room returns how many slots the replica has room for.
func (r *replica) room() int {
	if r == r.t.first() && !r.t.direct() {
		return r.t.rooms(r.t.plan.slots)
	}
	lo, hi := r.share(r.t.plan.slots)
	return max(hi-lo, 1)
}

// share returns which of n chunks the replica takes.
func (r *replica) share(n int) (lo, hi int) { return r.t.o.World.share(r.index, n) }

// chunks returns which chunks of the batch at hand the replica takes.
func (r *replica) chunks() (lo, hi int) { return r.share(r.t.used()) }

// used returns how many slots an update has to sum. After a reduction it is one: the first slot has the sum already.
func (r *replica) used() int {
	if r.t.o.World.Devices > 1 {
		return 1
	}
	return r.t.used()
}

// placer returns where the tensors of programs are.
func (r *replica) placer() placer {
	return placer{weights: slices.Concat(r.weights, r.features), packed: r.packed, batch: r.batch, shared: map[int]backend.Tensor{
		op.StepParams: r.stepParams, op.Order: r.order, op.CodeRow: r.row}}
}

// forget drops the programs and the recordings, because tensors that they use are about to be freed.
func (r *replica) forget() {
	for _, p := range r.phases {
		if p, ok := p.(*batchPhase); ok {
			clear(p.made)
		}
	}
	for n, rec := range r.recordings {
		rec.Close()
		delete(r.recordings, n)
	}
}

func (r *replica) close() {
	if r.w != nil {
		r.w.close()
	}
	r.forget()
	r.data.free()
	r.lanes.free()
	r.mem.free()
}

// makePhases makes the phases of a step.
func (r *replica) makePhases() error {
	t := r.t
	if t.sparse() {
		if err := r.codePhases(); err != nil {
			return err
		}
	}
	r.trainingPhases()
	r.reduceNext(op.SlotSums)
	if err := r.updatePhases(); err != nil {
		return err
	}
	r.packing = r.placer().newPackPhase(t.plan.packs, r.w.lanes, r.lanes.memory)
	r.add(r.packing)
	return nil
}

// trainingPhases run the training program: a phase for each of its stretches, and one for what is done once behind it.
func (r *replica) trainingPhases() {
	t := r.t
	progs := r.newPrograms(t.plan.offsets, func(src source, n int) (*program.Program, error) {
		return compileTraining(t.m, r.mem.b, t.o, src, n)
	})
	progs.apart, progs.training = t.plan.apart, true
	r.add(r.newBatchPhase(op.SlotSums, progs))
	one := t.plan.packs
	for i, s := range one.Stretches() {
		if i > 0 {
			r.add(&batchPhase{programs: progs, stretch: i})
		}
		if s.Once != nil {
			r.gatherNext(one, i)
			r.add(r.newOncePhase(one, i))
		}
	}
	if len(r.tables) == 0 || t.o.World.Devices == 1 {
		return
	}
	// Where a device has no rows it brings nothing to the sum that gathers them.
	p := r.list("statistics")
	for _, table := range r.tables {
		p.emit(&op.Zero{Dst: p.value(table)})
	}
	p.end()
	r.add(p)
}

func (r *replica) add(p phase) { r.phases = append(r.phases, p) }

// reduceNext makes the sum of that index, over all slots of all devices, due before the next phase: every device is to have it
// in its first slot.
func (r *replica) reduceNext(sum int) {
	r.due(reduction{phase: len(r.phases), sum: sum, stretch: len(r.t.plan.packs.Stretches()) - 1})
}

// due makes a reduction due before the next phase: a phase of its own where it is work in the order of the device, else something that all
// devices wait for.
func (r *replica) due(red reduction) {
	if r.t.direct() {
		r.add(&reducePhase{r, red})
		return
	}
	r.reductions = append(r.reductions, red)
}

// gatherNext makes the rows that are read once behind a stretch of a program due before the next phase: every device is to have those of all.
func (r *replica) gatherNext(p *program.Program, stretch int) {
	red := reduction{phase: len(r.phases), stretch: stretch}
	for _, c := range p.Stretches()[stretch].Once {
		for _, v := range op.Reads(c.Op) {
			if i := p.Values[v]; i.Space == op.Rows {
				red.tables = append(red.tables, i.Index)
			}
		}
	}
	r.due(red)
}

// set fills in what the frame of a list of ops must know of the step at hand.
func (r *replica) set(f *op.Frame) {
	f.Slots, f.Sums = r.used(), r.sums
	r.t.setScales(f)
}

// list returns a listPhase without ops, which are going to serve that layer.
func (r *replica) list(layer string) *listPhase {
	p := newListPhase(r.w.lanes, r.lanes.memory, make([]backend.Tensor, 1))
	p.set, p.layer = r.set, layer
	return p
}

// slotSums returns the sum of that index, such as op.Loss, of every slot.
func (r *replica) slotSums(sum int) []backend.Tensor {
	t := make([]backend.Tensor, len(r.slots))
	for i := range r.slots {
		t[i] = r.slots[i].sums[sum]
	}
	return t
}

// codePhases add up the codes of the batch, and compare the mean code with the wanted one.
func (r *replica) codePhases() error {
	t := r.t
	buf, err := r.mem.alloc(t.meanBytes(len(r.slots)), "mean code")
	if err != nil {
		return err
	}
	size, length := backend.AlignUp(floatBytes*t.m.Code.Len())/floatBytes, t.m.Code.Len()
	all := flat(buf, size*(len(r.slots)+1)+1)
	for i := range r.slots {
		r.slots[i].sums[op.CodeSums] = all.Range(size*i, size*i+length)
	}
	n := len(r.slots)
	r.row, r.sparseLoss = all.Range(size*n, size*n+length), all.Range(size*(n+1), size*(n+1)+1)

	r.add(r.newBatchPhase(op.CodeSums, r.newPrograms(t.plan.meanOffsets, func(src source, n int) (*program.Program, error) {
		return compileCodeSums(t.m, r.mem.b, t.o, src, n)
	})))
	r.reduceNext(op.CodeSums)
	p := r.list("code")
	sums := p.values(r.slotSums(op.CodeSums))
	loss, row := p.value(r.sparseLoss), p.value(r.row)
	p.emit(&op.Sum{Out: sums[0], X: sums, PerSlot: true})
	p.emit(&op.Zero{Dst: loss})
	p.emit(&op.SparseKL{Sparsity: backend.Sparsity{Weight: float32(t.o.Activity.KL), Rho: float32(t.o.Activity.Rho)}, Loss: loss, Grad: row, Sums: sums[0]})
	p.end()
	r.add(p)
	return nil
}

// updatePhases makes the phases that sum the slots, penalise weights, bound the gradient and run the optimiser. They go over
// the parameters in stretches, as long as the device's policy wants them. If the optimiser has to wait for something from all
// stretches, such as the norm of the whole gradient, what comes before it is a phase of its own.
func (r *replica) updatePhases() error {
	t := r.t
	floats := t.layout.floats()
	stretch, count := t.stretches()
	short := t.updateFloats()
	buf, err := r.mem.alloc(normBytes(count), "norms")
	if err != nil {
		return err
	}
	norms := flat(buf, normBytes(count)/4)
	squares, penalties := norms.Range(0, count), norms.Range(count, 2*count)
	r.squares = squares

	sums, collect, update := r.list("update"), r.list("update"), r.list("update")
	if !t.collects() {
		sums = update
	}
	for lo := 0; lo < floats; lo += short {
		hi := min(lo+short, floats)
		r.sum(sums, lo, hi)
		if sums != update {
			sums.end()
			continue
		}
		r.clip(update, update.value(r.gradient(lo, hi)))
		r.optimize(update, lo == 0, squares, penalties, lo, hi)
	}
	if sums != update {
		for i := range count {
			lo, hi := i*stretch, min((i+1)*stretch, floats)
			r.collect(collect, penalties.Range(i, i+1), squares.Range(i, i+1), lo, hi)
			collect.end()
		}
		r.add(sums)
		r.add(collect)
		for i, s := range t.spans(short) {
			r.optimize(update, i == 0, squares, penalties, s[0], s[1])
		}
	}
	r.add(update)
	if t.o.Sharded {
		r.add(&spreadPhase{r, flat(r.weightsBuffer, floats)})
		averages := r.list("update")
		r.follow(averages, 0, floats)
		averages.end()
		r.add(averages)
	}
	return nil
}

// spans returns the stretches of the parameters that are updated each as a task, in floats: where an update is of whole tensors it is one of them.
func (t *Trainer) spans(stretch int) (list [][2]int) {
	for _, u := range t.updates() {
		if u.whole() {
			list = append(list, [2]int{u.lo, u.hi})
			continue
		}
		for lo := u.lo; lo < u.hi; lo += stretch {
			list = append(list, [2]int{lo, min(lo+stretch, u.hi)})
		}
	}
	return list
}

// optimize emits the task of updating a stretch of the parameters. The first one also adds the loss up.
func (r *replica) optimize(p *listPhase, first bool, squares, penalties backend.Tensor, lo, hi int) {
	t, floats := r.t, r.t.layout.floats()
	grads := r.slots[0].sums[op.SlotSums]
	if t.o.Clip.Norm > 0 {
		p.emit(&op.ClipNorm{Limit: float32(t.o.Clip.Norm), X: p.value(grads.Range(lo, hi)), Squares: p.value(squares)})
	}
	var tally op.Tally
	if first {
		tally = r.tally(p, penalties)
	}
	weights, own := flat(r.weightsBuffer, floats), r.shard()
	for _, o := range t.updates() {
		from, to := max(o.lo, lo, own.lo), min(o.hi, hi, own.hi)
		if from >= to {
			continue
		}
		u := &op.Update{Optimizer: o.o, Rate: o.rate, Tally: tally, StepParams: p.value(r.stepParams)}
		for k := range o.o.States() {
			u.State[k] = p.value(r.stateFlat[k].Range(from-own.lo, to-own.lo))
		}
		u.Param, u.Grad = p.value(weights.Range(from, to)), p.value(grads.Range(from, to))
		p.emit(u)
		tally = op.Tally{}
	}
	if tally.Total != op.None { // other devices update what is in the stretch
		p.emit(&op.Axpy{Dst: tally.Total, Alpha: tally.Weight, X: tally.Loss})
	}
	if !t.o.Sharded {
		r.follow(p, lo, hi)
	}
	p.end()
}

// follow emits what moves a stretch of the averages towards the weights.
func (r *replica) follow(p *listPhase, lo, hi int) {
	t := r.t
	if share := float32(1 - t.o.Decay); t.o.Decay > 0 { // average += share (weights - average), in two parts
		average, weights := p.value(r.averageFlat.Range(lo, hi)), flat(r.weightsBuffer, t.layout.floats())
		p.emit(&op.Axpy{Dst: average, Alpha: op.Scale{Per: op.Alone, Factor: -share}, X: average})
		p.emit(&op.Axpy{Dst: average, Alpha: op.Scale{Per: op.Alone, Factor: share}, X: p.value(weights.Range(lo, hi))})
	}
}

// sum emits the sum of a stretch of all slots.
func (r *replica) sum(p *listPhase, lo, hi int) {
	var x []op.Value
	for _, s := range r.slotSums(op.SlotSums) {
		x = append(x, p.value(s.Range(lo, hi)))
	}
	p.emit(&op.Sum{Out: x[0], X: x, PerSlot: true})
}

// gradient is a stretch of the batch's gradient.
func (r *replica) gradient(lo, hi int) backend.Tensor {
	return r.slots[0].sums[op.SlotSums].Range(lo, hi)
}

// clip emits what bounds the elements of a stretch of the gradient.
func (r *replica) clip(p *listPhase, x op.Value) {
	if limit := r.t.o.Clip.Value; limit > 0 {
		p.emit(&op.ClipValue{Limit: float32(limit), X: x})
	}
}

// collect emits what is done with a stretch of the gradient before the norm of the whole gradient is known.
func (r *replica) collect(p *listPhase, penalty, square backend.Tensor, lo, hi int) {
	t := r.t
	x := p.value(r.gradient(lo, hi))
	if t.o.Kernel != (Regularizer{}) {
		loss := p.value(penalty)
		p.emit(&op.Zero{Dst: loss})
		for _, w := range t.layout.weights(t.m, r.mem.b, lo, hi) {
			p.emit(&op.Penalize{Norms: t.o.Kernel.norms(), Loss: loss, Grad: p.value(r.gradient(w[0], w[1])),
				X: p.value(flat(r.weightsBuffer, t.layout.floats()).Range(w[0], w[1]))})
		}
	}
	r.clip(p, x)
	if t.o.Clip.Norm > 0 {
		p.emit(&op.SumSquares{Dst: p.value(square), X: x})
	}
}

// tally returns what has an op add the batch's loss to that of the epoch. Before that, penalties on weights, by stretch, and on the mean code
// are added to it.
func (r *replica) tally(p *listPhase, penalties backend.Tensor) op.Tally {
	layer := p.layer
	p.layer = "loss"
	weight := op.Scale{Per: op.PerBatch, Factor: 1}
	total, losses := p.value(r.total), p.values(r.slotSums(op.Loss))
	p.emit(&op.Sum{Out: losses[0], X: losses, PerSlot: true})
	if r.t.o.Kernel != (Regularizer{}) {
		var x []op.Value
		for i := range penalties.Shape.Len() {
			x = append(x, p.value(penalties.Range(i, i+1)))
		}
		p.emit(&op.Sum{Out: x[0], X: x})
		p.emit(&op.Axpy{Dst: total, Alpha: weight, X: x[0]})
	}
	if r.t.sparse() {
		p.emit(&op.Axpy{Dst: total, Alpha: weight, X: p.value(r.sparseLoss)})
	}
	p.layer = layer
	return op.Tally{Total: total, Loss: losses[0], Weight: weight}
}
