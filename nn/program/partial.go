package program

import (
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/op"
)

// layersAtOnce is how many layers' partial sums are added up at once. More would take as much memory again: on a GPU a
// layer's are up to 26 MB, what three waves of blocks make. The number must not follow from the number of samples, because
// programs for fewer samples are placed as those for more.
const layersAtOnce = 8

// DeferSums gives the partial sums of gradients and of the loss, where the backend makes any, tensors of their own, and has those of several layers
// added up at once.
func (p *Program) DeferSums(b backend.Backend) {
	d := deferral{Program: p}
	calls := p.Calls
	p.Calls = nil
	for _, s := range calls {
		if o, ok := s.Op.(op.Partial); ok {
			d.make(o, s.Layer, b)
		}
		p.Calls = append(p.Calls, s)
	}
	d.sum()
}

// deferral gathers layers whose partial sums are to be added up.
type deferral struct {
	*Program
	layers map[op.Value]bool // by their weights' gradients; the loss counts as one
	list   []op.Partials
}

// make gives an op a tensor for its partial sums. A layer that makes none is counted too, because it may make some for more
// samples.
func (d *deferral) make(o op.Partial, layer string, b backend.Backend) {
	w, bias, partials := o.Sums()
	if len(d.layers) == layersAtOnce || d.layers[w] { // two sums of one gradient cannot be added at once
		d.sum()
	}
	if d.layers == nil {
		d.layers = map[op.Value]bool{}
	}
	d.layers[w] = true
	grad := backend.Params{W: backend.Tensor{Shape: d.Shape(w)}, Bias: backend.Tensor{Shape: d.Shape(bias)}}
	count := o.Needs(b).Partials
	v := d.New(backend.Flat, grad.PartialsShape(count))
	if count > 0 {
		*partials = v
		d.list = append(d.list, op.Partials{W: w, Bias: bias, Partials: v, Layer: layer})
	}
}

// sum adds up what has been gathered.
func (d *deferral) sum() {
	if len(d.list) > 0 {
		d.Layer = "gradients"
		d.Emit(&op.SumPartials{List: d.list})
	}
	d.layers, d.list = nil, nil
}
