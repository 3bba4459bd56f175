package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/rng"
)

// program is a list of steps over tensors of one lane, for a fixed number of samples. It holds no memory: binding it
// to a lane places its tensors in the lane's arena.
type program struct {
	n         int
	tensors   []tensorSpec
	steps     []step
	workspace int // bytes that the steps' ops need
	x, out    int // tensors: the input and the output (logits if the loss takes logits)
	target    int // of a training program, else -1
	image     int // elements of an input sample
}

type tensorSpec struct {
	kind  backend.Kind
	shape backend.Shape
}

// step is one op with its tensors. What is printed, planned, profiled and recorded is a list of these.
type step struct {
	op            string // method of the Backend
	layer         string // layer that it serves
	reads, writes []int  // tensors of the program
	shape         sized  // geometry of an op that consists of multiply-adds, else nil
	run           func(c *context)
}

// context is what a step runs on: a lane with its tensors, the parameters, and the gradient slot of the chunk.
type context struct {
	b      backend.Backend
	t      []backend.Tensor
	params []backend.Params // by node of the program's weighted layers
	grads  []backend.Params
	loss   backend.Tensor
	sums   backend.Tensor // of the codes
	row    backend.Tensor // gradient of the penalty on the mean code, the same for all samples
	clock  backend.Tensor
	data   dataTensors
	// What a sample and an element of it count in the loss: with the mean, 1 / samples of the batch and 1 / elements.
	sampleScale, scale float32
	first              int // place of the first sample in the batch
}

// dataTensors are the data set, of pixels or of values, and the order of its samples.
type dataTensors struct{ samples, order backend.Tensor }

// source says where a training program gets its samples from.
type source struct {
	gather bool // from the data set on the device; otherwise x and target are uploaded before the run
	values bool // the data set is of float32 values, not of pixels
	noise  float32
	seed   uint64
}

// compiler builds a program node by node.
type compiler struct {
	m *Model
	b backend.Backend // only asked for Needs
	p *program

	layer string
	x     []int // input tensor of each node
	y     []int // output tensor
	arg   []int // arg-max tensor, -1
}

// compileForward builds the program that runs nodes on n samples.
func compileForward(m *Model, b backend.Backend, nodes []node, n int) *program {
	c := newCompiler(m, b, nodes, n)
	c.forward(nodes, false, 0)
	return c.p
}

// compileTrain builds the program that adds the gradients of n samples to a slot.
func compileTrain(m *Model, b backend.Backend, nodes []node, n int, o TrainerOptions, src source) *program {
	c := newCompiler(m, b, nodes, n)
	c.gather(nodes, n, src)
	c.forward(nodes, true, src.seed)
	c.backward(nodes, o, src.seed)
	return c.p
}

// compileMean builds the program that adds the codes of n samples to the slot's sums.
func compileMean(m *Model, b backend.Backend, nodes []node, n int, src source) *program {
	nodes = nodes[:codeNode(m, nodes)]
	c := newCompiler(m, b, nodes, n)
	c.gather(nodes, n, src)
	c.forward(nodes, true, src.seed)
	c.layer = "code"
	code := c.p.out
	c.emit("ColumnSum", []int{code}, nil, func(k *context) { k.b.ColumnSum(k.sums, k.t[code]) })
	return c.p
}

// gather makes the tensors of inputs and targets, and fills them from the data set unless they are fed.
func (c *compiler) gather(nodes []node, n int, src source) {
	shape := nodes[0].in.WithN(n)
	c.p.target = c.tensor(backend.Activation, shape)
	if src.gather {
		c.layer = "input"
		clean, noisy := c.p.target, c.p.x
		s := rng.Source{Seed: src.seed, Stream: rng.StreamNoise}
		writes := []int{clean, noisy}
		if src.noise == 0 {
			c.p.x, noisy, writes = clean, -1, writes[:1]
		}
		if src.values {
			c.emit("Select", nil, writes, func(k *context) {
				k.b.Select(src.noise, s, k.t[clean], k.get(noisy), k.data.samples, k.data.order, k.clock, k.first)
			})
		} else {
			c.emit("Gather", nil, writes, func(k *context) {
				k.b.Gather(src.noise, s, k.t[clean], k.get(noisy), k.data.samples, k.data.order, k.clock, k.first)
			})
		}
	}
}

func newCompiler(m *Model, b backend.Backend, nodes []node, n int) *compiler {
	c := &compiler{m: m, b: b, p: &program{n: n, target: -1, image: nodes[0].in.Len()}}
	c.p.x = c.tensor(backend.Activation, nodes[0].in.WithN(n))
	return c
}

func (c *compiler) tensor(k backend.Kind, s backend.Shape) int {
	c.p.tensors = append(c.p.tensors, tensorSpec{k, s})
	return len(c.p.tensors) - 1
}

func (c *compiler) emit(op string, reads, writes []int, run func(k *context)) {
	c.p.steps = append(c.p.steps, step{op: op, layer: c.layer, reads: reads, writes: writes, run: run})
}

// sized is the geometry of a convolution, a transposed one or a dense layer.
type sized interface{ MACs() int }

// emitSized is emit for an op that consists of multiply-adds.
func (c *compiler) emitSized(s sized, op string, reads, writes []int, run func(k *context)) {
	c.emit(op, reads, writes, run)
	c.p.steps[len(c.p.steps)-1].shape = s
}

// get returns a tensor of the context, or the zero Tensor for id -1.
func (k *context) get(id int) backend.Tensor {
	if id < 0 {
		return backend.Tensor{}
	}
	return k.t[id]
}

func (c *compiler) need(n backend.Needs, training bool) {
	bytes := n.Forward
	if training {
		bytes = n.Workspace
	}
	c.p.workspace = max(c.p.workspace, bytes)
}

// must unwraps the shape of a node that New has already validated; only the number of samples is new, and the caller
// checks that the batch is not absurd.
func must[T any](s T, err error) T {
	if err != nil {
		panic("nn: compile: " + err.Error())
	}
	return s
}

// forward appends the nodes, from the program's input on.
func (c *compiler) forward(nodes []node, training bool, seed uint64) {
	c.p.out = c.forwardFrom(c.p.x, nodes, training, seed)
}

func (c *compiler) forwardFrom(x int, nodes []node, training bool, seed uint64) (out int) {
	for i, nd := range nodes {
		nd = nd.withN(c.p.n)
		c.layer = c.m.Layers[nd.layer].Name
		if nd.op == opDropout && (!training || nd.rate == 0) {
			c.x, c.y, c.arg = append(c.x, x), append(c.y, x), append(c.arg, -1)
			continue
		}
		in, out, arg := x, c.tensor(backend.Activation, nd.out), -1
		switch nd.op {
		case opConv:
			s := must(backend.NewConv(nd.conv))
			c.need(c.b.ConvNeeds(s), training)
			writes := []int{out}
			if s.Pool > 1 && training {
				arg = c.tensor(backend.Byte, nd.out)
				writes = append(writes, arg)
			}
			c.emitSized(s, "Conv", []int{in}, writes, func(k *context) { k.b.Conv(s, k.t[out], k.get(arg), k.t[in], k.params[i]) })
		case opConvTranspose:
			s := must(backend.NewConvTranspose(nd.convT))
			c.need(c.b.ConvTransposeNeeds(s), training)
			c.emitSized(s, "ConvTranspose", []int{in}, []int{out}, func(k *context) { k.b.ConvTranspose(s, k.t[out], k.t[in], k.params[i]) })
		case opDense:
			s := must(backend.NewDense(nd.dense))
			c.need(c.b.DenseNeeds(s), training)
			c.emitSized(s, "Dense", []int{in}, []int{out}, func(k *context) { k.b.Dense(s, k.t[out], k.t[in], k.params[i]) })
		case opPool:
			s := must(backend.NewPool(nd.pool))
			writes := []int{out}
			if training {
				arg = c.tensor(backend.Byte, nd.out)
				writes = append(writes, arg)
			}
			c.emit("MaxPool", []int{in}, writes, func(k *context) { k.b.MaxPool(s, k.t[out], k.get(arg), k.t[in]) })
		case opUpsample:
			s := must(backend.NewUpsample(nd.in, nd.up))
			c.emit("Upsample", []int{in}, []int{out}, func(k *context) { k.b.Upsample(s, k.t[out], k.t[in]) })
		case opAct:
			c.emit("Activate", []int{in}, []int{out}, func(k *context) { k.b.Activate(nd.act, k.t[out], k.t[in]) })
		case opReshape:
			c.emit("Reshape", []int{in}, []int{out}, func(k *context) { k.b.Reshape(k.t[out], k.t[in]) })
		case opConcrete:
			src := rng.Source{Seed: seed, Stream: rng.StreamLayer + uint32(nd.layer)}
			arg = c.tensor(backend.Activation, must(backend.NewDense(nd.dense)).Weights())
			// One draw a step, the same for all samples; without a clock, out of training, the likeliest inputs.
			c.emit("Concretize", nil, []int{arg}, func(k *context) { k.b.Concretize(src, k.t[arg], k.params[i].W, k.clock) })
			c.emit("Pick", []int{in, arg}, []int{out}, func(k *context) { k.b.Pick(k.t[out], k.t[in], k.t[arg]) })
		case opSample:
			src := rng.Source{Seed: seed, Stream: rng.StreamLayer + uint32(nd.layer)}
			c.emit("Sample", []int{in}, []int{out}, func(k *context) {
				k.b.Sample(src, k.t[out], k.t[in], k.clock, k.first) // without a clock, out of training, the means
			})
		case opDropout:
			src := rng.Source{Seed: seed, Stream: rng.StreamLayer + uint32(nd.layer)}
			c.emit("Dropout", []int{in}, []int{out}, func(k *context) {
				k.b.Dropout(nd.rate, src, k.t[out], k.t[in], k.clock, k.first)
			})
		}
		c.x, c.y, c.arg = append(c.x, in), append(c.y, out), append(c.arg, arg)
		x = out
	}
	return x
}

// backward appends the loss and the gradient of every node.
func (c *compiler) backward(nodes []node, o TrainerOptions, seed uint64) {
	out, target := c.p.out, c.p.target
	c.layer = "loss"
	pred, t, first := out, target, c.tensor(backend.Activation, c.p.tensors[out].shape)
	if po, pt := c.p.tensors[out].shape, c.p.tensors[target].shape; po != pt {
		t = c.tensor(backend.Activation, po)
		from := target
		c.emit("Reshape", []int{from}, []int{t}, func(k *context) { k.b.Reshape(k.t[t], k.t[from]) })
	}
	if o.Loss == BCE {
		c.emit("SigmoidBCE", []int{pred, t}, []int{first}, func(k *context) { k.b.SigmoidBCE(k.scale, k.loss, k.t[first], k.t[pred], k.t[t]) })
	} else {
		c.emit("MSE", []int{pred, t}, []int{first}, func(k *context) { k.b.MSE(k.scale, k.loss, k.t[first], k.t[pred], k.t[t]) })
	}
	var code func(grad, code int)
	if o.penalizesCode() {
		code = func(grad, code int) { c.penalizeCode(nodes[:codeNode(c.m, nodes)], o, grad, code, seed) }
	}
	c.back(nodes, first, code, seed)
}

// back appends the gradient of every node from that of the last one's output on, g. Then g is the gradient with respect to
// the output of the node at hand; pre says that it is already with respect to the values before that node's own activation.
// code, if there is one, is called with the gradient of the code and the code.
func (c *compiler) back(nodes []node, g int, code func(grad, code int), seed uint64) {
	pre, split := false, codeNode(c.m, nodes)
	for i := len(nodes) - 1; i >= 0; i-- {
		nd := nodes[i].withN(c.p.n)
		c.layer = c.m.Layers[nd.layer].Name
		x, y, arg, gy := c.x[i], c.y[i], c.arg[i], g
		if code != nil && i == split-1 {
			code(gy, y)
			c.layer = c.m.Layers[nd.layer].Name
		}
		if nd.op == opDropout && x == y {
			continue // a rate of 0: no step, and the gradient is that of the node before
		}
		if a := nd.outAct(); a != backend.Linear && !pre {
			c.emit("ActivateBack", []int{gy, y}, []int{gy}, func(k *context) { k.b.ActivateBack(a, k.t[gy], k.t[gy], k.t[y]) })
		}
		var prev backend.Act
		if i > 0 && !(code != nil && i == split) { // the penalty's gradient is with respect to the code itself
			prev = nodes[i-1].outAct()
		}
		pre = prev != backend.Linear && nd.setInAct(prev)
		gx := -1
		if needsGrad(nodes[:i]) {
			gx = c.tensor(backend.Activation, nd.in)
		}
		gradReads := []int{gy, x}
		if arg >= 0 {
			gradReads = append(gradReads, arg)
		}
		switch nd.op {
		case opConv:
			s := must(backend.NewConv(nd.conv))
			c.emitSized(s, "ConvBackWeights", gradReads, nil, func(k *context) { k.b.ConvBackWeights(s, k.grads[i], k.t[gy], k.get(arg), k.t[x]) })
			if gx >= 0 {
				c.emitSized(s, "ConvBackInput", gradReads, []int{gx}, func(k *context) {
					k.b.ConvBackInput(s, k.t[gx], k.t[gy], k.get(arg), k.params[i], k.t[x])
				})
			}
		case opConvTranspose:
			s := must(backend.NewConvTranspose(nd.convT))
			c.emitSized(s, "ConvTransposeBackWeights", gradReads, nil, func(k *context) { k.b.ConvTransposeBackWeights(s, k.grads[i], k.t[gy], k.t[x]) })
			if gx >= 0 {
				c.emitSized(s, "ConvTransposeBackInput", gradReads, []int{gx}, func(k *context) {
					k.b.ConvTransposeBackInput(s, k.t[gx], k.t[gy], k.params[i], k.t[x])
				})
			}
		case opDense:
			s := must(backend.NewDense(nd.dense))
			c.emitSized(s, "DenseBackWeights", gradReads, nil, func(k *context) { k.b.DenseBackWeights(s, k.grads[i], k.t[gy], k.t[x]) })
			if gx >= 0 {
				c.emitSized(s, "DenseBackInput", gradReads, []int{gx}, func(k *context) {
					k.b.DenseBackInput(s, k.t[gx], k.t[gy], k.params[i], k.t[x])
				})
			}
		case opConcrete: // nothing before it has weights
			c.emit("ConcreteBack", gradReads, nil, func(k *context) { k.b.ConcreteBack(k.grads[i].W, k.t[gy], k.t[x], k.t[arg], k.clock) })
		default:
			if gx >= 0 {
				c.backwardPlain(nd, gx, gy, x, y, arg, seed)
			}
		}
		if gx < 0 {
			return // no weights further up
		}
		g = gx
	}
}

// penalizeCode adds the gradient of the penalties to that of the code.
func (c *compiler) penalizeCode(encoder []node, o TrainerOptions, grad, code int, seed uint64) {
	c.layer = "code"
	a := o.Activity
	if norms := a.norms(); norms != (backend.Norms{}) {
		c.emit("Penalize", []int{grad, code}, []int{grad}, func(k *context) {
			k.b.Penalize(backend.Norms{L1: k.sampleScale * norms.L1, L2: k.sampleScale * norms.L2}, k.loss, k.t[grad], k.t[code])
		})
	}
	if a.KL > 0 {
		c.emit("AddRow", []int{grad}, []int{grad}, func(k *context) { k.b.AddRow(k.t[grad], k.row) })
	}
	if o.Contractive.Weight == 0 {
		return
	}
	if act, i := c.m.oneDense(encoder); i >= 0 && !o.Contractive.Estimate {
		c.emit("ContractDense", []int{grad, code}, []int{grad}, func(k *context) {
			k.b.ContractDense(act, k.sampleScale*float32(o.Contractive.Weight), k.loss, k.t[grad], k.grads[i].W, k.t[code], k.params[i].W)
		})
		return
	}
	c.probe(encoder, o.Contractive, grad, code, seed)
}

// probe estimates the encoder's contraction from its change along a random direction: it runs a second time, on inputs
// that are a small step away, and what its codes differ by is penalised in both runs.
func (c *compiler) probe(encoder []node, o Contractive, grad, code int, seed uint64) {
	x := c.p.x
	moved, gm := c.tensor(backend.Activation, c.p.tensors[x].shape), c.tensor(backend.Activation, c.p.tensors[code].shape)
	src := rng.Source{Seed: seed, Stream: rng.StreamDirection}
	c.emit("Perturb", []int{x}, []int{moved}, func(k *context) {
		k.b.Perturb(float32(o.Step), src, k.t[moved], k.t[x], k.clock, k.first)
	})
	second := &compiler{m: c.m, b: c.b, p: c.p}
	y := second.forwardFrom(moved, encoder, true, seed)
	weight := float32(o.Weight / (o.Step * o.Step))
	c.emit("MSE", []int{y, code}, []int{gm}, func(k *context) { k.b.MSE(k.sampleScale*weight, k.loss, k.t[gm], k.t[y], k.t[code]) })
	c.emit("Accumulate", []int{grad, gm}, []int{grad}, func(k *context) { k.b.Accumulate(k.t[grad], -1, k.t[gm]) })
	second.back(encoder, gm, nil, seed)
}

// backwardPlain is the gradient of the nodes without weights.
func (c *compiler) backwardPlain(nd node, gx, gy, x, y, arg int, seed uint64) {
	switch nd.op {
	case opPool:
		s := must(backend.NewPool(nd.pool))
		c.emit("MaxPoolBack", []int{gy, arg}, []int{gx}, func(k *context) { k.b.MaxPoolBack(s, k.t[gx], k.t[gy], k.t[arg]) })
	case opUpsample:
		s := must(backend.NewUpsample(nd.in, nd.up))
		c.emit("UpsampleBack", []int{gy}, []int{gx}, func(k *context) { k.b.UpsampleBack(s, k.t[gx], k.t[gy]) })
	case opAct:
		c.emit("ActivateBack", []int{gy, y}, []int{gx}, func(k *context) { k.b.ActivateBack(nd.act, k.t[gx], k.t[gy], k.t[y]) })
	case opReshape:
		c.emit("Reshape", []int{gy}, []int{gx}, func(k *context) { k.b.Reshape(k.t[gx], k.t[gy]) })
	case opSample:
		src := rng.Source{Seed: seed, Stream: rng.StreamLayer + uint32(nd.layer)}
		c.emit("SampleBack", []int{gy, x}, []int{gx}, func(k *context) {
			k.b.SampleBack(k.sampleScale, src, k.loss, k.t[gx], k.t[gy], k.t[x], k.clock, k.first)
		})
	case opDropout:
		src := rng.Source{Seed: seed, Stream: rng.StreamLayer + uint32(nd.layer)}
		c.emit("Dropout", []int{gy}, []int{gx}, func(k *context) {
			k.b.Dropout(nd.rate, src, k.t[gx], k.t[gy], k.clock, k.first)
		})
	}
}

func needsGrad(nodes []node) bool {
	for _, n := range nodes {
		if n.w >= 0 {
			return true
		}
	}
	return false
}

func (p *program) String() string {
	s := ""
	for _, st := range p.steps {
		s += fmt.Sprintf("%-22s %-22s %v -> %v\n", st.op, st.layer, st.reads, st.writes)
	}
	return s
}
