package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
)

// NetworkOptions are the choices of NewNetwork. The zero value is fine.
type NetworkOptions struct {
	Batch   int  // samples that a lane takes at a time at the most; 0 lets the device's policy decide, up to 256
	Unfused bool // run every layer as ops of its own
}

// Network runs a model, its encoder or its decoder on a device. It is not safe for concurrent use, and a Network and a
// Trainer on one device take turns.
type Network struct {
	m       *Model
	dev     backend.Device
	o       NetworkOptions
	w       *workers
	mem     arena
	weights []backend.Tensor
	version *int // of the weights: packed forms are remade when it has changed
	parts   [4]*part
}

const (
	wholePart = iota
	encoderPart
	decoderPart
	posteriorPart // the encoder without its sampling
)

// NewNetwork places a copy of the model's weights on the device.
func NewNetwork(m *Model, dev backend.Device, o NetworkOptions) (*Network, error) {
	b := dev.Lanes()[0]
	n := &Network{m: m, dev: dev, o: o, mem: arena{b: b}, version: new(int)}
	layout := newParamLayout(m, b)
	buf, err := n.mem.alloc(layout.bytes, "weights")
	if err != nil {
		return nil, err
	}
	n.weights = layout.tensors(m, buf)
	upload(b, m, n.weights)
	n.w = newWorkers(dev.Lanes())
	return n, nil
}

func upload(b backend.Backend, m *Model, t []backend.Tensor) {
	for i, p := range m.Params {
		b.Upload(t[i], p.Data)
	}
}

// Close gives the network's memory back.
func (n *Network) Close() {
	n.w.close()
	for _, p := range n.parts {
		if p != nil {
			p.mem.free()
		}
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
	in, out := p.nodes[0].in.Image(), p.nodes[len(p.nodes)-1].out.Image()
	if count < 0 || len(x) != count*in || len(dst) != count*out {
		return fmt.Errorf("nn: %d samples of %d values in and %d out need slices of that size, got %d and %d", count, in, out, len(x), len(dst))
	}
	if count == 0 {
		return nil
	}
	if p.version != *n.version {
		n.w.run(len(p.packs.tasks), p.packTasks)
		p.version = *n.version
	}
	p.x, p.dst, p.count = x, dst, count
	p.prepare(min(p.micro, count))
	p.prepare(count % p.micro)
	clear(p.errs)
	n.w.run((count+p.micro-1)/p.micro, p.forwardTasks)
	p.x, p.dst = nil, nil
	for _, err := range p.errs {
		if err != nil {
			return fmt.Errorf("nn: %w", err)
		}
	}
	return nil
}

// part is a compiled stretch of the model.
type part struct {
	net      *Network
	nodes    []node
	mem      arena
	packs    *packs
	version  int
	micro    int
	offsets  []int // of the tensors, for micro samples and fewer
	lanes    []laneMemory
	programs map[int]*boundProgram

	// Of the run at hand.
	x, dst []float32
	count  int
	errs   []error // by lane

	in, out                 int                  // elements of a sample
	packTasks, forwardTasks func(lane, task int) // bound once: a method value made in a call would be allocated
}

// laneMemory is what a lane has to itself.
type laneMemory struct{ arena, workspace backend.Buffer }

// boundProgram is a program with a context for every lane.
type boundProgram struct {
	*program
	ctx []*context
}

// bindLanes places a program in the lanes' arenas.
func bindLanes(p *program, offsets []int, lanes []backend.Backend, mem []laneMemory, base context) *boundProgram {
	bp := &boundProgram{program: p}
	for i, b := range lanes {
		c := base
		c.b, c.t = b, p.bind(offsets, mem[i].arena)
		bp.ctx = append(bp.ctx, &c)
	}
	return bp
}

func (c *context) runSteps(p *program) {
	for i := range p.steps {
		p.steps[i].run(c)
	}
}

func (n *Network) part(which int) (*part, error) {
	if n.parts[which] != nil {
		return n.parts[which], nil
	}
	nodes := [...][]node{n.m.nodes, n.m.nodes[:n.m.split], n.m.nodes[n.m.split:], n.m.nodes[:max(n.m.split-1, 0)]}[which]
	if !n.o.Unfused {
		nodes = n.m.fuse(nodes)
	}
	if len(nodes) == 0 {
		// A part of layers that do nothing, such as a flatten of a vector.
		shape := [...]backend.Shape{n.m.Input, n.m.Input, n.m.Code, n.m.Input}[which]
		nodes = []node{{op: opReshape, in: shape, out: shape, w: -1, b: -1}}
	}
	b := n.w.lanes[0]
	p := &part{net: n, nodes: nodes, mem: arena{b: b}, version: -1, programs: map[int]*boundProgram{},
		errs: make([]error, len(n.w.lanes)), in: nodes[0].in.Image(), out: nodes[len(nodes)-1].out.Image()}
	limit := 256
	if n.o.Batch > 0 {
		limit = n.o.Batch
	}
	_, sample := compileForward(n.m, b, nodes, 1).plan(b)
	_, packed := packedBytes(nodes, b)
	p.micro = microBatch(n.dev.Policy(), limit, sample, packed)
	var err error
	if p.packs, err = newPacks(nodes, &p.mem, n.weights); err == nil {
		prog := compileForward(n.m, b, nodes, p.micro)
		var bytes int
		p.offsets, bytes = prog.plan(b)
		p.lanes, err = allocLanes(&p.mem, len(n.w.lanes), bytes, prog.workspace)
	}
	if err != nil {
		p.mem.free()
		return nil, err
	}
	p.packTasks, p.forwardTasks = p.packTask, p.forwardTask
	n.parts[which] = p
	return p, nil
}

// allocLanes gives each of n lanes an arena and a workspace.
func allocLanes(mem *arena, n, arenaBytes, workspaceBytes int) ([]laneMemory, error) {
	lanes := make([]laneMemory, n)
	for i := range lanes {
		var err error
		if lanes[i].arena, err = mem.alloc(arenaBytes, "activations"); err != nil {
			return nil, err
		}
		if lanes[i].workspace, err = mem.alloc(workspaceBytes, "workspace"); err != nil {
			return nil, err
		}
	}
	return lanes, nil
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
		p.programs[n] = bindLanes(prog, p.offsets, p.net.w.lanes, p.lanes, context{params: p.packs.params})
	}
}

func (p *part) packTask(lane, task int) { p.packs.pack(p.net.w.lanes[lane], task) }

func (p *part) forwardTask(lane, task int) {
	first := task * p.micro
	n := min(p.micro, p.count-first)
	bp := p.programs[n]
	c := bp.ctx[lane]
	c.b.SetWorkspace(p.lanes[lane].workspace)
	c.b.Upload(c.t[bp.x], p.x[first*p.in:(first+n)*p.in])
	c.runSteps(bp.program)
	if err := c.b.Download(p.dst[first*p.out:(first+n)*p.out], c.t[bp.out]); err != nil && p.errs[lane] == nil {
		p.errs[lane] = err
	}
}
