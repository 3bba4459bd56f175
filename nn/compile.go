package nn

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/corrupt"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/op"
	"github.com/convae/convae/nn/program"
	"github.com/convae/convae/nn/rng"
)

// source says where a training program gets its samples from.
type source struct {
	gather bool              // from the data set on the device; otherwise input and target are uploaded before the run
	apart  bool              // ops are done one by one, also where a device can do those of a step at once
	values bool              // the data set is of float32 values, not of pixels
	again  program.Recompute // activations that are not kept for the backward pass
}

// compiler makes the training program of a model for a number of samples.
type compiler struct {
	m *Model
	b backend.Backend // is asked what memory ops need, and does nothing else; nil if there is none
	o TrainerOptions
	g *graph.Graph
	p *program.Program

	logits   op.Value      // of the sigmoid at the end, if the loss is of them
	features [2][]op.Value // of the target and the output, that a perceptual loss compares
}

func newCompiler(m *Model, b backend.Backend, o TrainerOptions, n int) (*compiler, error) {
	g, err := m.graph(graph.Options{Samples: n, Training: true, Seed: o.Seed, Precision: o.Precision})
	if err != nil {
		return nil, err
	}
	return &compiler{m: m, b: b, o: o, g: g, p: &program.Program{Tape: g.Tape, Samples: n, Input: g.Input}}, nil
}

// compileTraining makes the program that adds the loss and the gradients of n samples to a slot. Without a backend, the
// program is only good for finding out whether there can be one.
func compileTraining(m *Model, b backend.Backend, o TrainerOptions, src source, n int) (*program.Program, error) {
	c, err := newCompiler(m, b, o, n)
	if err != nil {
		return nil, err
	}
	if m.Size() == 0 {
		return nil, fmt.Errorf("nn: model %q has no weights to train", m.Config.Name)
	}
	if err := c.checkLoss(); err != nil {
		return nil, err
	}
	if c.p.Output = c.g.Output; o.Loss.BCE > 0 {
		if err := c.toLogits(); err != nil {
			return nil, err
		}
	}
	if err := c.emitFeatures(src); err != nil {
		return nil, err
	}
	if !o.Unfused {
		c.p.Fuse(append(slices.Concat(c.features[:]...), c.g.Input, c.g.Code, c.p.Output, c.logits)...)
	}
	for _, s := range c.p.Calls {
		if k, ok := s.Op.(op.Keeper); ok {
			k.Keep(c.p.Tape)
		}
	}
	if b != nil {
		c.p.Prepare(b)
	}
	forward := c.p.Calls
	c.p.Forward = len(forward)
	c.gather(src)
	if err := c.backward(forward); err != nil {
		return nil, err
	}
	c.p.Recompute(src.again)
	c.p.Narrow(o.Precision.Store, c.p.Input, c.p.Output, c.p.Target)
	if b != nil {
		if o.Unfused || o.Apart || src.apart || !c.p.Reside(b) {
			c.p.DeferSums(b)
		}
		c.p.Finish(b, true)
	}
	return c.p, nil
}

// compileCodeSums makes the program that adds the codes of n samples to a slot's sums.
func compileCodeSums(m *Model, b backend.Backend, o TrainerOptions, src source, n int) (*program.Program, error) {
	c, err := newCompiler(m, b, o, n)
	if err != nil {
		return nil, err
	}
	code := c.g.Code
	if c.p, err = program.Forward(c.g, b, c.g.Input, code, o.Unfused); err != nil {
		return nil, err
	}
	c.gather(src)
	c.p.Layer = "code"
	c.p.Emit(&op.ColumnSum{Dst: c.p.Sum(op.CodeSums, m.Code.Len()), X: code})
	c.p.Narrow(o.Precision.Store, c.p.Input, c.p.Output, c.p.Target)
	return c.p, nil
}

// toLogits finds the logits, from which the loss is computed, and leaves the last sigmoid out where there is no other loss. Only reshapes may
// come after it.
func (c *compiler) toLogits() error {
	calls := c.p.Calls
	for i, v := len(calls)-1, c.g.Output; i >= 0; i-- {
		switch o := calls[i].Op.(type) {
		case *op.Reshape:
			if o.Out == v {
				v = o.X
				continue
			}
		case *op.Activate:
			if o.Out == v && o.Act == backend.Sigmoid && c.p.Readers()[v] == min(len(calls)-1-i, 1) {
				if c.logits = o.X; c.o.Loss == (Loss{BCE: c.o.Loss.BCE}) {
					c.p.Output, c.p.Calls = o.X, calls[:i]
				}
				return nil
			}
		}
		break
	}
	return fmt.Errorf("nn: loss bce needs a model whose last activation is sigmoid; %s ends otherwise (use loss mse)", c.m.Layers[len(c.m.Layers)-1].Name)
}

// makeTarget makes the targets, unless they are there. They are the inputs where these are gathered as they are.
func (c *compiler) makeTarget(src source) {
	p := c.p
	switch {
	case p.Target != op.None:
	case src.gather && c.o.Noise == 0 && len(c.o.Corruption) == 0:
		p.Target = p.Input
	default:
		p.Target = p.Like(p.Input)
	}
}

// gather makes the targets, and begins the program with filling inputs and targets from the data set unless they are fed.
func (c *compiler) gather(src source) {
	p := c.p
	c.makeTarget(src)
	if !src.gather {
		return
	}
	o := &op.Gather{OfValues: src.values, Std: c.o.Noise, Source: rng.Source{Seed: c.o.Seed, Stream: rng.StreamNoise},
		Samples: p.Outside(op.Info{Space: op.Shared, Index: op.Samples}), Order: p.Outside(op.Info{Space: op.Shared, Index: op.Order}), StepParams: p.StepParams()}
	lead := []op.Call{{Op: o, Layer: "input"}}
	ways := len(c.o.Corruption) // in which the samples are still to be made worse
	made := func() op.Value {   // the next tensor, the last of which is the model's input
		if ways == 0 {
			return p.Input
		}
		return p.Like(p.Input)
	}
	if o.Clean = p.Target; c.o.Noise > 0 {
		o.Noisy = made()
	}
	x := cmp.Or(o.Noisy, o.Clean)
	for i, how := range c.o.Corruption {
		ways--
		worse := &op.Corrupt{Corruption: how, Source: corrupt.Source(o.Source, i), Out: made(), X: x, Order: o.Order, StepParams: o.StepParams}
		lead = append(lead, op.Call{Op: worse, Layer: "input"})
		x = worse.Out
	}
	p.Calls, p.Lead = slices.Concat(lead, p.Calls), len(lead)
}

// backward appends the loss, and the gradients of the calls of the forward pass.
func (c *compiler) backward(forward []op.Call) error {
	p := c.p
	grads := op.NewGrads(p.Tape, forward)
	for _, s := range forward {
		if n, ok := s.Op.(*op.BatchNorm); ok && n.Moments == op.None && grads.Wants(n.X) {
			return fmt.Errorf("nn: layer %s, a batch normalisation, is not trainable, but layers before it in model %q are: want them not trainable too", s.Layer, c.m.Config.Name)
		}
	}
	p.Layer = "loss"
	c.emitLoss(grads)
	if c.o.penalizesCode() {
		encoder := encoderCalls(c.g, forward)
		if err := c.checkCode(grads, encoder); err != nil {
			return err
		}
		grads.Watch(c.g.Code, func(grad op.Value) { c.penalizeCode(grads, encoder, grad) })
	}
	grads.Back(forward)
	return nil
}

// encoderCalls returns the calls up to the one that makes the code.
func encoderCalls(g *graph.Graph, calls []op.Call) []op.Call {
	for i := range slices.Backward(calls) {
		if slices.Contains(op.Writes(calls[i].Op), g.Code) {
			return calls[:i+1]
		}
	}
	return nil
}

// checkCode reports a penalty that the code cannot have.
func (c *compiler) checkCode(grads *op.Grads, encoder []op.Call) error {
	what := "activity_regularizer"
	if c.o.Contractive.Weight > 0 {
		what = "contractive"
		if c.m.Variational() {
			return fmt.Errorf("nn: contractive: the codes of model %q are drawn, and so have no Jacobian: want an encoder without sampling", c.m.Config.Name)
		}
	}
	if !grads.Wants(c.g.Code) {
		return fmt.Errorf("nn: %s: the encoder of model %q has no weights that could change the code", what, c.m.Config.Name)
	}
	if i := slices.IndexFunc(encoder, func(s op.Call) bool { return s.Once }); i >= 0 && (c.o.Activity.KL > 0 || c.o.Contractive.Weight > 0) {
		return fmt.Errorf("nn: %s: the encoder of model %q runs a second time for it, which layer %s, whose output depends on the whole batch, cannot: want an encoder without it", what, c.m.Config.Name, encoder[i].Layer)
	}
	if last := encoder[len(encoder)-1]; c.o.Activity.KL > 0 && activation(last.Op) != backend.Sigmoid {
		return fmt.Errorf("nn: activity_regularizer: kl wants activations between 0 and 1, an encoder that ends in sigmoid; %s ends otherwise", last.Layer)
	}
	return nil
}

// activation returns the activation that an op ends in.
func activation(o op.Op) backend.Act {
	switch o := o.(type) {
	case *op.Activate:
		return o.Act
	case op.Activated:
		return o.Activation()
	}
	return backend.Linear
}

// penalizeCode adds the gradient of the penalties to that of the code.
func (c *compiler) penalizeCode(grads *op.Grads, encoder []op.Call, grad op.Value) {
	p, code, a := c.p, c.g.Code, c.o.Activity
	p.Layer = "code"
	loss := p.Sum(op.Loss, 1)
	if norms := a.norms(); norms != (backend.Norms{}) {
		p.Emit(&op.Penalize{Norms: norms, PerSample: true, Loss: loss, Grad: grad, X: code})
	}
	if a.KL > 0 {
		row := p.Outside(op.Info{Space: op.Shared, Role: backend.Flat, Shape: backend.Vec(c.m.Code.Len()), Index: op.CodeRow})
		p.Emit(&op.AddRow{X: grad, Row: row})
	}
	o := c.o.Contractive
	if o.Weight == 0 {
		return
	}
	if d, act := soleDense(encoder); d != nil && !o.Estimate {
		p.Emit(&op.ContractDense{Act: act, Scale: op.Scale{Per: op.PerSample, Factor: float32(o.Weight)}, Loss: loss,
			GradH: grad, GradW: grads.Parameter(d.W), H: code, W: d.W})
		return
	}
	c.probe(encoder, grad)
}

// probe estimates the encoder's contraction from its change along a random direction: it runs a second time, on inputs
// that are a small distance away, and the difference of its codes is penalised: both runs get a gradient from it.
func (c *compiler) probe(encoder []op.Call, grad op.Value) {
	p, code, o := c.p, c.g.Code, c.o.Contractive
	moved, gradMoved := p.Like(p.Input), p.Like(code)
	p.Emit(&op.Perturb{Std: float32(o.Step), Source: rng.Source{Seed: c.o.Seed, Stream: rng.StreamDirection}, Out: moved, X: p.Input, StepParams: p.StepParams()})
	second, became := p.Again(encoder, p.Input, moved)
	y := became[code]
	weight := float32(o.Weight / (o.Step * o.Step))
	p.Emit(&op.Pointwise{Of: op.MSE, Term: op.Term{Shape: p.Shape(y), Scale: op.Scale{Per: op.PerSample, Factor: weight}, Loss: p.Sum(op.Loss, 1), Grad: gradMoved, Prediction: y, Target: code}})
	p.Emit(&op.Accumulate{Dst: grad, Alpha: -1, X: gradMoved})
	grads := op.NewGrads(p.Tape, second)
	grads.Add(y, gradMoved)
	grads.Back(second)
}

// soleDense returns the one dense layer that an encoder consists of, and its activation, or nil.
func soleDense(encoder []op.Call) (dense *op.Dense, act backend.Act) {
	for _, s := range encoder {
		switch o := s.Op.(type) {
		case *op.Reshape:
			if dense != nil {
				return nil, backend.Linear
			}
		case *op.Dense:
			if dense != nil {
				return nil, backend.Linear
			}
			dense, act = o, o.Shape.Act
		case *op.Activate:
			if dense == nil || act != backend.Linear || !o.Act.Fuses() {
				return nil, backend.Linear
			}
			act = o.Act
		default:
			return nil, backend.Linear
		}
	}
	return dense, act
}
