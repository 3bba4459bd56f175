package program

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// Reside makes one op of all the calls of a training program, but for adding up partial sums, if the backend does that: it wants a chain of
// convolutions behind the gathered samples, and before the loss, whose gradients alone follow. It reports whether it has.
func (p *Program) Reside(b backend.Backend) bool {
	r, ok := b.(backend.Resident)
	if !ok {
		return false
	}
	c := chain{calls: p.Calls}
	if !c.parse(p) {
		return false
	}
	count := r.ResidentPartials(&c.op.Step)
	if count == 0 {
		return false
	}
	sums := &op.SumPartials{}
	add := func(w, bias op.Value, layer string) op.Value {
		grad := backend.Params{W: backend.Tensor{Shape: p.Shape(w)}, Bias: backend.Tensor{Shape: p.Shape(bias)}}
		v := p.New(backend.Flat, grad.PartialsShape(count))
		sums.List = append(sums.List, op.Partials{W: w, Bias: bias, Partials: v, Layer: layer})
		return v
	}
	for i, g := range c.gradients {
		c.op.Layers[i].Partials = add(g.W, g.Bias, g.Layer)
	}
	c.op.LossPartials = add(c.loss, op.None, "loss")
	p.Calls, p.Layer = []op.Call{{Op: &c.op, Layer: "model"}}, "gradients"
	p.Emit(sums)
	return true
}

// Resident reports whether Reside has made one op of the calls that is faster than they were.
func (p *Program) Resident(b backend.Backend) bool {
	o, ok := p.Calls[0].Op.(*op.Resident)
	return ok && b.(backend.Resident).ResidentPays(&o.Step)
}

// chain takes the calls of a program for those of a chain of convolutions.
type chain struct {
	calls     []op.Call // that are left
	op        op.Resident
	gradients []op.Partials // of the layers
	loss      op.Value
}

// next takes the next call if it is an op of that type.
func next[T op.Op](c *chain) (o T, layer string, ok bool) {
	if len(c.calls) == 0 {
		return o, "", false
	}
	if o, ok = c.calls[0].Op.(T); ok {
		layer, c.calls = c.calls[0].Layer, c.calls[1:]
	}
	return o, layer, ok
}

func (c *chain) parse(p *Program) bool {
	g, _, ok := next[*op.Gather](c)
	if !ok || g.OfValues {
		return false
	}
	c.op.Gather = g
	var layers []*op.Conv
	x := p.Input
	for {
		o, layer, ok := next[*op.Conv](c)
		if !ok {
			break
		}
		if o.X != x || o.Bias == op.None || p.Values[o.Out].Type != backend.Float32 {
			return false
		}
		x = o.Out
		layers = append(layers, o)
		c.op.Step.Layers = append(c.op.Step.Layers, o.Shape)
		c.op.Layers = append(c.op.Layers, op.ResidentLayer{W: o.W, Bias: o.Bias})
		c.gradients = append(c.gradients, op.Partials{Layer: layer})
	}
	if x != p.Output || len(layers) == 0 {
		return false
	}
	return c.lossOf(p) && c.backward(layers) && len(c.calls) == 0
}

// lossOf takes the loss of the output and, of an activation at the end, its gradient.
func (c *chain) lossOf(p *Program) bool {
	o, _, ok := next[*op.Pointwise](c)
	if !ok || o.Of > op.MSE || o.Prediction != p.Output || o.Target != p.Target {
		return false
	}
	c.op.Step.BCE, c.op.Scale, c.loss = o.Of == op.SigmoidBCE, o.Scale, o.Loss
	if o.Of == op.MSE {
		next[*op.ActivateBack](c)
	}
	return true
}

// backward takes the gradients of the layers, the last first.
func (c *chain) backward(layers []*op.Conv) bool {
	for i := len(layers) - 1; i >= 0; i-- {
		l := layers[i]
		w, _, ok := next[*op.ConvBackWeights](c)
		if !ok || w.X != l.X {
			return false
		}
		c.gradients[i].W, c.gradients[i].Bias = w.GradW, w.GradBias
		if i == 0 {
			return true
		}
		if x, _, ok := next[*op.ConvBackInput](c); !ok || x.X != l.X || x.Shape.InAct != layers[i-1].Shape.Act {
			return false
		}
	}
	return true
}
