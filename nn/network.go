package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// NetworkOptions are the choices of NewNetwork. The zero value is fine.
type NetworkOptions struct {
	Batch   int  // samples that a lane takes at a time at the most; 0 means 256. Their size and the device may make it fewer
	Unfused bool // run every layer as ops of its own
}

// Network runs a model, its encoder or its decoder on a device. Of its own it takes memory for the weights and for the
// samples of its largest call so far, within what is free; a trainer's network uses the trainer's memory alone. It is not
// safe for concurrent use, and a Network and a Trainer on one device take turns.
type Network struct {
	m       *Model
	dev     backend.Device
	o       NetworkOptions
	w       *workers
	mem     arena // of the weights
	weights []backend.Tensor
	nodes   []node
	packs   *packs
	packed  bool // packs hold the weights
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
	b := dev.Lanes()[0]
	n := &Network{m: m, dev: dev, o: o, mem: arena{b: b}, nodes: m.networkNodes(o.Unfused), lanes: &laneArenas{mem: arena{b: b}}}
	layout := newParamLayout(m, b)
	buf, err := n.mem.alloc(layout.bytes, "weights")
	if err == nil {
		n.weights = layout.tensors(m, buf)
		n.packs, err = newPacks(n.nodes, &n.mem, n.weights)
	}
	if err != nil {
		n.mem.free()
		return nil, err
	}
	upload(b, m, n.weights)
	n.w = newWorkers(dev.Lanes())
	return n, nil
}

// networkNodes are the nodes that a network runs.
func (m *Model) networkNodes(unfused bool) []node {
	if unfused {
		return m.nodes
	}
	return m.fuse(m.nodes)
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
	p := n.part(which)
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
		n.w.run(len(n.packs.tasks), p.packTasks)
		n.packed = true
	}
	p.x, p.dst, p.count = x, dst, count
	p.prepare(min(p.micro, count))
	p.prepare(count % p.micro)
	clear(p.errs)
	n.w.runOn(len(n.lanes.memory), ceilDiv(count, p.micro), p.forwardTasks)
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
	nodes    []node
	params   []backend.Params // by node
	programs map[int]*boundProgram

	// Of the run at hand.
	x, dst []float32
	count  int
	errs   []error // by lane

	in, out                 int                  // elements of a sample
	packTasks, forwardTasks func(lane, task int) // bound once: a method value made in a call would be allocated
}

// boundProgram is a program with a context for every lane.
type boundProgram struct {
	*program
	ctx []*context
}

// bindLanes places a program in the arenas of those lanes that have one.
func bindLanes(p *program, offsets []int, lanes []backend.Backend, mem []laneMemory, base context) *boundProgram {
	bp := &boundProgram{program: p}
	for i, m := range mem {
		c := base
		c.b, c.t = lanes[i], p.bind(offsets, m.arena)
		bp.ctx = append(bp.ctx, &c)
	}
	return bp
}

func (c *context) runSteps(p *program) {
	for i := range p.steps {
		p.steps[i].run(c)
	}
}

func (n *Network) part(which int) *part {
	if n.parts[which] != nil {
		return n.parts[which]
	}
	nodes, first := n.m.partNodes(n.nodes, which)
	p := &part{net: n, partPlan: n.plans[which], nodes: nodes, programs: map[int]*boundProgram{}, errs: make([]error, len(n.w.lanes)),
		in: nodes[0].in.Image(), out: nodes[len(nodes)-1].out.Image()}
	if first >= 0 {
		p.params = n.packs.params[first:]
	}
	if !n.planned {
		limit := mostSamples
		if n.o.Batch > 0 {
			limit = n.o.Batch
		}
		p.partPlan = planPart(n.m, n.w.lanes[0], n.dev.Policy(), nodes, limit, forwardBytes)
	}
	p.packTasks, p.forwardTasks = p.packTask, p.forwardTask
	n.parts[which] = p
	return p
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
func (p *part) prepare(n int) {
	if n > 0 && p.programs[n] == nil {
		prog := compileForward(p.net.m, p.net.w.lanes[0], p.nodes, n)
		p.programs[n] = bindLanes(prog, p.offsets, p.net.w.lanes, p.net.lanes.memory, context{params: p.params})
	}
}

func (p *part) packTask(lane, task int) { p.net.packs.pack(p.net.w.lanes[lane], task) }

func (p *part) forwardTask(lane, task int) {
	first := task * p.micro
	n := min(p.micro, p.count-first)
	bp := p.programs[n]
	c := bp.ctx[lane]
	c.b.SetWorkspace(p.net.lanes.memory[lane].workspace)
	c.b.Upload(c.t[bp.x], p.x[first*p.in:(first+n)*p.in])
	c.runSteps(bp.program)
	if err := c.b.Download(p.dst[first*p.out:(first+n)*p.out], c.t[bp.out]); err != nil && p.errs[lane] == nil {
		p.errs[lane] = err
	}
}
