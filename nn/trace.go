package nn

import (
	"fmt"

	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
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

const (
	lossValue  = "value" // what a Fault calls the loss itself
	gradientOf = "gradient of "
)

// Trace trains on the samples offset to offset+n of the order, as Step does, but looks at all that the device makes, op by
// op, for a value that is not finite. It takes many times as long. found is false if there is none.
func (t *Trainer) Trace(offset, n int, draw uint32) (f Fault, found bool, err error) {
	r := &tracer{t: t, back: map[int]bool{}}
	t.apart = true
	defer func() { t.apart = false }()
	if err := t.stepWith(offset, n, draw, false, r.step); err != nil {
		return Fault{}, false, err
	}
	r.updated()
	if r.err != nil {
		return Fault{}, false, fmt.Errorf("nn: %w", r.err)
	}
	return r.fault, r.found, nil
}

// tracer looks for the first value that is not finite.
type tracer struct {
	t     *Trainer
	back  map[int]bool // by the first sample of a micro-batch: its loss is known, tensors are gradients
	fault Fault
	found bool
	err   error
}

// step runs an op and looks at all that it writes.
func (r *tracer) step(s *op.Call, f *op.Frame, values []op.Info) {
	s.Op.Run(f)
	if values == nil {
		return // of an update: updated looks at what all of it leaves
	}
	switch s.Layer {
	case "input":
		delete(r.back, f.First)
	case "loss":
		r.back[f.First] = true
	}
	what := "output"
	if r.back[f.First] {
		what = "gradient"
	}
	if p, ok := s.Op.(op.Partial); ok {
		w, bias, partials := p.Sums()
		r.partials(f.At(*partials), values[w], values[bias])
	}
	for _, v := range op.Writes(s.Op) {
		switch i := values[v]; i.Space {
		case op.Arena:
			r.look(f.At(v), s.Layer, what)
		case op.Gradients:
			r.parameter(i.Index, f.At(v), gradientOf)
		case op.Sums:
			if i.Index == op.Loss {
				r.look(f.At(v), "loss", lossValue)
			}
		}
	}
}

// updated looks at what the step leaves: summed gradients, weights and the optimiser's state.
func (r *tracer) updated() {
	first := r.t.first()
	for i := range first.weights {
		r.parameter(i, first.slots[0].grads[i], gradientOf)
	}
	for i := range first.weights {
		r.parameter(i, first.weights[i], "value of ")
		for k, name := range r.t.o.Optimizer.states() {
			r.parameter(i, first.states[k][i], "optimizer's "+name+" of ")
		}
	}
}

// parameter looks at a tensor of the model's i'th parameter, if there is one.
func (r *tracer) parameter(i int, v backend.Tensor, what string) {
	if v.IsZero() {
		return
	}
	p := &r.t.m.Params[i]
	r.look(v, p.Layer, what+p.Name)
}

// partials looks at partial sums of the gradients of weights and bias, or of the loss.
func (r *tracer) partials(sums backend.Tensor, w, bias op.Info) {
	if sums.IsZero() {
		return
	}
	at, x := r.notFinite(sums)
	if at < 0 {
		return
	}
	if w.Space == op.Sums {
		r.fault, r.found = Fault{Layer: "loss", What: lossValue, Value: float64(x)}, true
		return
	}
	of := w
	if at%sums.Shape.Image() >= w.Shape.Len() {
		of = bias
	}
	p := &r.t.m.Params[of.Index]
	r.fault, r.found = Fault{Layer: p.Layer, What: gradientOf + p.Name, Value: float64(x)}, true
}

// look finds the first value of a tensor that is not finite, unless one was found before.
func (r *tracer) look(v backend.Tensor, layer, what string) {
	if v.Role != backend.Activation && v.Role != backend.Param && v.Role != backend.Flat {
		return
	}
	if at, x := r.notFinite(v); at >= 0 {
		r.fault, r.found = Fault{Layer: layer, What: what, Value: float64(x)}, true
	}
}

// notFinite returns where the first value of a tensor is that is not finite, and the value. It returns -1 if there is none, and if one was
// found before.
func (r *tracer) notFinite(v backend.Tensor) (int, float32) {
	if r.found || r.err != nil {
		return -1, 0
	}
	host := make([]float32, v.Shape.Len())
	if r.err = r.t.first().mem.b.Download(host, v); r.err != nil {
		return -1, 0
	}
	for i, x := range host {
		if x-x != 0 {
			return i, x
		}
	}
	return -1, 0
}
