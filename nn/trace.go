package nn

import (
	"fmt"
	"strings"

	"github.com/convae/convae/nn/backend"
)

// Fault is a value that is not finite, the first that a training step made.
type Fault struct {
	Layer string  // its name in the summary of the model, "input", "code" or "loss"
	What  string  // such as "output" or "gradient of encoder.0.weight"
	Value float64 // NaN or an infinity
}

func (f Fault) String() string {
	if f.What == lossValue {
		return fmt.Sprintf("the loss is %v", f.Value)
	}
	return fmt.Sprintf("the %s in layer %s is %v", f.What, f.Layer, f.Value)
}

// lossValue is what a Fault calls the loss itself.
const lossValue = "value"

// Trace trains on the samples offset to offset+n of the order, as Step does, but looks at all that the device makes, op by
// op, for a value that is not finite. It takes many times as long. found is false if there is none.
func (t *Trainer) Trace(offset, n int, draw uint32) (f Fault, found bool, err error) {
	t.checkSamples(offset, n)
	r := &tracer{t: t}
	t.visit(offset, n, draw, r.step)
	r.updated()
	if r.err != nil {
		return Fault{}, false, fmt.Errorf("nn: %w", r.err)
	}
	return r.fault, r.found, nil
}

// tracer looks for the first value that is not finite.
type tracer struct {
	t     *Trainer
	back  bool // the loss is known: tensors are gradients
	fault Fault
	found bool
	err   error
}

func (r *tracer) step(s *step, c *context, run func()) {
	run()
	if c == nil {
		return
	}
	switch s.layer {
	case "input":
		r.back = false
	case "loss":
		r.back = true
		r.look(c.loss, "loss", lossValue)
	}
	what := "output"
	if r.back {
		what = "gradient"
	}
	for _, id := range s.writes {
		r.look(c.t[id], s.layer, what)
	}
	if !r.back || len(s.writes) > 0 && !strings.HasPrefix(s.op, "Contract") {
		return
	}
	for i, n := range r.t.nodes {
		r.parameter(n.w, c.grads[i].W, "gradient of ")
		r.parameter(n.b, c.grads[i].Bias, "gradient of ")
	}
}

// updated looks at what the step leaves: summed gradients, weights and the optimiser's state.
func (r *tracer) updated() {
	for i, n := range r.t.nodes {
		g := r.t.slots[0].grads[i]
		r.parameter(n.w, g.W, "gradient of ")
		r.parameter(n.b, g.Bias, "gradient of ")
	}
	for i := range r.t.weights {
		r.parameter(i, r.t.weights[i], "value of ")
		for k, name := range r.t.o.Optimizer.states() {
			r.parameter(i, r.t.states[k][i], "optimizer's "+name+" of ")
		}
	}
}

// parameter looks at a tensor of the model's i'th parameter, if there is one.
func (r *tracer) parameter(i int, v backend.Tensor, what string) {
	if i < 0 || v.IsZero() {
		return
	}
	layer := ""
	for _, n := range r.t.nodes {
		if n.w == i || n.b == i {
			layer = r.t.m.Layers[n.layer].Name
		}
	}
	r.look(v, layer, what+r.t.m.Params[i].Name)
}

// look finds the first value of a tensor that is not finite, unless one was found before.
func (r *tracer) look(v backend.Tensor, layer, what string) {
	if r.found || r.err != nil || v.Kind != backend.Activation && v.Kind != backend.Param && v.Kind != backend.Flat {
		return
	}
	host := make([]float32, v.Shape.Len())
	if r.err = r.t.mem.b.Download(host, v); r.err != nil {
		return
	}
	for _, x := range host {
		if x-x != 0 {
			r.fault, r.found = Fault{Layer: layer, What: what, Value: float64(x)}, true
			return
		}
	}
}
