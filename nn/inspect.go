package nn

import (
	"fmt"
	"math"
)

// Inspect waits for the device and hands visit each parameter of the model, in their order: its values and its gradient of the last step, in the order
// of its shape, both only until visit returns. The gradient is the one that the optimiser had: of the whole batch on all devices, with penalties, clipped.
// It is nil for what is not trained, and for all parameters if no step was made since the trainer was, or since SetState or Average. norm is that of
// the whole gradient before Clip.Norm and behind Clip.Value, NaN where there is none. Steps are none the slower for it: a gradient stays where it is
// until the next.
func (t *Trainer) Inspect(visit func(p *Param, values, gradient []float32)) (norm float64, err error) {
	t.settle()
	r := t.first()
	b := r.mem.b
	most := t.m.largestParam()
	values, gradient := make([]float32, most), make([]float32, most)
	squares := 0.0
	for i := range t.m.Params {
		p := &t.m.Params[i]
		n := p.Shape.Len()
		if err := b.Download(values[:n], r.weights[i]); err != nil {
			return 0, fmt.Errorf("nn: %w", err)
		}
		g := r.slots[0].grads[i]
		if !t.graded || g.IsZero() {
			visit(p, values[:n], nil)
			continue
		}
		if err := b.Download(gradient[:n], g); err != nil {
			return 0, fmt.Errorf("nn: %w", err)
		}
		for _, v := range gradient[:n] {
			squares += float64(v) * float64(v)
		}
		visit(p, values[:n], gradient[:n])
	}
	if !t.graded {
		return math.NaN(), nil
	}
	if t.o.Clip.Norm > 0 { // the gradient is clipped where it is
		parts := make([]float32, r.squares.Shape.Len())
		if err := b.Download(parts, r.squares); err != nil {
			return 0, fmt.Errorf("nn: %w", err)
		}
		squares = 0
		for _, v := range parts {
			squares += float64(v)
		}
	}
	return math.Sqrt(squares), nil
}
