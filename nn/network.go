package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
)

// NetworkOptions are the choices of NewNetwork. The zero value is fine.
type NetworkOptions struct {
	Batch   int  // samples that a lane takes at a time at the most; 0 means 256. Their size and the device may make it fewer
	Unfused bool // run every layer as ops of its own
	// Precision is what the model computes in: the zero one is float32.
	Precision backend.Precision

	folded bool // normalisations are part of the products before them, as the weights know
}

// withDefaults fills in the options that are not given and checks the others.
func (o NetworkOptions) withDefaults() (NetworkOptions, error) {
	if o.Batch < 0 {
		return o, fmt.Errorf("batch is %d, want at least 1, or 0 for %d", o.Batch, mostSamples)
	}
	if o.Batch == 0 {
		o.Batch = mostSamples
	}
	return o, o.Precision.Check()
}

// Network runs a model, its encoder or its decoder on a device. Batch normalisations behind a layer with weights are made part of these, unless
// a trainer has them. Of its own it takes memory for the weights and for the
// samples of its largest call so far, within what is free; a trainer's network uses the trainer's memory alone. It is not
// safe for concurrent use, and a Network and a Trainer on one device take turns.
type Network struct {
	m       *Model
	dev     backend.Device
	o       NetworkOptions
	w       *workers
	mem     arena // of the weights
	placer  placer
	packs   *listPhase // nil if a trainer packs the weights
	packed  bool       // the packed forms are those of the weights
	lanes   *laneArenas
	planned bool // the memory is a trainer's, which has planned the parts
	plans   [partCount]partPlan
	parts   [partCount]*part
}

const (
	wholePart = iota
	encoderPart
	decoderPart
	posteriorPart // the encoder without its sampling
	partCount
)

// NewNetwork places a copy of the model's weights on the device.
func NewNetwork(m *Model, dev backend.Device, o NetworkOptions) (*Network, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("nn: %w", err)
	}
	o.folded = !o.Unfused
	b := dev.Lanes()[0]
	n := &Network{m: m, dev: dev, o: o, mem: arena{b: b}, lanes: &laneArenas{mem: arena{b: b}}, w: newWorkers(dev.Lanes())}
	if err := n.alloc(newParamLayout(m, b)); err != nil {
		n.Close()
		return nil, err
	}
	upload(b, m, n.placer.weights)
	if o.folded {
		if err := n.fold(); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

// alloc takes the memory of the weights and of their packed forms.
func (n *Network) alloc(layout paramLayout) error {
	buf, err := n.mem.alloc(layout.bytes, "weights")
	if err != nil {
		return err
	}
	n.placer.weights = layout.tensors(n.m, buf)
	whole, err := n.compile(wholePart, 1)
	if err != nil {
		return err
	}
	if n.placer.packed, err = newPacked(whole, &n.mem); err != nil {
		return err
	}
	n.packs = n.placer.newPackPhase(whole, n.w.lanes, nil)
	return nil
}

func upload(b backend.Backend, m *Model, t []backend.Tensor) {
	for i, p := range m.Params {
		b.Upload(t[i], p.Data)
	}
}

// Close gives the network's memory back.
func (n *Network) Close() {
	n.w.close()
	if !n.planned {
		n.lanes.free()
	}
	n.mem.free()
}

// Predict runs count samples through the model: x has count times the input's elements in NHWC order, dst receives
// count times the output's.
func (n *Network) Predict(dst, x []float32, count int) error { return n.run(wholePart, dst, x, count) }

// Encode runs count samples through the encoder.
func (n *Network) Encode(dst, x []float32, count int) error { return n.run(encoderPart, dst, x, count) }

// Decode runs count codes through the decoder.
func (n *Network) Decode(dst, x []float32, count int) error { return n.run(decoderPart, dst, x, count) }

// Posterior runs count samples through the encoder of a variational model up to its sampling: dst receives for each pixel
// of a code its means and then the logarithms of its variances, twice the code's elements in all.
func (n *Network) Posterior(dst, x []float32, count int) error {
	if !n.m.Variational() {
		return fmt.Errorf("nn: model %q has no Gaussian code: its encoder does not end in sampling", n.m.Config.Name)
	}
	return n.run(posteriorPart, dst, x, count)
}

// Model returns the network's model.
func (n *Network) Model() *Model { return n.m }

func (n *Network) run(which int, dst, x []float32, count int) error {
	p, err := n.part(which)
	if err != nil {
		return err
	}
	if count < 0 || len(x) != count*p.in || len(dst) != count*p.out {
		return fmt.Errorf("nn: %d samples of %d values in and %d out need slices of that size, got %d and %d", count, p.in, p.out, len(x), len(dst))
	}
	if count == 0 {
		return nil
	}
	if err := n.fit(p, count); err != nil {
		return err
	}
	if !n.packed && !n.planned {
		n.w.run(n.packs.tasks(), p.packTasks)
		n.packed = true
	}
	p.tasks = n.cutSamples(count, p.micro)
	for _, samples := range []int{min(p.size, count), count % p.size} {
		if err := p.prepare(samples); err != nil {
			return err
		}
	}
	for i, m := range n.lanes.memory {
		n.w.lanes[i].SetWorkspace(m.workspace)
	}
	p.x, p.dst, p.total = x, dst, count
	clear(p.errs)
	if p.together {
		for task := range p.count {
			p.forwardTask(0, task)
		}
	} else {
		n.w.runOn(n.lanes.arenas, p.count, p.forwardTasks)
	}
	p.x, p.dst = nil, nil
	for _, err := range p.errs {
		if err != nil {
			return fmt.Errorf("nn: %w", err)
		}
	}
	return nil
}

// part is a stretch of the model.
type part struct {
	partPlan
	net      *Network
	which    int
	programs map[int]*forward

	// Of the run at hand.
	x, dst []float32
	total  int // samples
	tasks
	errs   []error  // by lane
	cut    *op.Call // that lanes do together, in so many pieces, with these frames
	pieces int
	frames []*op.Frame

	in, out                             int                  // elements of a sample
	packTasks, forwardTasks, pieceTasks func(lane, task int) // bound once: a closure made in a call would be allocated
}

// tasks say how the samples of a call are cut.
type tasks struct {
	count, size int  // tasks, and the samples of each, of which the last may have fewer
	together    bool // lanes do the ops of each task together, because there are more of them than samples; else each lane takes tasks
}

// cutSamples cuts so many samples into tasks of at most micro. Lanes that do not work together have as many tasks each.
func (n *Network) cutSamples(samples, micro int) tasks {
	lanes := len(n.w.lanes)
	if _, ok := n.w.lanes[0].(backend.Splitter); ok && samples < lanes {
		size := min(micro, samples)
		return tasks{count: ceilDiv(samples, size), size: size, together: true}
	}
	size := micro
	if lanes > 1 {
		size = ceilDiv(samples, min(ceilDiv(ceilDiv(samples, micro), lanes)*lanes, samples))
	}
	return tasks{count: ceilDiv(samples, size), size: size}
}

// forward is a program with what lanes must know to do its ops together.
type forward struct {
	*bound
	pieces   []int       // by call
	together []*op.Frame // by lane, with the tensors of the first one
}

// runTogether runs a program on the first lane, and has others do pieces of its ops where that pays.
func (p *part) runTogether(prog *forward) {
	p.frames = prog.together
	for i := range prog.Calls {
		p.cut, p.pieces = &prog.Calls[i], prog.pieces[i]
		p.net.w.runOn(p.pieces, p.pieces, p.pieceTasks)
	}
}

func (p *part) pieceTask(lane, piece int) {
	f := p.frames[lane]
	b := f.B.(backend.Splitter)
	b.Piece(piece, p.pieces)
	f.Do(p.cut)
	b.Piece(0, 1)
}

func (n *Network) compile(which, samples int) (*program.Program, error) {
	return compileForward(n.m, n.w.lanes[0], which, samples, n.o)
}

// compileForward makes the program of a part of the model for a number of samples.
func compileForward(m *Model, b backend.Backend, which, samples int, o NetworkOptions) (*program.Program, error) {
	g, err := m.graph(graph.Options{Samples: samples, Precision: o.Precision})
	if err != nil {
		return nil, err
	}
	if o.folded {
		foldNorms(g)
	}
	from, to := g.Input, g.Output
	switch which {
	case encoderPart:
		to = g.Code
	case decoderPart:
		from = g.Code
	case posteriorPart:
		to = sampling(g).Stats
	}
	p, err := program.Forward(g, b, from, to, o.Unfused)
	if err != nil {
		return nil, fmt.Errorf("nn: the decoder of model %q takes what its encoder makes besides the code, so codes cannot be decoded: %w", m.Config.Name, err)
	}
	p.Narrow(o.Precision.Store, p.Input, p.Output)
	return p, nil
}

func (n *Network) part(which int) (*part, error) {
	if n.parts[which] != nil {
		return n.parts[which], nil
	}
	one, err := n.compile(which, 1)
	if err != nil {
		return nil, err
	}
	p := &part{net: n, partPlan: n.plans[which], which: which, programs: map[int]*forward{}, errs: make([]error, len(n.w.lanes)),
		in: one.Shape(one.Input).Image(), out: one.Shape(one.Output).Image()}
	if !n.planned {
		p.partPlan = planPart(one, n.w.lanes[0], n.dev.Policy(), n.o.Batch, forwardBytes)
		p.packTasks = func(lane, task int) { n.packs.run(lane, task, nil) }
	}
	p.forwardTasks, p.pieceTasks = p.forwardTask, p.pieceTask
	n.parts[which] = p
	return p, nil
}

// microBatch returns how many of limit samples to take through the model at a time: as many as the policy's cache holds
// of activations, or as are not larger than the weights, which every micro-batch reads; at least 1, and the same number
// each time.
func microBatch(p backend.Policy, limit, sample, weights int) int {
	if p.CacheBytes == 0 {
		return limit
	}
	most := max(max(p.CacheBytes, weights)/max(sample, 1), 1)
	times := (limit + most - 1) / most
	return (limit + times - 1) / times
}

// prepare compiles the program for n samples unless it is there.
func (p *part) prepare(n int) error {
	if n == 0 || p.programs[n] != nil {
		return nil
	}
	prog, err := p.net.compile(p.which, n)
	if err != nil {
		return err
	}
	memory := p.net.lanes.memory
	bound := p.net.placer.bind(prog, p.offsets, p.net.w.lanes, memory[:p.net.lanes.arenas])
	p.programs[n] = p.cutCalls(bound, len(memory))
	first := p.net.w.lanes[0]
	if b, ok := first.(backend.Preparer); ok {
		first.SetWorkspace(p.net.lanes.memory[0].workspace)
		b.Prepare(func() { bound.Run(bound.frames[0]) })
	}
	return nil
}

// cutCalls finds out which calls of a program it pays to do on several of so many lanes.
func (p *part) cutCalls(prog *bound, lanes int) *forward {
	f := &forward{bound: prog}
	b, ok := p.net.w.lanes[0].(backend.Splitter)
	if !ok {
		return f
	}
	for _, c := range prog.Calls {
		f.pieces = append(f.pieces, min(b.Pieces(c.Op.Name(), work(prog.Program, c.Op)), lanes))
	}
	for _, b := range p.net.w.lanes[:lanes] {
		f.together = append(f.together, &op.Frame{B: b, Tensors: prog.frames[0].Tensors})
	}
	return f
}

// work is the multiply-adds of an op or, if it has none, the elements of its results.
func work(p *program.Program, o op.Op) (elements int) {
	if o, ok := o.(op.Sized); ok {
		return o.MACs()
	}
	for _, v := range op.Writes(o) {
		elements += p.Shape(v).Len()
	}
	return elements
}

func (p *part) forwardTask(lane, task int) {
	first := task * p.size
	n := min(p.size, p.total-first)
	prog := p.programs[n]
	f := prog.frames[lane]
	f.B.Upload(f.At(prog.Input), p.x[first*p.in:(first+n)*p.in])
	if p.together {
		p.runTogether(prog)
	} else {
		prog.Run(f)
	}
	if err := f.B.Download(p.dst[first*p.out:(first+n)*p.out], f.At(prog.Output)); err != nil && p.errs[lane] == nil {
		p.errs[lane] = err
	}
}
